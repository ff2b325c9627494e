"""Random small companies with disjoint IDs, packed into one portal.

A company is drawn from its seed alone, which also numbers its records (`seed * 1000 + n`),
managers, sources and pipelines, so that any of them can be drawn again alone with the same rows.
Problems of real portals are drawn often: a quirk that no test has is a rule that nothing checks.
"""

from __future__ import annotations

import datetime as dt
import itertools
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.support.small_portal import deal_visit, lead_visit, status, write_portal

Row = dict[str, Any]

MOSCOW = dt.timezone(dt.timedelta(hours=3))
# The last sync is two days after the end of a quarter; each sync sees other rates.
SYNCS = [
    dt.datetime(2026, 1, 15, 12, tzinfo=MOSCOW),
    dt.datetime(2026, 3, 1, tzinfo=MOSCOW),
    dt.datetime(2026, 4, 2, 20, tzinfo=MOSCOW),
]
AS_OF = SYNCS[-1]
BEGINNING = dt.datetime(2025, 9, 20, 9, 30, tzinfo=MOSCOW)
# Midnights at which a month, quarter or year ends somewhere, or summer time begins in Europe.
MIDNIGHTS = [(2025, 10, 1), (2025, 10, 26), (2026, 1, 1), (2026, 2, 1), (2026, 3, 1)]
MIDNIGHTS += [(2026, 3, 29), (2026, 4, 1)]
ZONES = (3, 0, 1, 2, 5)
THRESHOLD_DAYS = (3, 5, 10, 14)

# Currency: units and rate at each sync; None if the portal does not have the currency.
RATES: dict[str, Sequence[tuple[str, str] | None]] = {
    "RUB": [("1", "1")] * 3,
    "USD": [("1", "90.005"), ("1", "95.125"), ("1", "81.3335")],
    "UZS": [("1000", "7.5055"), ("10000", "75"), ("1000", "7.1")],
    # Eighths: amounts in kopecks fall on halves.
    "TST": [("1", "0.125"), ("8", "3"), ("1", "0.125")],
    "GEL": [("1", "30.5"), ("1", "31"), None],
    "NEW": [None, ("1", "2.5"), ("1", "2.7")],
}
CURRENCIES = [*RATES, "RUB", "RUB", "RUB", "XAU", "", None]
AMOUNTS = [None, 0, 0.01, 0.02, 0.04, 1, 10.05, 100, 333.33, 1234.56, 50_000, 9_999_999.99, -0.04]
# Around 10^18, which no report can hold; some make it at one rate and not at another.
HUGE = [1e18, -1e25, 1e300, 12_000_000_000_000_000, 9e17, 9e17]
# Mistyped years, a clock that was reset, and both ends of possible times.
ODD_TIMES = ["1970-01-01T03:00:00+03:00", "0206-03-01T10:00:00+03:00", "2062-03-01T10:00:00+03:00"]
ODD_TIMES += ["9999-12-31T23:59:59+03:00", "1999-12-31T23:59:59+03:00", "2000-01-02T00:00:00+03:00"]
ODD_TIMES += [
    (AS_OF + dt.timedelta(hours=24, seconds=second)).isoformat() for second in (0, 1, 3600)
]

# Lead stages in the reference data: code, SORT, semantics. Two share the lowest SORT.
LEAD_STAGES = [
    ("NEW", 10, None),
    ("UC_ALSO_NEW", 10, None),
    ("TALK", 20, None),
    ("UC_NEED", 30, None),
    ("CONVERTED", 40, "S"),
    ("JUNK", 50, "F"),
    # A failed status before an open one.
    ("UC_REFUSED", 25, "F"),
]
DEAL_STAGES = [
    ("NEW", 10, None),
    ("PREP", 20, None),
    ("OFFER", 30, None),
    ("UC_PAID", 40, None),
    ("WON", 50, "S"),
    ("LOSE", 60, "F"),
    ("APOLOGY", 15, "F"),
]
GONE = "UC_GONE"
CITIES = ["Казань", "Тверь", "Омск", "Казань\n"]
CITY_FIELD = "UF_CRM_CITY"
# User fields of other types, several values in each shape that PHP gives a list.
USER_FIELDS = {
    "UF_CRM_TAGS": ("enumeration", True),
    "UF_CRM_FLAG": ("boolean", False),
    "UF_CRM_DAY": ("date", False),
    "UF_CRM_AT": ("datetime", False),
    "UF_CRM_SUM": ("money", False),
    "UF_CRM_PLACE": ("address", False),
    "UF_CRM_LINKS": ("crm", True),
    "UF_CRM_FILES": ("file", True),
    "UF_CRM_NOTE": ("string", False),
}
SPEND_UTM = ("utm_source", "utm_medium", "utm_campaign", "utm_content", "utm_term")
UTM = ("utmSource", "utmMedium", "utmCampaign", "utmContent", "utmTerm")
# Labels of leads as spend files spell them, and what no lead has.
SPEND_VALUES = ["yandex", "YANDEX", "%79andex", "google+", "%D0%B2%D0%B5%D1%81%D0%BD%D0%B0"]
SPEND_VALUES += [" ВЕСНА", "вес{campaign_id}", "yan{{source}}", "{campaign_id}", "осень+26"]
SPEND_VALUES += ["осень 26", "%E2%E5%F1%ED%E0", "100%_sale", "nobody", "", None, None]
SPEND_CURRENCIES = [None, None, "RUB", "rub", "USD ", "UZS", "TST", "GEL", "NEW", "XAU"]
COSTS = ["0", "0.01", "0.02", "0.04", "0.000001", "100", "333.33", "1234.567891", "50000", "-0.05"]
COSTS += ["-333.335", "7", "12345.6789", "999999999999.999999"]
UTM_VALUES = [None, None, "", "yandex", "Yandex", "google", "весна", "\u200bвесна\t", "\u3000"]
# Names that several have, that end as if an ID were there, or that reports make up; unseen signs.
USER_NAMES = [
    ("Иван", "Иванов"),
    ("Иван\u00a0", "\tИванов\u200b"),
    ("Иван Иванов", "(ID 11)"),
    ("пользователь", "15"),
    ("без", "ответственного"),
    ("\u200b", "\n"),
]
DEPARTMENT_NAMES = ["Продажи", " Продажи\u2060", "без отдела", "удалённый отдел (19)", "\t"]
SOURCE_NAMES = ["Реклама", "Реклама\t", "без источника", "без лида", "\u200b"]
PIPELINE_NAMES = ["Продажи", "\ufeffПродажи", "удалённая воронка (13)", "\u00a0"]
IMPORT_DAY = "2025-11-11"


def iso(moment: dt.datetime) -> str:
    return moment.astimezone(MOSCOW).isoformat()


@dataclass
class RandomPortal:
    """Rows of all companies by entity, and what differs by time or setting.

    `currencies` are the rows of each sync; `deleted` are records that only the first sync sees,
    `former` the rows that it sees of records that change later. `ad_costs` are rows of spend files.
    """

    seeds: Sequence[int]
    tables: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    deleted: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    former: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    ad_costs: list[Row] = field(default_factory=list)
    paid_stages: list[str] = field(default_factory=lambda: ["UC_PAID"])
    sales_pipelines: list[int] = field(default_factory=lambda: [0])

    def write(self, folder: Path) -> Path:
        """Writes the data directory as the last sync finds it."""
        return write_portal(folder, **{**self.tables, "currencies": currencies(len(SYNCS) - 1)})


def currencies(sync: int) -> list[Row]:
    """Rows of crm.currency.list at a sync."""
    return [
        {"CURRENCY": code, "AMOUNT_CNT": rates[sync][0], "AMOUNT": rates[sync][1]}
        | {"BASE": "Y" if code == "RUB" else "N", "SORT": "100"}
        for code, rates in RATES.items()
        if rates[sync]
    ]


def draw(seeds: Iterable[int]) -> RandomPortal:
    """The companies of the seeds in one portal."""
    portal = RandomPortal(list(seeds))
    tables = portal.tables
    tables["categories"].append({"id": 0, "name": "Общая", "sort": 10, "isDefault": "Y"})
    tables["departments"].append({"ID": "1", "NAME": "Дирекция", "SORT": 1})
    tables["users"].append({"ID": "1", "ACTIVE": True, "NAME": "Директор", "UF_DEPARTMENT": [1]})
    for directory, prefix, stages in (("STATUS", "", LEAD_STAGES), ("DEAL_STAGE", "", DEAL_STAGES)):
        _add_stages(tables["statuses"], directory, prefix, stages, 0)
    tables["statuses"].append(_status(tables["statuses"], "SOURCE", "WEB", "Сайт"))
    for entity_type in (1, 2):
        items = [{"ID": str(n), "VALUE": city} for n, city in enumerate(CITIES, 1)]
        about = {"type": "enumeration", "title": "Город", "isMultiple": False, "isDynamic": True}
        fields = {CITY_FIELD: {**about, "upperName": CITY_FIELD, "items": items}}
        for name, (kind, is_multiple) in USER_FIELDS.items():
            told = {"type": kind, "isMultiple": is_multiple, "isDynamic": True, "title": name}
            fields[name] = told | {"upperName": name, "items": items if "TAGS" in name else []}
        tables["fields"].append({"entityTypeId": entity_type, "fields": fields})
    for seed in portal.seeds:
        _Company(seed, portal).draw()
        portal.ad_costs += ad_costs(seed)
    return portal


def _status(rows: list[Row], directory: str, code: str, name: str, **values: Any) -> Row:
    return {**status(len(rows) + 1, directory, code), "NAME": name, **values}


def _add_stages(
    rows: list[Row],
    directory: str,
    prefix: str,
    stages: Sequence[tuple[str, int, str | None]],
    category: int,
) -> None:
    for code, sort, semantics in stages:
        # Two stages of a pipeline have one name.
        name = "Подготовка" if code in ("PREP", "OFFER") else code.title()
        values = {"SORT": str(sort), "SEMANTICS": semantics, "CATEGORY_ID": str(category)}
        if directory == "STATUS":
            values["CATEGORY_ID"] = None
        rows.append(_status(rows, directory, prefix + code, name, **values))


def user_values(number: int) -> Row:
    """Values of the user fields of a record, drawn from its number alone."""
    chance = random.Random(f"user fields of {number}")
    pick = chance.choice

    def several(values: Sequence[Any]) -> Any:
        found = chance.sample(values, pick([1, 2, 3]))
        gaps = {str(2 * place + 1): value for place, value in enumerate(found)}
        return pick([found, gaps, [], None, False])

    day = dt.date(2026, 1, 1) + dt.timedelta(days=chance.randrange(90))
    moment = dt.datetime.combine(day, dt.time(pick([0, 2, 21, 23]), 30), MOSCOW)
    files = [{"id": number, "url": f"/file?id={number}", "urlMachine": ""} for number in (5, 6, 7)]
    return {
        "UF_CRM_TAGS": several([1, "2", 3]),
        "UF_CRM_FLAG": pick([True, False, "Y", "N", "1", "0", None, ""]),
        "UF_CRM_DAY": pick([f"{day}T03:00:00+03:00", f"{day}T03:00:00+03:00", None, ""]),
        "UF_CRM_AT": pick([iso(moment), iso(moment), None]),
        "UF_CRM_SUM": pick(["1500.5|RUB", "1500.50|RUB", "0|USD", "7.00|RUB", "|RUB", "", None]),
        "UF_CRM_PLACE": pick(["ул. Ленина, 1|55.79;49.10|12", "Казань|;", "Тверь", "", None]),
        "UF_CRM_LINKS": several(["C_5", "CO_7", "L_1", "D_9"]),
        "UF_CRM_FILES": several(files),
        "UF_CRM_NOTE": pick(["0", " да ", "см. https://a.ru/?q=1", "", None]),
    }


def ad_costs(seed: int) -> list[Row]:
    """Rows of a company's spend files, drawn from its seed alone; a third has none.

    They name sources by code or name, and labels of leads of all companies.
    """
    chance = random.Random(f"spend of {seed}")
    pick = chance.choice
    sources = [
        f"S{seed}_WEB",
        f"s{seed}_ads",
        f"ADS из {seed}",
        f"S{seed}_GONE",
        "WEB",
        "web",
        "Сайт",
    ]
    found = []
    for number in range(1, pick([0, 2, 8]) + 1):
        first = BEGINNING.date() + dt.timedelta(days=chance.randrange(195))
        labels = {name: pick(SPEND_VALUES) for name in SPEND_UTM}
        if chance.random() < 0.3:
            labels["utm_source"] = pick(sources)
        found.append(
            {
                "file": f"spend/{pick(['direct', 'vk'])}.csv",
                "line_number": seed * 1000 + number,
                "date_from": first,
                "date_to": first + dt.timedelta(days=pick([0, 0, 1, 2, 6, 30, 45])),
                **labels,
                "source_code": pick(sources) if chance.random() < 0.2 else None,
                "cost": Decimal(pick(COSTS)),
                "currency_code": pick(SPEND_CURRENCIES),
                "clicks": pick([None, 0, 1, 7, 1000]),
                "vat_percent": pick([None, Decimal("20"), Decimal("22"), Decimal("10.5")]),
            }
        )
    return found


class _Company:
    def __init__(self, seed: int, portal: RandomPortal) -> None:
        self.seed = seed
        self.portal = portal
        self.tables = portal.tables
        self.random = random.Random(seed)
        self.first_id = seed * 1000
        self.ids = itertools.count(self.first_id * 10)
        # Moments that happened already: ties are made of them.
        self.moments: list[dt.datetime] = []

    def often(self, probability: float) -> bool:
        return self.random.random() < probability

    def pick(self, values: Sequence[Any]) -> Any:
        return self.random.choice(values)

    def draw(self) -> None:
        self.add_reference_data()
        leads = self.random.randint(4, 14)
        deals = self.random.randint(6, 16)
        numbers = [self.first_id + n for n in range(1, leads + 1)]
        for number in numbers:
            self.add_lead(number)
        for n in range(1, deals + 1):
            self.add_deal(self.first_id + n, numbers)

    def add_reference_data(self) -> None:
        seed, tables = self.seed, self.tables
        self.managers: list[Any] = [seed * 10 + n for n in range(1, 6)]
        departments = [[seed * 10 + 1, seed * 10 + 2], [seed * 10 + 2], [], [seed * 10 + 9]]
        # The fifth manager is not a user of the portal, the third does not have a name.
        names_of_users = [{"NAME": f"Менеджер {n}", "LAST_NAME": f"из {seed}"} for n in range(4)]
        names_of_users[2] = {"NAME": ""}
        for n in (0, 3):
            name, last_name = self.pick(USER_NAMES)
            if self.often(0.5):
                names_of_users[n] = {"NAME": name, "LAST_NAME": last_name}
        for n, (user, department) in enumerate(zip(self.managers, departments, strict=False)):
            row = {"ID": str(user), "ACTIVE": n != 1, "UF_DEPARTMENT": department}
            tables["users"].append({**row, **names_of_users[n]})
        for n in (1, 2):
            name = self.pick([f"Отдел {n} из {seed}", *DEPARTMENT_NAMES])
            tables["departments"].append({"ID": str(seed * 10 + n), "NAME": name, "SORT": n})
        self.managers += [None]
        for code in ("WEB", "ADS"):
            name = self.pick([f"{code} из {seed}", *SOURCE_NAMES])
            row = _status(tables["statuses"], "SOURCE", f"S{seed}_{code}", name)
            tables["statuses"].append(row)
        self.sources = [f"S{seed}_WEB", f"S{seed}_ADS", f"S{seed}_GONE", "WEB", None, ""]
        self.sources += [f"s{seed}_web", "web\u200b"]
        sales, delivery = seed * 10 + 1, seed * 10 + 2
        for pipeline, name in ((sales, "Продажи"), (delivery, "Доставка")):
            name = self.pick([f"{name} {seed}", *PIPELINE_NAMES])
            row = {"id": pipeline, "name": name, "sort": pipeline, "isDefault": "N"}
            tables["categories"].append(row)
            directory = f"DEAL_STAGE_{pipeline}"
            _add_stages(tables["statuses"], directory, f"C{pipeline}:", DEAL_STAGES, pipeline)
        self.portal.sales_pipelines.append(sales)
        self.portal.paid_stages.append(f"C{sales}:UC_PAID")
        # The last pipeline is deleted with its stages.
        self.pipelines = [0, sales, sales, sales, delivery, seed * 10 + 3]
        self.contacts = [self.first_id + n for n in range(1, 7)]
        self.companies = [self.first_id + n for n in range(1, 4)]
        created = {"createdTime": iso(BEGINNING), "updatedTime": iso(BEGINNING)}
        for number in self.contacts:
            tables["contacts"].append({"id": number, **created})
        for number in self.companies:
            own = "Y" if number == self.companies[0] else "N"
            tables["companies"].append({"id": number, "isMyCompany": own, **created})

    def moment(self) -> dt.datetime:
        """Any time, but often one at which something turns over, or a time used before."""
        kind = self.random.random()
        second = dt.timedelta(seconds=self.pick([-1, 0, 0, 1]))
        if kind < 0.15 and self.moments:
            found = self.pick(self.moments)
        elif kind < 0.3:
            zone = dt.timezone(dt.timedelta(hours=self.pick(ZONES)))
            found = dt.datetime(*self.pick(MIDNIGHTS), tzinfo=zone) + second
        elif kind < 0.4:
            found = AS_OF - dt.timedelta(days=self.pick(THRESHOLD_DAYS)) + second
        elif kind < 0.45:
            found = self.pick(SYNCS) + min(second, dt.timedelta())
        elif kind < 0.6:
            found = AS_OF - dt.timedelta(seconds=self.random.randint(0, 20 * 86_400))
        else:
            found = BEGINNING + dt.timedelta(
                seconds=self.random.randint(0, int((AS_OF - BEGINNING).total_seconds()))
            )
        self.moments.append(found)
        return found

    def after(self, moment: dt.datetime) -> dt.datetime:
        """A time after the moment, sometimes the same second, rarely before it."""
        kind = self.random.random()
        if kind < 0.15:
            return moment
        if kind < 0.2:
            return moment - dt.timedelta(seconds=self.random.randint(1, 400_000))
        if kind < 0.4:
            # Whole days: bins and thresholds are met exactly.
            return moment + dt.timedelta(days=self.pick([1, 3, 7, 8, 30, 31, 90, 91]))
        return moment + dt.timedelta(seconds=self.random.randint(1, 20 * 86_400))

    def path(self, stages: Sequence[str], finals: Sequence[str]) -> list[str]:
        """Stages in the order in which an item stood on them; most end somewhere final."""
        length = self.pick([0, 1, 1, 2, 2, 3, 4, 6])
        # Nothing forbids the same stage twice in a row, or a way back from a final one.
        middle = [self.pick(stages) for _ in range(length)]
        if self.often(0.25):
            middle.insert(self.random.randint(0, len(middle)), self.pick(finals))
        if self.often(0.6) or not middle:
            middle.append(self.pick(finals))
        return middle

    def own_semantics(self, known: str | None) -> str:
        """The row's own semantics: the stage's, none, or what the stage once meant."""
        kind = self.random.random()
        if kind < 0.12:
            return ""
        if kind < 0.2:
            return str(self.pick(["P", "S", "F"]))
        return known or "P"

    def walk(
        self, created: dt.datetime, path: Sequence[str]
    ) -> tuple[list[tuple[dt.datetime, str]], dt.datetime]:
        """Rows that the history has of a path, and the time of the last move."""
        steps, moment = [], created
        for number, stage in enumerate(path):
            moment = self.after(moment) if number else moment
            # The last sync rarely sees, and only by a moment, what happened after it began.
            if moment > AS_OF > created:
                moment = AS_OF + dt.timedelta(seconds=2 if self.often(0.05) else 0)
            steps.append((moment, stage))
        moved = steps[-1][0]
        kind = self.random.random()
        if kind < 0.1:
            steps = []
        elif kind < 0.2:
            steps = steps[:-1]
        elif kind < 0.25:
            steps = steps[1:]
        elif kind < 0.3:
            steps = [step for step in steps if self.often(0.5)]
        return steps, moved

    def item(self, number: int, created: dt.datetime, moved: dt.datetime) -> Row:
        """What leads and deals have in common."""
        active = self.pick([moved, AS_OF, self.moment(), self.moment(), None])
        if active and active > AS_OF:
            active = AS_OF
        contacts = self.random.sample(self.contacts, self.pick([0, 0, 1, 1, 2, 3]))
        first = self.pick([contacts[0], None, self.pick(self.contacts)]) if contacts else None
        currency = self.pick(CURRENCIES)
        row: Row = {
            "id": number,
            "title": f"Запись {number}",
            "createdTime": iso(created),
            "updatedTime": iso(min(max(created, moved), AS_OF)),
            "movedTime": None if self.often(0.1) else iso(moved),
            "lastActivityTime": iso(active) if active else None,
            "assignedById": self.pick(self.managers),
            "sourceId": self.pick(self.sources),
            "opportunity": self.pick(HUGE if self.often(0.03) else AMOUNTS),
            "currencyId": currency,
            "contactIds": contacts,
            "contactId": first,
            "companyId": self.pick([None, None, 0, *self.companies]),
            "isReturnCustomer": self.pick(["Y", "N", "N"]),
            "originatorId": self.pick(["import", "1C", *[None] * 8]),
            CITY_FIELD: self.pick([None, "", 0, 1, 2, 3, 3, 4, 5]),
            **{name: self.pick(UTM_VALUES) for name in UTM},
            **user_values(number),
        }
        return row

    def odd(self, row: Row, *names: str) -> None:
        """Rarely an impossible time in any of the fields."""
        for name in names:
            if self.often(0.02):
                row[name] = self.pick(ODD_TIMES)

    def imported(
        self, created: dt.datetime, path: list[str], finals: Sequence[str]
    ) -> tuple[list[tuple[dt.datetime, str]], dt.datetime, dt.datetime | None]:
        """History, last move, and the move that the first sync saw, of what an import brought.

        Its stage is final or paid; some are moved on since, or won once more.
        """
        ran_at = created + dt.timedelta(seconds=self.pick([0, 1, 86_400, 86_401, 9_000_000]))
        ran_at = min(ran_at, AS_OF)
        hour = self.pick([0, 1, 3600, 3601, 90_000, 20_000_000])
        moved = ran_at - dt.timedelta(seconds=hour)
        path[:] = [self.pick(finals)]
        steps = [(ran_at, path[0])]
        if self.often(0.4):
            return steps, moved, None
        since = min(ran_at + dt.timedelta(seconds=self.pick([1, 7200, 900_000])), AS_OF)
        if self.often(0.2):
            path.append("NEW")
            steps.append((since, "NEW"))
        path.append(self.pick([path[0], *finals]))
        steps.append((since, path[-1]))
        return steps, since, moved if self.often(0.5) else None

    def created(self) -> dt.datetime:
        """Some are created after the last sync began, or on the day of an import."""
        if self.often(0.03):
            return AS_OF + dt.timedelta(seconds=self.random.randint(60, 90_000))
        if self.often(0.05):
            return dt.datetime.fromisoformat(f"{IMPORT_DAY}T10:00:00+03:00")
        return self.moment()

    def add_lead(self, number: int) -> None:
        known = {code: semantics for code, _, semantics in LEAD_STAGES}
        stages = [*known, GONE] if self.often(0.3) else ["NEW", "TALK", "UC_NEED", "UC_ALSO_NEW"]
        path = self.path(stages, ["CONVERTED", "CONVERTED", "JUNK", "UC_REFUSED"])
        if self.often(0.1):
            # Junk, then another failed status: the outcome is as old as the first.
            path += ["JUNK", "UC_REFUSED"]
        created, seen_moved = self.created(), None
        steps, moved = self.walk(created, path)
        if self.often(0.15):
            finals = ["CONVERTED", "JUNK", "UC_NEED", "TALK", "UC_REFUSED"]
            steps, moved, seen_moved = self.imported(created, path, finals)
        for (at, stage), row_id in zip(steps, self.row_ids(len(steps)), strict=True):
            semantics = self.own_semantics(known.get(stage))
            visit = lead_visit(row_id, number, stage, semantics, iso(at))
            self.odd(visit, "CREATED_TIME")
            self.tables["lead_stage_history"].append(visit)
        row = self.item(number, created, moved)
        row |= {
            "stageId": path[-1],
            "stageSemanticId": self.own_semantics(known.get(path[-1])),
            "dateClosed": iso(self.after(moved)) if self.often(0.6) else None,
        }
        self.odd(row, "createdTime", "updatedTime", "movedTime", "lastActivityTime", "dateClosed")
        self.add("leads", row, seen_moved and (path[0], known.get(path[0]), seen_moved))
        if self.often(0.7):
            city = self.pick([None, "", *CITIES])
            self.tables["lead_addresses"].append({"ID": str(number), "ADDRESS_CITY": city})
        self.add_activities(1, number)

    def deal_path(self) -> list[tuple[int, str]]:
        """Pipelines and stages in the order in which a deal stood on them."""
        pipeline = self.pick(self.pipelines)
        path: list[tuple[int, str]] = []
        stages = [code for code, _, _ in DEAL_STAGES][:3]
        if self.often(0.4):
            stages += ["UC_PAID", "UC_PAID", "APOLOGY", GONE]
        if self.often(0.15):
            former = self.pick(self.pipelines)
            path += [(former, stage) for stage in self.path(stages, ["WON", "LOSE"])]
        if self.often(0.35):
            return path + self.path_there_and_back()
        finals = ["WON", "WON", "LOSE", "APOLOGY", "UC_PAID"]
        path += [(pipeline, stage) for stage in self.path(stages, finals)]
        if self.often(0.15):
            path += [(pipeline, "UC_PAID"), (pipeline, "WON")]
        return path

    def path_there_and_back(self) -> list[tuple[int, str]]:
        """Won and handed over: a few stages of a few pipelines, again and again."""
        few = self.random.sample(sorted(set(self.pipelines)), 3)
        stages = ["WON", "WON", "WON", "UC_PAID", "NEW", "NEW", "PREP", "LOSE"]
        length = self.pick([1, 2, 3, 4, 6, 8])
        path = [(self.pick(few), self.pick(stages)) for _ in range(length)]
        if self.often(0.5):
            path.append((path[-1][0], "WON"))
            path.append((self.pick(few), self.pick(["NEW", "NEW", "OFFER", "WON", "LOSE"])))
        return path

    def add_deal(self, number: int, leads: Sequence[int]) -> None:
        path = self.deal_path()
        pipeline = path[-1][0]
        known = {code: semantics for code, _, semantics in DEAL_STAGES}
        codes = {step: f"C{step[0]}:{step[1]}" if step[0] else step[1] for step in path}
        created, seen_moved = self.created(), None
        steps, moved = self.walk(created, [codes[step] for step in path])
        if self.often(0.15):
            stood: list[str] = []
            finals = ["WON", "WON", "LOSE", "UC_PAID"]
            steps, moved, seen_moved = self.imported(created, stood, finals)
            path = [(pipeline, stage) for stage in stood]
            codes = {step: f"C{step[0]}:{step[1]}" if step[0] else step[1] for step in path}
            steps = [(at, codes[pipeline, stage]) for at, stage in steps]
        pipelines = {code: step[0] for step, code in codes.items()}
        for (at, stage), row_id in zip(steps, self.row_ids(len(steps)), strict=True):
            semantics = self.own_semantics(known.get(stage.split(":")[-1]))
            visit = deal_visit(row_id, number, stage, semantics, iso(at))
            visit["CATEGORY_ID"] = pipelines[stage]
            self.odd(visit, "CREATED_TIME")
            self.tables["deal_stage_history"].append(visit)
        stage = codes[path[-1]]
        row = self.item(number, created, moved)
        closed_day = self.moment().date()
        if self.often(0.1):
            closed_day = self.pick([AS_OF.date() + dt.timedelta(days=48), dt.date(206, 3, 1)])
        closed_on = f"{closed_day}T03:00:00+03:00"
        row |= {
            "categoryId": pipeline,
            "stageId": stage,
            "stageSemanticId": self.own_semantics(known.get(path[-1][1])),
            "closed": self.pick(["Y", "Y", "N"]),
            "closedate": closed_on if self.often(0.7) else None,
            "isRecurring": "Y" if self.often(0.05) else "N",
            "isRepeatedApproach": self.pick(["Y", "N", "N"]),
            "leadId": self.pick([None, 0, self.first_id + 900, *leads, *leads]),
        }
        self.odd(row, "createdTime", "updatedTime", "movedTime", "lastActivityTime")
        self.add("deals", row, seen_moved and (codes[path[0]], known.get(path[0][1]), seen_moved))
        self.add_activities(2, number)

    def add(
        self, name: str, row: Row, former: tuple[str, str | None, dt.datetime] | None = None
    ) -> None:
        """A living record, or one that is deleted after the first sync.

        `former`: stage, semantics and last move that the first sync saw.
        """
        if former:
            stage, semantics, moved = former
            before = {"stageId": stage, "stageSemanticId": semantics, "movedTime": iso(moved)}
            if self.often(0.3):
                # In work then: nothing shows the import.
                before |= {"stageId": path_begin(stage), "stageSemanticId": "P"}
            self.portal.former[name].append(row | before)
            # The second sync finds the change.
            row["updatedTime"] = iso(SYNCS[1])
        (self.portal.deleted if self.often(0.01) and not former else self.tables)[name].append(row)

    def row_ids(self, count: int) -> list[int]:
        """IDs of rows of one item; those of one second are told apart by them alone."""
        ids = [next(self.ids) for _ in range(count)]
        if self.often(0.3):
            self.random.shuffle(ids)
        return ids

    def deadline(self) -> str | None:
        """Some are due within the day of the data; 9999 is what Bitrix24 has for none."""
        if self.often(0.2):
            return self.pick([iso(AS_OF.replace(hour=0)), "9999-12-31T00:00:00+03:00", None])
        return iso(self.after(self.moment())) if self.often(0.7) else None

    def add_activities(self, owner_type: int, number: int) -> None:
        for _ in range(self.pick([0, 0, 1, 2])):
            created = AS_OF + dt.timedelta(hours=1) if self.often(0.05) else self.moment()
            self.tables["activities"].append(
                {
                    "ID": str(next(self.ids)),
                    "OWNER_TYPE_ID": str(owner_type),
                    "OWNER_ID": str(number),
                    "COMPLETED": self.pick(["Y", "N"]),
                    "CREATED": iso(created),
                    "DEADLINE": self.deadline(),
                }
            )
            self.odd(self.tables["activities"][-1], "CREATED")


def path_begin(stage: str) -> str:
    """The first stage of the same pipeline."""
    return f"{stage.rpartition(':')[0]}:NEW".removeprefix(":")


def company_of(number: int) -> int:
    """Seed of the company that has a lead or deal."""
    return number // 1000
