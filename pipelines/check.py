"""Checks a refresh against the raw contract; a refresh that passes is completed."""

from __future__ import annotations

import datetime as dt
import logging
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import polars as pl

from pipelines.bitrix24.entities import TABLES, Table
from pipelines.contract import (
    ADVICE,
    CHECKS,
    CLOCKS,
    COLUMNS,
    COUNTED,
    DIFFERENCE,
    DROP,
    LOSS,
    Contract,
    Suite,
    columns_suite,
    zero_suite,
)
from pipelines.errors import CheckEngineError, ChecksFailed
from pipelines.raw_files import append
from pipelines.settings import Settings
from pipelines.warehouse import Warehouse

log = logging.getLogger(__name__)

# DuckDB spills the rest to disk.
DUCKDB_MEMORY = "512MB"
MOST_FAILURES = 100
FAILURES_SHOWN = 10

# Failures that can be accepted once: check → option of `refresh` and `check`.
ACCEPTABLE = {DIFFERENCE: "--accept-difference", DROP: "--accept-drop"}


@dataclass(frozen=True)
class CheckResult:
    """One row of `quality.check_results`; `accepted`: it failed, and the user accepted that."""

    refresh_no: int
    layer: str
    entity: str
    check_name: str
    passed: bool
    failures: int
    message: str
    accepted: bool = False


@dataclass(frozen=True)
class CheckFailure:
    """One row of `quality.check_failures`: a record that failed a raw check."""

    refresh_no: int
    entity: str
    check_name: str
    record_id: str
    value: str
    crm_url: str | None


@dataclass
class Outcome:
    """What a check found in an entity; `records` are the first failing ones with their values."""

    failures: int = 0
    records: list[tuple[str, str]] = field(default_factory=list)


Outcomes = dict[tuple[str, str], Outcome]


class Engine:
    """Great Expectations on pandas frames, in memory only."""

    def __init__(self) -> None:
        import great_expectations as gx
        from great_expectations.expectations import core

        # It logs its temporary folders, and sets its own level on import.
        logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)
        self.gx: Any = gx
        self.kinds: Any = core
        context: Any = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = {"globally": False}
        asset = context.data_sources.add_pandas("raw").add_dataframe_asset("rows")
        self.rows = asset.add_batch_definition_whole_dataframe("all")

    def validate(
        self, what: str, frame: Any, suite: Suite
    ) -> Iterable[tuple[str, int, list[dict[str, Any]]]]:
        """Yields (check, failures, first failing rows with `entity`, `record_id` and the value).

        Args:
            frame: Of Polars or Arrow.

        Raises:
            CheckEngineError: a check could not be run; this says nothing about the data.
        """
        frame = frame.to_pandas()
        try:
            expectations = [
                getattr(self.kinds, f"ExpectColumnValuesTo{kind}")(
                    **arguments, meta={"check": name}
                )
                for name, kind, arguments in suite
            ]
            outcome = self.rows.get_batch({"dataframe": frame}).validate(
                self.gx.ExpectationSuite(name="raw", expectations=expectations),
                result_format={
                    "result_format": "SUMMARY",
                    "partial_unexpected_count": MOST_FAILURES,
                    "unexpected_index_column_names": [
                        name for name in ("entity", "record_id") if name in frame.columns
                    ],
                },
            )
        except Exception as error:
            raise _broken(what, "suite", type(error).__name__) from error
        for tested in outcome.results:
            name = tested.expectation_config.meta["check"]
            # A broken engine reports success=False too: only its exception shows the difference.
            raised = tested.exception_info or {}
            for info in (raised, *raised.values()):
                if isinstance(info, dict) and info.get("raised_exception"):
                    trace = str(info.get("exception_traceback") or "")
                    log.info("%s", trace)
                    # Only its name: the text of an exception may hold a value.
                    kinds = re.findall(r"^([\w.]*(?:Error|Exception))\b", trace, re.MULTILINE)
                    raise _broken(what, name, kinds[-1] if kinds else "an exception")
            failures = int(tested.result.get("unexpected_count") or 0)
            listed = tested.result.get("partial_unexpected_index_list") or []
            if bool(failures) == bool(tested.success) or bool(failures) != bool(listed):
                raise _broken(what, name, "it contradicts itself")
            yield name, failures, listed


class NothingToTell:
    """In the place of the engine, which takes seconds to load, where a refresh found no rows and
    all that must be zero is."""

    def validate(
        self, what: str, frame: Any, suite: Suite
    ) -> Iterable[tuple[str, int, list[dict[str, Any]]]]:
        return [(name, 0, []) for name, *_ in suite]


def _broken(what: str, check: str, reason: str) -> CheckEngineError:
    return CheckEngineError(
        f"the check {check} of {what} could not be run ({reason}): this says nothing about the"
        " data, and nothing is published; run `python -m pipelines --verbose check` and report it"
    )


def _columns(engine: Engine | NothingToTell, columns: pl.DataFrame) -> Outcomes:
    frame = columns.select("entity", "record_id", *COLUMNS)
    outcomes = {(table.name, name): Outcome() for table in TABLES for name in COLUMNS}
    for name, _, failing in engine.validate("the raw tables", frame, columns_suite()):
        for row in failing:
            outcome = outcomes[row["entity"], name]
            outcome.failures += 1
            outcome.records.append((row["record_id"], row[name]))
    return outcomes


def _rows(
    engine: Engine | NothingToTell, contract: Contract, table: Table, passed: bool
) -> Outcomes:
    """Outcomes of a table; of rows that passed together with all others nothing is to be found."""
    suite = contract.suite(table)
    outcomes = {(table.name, name): Outcome() for name, *_ in suite}
    for frame in [] if passed else contract.chunks(table):
        for name, failures, failing in engine.validate(table.name, frame, suite):
            outcome = outcomes[table.name, name]
            outcome.failures += failures
            records = [(_text(row["record_id"]), _value(row, name)) for row in failing]
            outcome.records += records[: MOST_FAILURES - len(outcome.records)]
    return outcomes


def _zeros(
    engine: Engine | NothingToTell, what: str, frame: pl.DataFrame, checks: tuple[str, ...]
) -> Outcomes:
    counted = frame.select("entity", *checks)
    outcomes = {
        (row["entity"], name): Outcome(row[name] or 0)
        for row in counted.iter_rows(named=True)
        for name in checks
    }
    for name, failures, _ in engine.validate(what, counted, zero_suite(checks)):
        if failures != sum(
            outcome.failures > 0 for (_, n), outcome in outcomes.items() if n == name
        ):
            raise _broken(what, name, "it contradicts itself")
    return outcomes


def _text(value: Any) -> str:
    """A value of pandas as text, a missing one empty."""
    if value is None or value != value:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _value(row: dict[str, Any], check: str) -> str:
    """What is wrong in a failing row: `column = value`, or what the check itself wrote."""
    shown = {name: _text(value) for name, value in row.items() if name != "record_id"}
    return ", ".join(
        value if name == check else f"{name} = {value}" for name, value in shown.items()
    )


def _outcomes(contract: Contract) -> tuple[Outcomes, dict[str, dict[str, Any]]]:
    """All outcomes, and the counts by table that explain the checks of `COUNTED`.

    If columns are wrong, the rows are not checked.
    """
    columns = contract.columns()
    if not _is_nothing(columns, COLUMNS):
        outcomes = _columns(Engine(), columns)
        if not any(outcome.failures for outcome in outcomes.values()):
            raise _broken("the raw tables", COLUMNS[0], "it contradicts itself")
        return outcomes, {}
    few, counts = contract.few_rows(), contract.counts()
    clocks = contract.clocks(dt.datetime.now(dt.UTC))
    is_nothing = (
        few is not None
        and not few.num_rows
        and _is_nothing(counts, COUNTED)
        and _is_nothing(clocks, CLOCKS)
    )
    engine = NothingToTell() if is_nothing else Engine()
    outcomes = _columns(engine, columns)
    passed = few is not None and not any(
        failures for _, failures, _ in engine.validate("the rows", few, contract.suite(*TABLES))
    )
    for table in TABLES:
        outcomes |= _rows(engine, contract, table, passed)
    outcomes |= _zeros(engine, "the counts", counts, COUNTED)
    outcomes |= _zeros(engine, "the clocks", clocks, CLOCKS)
    for table in TABLES:
        for name in (LOSS, DROP):
            if outcomes[table.name, name].failures:
                gone = contract.removed(table, MOST_FAILURES)
                outcomes[table.name, name].records = [(record, "") for record in gone]
    return outcomes, {row["entity"]: row for row in counts.iter_rows(named=True)}


def _is_nothing(frame: pl.DataFrame, checks: Sequence[str]) -> bool:
    """Whether nothing but null and zero stands in the columns of the checks."""
    return all(not value for name in checks for value in frame[name])


def _message(
    entity: str, check: str, outcome: Outcome, settings: Settings, counts: dict[str, Any]
) -> str:
    """What failed and, for checks of completeness, how to accept it."""
    if check == DIFFERENCE:
        return (
            f"{entity}: the portal counts {counts['portal_total']}, the warehouse has"
            f" {counts['after_here']} (difference {outcome.failures}): run `refresh --full`; if the"
            f" difference stays and you know why, accept it once with {ACCEPTABLE[check]}"
        )
    if check == DROP:
        return (
            f"{entity}: {counts['rows_after']} rows were read, {counts['rows_before']} before: a"
            f" drop of more than max_drop_share ({settings.max_drop_share:.0%}); check whether the"
            " portal shows them; if they are really gone, accept it once with"
            f" {ACCEPTABLE[check]}"
        )
    return f"{entity}: {outcome.failures} {CHECKS[check]}"


def check(
    warehouse: Warehouse, settings: Settings | None = None, accept: Collection[str] = ()
) -> list[CheckResult]:
    """Checks the newest extracted refresh and completes it.

    Args:
        settings: from the environment by default.
        accept: checks of `ACCEPTABLE` whose failure is accepted once.

    Raises:
        ChecksFailed: a check failed, or there is nothing to check; the refresh stays invisible.
        CheckEngineError: Great Expectations could not run a check.
    """
    extracted = warehouse.last_refreshes(completed=False)
    if not extracted:
        raise ChecksFailed(
            "nothing is extracted yet: run `python -m pipelines extract` first",
            advice="run `python -m pipelines refresh`",
        )
    number = extracted[0].refresh_no
    settings = settings or Settings.load()
    with warehouse.connect() as connection:
        connection.execute(f"set memory_limit = '{DUCKDB_MEMORY}'")
        contract = Contract(connection, number, settings)
        outcomes, counts = _outcomes(contract)
        failures = [
            CheckFailure(number, entity, name, record, value, links.get(record))
            for (entity, name), outcome in outcomes.items()
            for links in [
                contract.links(entity, [record for record, _ in outcome.records])
                if name not in COLUMNS
                else {}
            ]
            for record, value in outcome.records
        ]
    results = [
        CheckResult(
            number,
            "raw",
            entity,
            name,
            not outcome.failures,
            outcome.failures,
            _message(entity, name, outcome, settings, counts.get(entity, {}))
            if outcome.failures
            else "",
            # The extraction refuses a loss that is not accepted.
            accepted=bool(outcome.failures) and name in (LOSS, *accept),
        )
        for (entity, name), outcome in outcomes.items()
    ]
    store_results(warehouse, results, "raw")
    _store_failures(warehouse, failures)
    failed = [result for result in results if not result.passed and not result.accepted]
    if failed:
        lines = [line for result in failed for line in _lines(result, failures)]
        advice = "; ".join(dict.fromkeys(ADVICE[result.check_name] for result in failed))
        raise ChecksFailed("\n".join(["raw checks failed:", *lines]), results, advice)
    complete(warehouse, number)
    return results


def _lines(result: CheckResult, failures: Sequence[CheckFailure]) -> list[str]:
    """What failed and the first records, with links."""
    found = [
        failure
        for failure in failures
        if (failure.entity, failure.check_name) == (result.entity, result.check_name)
    ]
    lines = [
        "  " + " ".join(filter(None, (failure.record_id, failure.value, failure.crm_url)))
        for failure in found[:FAILURES_SHOWN]
    ]
    if len(found) > FAILURES_SHOWN:
        lines.append(f"  … the first {len(found)} are in quality.check_failures of the warehouse")
    return [result.message, *lines]


def complete(warehouse: Warehouse, refresh_no: int) -> None:
    """Makes an extracted refresh visible to the models."""
    row = (
        "select * replace (true as completed) from raw.refreshes"
        f" where refresh_no = {refresh_no} and not completed and not exists"
        f" (select 1 from raw.refreshes where refresh_no = {refresh_no} and completed) limit 1"
    )
    with warehouse.connect(read_only=False) as connection:
        if not append(connection, "refreshes", f"completed_{refresh_no}", row):
            connection.execute(f"insert into raw.refreshes by name {row}")


def store_results(warehouse: Warehouse, results: list[CheckResult], layer: str) -> None:
    """Replaces the results of one layer (raw, dbt) in `quality.check_results`."""
    rows = pl.DataFrame(
        [asdict(result) for result in results],
        schema={
            "refresh_no": pl.Int64,
            "layer": pl.String,
            "entity": pl.String,
            "check_name": pl.String,
            "passed": pl.Boolean,
            "failures": pl.Int64,
            "message": pl.String,
            "accepted": pl.Boolean,
        },
    ).to_arrow()
    with warehouse.connect(read_only=False) as connection:
        connection.register("new_results", rows)
        connection.execute("create schema if not exists quality")
        connection.execute(
            "create table if not exists quality.check_results as select * from new_results limit 0"
        )
        # Warehouses of earlier versions do not have the column.
        connection.execute(
            "alter table quality.check_results add column if not exists accepted boolean"
        )
        connection.execute(
            "delete from quality.check_results where layer = $layer", {"layer": layer}
        )
        connection.execute("insert into quality.check_results by name select * from new_results")


def _store_failures(warehouse: Warehouse, failures: Sequence[CheckFailure]) -> None:
    """Replaces `quality.check_failures`."""
    rows = pl.DataFrame(
        [asdict(failure) for failure in failures],
        schema={
            "refresh_no": pl.Int64,
            "entity": pl.String,
            "check_name": pl.String,
            "record_id": pl.String,
            "value": pl.String,
            "crm_url": pl.String,
        },
    ).to_arrow()
    with warehouse.connect(read_only=False) as connection:
        connection.register("failing", rows)
        connection.execute(
            "create or replace table quality.check_failures as select * from failing"
        )
