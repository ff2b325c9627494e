"""Stages, the paths that items take through them, and the walk that dates every visit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from scripts.demo_company.timeline import (
    DAY,
    Integers,
    Mask,
    Times,
    between,
    pick,
    to_working_hours,
)

Outcome = Literal["success", "failure", "open"]
OUTCOMES: tuple[Outcome, ...] = ("success", "failure", "open")
SUCCESS, FAILURE, OPEN = range(3)

SALES, PARTNERS, DELIVERY = 0, 1, 2
CATEGORIES = ((SALES, "Продажи"), (PARTNERS, "Партнёры"), (DELIVERY, "Доставка"))


@dataclass(frozen=True)
class Stage:
    """A stage; `semantics` None is in process, `deleted` is not in the reference data."""

    code: str
    name: str
    semantics: Literal["S", "F"] | None = None
    category: int = 0
    color: str = "#39A8EF"
    apology: bool = False
    deleted: bool = False


LEAD_STAGES = (
    Stage("NEW", "Новый"),
    Stage("UC_NOCALL", "Недозвон"),
    Stage("IN_PROCESS", "В обработке"),
    Stage("PROCESSED", "Квалификация"),
    Stage("UC_WAIT", "Отложен"),
    Stage("CONVERTED", "Качественный лид", "S", color="#7BD500"),
    Stage("JUNK", "Некачественный лид", "F", color="#FF5752"),
    Stage("UC_NOTARGET", "Нецелевой", "F", color="#FF5752", apology=True),
    Stage("UC_DOUBLE", "Дубль", "F", color="#FF5752", apology=True),
    Stage("UC_OLDCALL", "", deleted=True),
)

PAID_STAGE = "UC_PAID"
PAID_STAGE_NAME = "Успешно закрыто"

DEAL_STAGES = (
    Stage("NEW", "Новая заявка"),
    Stage("PREPARATION", "Замер"),
    Stage("UC_OFFER", "Коммерческое предложение"),
    Stage("UC_CONTRACT", "Договор"),
    Stage("PREPAYMENT_INVOICE", "Счёт на предоплату"),
    Stage("EXECUTING", "В производстве"),
    Stage("FINAL_INVOICE", "Окончательный расчёт"),
    Stage(PAID_STAGE, PAID_STAGE_NAME, color="#47E4C2"),
    Stage("WON", "Сделка успешна", "S", color="#7BD500"),
    Stage("LOSE", "Сделка провалена", "F", color="#FF5752"),
    Stage("APOLOGY", "Анализ причины провала", "F", color="#FF5752", apology=True),
    Stage("UC_REFUSED", "Клиент отказался", "F", color="#FF5752", apology=True),
    Stage("UC_DEMO", "", deleted=True),
    Stage("C1:NEW", "Заявка партнёра", category=PARTNERS),
    Stage("C1:PREPARATION", "Проверка партнёра", category=PARTNERS),
    Stage("C1:UC_TERMS", "Согласование условий", category=PARTNERS),
    Stage("C1:EXECUTING", "Отгрузка партнёру", category=PARTNERS),
    Stage("C1:WON", "Партнёр оплатил", "S", PARTNERS, "#7BD500"),
    Stage("C1:LOSE", "Отказ партнёра", "F", PARTNERS, "#FF5752"),
    Stage("C1:UC_TENDER", "", category=PARTNERS, deleted=True),
    Stage("C2:NEW", "К отгрузке", category=DELIVERY),
    Stage("C2:PREPARATION", "Комплектация", category=DELIVERY),
    Stage("C2:EXECUTING", "В пути", category=DELIVERY),
    Stage("C2:WON", "Доставлено", "S", DELIVERY, "#7BD500"),
    Stage("C2:LOSE", "Возврат", "F", DELIVERY, "#FF5752"),
)


@dataclass(frozen=True)
class Path:
    """A way through the stages.

    Attributes:
        group: who takes it (an outcome, or pipeline and outcome).
        stages: codes in the order of the visits.
        weight: share within the group; 0 for a path that is only given on purpose.
        settles: index of the visit that begins the outcome (for open paths: the last visit).
        rare: an edge case; taken by at least six items where the group is large enough.
    """

    group: str
    stages: tuple[str, ...]
    weight: float
    settles: int
    rare: bool = False


def _path(group: str, weight: float, route: str, *, rare: bool = False) -> Path:
    """Path from `A > B > [C] > D`; brackets mark where the outcome begins, by default the last."""
    names = route.split(" > ")
    settled = [index for index, name in enumerate(names) if name.startswith("[")]
    stages = tuple(name.strip("[]") for name in names)
    return Path(group, stages, weight, settled[0] if settled else len(stages) - 1, rare)


LEAD_PATHS = (
    _path("success", 40, "NEW > IN_PROCESS > PROCESSED > CONVERTED"),
    _path("success", 22, "NEW > IN_PROCESS > CONVERTED"),
    _path("success", 12, "NEW > UC_NOCALL > IN_PROCESS > PROCESSED > CONVERTED"),
    _path("success", 8, "NEW > IN_PROCESS > UC_WAIT > PROCESSED > CONVERTED"),
    _path("success", 6, "NEW > PROCESSED > CONVERTED"),
    _path("success", 5, "NEW > CONVERTED"),
    _path("success", 4, "NEW > IN_PROCESS > PROCESSED > IN_PROCESS > PROCESSED > CONVERTED"),
    _path("success", 3, "IN_PROCESS > PROCESSED > CONVERTED"),
    _path("success", 0.5, "CONVERTED", rare=True),
    _path("success", 1, "NEW > IN_PROCESS > JUNK > IN_PROCESS > CONVERTED", rare=True),
    _path("success", 0.7, "NEW > UC_OLDCALL > PROCESSED > CONVERTED", rare=True),
    _path("failure", 25, "NEW > JUNK"),
    _path("failure", 30, "NEW > IN_PROCESS > JUNK"),
    _path("failure", 12, "NEW > IN_PROCESS > UC_NOTARGET"),
    _path("failure", 12, "NEW > UC_NOCALL > JUNK"),
    _path("failure", 8, "NEW > UC_NOCALL > IN_PROCESS > JUNK"),
    _path("failure", 6, "NEW > IN_PROCESS > PROCESSED > UC_NOTARGET"),
    _path("failure", 5, "NEW > UC_DOUBLE"),
    _path("failure", 0.4, "JUNK", rare=True),
    _path("failure", 1.5, "NEW > IN_PROCESS > [JUNK] > UC_DOUBLE", rare=True),
    _path("failure", 0.4, "NEW > UC_OLDCALL > JUNK", rare=True),
    _path("failure", 0.2, "NEW > PROCESSED > CONVERTED > IN_PROCESS > JUNK", rare=True),
    _path("open", 30, "NEW"),
    _path("open", 30, "NEW > IN_PROCESS"),
    _path("open", 18, "NEW > UC_NOCALL"),
    _path("open", 18, "NEW > IN_PROCESS > PROCESSED"),
    _path("open", 12, "NEW > IN_PROCESS > UC_WAIT"),
    _path("open", 2, "NEW > IN_PROCESS > NEW", rare=True),
    _path("open", 1, "NEW > UC_OLDCALL", rare=True),
)

DEAL_PATHS = (
    _path(
        "0 success",
        30,
        "NEW > PREPARATION > UC_OFFER > UC_CONTRACT > PREPAYMENT_INVOICE >"
        " EXECUTING > FINAL_INVOICE > WON",
    ),
    _path("0 success", 20, "NEW > PREPARATION > UC_OFFER > UC_CONTRACT > EXECUTING > WON"),
    _path("0 success", 14, "NEW > UC_OFFER > UC_CONTRACT > PREPAYMENT_INVOICE > WON"),
    _path(
        "0 success",
        8,
        "NEW > PREPARATION > UC_OFFER > PREPARATION > UC_OFFER > UC_CONTRACT > EXECUTING > WON",
    ),
    _path("0 success", 5, "UC_CONTRACT > EXECUTING > FINAL_INVOICE > WON"),
    _path("0 success", 4, "NEW > WON"),
    _path("0 success", 6, "NEW > UC_OFFER > UC_CONTRACT > EXECUTING > [UC_PAID] > WON", rare=True),
    _path("0 success", 1.5, "NEW > UC_OFFER > UC_CONTRACT > WON > UC_CONTRACT > WON", rare=True),
    _path("0 success", 0.7, "NEW > UC_OFFER > LOSE > UC_CONTRACT > WON", rare=True),
    _path("0 success", 0.7, "WON", rare=True),
    _path("0 success", 0.7, "NEW > UC_DEMO > UC_CONTRACT > WON", rare=True),
    _path("0 success", 0.8, "NEW > UC_OFFER > C1:UC_TERMS > C1:EXECUTING > C1:WON", rare=True),
    _path("0 success", 0.4, "NEW > UC_OFFER > C1:WON", rare=True),
    _path("0 failure", 25, "NEW > LOSE"),
    _path("0 failure", 22, "NEW > PREPARATION > LOSE"),
    _path("0 failure", 22, "NEW > PREPARATION > UC_OFFER > LOSE"),
    _path("0 failure", 12, "NEW > UC_OFFER > APOLOGY"),
    _path("0 failure", 10, "NEW > PREPARATION > UC_OFFER > UC_CONTRACT > UC_REFUSED"),
    _path("0 failure", 4, "NEW > UC_OFFER > UC_CONTRACT > PREPAYMENT_INVOICE > UC_REFUSED"),
    _path("0 failure", 1.5, "NEW > PREPARATION > [LOSE] > APOLOGY", rare=True),
    _path("0 failure", 0.8, "NEW > UC_OFFER > UC_CONTRACT > WON > LOSE", rare=True),
    _path("0 failure", 0.6, "LOSE", rare=True),
    _path("0 failure", 0.6, "NEW > UC_DEMO > LOSE", rare=True),
    _path("0 open", 20, "NEW"),
    _path("0 open", 25, "NEW > PREPARATION"),
    _path("0 open", 30, "NEW > PREPARATION > UC_OFFER"),
    _path("0 open", 18, "NEW > UC_OFFER > UC_CONTRACT"),
    _path("0 open", 6, "NEW > UC_OFFER > UC_CONTRACT > EXECUTING"),
    _path("0 open", 3, "NEW > UC_OFFER > UC_CONTRACT > WON > UC_CONTRACT", rare=True),
    _path("0 open", 2, "NEW > UC_DEMO", rare=True),
    _path("0 open", 3, "C1:NEW > C1:UC_TERMS > NEW > UC_OFFER", rare=True),
    _path("1 success", 50, "C1:NEW > C1:PREPARATION > C1:UC_TERMS > C1:EXECUTING > C1:WON"),
    _path("1 success", 30, "C1:NEW > C1:UC_TERMS > C1:EXECUTING > C1:WON"),
    _path("1 success", 12, "C1:EXECUTING > C1:WON"),
    _path("1 success", 3, "C1:NEW > C1:UC_TENDER > C1:EXECUTING > C1:WON", rare=True),
    _path("1 failure", 50, "C1:NEW > C1:PREPARATION > C1:LOSE"),
    _path("1 failure", 40, "C1:NEW > C1:PREPARATION > C1:UC_TERMS > C1:LOSE"),
    _path("1 open", 40, "C1:NEW > C1:PREPARATION"),
    _path("1 open", 40, "C1:NEW > C1:UC_TERMS"),
    _path("1 open", 3, "C1:NEW > C1:UC_TENDER", rare=True),
    _path("2 success", 70, "C2:NEW > C2:PREPARATION > C2:EXECUTING > C2:WON"),
    _path("2 success", 30, "C2:NEW > C2:EXECUTING > C2:WON"),
    _path("2 failure", 1, "C2:NEW > C2:EXECUTING > C2:LOSE"),
    _path("2 open", 1, "C2:NEW > C2:PREPARATION"),
    _path("template", 1, "NEW"),
    _path("imported won", 1, "WON"),
    _path("imported lost", 1, "LOSE"),
    _path("imported paid", 1, "UC_PAID"),
    _path("imported paid, then won", 1, "[UC_PAID] > WON"),
)
# Visits left in the very second in which they began (a click through several stages).
SAME_SECOND_SHARE = 0.02
# Steps after the outcome began (junk to another failed status, paid to won) follow within:
AFTERMATH_DAYS = 25


class Stages:
    """One entity's stages and paths as arrays."""

    def __init__(self, stages: tuple[Stage, ...], paths: tuple[Path, ...]) -> None:
        self.stages = stages
        self.paths = paths
        self.index = {stage.code: number for number, stage in enumerate(stages)}
        self.codes = np.array([stage.code for stage in stages])
        self.semantics = np.array([stage.semantics or "P" for stage in stages])
        self.categories = np.array([stage.category for stage in stages], dtype=np.int64)
        self.deleted = np.array([stage.deleted for stage in stages])
        self.is_final = self.semantics != "P"
        self.lengths = np.array([len(path.stages) for path in paths], dtype=np.int64)
        self.settles = np.array([path.settles for path in paths], dtype=np.int64)
        self.rare = np.array([path.rare for path in paths])
        self.visited = np.full((len(paths), int(self.lengths.max())), -1, dtype=np.int64)
        for number, path in enumerate(paths):
            self.visited[number, : len(path.stages)] = [self.index[code] for code in path.stages]

    def group(self, name: str) -> Integers:
        """Numbers of the group's paths."""
        return np.array([i for i, path in enumerate(self.paths) if path.group == name])

    def choose(
        self, rng: np.random.Generator, groups: list[tuple[str, Mask]], plain: Mask, least: int = 6
    ) -> Integers:
        """A path for every item.

        Args:
            groups: name of the group and mask of its items; together they cover all items.
            plain: items that must not take a rare path.
            least: items on each rare path, where the group has at least 20 times as many; some
                of them have not come to its end yet.
        """
        chosen = np.zeros(plain.size, dtype=np.int64)
        for name, mask in groups:
            numbers = self.group(name)
            weights = np.array([self.paths[number].weight for number in numbers])
            for rare_too in (False, True):
                items = np.flatnonzero(mask & (plain != rare_too))
                allowed = weights * (rare_too | ~self.rare[numbers])
                chosen[items] = numbers[pick(rng, allowed, items.size)]
            free = rng.permutation(items)
            for number in numbers[self.rare[numbers]]:
                missing = least - int((chosen[items] == number).sum())
                if missing > 0 and items.size >= 20 * least:
                    free = free[~self.rare[chosen[free]]]
                    chosen[free[:missing]] = number
                    free = free[missing:]
        return chosen

    def walk(
        self,
        rng: np.random.Generator,
        created: Times,
        due: Times,
        path: Integers,
        until: int,
        aftermath_until: Times,
    ) -> pl.DataFrame:
        """Dates of all visits up to `until`.

        Args:
            created: creation, the first visit.
            due: when the outcome begins; later than `until` means that it has not yet.
            path: number of each item's path.
            aftermath_until: latest time of the steps after the outcome.

        Returns:
            Frame `item, time, stage` in the order of the visits, item by item.
        """
        count = self.lengths[path]
        item = np.repeat(np.arange(path.size, dtype=np.int64), count)
        step = np.arange(item.size, dtype=np.int64) - np.repeat(np.cumsum(count) - count, count)
        settles = self.settles[path][item]
        # Share of the way from creation to the outcome; over 1 is after it.
        share = rng.random(item.size)
        share = np.where(step < settles, share**1.6, 1 + share)
        share[step == settles] = 1.0
        share[step == 0] = np.where(settles[step == 0] == 0, 1.0, 0.0)
        share = share[np.lexsort((share, item))]
        begin, end = created[item], due[item]
        before = between(begin, end, share)
        after = to_working_hours(end + ((share - 1) * AFTERMATH_DAYS * DAY).astype(np.int64))
        after = np.maximum(np.minimum(after, aftermath_until[item]), end)
        time = np.where(share == 1, end, np.where(share < 1, before, after))
        same_second = (step > 0) & (step < settles) & (rng.random(item.size) < SAME_SECOND_SHARE)
        rows = np.flatnonzero(same_second)
        time[rows] = time[rows + 1]
        stage = self.visited[path[item], step]
        seen = time <= until
        return pl.DataFrame({"item": item[seen], "time": time[seen], "stage": stage[seen]})

    def history(self, visits: pl.DataFrame) -> pl.DataFrame:
        """Stage history rows `item, time, stage, type_id`, oldest first, of all visits.

        TYPE_ID: 1 created, 2 to an open stage, 3 to a final one, 5 another pipeline.
        """
        item, stage = visits["item"].to_numpy(), visits["stage"].to_numpy()
        first = np.append(True, item[1:] != item[:-1])
        category = self.categories[stage]
        moved = ~first & np.append(False, category[1:] != category[:-1])
        final = self.is_final[stage]
        type_id = np.where(moved, 5, np.where(final, 3, np.where(first, 1, 2)))
        return visits.with_columns(type_id=type_id).sort("time", maintain_order=True)


LEADS = Stages(LEAD_STAGES, LEAD_PATHS)
DEALS = Stages(DEAL_STAGES, DEAL_PATHS)
