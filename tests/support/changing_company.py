"""A portal whose records change before each refresh, and the expected rows after it.

For tests of crashes, full disks and readers. Each change moves stages, adds and deletes leads and
deals in pairs, and gives the leads and deals 1–10 the number of the change as amount: within one
publication there are as many leads as deals, and these amounts are one number.
"""

from __future__ import annotations

import datetime as dt
import random
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from pipelines.warehouse import Warehouse
from scripts.demo_portal import Portal, serve
from tests.support.small_portal import NOW, deal, deal_visit, lead, lead_visit, write_portal

STAMPED = range(1, 11)
FIRST = 30
STAGES = {
    "lead": {"NEW": "P", "JUNK": "F", "CONVERTED": "S"},
    "deal": {"NEW": "P", "WON": "S", "LOSE": "F"},
}
ROW = {"lead": lead, "deal": deal}
VISIT = {"lead": lead_visit, "deal": deal_visit}

# (entity, id) → (stage, amount) of what lives.
State = dict[tuple[str, int], tuple[str, int]]
# (entity, id) → (stage, amount, is_deleted) of what one refresh must append.
Versions = dict[tuple[str, int], tuple[str | None, int | None, bool]]


class Company:
    """Keeps the portal's truth: what lives now, and what each completed refresh saw."""

    def __init__(self, portal: Portal, seed: int) -> None:
        self.portal = portal
        self.random = random.Random(seed)
        self.number = 0
        self.state: State = {}
        self.visits: dict[str, dict[int, tuple[int, str]]] = {"lead": {}, "deal": {}}
        self.seen: set[tuple[str, int]] = set()
        self.pending: set[tuple[str, int]] = set()
        self.states: dict[int, State] = {}
        self.log: dict[int, Versions] = {}
        self._last_visit = 0
        for entity in STAGES:
            for number in range(1, FIRST + 1):
                self._put(entity, number, "NEW", 0)

    @property
    def now(self) -> str:
        moment = dt.datetime.fromisoformat(NOW) + dt.timedelta(hours=self.number)
        return moment.isoformat()

    def _put(self, entity: str, number: int, stage: str, amount: int) -> None:
        """Adds a record or changes it; a new stage is a visit."""
        key = (entity, number)
        before = self.state.get(key)
        self.state[key] = (stage, amount)
        self.pending.add(key)
        row = {
            "stageId": stage,
            "stageSemanticId": STAGES[entity][stage],
            "opportunity": amount,
            "updatedTime": self.now,
        }
        if before is None:
            row = ROW[entity](number, **row)
        self.portal.upsert(f"{entity}s", {"id": number, **row})
        if before is None or before[0] != stage:
            self._last_visit += 1
            self.visits[entity][self._last_visit] = (number, stage)
            self.portal.upsert(
                f"{entity}_stage_history",
                VISIT[entity](self._last_visit, number, stage, STAGES[entity][stage], self.now),
            )

    def change(self) -> None:
        """What happens on the portal between two refreshes."""
        self.number += 1
        self.portal.set_now(self.now)
        for entity, stages in STAGES.items():
            for number in STAMPED:
                self._put(entity, number, self.state[entity, number][0], self.number)
            others = sorted(n for kind, n in self.state if kind == entity and n not in STAMPED)
            gone, *moved = self.random.sample(others, 4)
            self.portal.delete(f"{entity}s", gone)
            del self.state[entity, gone]
            self.pending.add((entity, gone))
            for visit in [v for v, (owner, _) in self.visits[entity].items() if owner == gone]:
                del self.visits[entity][visit]
            for number in moved:
                stage, amount = self.state[entity, number]
                to = self.random.choice([code for code in stages if code != stage])
                self._put(entity, number, to, amount)
            for number in range(2):
                fresh = FIRST + 2 * self.number - number
                self._put(entity, fresh, "NEW", self.random.randrange(1000))

    def note(self, warehouse: Warehouse, folder: Path) -> None:
        """Notes a completed refresh, and checks every row of the raw log.

        The files are copied first: a WAL of DuckDB left by a crash stays for the pipeline.
        """
        copy = Warehouse(folder / "copy")
        shutil.rmtree(copy.directory, ignore_errors=True)
        copy.directory.mkdir()
        for path in warehouse.directory.glob("warehouse.duckdb*"):
            shutil.copy2(path, copy.directory)
        raw_tables = copy.raw_tables()
        if "refreshes" not in raw_tables:
            return
        with copy.connect() as connection:

            def ask(query: str) -> list[tuple[Any, ...]]:
                return connection.execute(query).fetchall()

            completed = {n for (n,) in ask("select refresh_no from raw.refreshes where completed")}
            new = completed - self.states.keys()
            assert len(new) <= 1, f"one run completed {new}"
            for refresh_no in new:
                self._completed(refresh_no)
            assert completed == self.states.keys()
            if not completed:
                return
            for entity in STAGES:
                rows = ask(
                    f"select refresh_no, id, stage_id, opportunity, is_deleted from raw.{entity}s"
                    " where refresh_no in (select refresh_no from raw.refreshes where completed)"
                )
                right = [
                    (refresh_no, number, *version)
                    for refresh_no, versions in self.log.items()
                    for (kind, number), version in versions.items()
                    if kind == entity
                ]
                same(rows, right, f"versions of {entity}s")
            for table in ("leads", "deals", "lead_stage_history", "deal_stage_history"):
                twice = ask(
                    f"select refresh_no, id from raw.{table}"
                    " where refresh_no in (select refresh_no from raw.refreshes where completed)"
                    " group by all having count(*) > 1"
                )
                assert twice == [], f"{table}: doubled rows"
            if new:
                # Only now does the portal have the state of the newest refresh.
                self._histories(connection)

    def _completed(self, refresh_no: int) -> None:
        versions: Versions = {}
        for key in self.pending:
            if key in self.state:
                versions[key] = (*self.state[key], False)
            elif key in self.seen:
                versions[key] = (None, None, True)
        self.log[refresh_no] = versions
        self.states[refresh_no] = dict(self.state)
        self.seen = set(self.state)
        self.pending.clear()

    def _histories(self, connection: duckdb.DuckDBPyConnection) -> None:
        for entity in STAGES:
            rows = connection.execute(
                f"""
                with latest as (
                    select *
                    from raw.{entity}_stage_history
                    where refresh_no in (select refresh_no from raw.refreshes where completed)
                    qualify row_number() over (partition by id order by refresh_no desc) = 1
                )
                select id, owner_id, stage_id
                from latest
                where not is_deleted and list_contains($living, owner_id)
                """,
                {"living": [number for kind, number in self.state if kind == entity]},
            ).fetchall()
            right = [(visit, *values) for visit, values in self.visits[entity].items()]
            same(rows, right, f"visits of {entity}s")

    def item_versions(self, refresh_no: int) -> list[tuple[str, int, int, str, int, bool, bool]]:
        """Rows of `marts.fct_item_versions` after a refresh.

        (entity, item, version, stage, amount, is_deleted, is_current)
        """
        items: dict[tuple[str, int], list[tuple[str, int, bool]]] = {}
        for seen in sorted(number for number in self.log if number <= refresh_no):
            for key, (stage, amount, is_deleted) in self.log[seen].items():
                versions = items.setdefault(key, [])
                if is_deleted:
                    stage, amount, _ = versions[-1]
                assert stage is not None and amount is not None
                if not versions or versions[-1] != (stage, amount, is_deleted):
                    versions.append((stage, amount, is_deleted))
        return [
            (*key, place, *version, place == len(versions))
            for key, versions in items.items()
            for place, version in enumerate(versions, start=1)
        ]

    def published_right(self, connection: duckdb.DuckDBPyConnection, schemas: bool = True) -> int:
        """Checks that published tables are from one refresh, row by row.

        Args:
            schemas: whether tables are in schemas, as in `crm.duckdb`.

        Returns:
            The number of the refresh.
        """
        marts, quality = ("marts.", "quality.") if schemas else ("", "")

        def ask(query: str) -> list[tuple[Any, ...]]:
            return connection.execute(query).fetchall()

        ((refresh_no,),) = ask(f"select refresh_no from {quality}refreshes")
        right = [(*key, *values) for key, values in self.states[refresh_no].items()]
        rows = ask(
            f"select 'lead', lead_id, stage_id, opportunity_amount from {marts}fct_leads"
            f" union all select 'deal', deal_id, stage_id, amount from {marts}fct_deals"
        )
        same(rows, right, f"published records of refresh {refresh_no}")
        versions = ask(
            "select entity, item_id, version_number, stage_id, amount, is_deleted, is_current"
            f" from {marts}fct_item_versions"
        )
        same(versions, self.item_versions(refresh_no), f"versions of refresh {refresh_no}")
        return int(refresh_no)


def same(rows: Iterable[tuple[Any, ...]], right: Iterable[tuple[Any, ...]], what: str) -> None:
    """Compares rows with what is right, doubled ones included."""
    found, expected = Counter(rows), Counter(right)
    assert found == expected, (
        f"{what}: lost {sorted((expected - found).items(), key=str)[:5]},"
        f" too many {sorted((found - expected).items(), key=str)[:5]}"
    )


@contextmanager
def serve_company(folder: Path, seed: int = 1) -> Iterator[Company]:
    """A company on a separate portal."""
    with serve(write_portal(folder, leads=[], deals=[])) as portal:
        yield Company(portal, seed)
