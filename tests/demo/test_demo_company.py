"""The generated company: same bytes, rows of the API's shape, every edge case, the known month."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner

from pipelines.settings import Settings
from pipelines.spend import read_spend
from scripts.demo_company import generate
from scripts.demo_company.__main__ import main

Row = dict[str, Any]


def names(text: str) -> set[str]:
    """Words of a text."""
    return set(text.split())


UNTIL = "2026-03-31T20:00:00+03:00"

LEAD_KEYS = names(
    "id title name lastName createdTime updatedTime movedTime createdBy updatedBy movedBy"
    " assignedById opened sourceId stageId stageSemanticId isReturnCustomer currencyId opportunity"
    " isManualOpportunity companyId contactId contactIds dateClosed lastActivityTime"
    " lastActivityBy utmSource utmMedium utmCampaign utmContent utmTerm UF_CRM_LANDING"
)
DEAL_KEYS = (LEAD_KEYS - {"name", "lastName", "dateClosed", "UF_CRM_LANDING"}) | names(
    "typeId categoryId isNew isRecurring isRepeatedApproach closed begindate closedate leadId"
    " originatorId originId UF_CRM_DIRECTION UF_CRM_SERVICES UF_CRM_MEASURE_DATE UF_CRM_AREA"
)
CONTACT_KEYS = names(
    "id name lastName createdTime updatedTime createdBy updatedBy assignedById opened typeId"
    " sourceId companyId leadId hasPhone fm"
)
COMPANY_KEYS = names(
    "id title createdTime updatedTime createdBy updatedBy assignedById opened isMyCompany typeId"
    " currencyId leadId"
)


class Portal:
    """Rows of a generated data directory, by file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: dict[str, list[Row]] = {
            path.stem: [json.loads(line) for line in path.read_text("utf-8").splitlines()]
            for path in folder.glob("*.jsonl")
        }
        self.now = json.loads((folder / "portal.json").read_text("utf-8"))["now"]
        self.leads, self.deals = self.rows["leads"], self.rows["deals"]
        self.history: dict[str, dict[int, list[Row]]] = {}
        for name in ("lead", "deal"):
            by_owner = defaultdict(list)
            for row in self.rows[f"{name}_stage_history"]:
                by_owner[row["OWNER_ID"]].append(row)
            self.history[name] = dict(by_owner)
        self.stages = {(row["ENTITY_ID"], row["STATUS_ID"]): row for row in self.rows["statuses"]}

    def semantics(self, entity: str, row: Row) -> str:
        """Own semantics, else the stage's, else P."""
        if "stageSemanticId" in row:
            return str(row["stageSemanticId"])
        category = row.get("categoryId", 0)
        kind = f"DEAL_STAGE_{category}" if category else "DEAL_STAGE"
        stage = self.stages.get(("STATUS" if entity == "lead" else kind, row["stageId"]))
        return (stage or {}).get("SEMANTICS") or "P"

    def codes(self, entity: str, owner: int) -> list[str]:
        """Stages of an item's history, in their order."""
        field = "STATUS_ID" if entity == "lead" else "STAGE_ID"
        return [row[field] for row in self.history[entity].get(owner, [])]


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Portal:
    folder = tmp_path_factory.mktemp("company")
    generate(folder, leads=5000, seed=7)
    return Portal(folder)


@pytest.fixture(scope="module", params=[(3000, 7), (6000, 11)], ids=["3000", "6000"])
def reference(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Portal:
    leads, seed = request.param
    folder = tmp_path_factory.mktemp("reference")
    generate(folder, leads=leads, seed=seed, reference_month=True)
    return Portal(folder)


# --- files ---------------------------------------------------------------------------------------


def test_same_arguments_write_same_bytes(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two", "other")]
    for folder, seed in zip(folders, (5, 5, 6), strict=True):
        generate(folder, leads=400, seed=seed, months=5)
    one, two, other = (
        {p.relative_to(f).as_posix(): p.read_bytes() for p in f.rglob("*") if p.is_file()}
        for f in folders
    )
    assert one == two
    assert one["leads.jsonl"] != other["leads.jsonl"]
    assert one["spend/direct.csv"] != other["spend/direct.csv"]


def test_parquet_holds_the_rows_of_the_lines(tmp_path: Path) -> None:
    generate(tmp_path / "lines", leads=400, months=5)
    generate(tmp_path / "parquet", leads=400, months=5, file_format="parquet")
    for path in (tmp_path / "parquet").glob("*.parquet"):
        columns = pl.read_parquet(path).to_dicts()
        lines = (tmp_path / "lines" / f"{path.stem}.jsonl").read_text("utf-8").splitlines()
        assert [{k: v for k, v in row.items() if v is not None} for row in columns] == [
            json.loads(line) for line in lines
        ]


def test_a_second_company_replaces_the_first(tmp_path: Path) -> None:
    generate(tmp_path, leads=400, months=5, file_format="parquet")
    generate(tmp_path, leads=200, months=5)
    assert not list(tmp_path.glob("*.parquet"))
    assert len((tmp_path / "leads.jsonl").read_text("utf-8").splitlines()) == 200


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--leads", "5"], "leads must be at least 100"),
        (["--months", "1"], "months must be at least 2"),
        (["--until", "2026-03-31T20:00:00"], "until needs an offset"),
        (["--until", "yesterday"], "yesterday is not a time such as"),
        (["--reference-month", "--leads", "1398"], "leads must be at least 3000"),
        (["--reference-month", "--until", "2026-04-30T20:00:00+03:00"], "leave out until"),
        (["--reference-month", "--months", "3"], "months at least 4"),
    ],
)
def test_wrong_arguments_are_explained(tmp_path: Path, arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(main, [str(tmp_path / "out"), *arguments])
    assert result.exit_code == 2
    assert message in result.output
    assert not (tmp_path / "out").exists()


def test_command_line_writes_a_company(tmp_path: Path) -> None:
    arguments = ["--leads", "150", "--seed", "3", "--months", "4"]
    arguments += ["--until", "2025-06-10T12:30:00-05:00"]
    result = CliRunner().invoke(main, [str(tmp_path), *arguments])
    assert result.exit_code == 0, result.output
    portal = Portal(tmp_path)
    assert portal.now == "2025-06-10T12:30:00-05:00"
    assert len(portal.leads) == 150
    assert {row["createdTime"][-6:] for row in portal.leads} == {"-05:00"}
    assert min(row["createdTime"] for row in portal.leads) >= "2025-03-01"
    # Midnight UTC of the day, in the portal's offset: the evening before.
    assert {row["closedate"][10:] for row in portal.deals} == {"T19:00:00-05:00"}


# --- shape ---------------------------------------------------------------------------------------


def test_rows_carry_the_names_of_the_api(company: Portal) -> None:
    for name, keys in (
        ("leads", LEAD_KEYS),
        ("deals", DEAL_KEYS),
        ("contacts", CONTACT_KEYS),
        ("companies", COMPANY_KEYS),
    ):
        assert {key for row in company.rows[name] for key in row} <= keys, name
    assert set(company.rows["lead_stage_history"][0]) == names(
        "ID TYPE_ID OWNER_ID CREATED_TIME STATUS_SEMANTIC_ID STATUS_ID"
    )
    assert set(company.rows["deal_stage_history"][0]) == names(
        "ID TYPE_ID OWNER_ID CREATED_TIME CATEGORY_ID STAGE_SEMANTIC_ID STAGE_ID"
    )


def test_nothing_is_later_than_now(company: Portal) -> None:
    now = at(company.now)
    plans = {"DEADLINE", "closedate"}
    names = (
        "leads",
        "deals",
        "contacts",
        "companies",
        "lead_stage_history",
        "deal_stage_history",
        "activities",
    )
    for name in names:
        for row in company.rows[name]:
            for key, value in row.items():
                if isinstance(value, str) and value[4:5] == "-" and value[10:11] == "T":
                    date_only = key in ("begindate", "UF_CRM_MEASURE_DATE")
                    assert key in plans or date_only or at(value) <= now, (name, row)


def test_times_of_an_item_follow_each_other(company: Portal) -> None:
    for row in company.leads + company.deals:
        moved = at(str(row.get("movedTime", row["createdTime"])))
        assert at(row["createdTime"]) <= moved <= at(row["updatedTime"])
        assert at(row["createdTime"]) <= at(row["lastActivityTime"])


def test_ids_are_unique_and_ascend_with_creation(company: Portal) -> None:
    for name in ("leads", "deals"):
        ids = [row["id"] for row in company.rows[name]]
        assert ids == sorted(set(ids))
        times = [row["createdTime"] for row in company.rows[name]]
        assert times == sorted(times)
        assert ids[-1] > len(ids)
    for name in ("lead_stage_history", "deal_stage_history"):
        ids = [row["ID"] for row in company.rows[name]]
        assert ids == sorted(set(ids))


def test_links_exist(company: Portal) -> None:
    leads, contacts, companies = (
        {row["id"] for row in company.rows[name]} for name in ("leads", "contacts", "companies")
    )
    users = {int(row["ID"]) for row in company.rows["users"]} | {97}
    for row in company.leads + company.deals:
        assert row["assignedById"] in users
        assert row.get("companyId", 1) in companies
        assert set(row["contactIds"]) <= contacts
        assert row.get("contactId") == (row["contactIds"] or [None])[0]
    for name in ("contacts", "companies"):
        assert all(row.get("leadId") in leads | {None} for row in company.rows[name])
    sources = {code for entity, code in company.stages if entity == "SOURCE"}
    used = {row.get("sourceId") for row in company.leads + company.deals}
    assert used - sources == {None, "UC_FLYERS"}
    owners = {"1": leads, "2": {row["id"] for row in company.deals}, "3": contacts}
    for row in company.rows["activities"]:
        assert int(row["OWNER_ID"]) in owners[row["OWNER_TYPE_ID"]]
    assert {row["ID"] for row in company.rows["lead_addresses"]} == {str(i) for i in leads}


def test_final_items_are_closed(company: Portal) -> None:
    for row in company.leads:
        assert (company.semantics("lead", row) != "P") == ("dateClosed" in row)
    edited = 0
    for row in company.deals:
        is_final = company.semantics("deal", row) != "P"
        assert (row["closed"] == "Y") == is_final
        # The date only: midnight UTC in the portal's offset.
        assert row["closedate"][10:] == row["begindate"][10:] == "T03:00:00+03:00"
        if is_final and "movedTime" in row:
            edited += row["closedate"][:10] != row["movedTime"][:10]
    assert 0 < edited < 60


def test_history_ends_where_the_item_stands(company: Portal) -> None:
    """Except for the few items whose history has holes."""
    for entity, field, semantics in (
        ("lead", "STATUS_ID", "STATUS_SEMANTIC_ID"),
        ("deal", "STAGE_ID", "STAGE_SEMANTIC_ID"),
    ):
        items = company.leads if entity == "lead" else company.deals
        holes = Counter[str]()
        for row in items:
            visits = company.history[entity].get(row["id"])
            if not visits:
                holes["none"] += 1
                continue
            times = [visit["CREATED_TIME"] for visit in visits]
            assert times == sorted(times)
            whole = visits[0]["CREATED_TIME"] == row["createdTime"] and visits[0]["TYPE_ID"] != 2
            holes["first"] += not whole
            if (visits[-1][field], times[-1]) != (row["stageId"], row["movedTime"]):
                holes["last"] += 1
                continue
            assert row.get("stageSemanticId") in (visits[-1][semantics], None)
            types = [visit["TYPE_ID"] for visit in visits]
            if whole:
                assert types[0] == (1 if visits[0][semantics] == "P" else 3)
            for visit in visits[1:]:
                if visit["TYPE_ID"] != 5:
                    assert visit["TYPE_ID"] == (2 if visit[semantics] == "P" else 3)
        assert 3 <= holes["none"] <= 30
        assert 3 <= holes["first"] <= 30
        assert 3 <= holes["last"] <= 20


# --- the company ---------------------------------------------------------------------------------


def test_sources_differ_in_quality(company: Portal) -> None:
    received, quality = Counter[str](), Counter[str]()
    for row in company.leads:
        source = row.get("sourceId", "")
        received[source] += 1
        quality[source] += company.semantics("lead", row) == "S"
    assert len([source for source, count in received.items() if count >= 40]) >= 9
    rate = {source: quality[source] / received[source] for source in received}
    assert rate["RECOMMENDATION"] > 2 * rate["WEB"] > 3 * rate["UC_VK"]
    labels = defaultdict(set)
    for row in company.leads:
        labels[row.get("utmSource")].add(row.get("sourceId"))
    assert labels["yandex"] == {"UC_DIRECT"}
    assert labels["vk"] == {"UC_VK"}


def test_what_is_spent_lies_in_files_that_the_settings_name(company: Portal) -> None:
    rows = read_spend(Settings.load(company.folder / "settings.yml"))
    assert min(row["date_from"] for row in rows) == dt.date(2025, 1, 1)
    assert max(row["date_to"] for row in rows) == dt.date(2026, 3, 31)
    total = (company.folder / "spend" / "direct.csv").read_text("cp1251").splitlines()[-1]
    direct = [row for row in rows if row["file"] == "spend/direct.csv"]
    clicks, cost = sum(row["clicks"] for row in direct), sum(row["cost"] for row in direct)
    assert total == f"Всего;;{clicks};{cost:.2f}".replace(".", ",")
    campaigns = {row.get("utmCampaign") for row in company.leads}
    unknown = [row["utm_campaign"] for row in rows if row["utm_campaign"] not in {*campaigns, None}]
    assert unknown == ["tg_posevy"]

    received = Counter(row.get("sourceId") for row in company.leads)
    assert received["UC_RADIO"] == 0
    spent = Counter[str]()
    for row in rows:
        if row["currency_code"] != "EUR":
            spent[row["source_code"] or row["utm_source"]] += row["cost"]
    assert {"TRADE_SHOW", "UC_RADIO", "vk", "avito", "2gis", "telegram"} <= spent.keys()
    # Roubles for a lead: junk is cheap, and what pays is dear.
    assert spent["vk"] / received["UC_VK"] < 200
    assert cost / received["UC_DIRECT"] > 1000
    assert spent["TRADE_SHOW"] / received["TRADE_SHOW"] > 4000


def test_leads_come_in_working_time(company: Portal) -> None:
    weekend = sum(at(row["createdTime"]).weekday() >= 5 for row in company.leads)
    night = sum(at(row["createdTime"]).hour < 6 for row in company.leads)
    assert weekend / len(company.leads) < 0.2
    assert 0 < night / len(company.leads) < 0.06
    months = Counter(row["createdTime"][:7] for row in company.leads)
    assert len(months) == 15
    assert months["2025-10"] > 1.3 * months["2025-01"]


def test_people_and_currencies(company: Portal) -> None:
    users = {row["ID"]: row for row in company.rows["users"]}
    assert [row["ID"] for row in users.values() if not row["ACTIVE"]] == ["7"]
    assert any(not row["UF_DEPARTMENT"] for row in users.values())
    assert any(len(row["UF_DEPARTMENT"]) > 1 for row in users.values())
    held = [row for row in company.leads + company.deals if row["assignedById"] == 7]
    assert any(
        company.semantics("lead" if "dateClosed" in row else "deal", row) == "P" for row in held
    )
    assert any(row["assignedById"] == 97 for row in company.leads)
    used = Counter(row["currencyId"] for row in company.deals)
    assert used["RUB"] > 0.8 * len(company.deals)
    assert min(used[code] for code in ("USD", "EUR", "KZT", "BYN")) >= 3
    rates = {row["CURRENCY"]: row for row in company.rows["currencies"]}
    assert "BYN" not in rates
    assert rates["KZT"]["AMOUNT_CNT"] == "100"


def test_open_items_have_plans_and_some_are_forgotten(company: Portal) -> None:
    now = at(company.now)
    planned = [row for row in company.rows["activities"] if row["COMPLETED"] == "N"]
    deadlines = [at(row["DEADLINE"]) for row in planned if "DEADLINE" in row]
    assert len(planned) - len(deadlines) >= 3
    overdue = sum(deadline < now for deadline in deadlines)
    assert 0.1 < overdue / len(deadlines) < 0.6
    for entity, rows, days in (("lead", company.leads, 3), ("deal", company.deals, 14)):
        opened = [row for row in rows if company.semantics(entity, row) == "P"]
        left = [
            row for row in opened if now - at(row["lastActivityTime"]) >= dt.timedelta(days=days)
        ]
        assert 0.1 < len(left) / len(opened) < 0.6


def test_every_edge_case_is_there(company: Portal) -> None:
    found = Counter[str]()
    leads = {row["id"]: row for row in company.leads}
    lead_created = {row["id"]: row["createdTime"] for row in company.leads}
    linked = {row.get("leadId") for row in company.deals}
    contact_leads = {row.get("leadId") for row in company.rows["contacts"]}
    company_leads = {row.get("leadId") for row in company.rows["companies"]}
    for row in company.leads:
        codes = company.codes("lead", row["id"])
        quality = company.semantics("lead", row) == "S"
        without_deal = quality and row["id"] not in linked
        found["lead created final"] += codes in (["CONVERTED"], ["JUNK"])
        found["junk, then another failed status"] += codes[-2:] == ["JUNK", "UC_DOUBLE"]
        found["lead reopened from junk"] += "JUNK" in codes and codes[-1] == "CONVERTED"
        found["quality for a time, junk now"] += "CONVERTED" in codes and codes[-1] == "JUNK"
        found["came back to new"] += codes.count("NEW") == 2 and row["stageId"] == "NEW"
        found["lead passed a deleted stage"] += "UC_OLDCALL" in codes[:-1]
        found["lead stands on a deleted stage"] += row["stageId"] == "UC_OLDCALL"
        found["lead without semantics"] += "stageSemanticId" not in row
        found["quality with a contact only"] += without_deal and row["id"] in contact_leads
        found["quality with nothing"] += (
            without_deal
            and not ({row["id"]} & (contact_leads | company_leads))
            and "contactId" not in row
            and "companyId" not in row
        )
        found["returning lead"] += row["isReturnCustomer"] == "Y"
    for row in company.deals:
        codes = company.codes("deal", row["id"])
        state = company.semantics("deal", row)
        types = [visit["TYPE_ID"] for visit in company.history["deal"].get(row["id"], [])]
        lead = row.get("leadId")
        is_import = row.get("originatorId") == "import"
        found["deal created final"] += types == [3] and not is_import
        found["moved to another pipeline"] += 5 in types
        found["moved to another pipeline, won at once"] += (
            5 in types and codes[-1] == "C1:WON" and types[-1] == 5
        )
        found["won, reopened, won"] += codes.count("WON") == 2
        found["won, open now"] += "WON" in codes and state == "P"
        found["won, lost now"] += "WON" in codes and state == "F"
        found["lost, won now"] += "LOSE" in codes and state == "S"
        found["paid, then won"] += codes[-2:] == ["UC_PAID", "WON"]
        found["on the paid stage"] += row["stageId"] == "UC_PAID" and row["closed"] == "N"
        found["deal passed a deleted stage"] += {"UC_DEMO", "C1:UC_TENDER"} & set(
            codes[:-1]
        ) != set()
        found["deal stands on a deleted stage"] += row["stageId"] in ("UC_DEMO", "C1:UC_TENDER")
        found["deal without semantics"] += "stageSemanticId" not in row
        found["deal without movedTime"] += "movedTime" not in row
        found["deal of a deleted lead"] += lead is not None and lead not in leads
        found["sale without a lead"] += state == "S" and lead is None
        found["sale before its lead"] += (
            state == "S" and lead in leads and row.get("movedTime", "9") < lead_created[lead]
        )
        found["import created final"] += is_import and types == [3]
        found["import on the paid stage"] += is_import and codes[:1] == ["UC_PAID"]
        found["recurring template"] += row["isRecurring"] == "Y"
        found["amount of zero"] += row["opportunity"] == 0
        found["sale of zero"] += row["opportunity"] == 0 and state == "S"
        found["own legal entity as customer"] += row.get("companyId") in (1, 2)
        found["no customer"] += not row["contactIds"] and "companyId" not in row
        found["several contacts"] += len(row["contactIds"]) > 1
    for history in (company.history["lead"], company.history["deal"]):
        found["several history rows in a second"] += sum(
            len({visit["CREATED_TIME"] for visit in visits}) < len(visits)
            for visits in history.values()
        )
    by_lead, by_contact = defaultdict(list), defaultdict(list)
    for row in company.deals:
        by_lead[row.get("leadId")].append(row)
        for place, contact in enumerate(row["contactIds"]):
            by_contact[contact].append((place, row))
    del by_lead[None]
    found["several deals of a lead"] = sum(len(rows) > 1 for rows in by_lead.values())
    found["deals of a customer in one second"] = sum(
        len({row["createdTime"] for row in rows}) < len(rows) for rows in by_lead.values()
    )
    found["linked by a second contact only"] = sum(
        later["contactId"] != earlier["contactId"]
        and later.get("companyId", -1) != earlier.get("companyId", -2)
        and place > 0
        for rows in by_contact.values()
        for (_, earlier), (place, later) in pairwise(rows)
    )
    found["own legal entity"] = sum(row["isMyCompany"] == "Y" for row in company.rows["companies"])
    at_least = {"own legal entity": 2, "deal without movedTime": 1}
    missing = {name: n for name, n in found.items() if n < at_least.get(name, 3)}
    assert not missing
    common = {
        "returning lead",
        "sale without a lead",
        "several contacts",
        "amount of zero",
        "quality with a contact only",
        "no customer",
        "import created final",
        "import on the paid stage",
        "several history rows in a second",
        "paid, then won",
        "several deals of a lead",
        "quality with nothing",
    }
    assert not {name: n for name, n in found.items() if n > 60 and name not in common}


# --- the reference month -------------------------------------------------------------------------


def outcome_starts(
    portal: Portal, entity: str, row: Row, kinds: set[str], paid: set[str]
) -> dt.datetime:
    """Start of the present unbroken stay in stages of these semantics or in a paid stage."""
    start = None
    for visit in portal.history[entity].get(row["id"], []):
        stage = visit.get("STATUS_ID") or visit.get("STAGE_ID")
        semantics = visit.get("STATUS_SEMANTIC_ID") or visit.get("STAGE_SEMANTIC_ID")
        inside = semantics in kinds or stage in paid
        start = (start or visit["CREATED_TIME"]) if inside else None
    return at(start or row.get("dateClosed") or row.get("movedTime") or row["closedate"])


def in_march(time: dt.datetime | str) -> bool:
    day = time if isinstance(time, str) else time.isoformat()
    return day.startswith("2026-03")


def test_reference_leads(reference: Portal) -> None:
    received = [row for row in reference.leads if in_march(row["createdTime"])]
    states = Counter(reference.semantics("lead", row) for row in received)
    assert len(received) == 1398
    assert states == {"F": 896, "S": 253, "P": 249}
    edge = "2026-02-28T23:59:59+03:00", "2026-03-01T00:00:00+03:00"
    assert set(edge) <= {row["createdTime"] for row in reference.leads}

    processing = dt.timedelta()
    for row in received:
        kind = reference.semantics("lead", row)
        if kind != "P":
            start = outcome_starts(reference, "lead", row, {kind}, set())
            processing += start - at(row["createdTime"])
    assert processing == (896 + 253) * dt.timedelta(days=5)

    became_quality = [
        row
        for row in reference.leads
        if reference.semantics("lead", row) == "S"
        and in_march(outcome_starts(reference, "lead", row, {"S"}, set()))
    ]
    assert {row["id"] for row in became_quality} == {
        row["id"] for row in received if reference.semantics("lead", row) == "S"
    }
    # Nor was any other quality for a time.
    visited = {
        visit["OWNER_ID"]
        for visit in reference.rows["lead_stage_history"]
        if visit["STATUS_SEMANTIC_ID"] == "S" and in_march(visit["CREATED_TIME"])
    }
    assert visited <= {row["id"] for row in became_quality}


@pytest.mark.parametrize("paid", [set(), {"UC_PAID"}], ids=["stage not named", "stage named"])
def test_reference_sales(reference: Portal, paid: set[str]) -> None:
    leads = {row["id"]: row for row in reference.leads}
    sold = {}
    for row in reference.deals:
        is_sale = reference.semantics("deal", row) == "S" or row["stageId"] in paid
        if is_sale and row["isRecurring"] == "N":
            sold[row["id"]] = outcome_starts(reference, "deal", row, {"S"}, paid)
    deals = {row["id"]: row for row in reference.deals}
    of_march = [deals[number] for number, time in sold.items() if in_march(time)]
    assert len(of_march) == 11
    assert {row["categoryId"] for row in of_march} == {0}
    sold_leads = {row["leadId"] for row in of_march}
    assert len(sold_leads) == 11
    assert all(leads[number]["createdTime"] < "2026-03" for number in sold_leads)
    # First sales: these leads have no other.
    assert Counter(deals[n].get("leadId") in sold_leads for n in sold)[True] == 11
    # Cohort: nothing of March is sold, neither leads nor deals.
    march_leads = {row["id"] for row in reference.leads if in_march(row["createdTime"])}
    assert not [n for n in sold if deals[n].get("leadId") in march_leads]
    assert not [n for n in sold if in_march(deals[n]["createdTime"])]


def test_reference_deals(reference: Portal) -> None:
    now = at(reference.now)
    assert reference.now == UNTIL
    of_march = [
        row for row in reference.deals if in_march(row["createdTime"]) and row["isRecurring"] == "N"
    ]
    sales_pipeline = [row for row in of_march if row["categoryId"] == 0]
    assert len(sales_pipeline) == 373
    # There are other pipelines and a template that must not count.
    assert len(of_march) > 373
    forgotten = [
        row
        for row in of_march
        if reference.semantics("deal", row) == "P"
        and now - at(row["lastActivityTime"]) >= dt.timedelta(days=14)
    ]
    assert len(forgotten) == 15
    assert all(row["categoryId"] == 0 for row in forgotten)
    left = [now - at(row["lastActivityTime"]) for row in forgotten]
    assert min(left) == dt.timedelta(days=14)
    # Nothing tips over while a refresh runs.
    others = [
        now - at(row["lastActivityTime"])
        for row in of_march
        if row not in forgotten and reference.semantics("deal", row) == "P"
    ]
    assert max(others) < dt.timedelta(days=13, hours=13)


def test_reference_imports(reference: Portal) -> None:
    on_stage = [row for row in reference.deals if row["stageId"] == "UC_PAID"]
    imported = [row for row in reference.deals if row.get("originatorId") == "import"]
    assert on_stage == imported
    assert sum(row["opportunity"] for row in imported) == 176_000_000
    assert {row["currencyId"] for row in imported} == {"RUB"}
    assert {row["createdTime"][:10] for row in imported} == {"2026-01-30"}
    assert not [row for row in imported if "leadId" in row]
    assert {row["closed"] for row in imported} == {"N"}
    for row in imported:
        [visit] = reference.history["deal"][row["id"]]
        assert (visit["TYPE_ID"], visit["STAGE_ID"], visit["STAGE_SEMANTIC_ID"]) == (
            1,
            "UC_PAID",
            "P",
        )
        assert visit["CREATED_TIME"] == row["createdTime"]
    stage = reference.stages["DEAL_STAGE", "UC_PAID"]
    assert (stage["NAME"], stage["SEMANTICS"]) == ("Успешно закрыто", None)
    assert all(now_old(row) for row in imported)


def now_old(row: Row) -> bool:
    """The imports are forgotten too: the stock figure holds them."""
    return at(UNTIL) - at(row["lastActivityTime"]) >= dt.timedelta(days=14)
