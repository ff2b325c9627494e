"""The demo portal against what the documentation of Bitrix24's REST says, on hand-made rows."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import requests

from pipelines.environment import ROOT
from scripts.demo_portal import DataError, HttpRequest, Options, Portal, serve
from scripts.demo_portal.fields import user_field_name, user_field_names
from scripts.demo_portal.params import parse_query, php_array, substitute

# Five leads; every expected list of IDs below is worked out from this table by eye.
LEADS: list[dict[str, Any]] = [
    {
        "id": 1,
        "title": "Alpha request",
        "name": "Anna",
        "createdTime": "2026-03-01T10:00:00+03:00",
        "updatedTime": "2026-03-10T10:00:00+03:00",
        "stageId": "NEW",
        "stageSemanticId": "P",
        "opportunity": 1500.5,
        "companyId": 7,
        "contactIds": [3, 4],
        "assignedById": 10,
        "opened": "Y",
        "UF_CRM_CITY": "Omsk",
        "UF_CRM_VIP": "Y",
        "UF_CRM_TAGS": [5, 6],
        "fm": [{"id": 9, "typeId": "PHONE", "valueType": "WORK", "value": "+70000000001"}],
    },
    {
        "id": 2,
        "title": "beta",
        "name": "",
        "createdTime": "2026-03-02T10:00:00+03:00",
        "updatedTime": "2026-03-02T23:30:00+03:00",
        "stageId": "JUNK",
        "stageSemanticId": "F",
        "opportunity": 1000,
        "assignedById": 10,
        "UF_CRM_VIP": "N",
        "dateClosed": "2026-03-02T23:30:00+03:00",
        "birthdate": "1990-05-06T03:00:00+03:00",
    },
    {
        "id": 3,
        "title": "Alphabet",
        "createdTime": "2026-03-03T10:00:00+03:00",
        "updatedTime": "2026-03-03T00:30:00+03:00",
        "stageId": "NEW",
        "stageSemanticId": "P",
        "opportunity": 20,
        "companyId": 8,
        "assignedById": 11,
        "UF_CRM_CITY": "Tver",
    },
    {
        "id": 5,
        "title": "50% off",
        "createdTime": "2026-03-05T10:00:00+03:00",
        "updatedTime": "2026-03-05T10:00:00+03:00",
        "stageId": "CONVERTED",
        "stageSemanticId": "S",
        "opportunity": 0,
        "companyId": 0,
        "assignedById": 11,
    },
    {
        "id": 9,
        "title": "Gamma",
        "name": "Gleb",
        "createdTime": "2026-03-09T10:00:00+03:00",
        "updatedTime": "2026-03-09T10:00:00+03:00",
        "stageId": "IN_PROCESS",
        "stageSemanticId": "P",
        "opportunity": 300,
        "assignedById": 12,
    },
]
DEALS: list[dict[str, Any]] = [
    {
        "id": 1,
        "title": "Won",
        "categoryId": 0,
        "stageId": "WON",
        "isRecurring": "N",
        "closed": "Y",
        "closedate": "2026-03-31T03:00:00+03:00",
        "createdTime": "2026-03-01T00:00:00+03:00",
        "contactId": 4,
        "contactIds": [3, 4],
        "opportunity": 10,
    },
    {
        "id": 2,
        "title": "Template",
        "categoryId": 0,
        "stageId": "NEW",
        "isRecurring": "Y",
        "createdTime": "2026-03-01T00:00:00+03:00",
    },
    {
        "id": 3,
        "title": "In a second pipeline",
        "categoryId": 2,
        "stageId": "C2:NEW",
        "createdTime": "2026-03-01T00:00:00+03:00",
    },
]
FIELDS = [
    {
        "entityTypeId": 1,
        "fields": {
            "UF_CRM_CITY": {"type": "string", "isMultiple": False, "listLabel": "City"},
            "UF_CRM_VIP": {"type": "boolean", "isMultiple": False},
            "UF_CRM_TAGS": {"type": "integer", "isMultiple": True},
            "UF_CRM_1700000000": {"type": "datetime", "isMultiple": False},
        },
    }
]
HISTORY = [
    (1, 1, 1, "2026-03-01T00:00:00+03:00", 0, "P", "NEW"),
    (2, 3, 1, "2026-03-31T00:00:00+03:00", 0, "S", "WON"),
    (3, 1, 3, "2026-03-01T00:00:00+03:00", 2, "P", "C2:NEW"),
]
DIRECTORY: dict[str, list[dict[str, Any]]] = {
    "leads": LEADS,
    "deals": DEALS,
    "fields": FIELDS,
    "lead_addresses": [{"ID": "3", "ADDRESS_CITY": "Tver"}],
    "lead_stage_history": [
        {
            "ID": 1,
            "TYPE_ID": 3,
            "OWNER_ID": 5,
            "CREATED_TIME": "2026-03-05T10:00:00+03:00",
            "STATUS_SEMANTIC_ID": "S",
            "STATUS_ID": "CONVERTED",
        }
    ],
    "deal_stage_history": [
        dict(
            zip(
                (
                    "ID",
                    "TYPE_ID",
                    "OWNER_ID",
                    "CREATED_TIME",
                    "CATEGORY_ID",
                    "STAGE_SEMANTIC_ID",
                    "STAGE_ID",
                ),
                row,
                strict=True,
            )
        )
        for row in HISTORY
    ],
    "activities": [
        {
            "ID": "1",
            "OWNER_ID": "5",
            "OWNER_TYPE_ID": "1",
            "SUBJECT": "Later",
            "START_TIME": "2026-03-07T10:00:00+03:00",
        },
        {
            "ID": "2",
            "OWNER_ID": "3",
            "OWNER_TYPE_ID": "2",
            "SUBJECT": "Earlier",
            "START_TIME": "2026-03-06T10:00:00+03:00",
        },
    ],
    "statuses": [
        {"ID": "1", "ENTITY_ID": "STATUS", "STATUS_ID": "JUNK", "SORT": "100", "SEMANTICS": "F"},
        {"ID": "2", "ENTITY_ID": "STATUS", "STATUS_ID": "NEW", "SORT": "20", "SEMANTICS": None},
        {"ID": "3", "ENTITY_ID": "SOURCE", "STATUS_ID": "WEB", "SORT": "10", "SEMANTICS": None},
    ],
    "categories": [
        {"id": 0, "name": "General", "sort": 300, "entityTypeId": 2, "isDefault": "Y"},
        {"id": 2, "name": "Second", "sort": 200, "entityTypeId": 2, "isDefault": "N"},
    ],
    "users": [
        {"ID": "1", "ACTIVE": True, "NAME": "Ada", "TIMESTAMP_X": {}, "UF_DEPARTMENT": [1]},
        {"ID": "10", "ACTIVE": False, "NAME": "Bob", "TIMESTAMP_X": {}, "UF_DEPARTMENT": [1, 2]},
        {"ID": "9", "ACTIVE": True, "NAME": "Cyd", "TIMESTAMP_X": {}, "UF_DEPARTMENT": []},
    ],
    "departments": [
        {"ID": "1", "NAME": "Company", "SORT": 500},
        {"ID": "2", "NAME": "Sales", "SORT": 500, "PARENT": "1"},
    ],
    "currencies": [
        {"CURRENCY": "USD", "AMOUNT": "90.0000", "SORT": "200", "BASE": "N", "THOUSANDS_SEP": None},
        {"CURRENCY": "RUB", "AMOUNT": "1.0000", "SORT": "100", "BASE": "Y", "THOUSANDS_SEP": None},
    ],
}
SETTINGS = {"now": "2026-04-01T09:00:00+03:00", "utc_offset": "+03:00", "admin": True, "mode": 1}


def write(folder: Path, **changes: Any) -> Path:
    """The data directory, with ``changes`` of whole files or of ``portal`` settings."""
    settings = SETTINGS | changes.pop("portal", {})
    (folder / "portal.json").write_text(json.dumps(settings))
    for name, rows in (DIRECTORY | changes).items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("portal"))


@pytest.fixture
def portal(folder: Path) -> Portal:
    return Portal(folder, Options(rate_limit=False))


@pytest.fixture(scope="module")
def reader(folder: Path) -> Portal:
    """A portal that no test changes."""
    return Portal(folder, Options(rate_limit=False))


def ask(portal: Portal, method: str, **params: Any) -> tuple[int, Any]:
    """Status and body of a JSON POST, past the socket."""
    path = f"/rest/1/{portal.options.token}/{method}"
    body = json.dumps(params).encode()
    answer = portal.answer(HttpRequest(path, "", "application/json", body))
    return answer.status, json.loads(answer.body)


def ok(portal: Portal, method: str, **params: Any) -> Any:
    status, body = ask(portal, method, **params)
    assert status == 200, body
    return body


def items(portal: Portal, type_id: int = 1, **params: Any) -> list[dict[str, Any]]:
    body = ok(portal, "crm.item.list", entityTypeId=type_id, **params)
    rows: list[dict[str, Any]] = body["result"]["items"]
    return rows


def ids(portal: Portal, filters: Any, **params: Any) -> list[int]:
    return [row["id"] for row in items(portal, filter=filters, select=["id"], **params)]


# Value formats


def test_item_values_are_numbers_nulls_and_portal_times(reader: Portal) -> None:
    rows = {row["id"]: row for row in items(reader, useOriginalUfNames="Y")}
    first, second, third = rows[1], rows[2], rows[3]
    assert first["opportunity"] == 1500.5
    assert second["opportunity"] == 1000 and isinstance(second["opportunity"], int)
    assert first["companyId"] == 7 and second["companyId"] is None
    assert first["contactIds"] == [3, 4] and second["contactIds"] == []
    assert first["createdTime"] == "2026-03-01T10:00:00+03:00"
    assert first["dateClosed"] is None
    assert second["name"] == "" and third["name"] is None
    assert first["UF_CRM_CITY"] == "Omsk" and second["UF_CRM_CITY"] is None
    assert first["UF_CRM_TAGS"] == [5, 6] and second["UF_CRM_TAGS"] == []
    assert first["fm"] == LEADS[0]["fm"] and second["fm"] == []
    assert first["entityTypeId"] == 1


def test_upper_case_values_are_strings_and_empty_dates(reader: Portal) -> None:
    rows = {row["ID"]: row for row in ok(reader, "crm.lead.list")["result"]}
    first, second, third = rows["1"], rows["2"], rows["3"]
    assert first["OPPORTUNITY"] == "1500.50" and second["OPPORTUNITY"] == "1000.00"
    assert first["COMPANY_ID"] == "7" and second["COMPANY_ID"] == "0"
    assert first["STATUS_ID"] == "NEW" and first["STATUS_SEMANTIC_ID"] == "P"
    assert first["DATE_CREATE"] == "2026-03-01T10:00:00+03:00"
    assert first["DATE_CLOSED"] == "" and second["DATE_CLOSED"] == "2026-03-02T23:30:00+03:00"
    assert first["BIRTHDATE"] == "" and second["BIRTHDATE"] == "1990-05-06T03:00:00+03:00"
    assert first["ASSIGNED_BY_ID"] == "10"
    assert first["OPENED"] == "Y" and second["OPENED"] == "N"
    assert third["NAME"] is None
    assert first["ADDRESS_CITY"] is None and third["ADDRESS_CITY"] == "Tver"
    assert first["UF_CRM_TAGS"] == [5, 6] and second["UF_CRM_TAGS"] is False
    assert first["UF_CRM_1700000000"] == ""
    assert "PHONE" not in first and "CONTACT_IDS" not in first and "fm" not in first


def test_upper_case_select(reader: Portal) -> None:
    def names(*select: str) -> list[str]:
        rows = ok(reader, "crm.lead.list", select=list(select), filter={"ID": 1})["result"]
        return sorted(rows[0])

    assert names("TITLE", "UF_CRM_CITY") == ["ID", "TITLE", "UF_CRM_CITY"]
    assert not any(name.startswith("UF_") for name in names("*"))
    assert names("UF_*") == [
        "ID", "UF_CRM_1700000000", "UF_CRM_CITY", "UF_CRM_TAGS", "UF_CRM_VIP"
    ]  # fmt: skip
    row = ok(reader, "crm.lead.list", SELECT=["PHONE"], FILTER={"ID": 1})["result"][0]
    phone = {"ID": "9", "VALUE_TYPE": "WORK", "VALUE": "+70000000001", "TYPE_ID": "PHONE"}
    assert row == {"ID": "1", "PHONE": [phone]}


@pytest.mark.parametrize(
    ("offset", "created", "closed"),
    [
        ("+03:00", "2026-03-01T00:00:00+03:00", "2026-03-31T03:00:00+03:00"),
        ("+00:00", "2026-02-28T21:00:00+00:00", "2026-03-31T00:00:00+00:00"),
        ("-05:00", "2026-02-28T16:00:00-05:00", "2026-03-30T19:00:00-05:00"),
    ],
)
def test_times_are_instants_and_dates_are_midnight_utc(
    tmp_path: Path, offset: str, created: str, closed: str
) -> None:
    portal = Portal(write(tmp_path, portal={"utc_offset": offset}))
    row = items(portal, 2, filter={"id": 1})[0]
    assert (row["createdTime"], row["closedate"]) == (created, closed)
    old = ok(portal, "crm.deal.list", filter={"ID": 1})["result"][0]
    assert (old["DATE_CREATE"], old["CLOSEDATE"]) == (created, closed)
    assert ok(portal, "server.time")["result"][-6:] == offset


def test_user_field_names() -> None:
    # The table of apidocs.bitrix24.com, "Universal CRM methods".
    assert user_field_name("UF_CRM_3_DIGIT") == "ufCrm3Digit"
    assert user_field_name("UF_CRM_3_1747309727") == "ufCrm3_1747309727"
    assert user_field_name("UF_CRM_3_DIGIT10") == "ufCrm_3_DIGIT10"
    assert user_field_name("UF_CRM_3_DIGIT_10") == "ufCrm_3_DIGIT_10"
    assert user_field_name("UF_CRM_1747309879") == "ufCrm_1747309879"
    taken = user_field_names(["UF_CRM_LEAD_TYPE", "UF_CRM_LEADTYPE"], {"ufCrmLeadType"})
    assert taken == {"UF_CRM_LEAD_TYPE": "UF_CRM_LEAD_TYPE", "UF_CRM_LEADTYPE": "ufCrmLeadtype"}


@pytest.mark.parametrize("said", [{}, {"useOriginalUfNames": "N"}])
def test_user_fields_in_camel_case(reader: Portal, said: dict[str, str]) -> None:
    row = items(
        reader,
        select=["id", "ufCrmCity", "ufCrm_1700000000", "UF_CRM_VIP"],
        filter={"ufCrmCity": "Omsk"},
        order={"ufCrmCity": "DESC"},
        **said,
    )
    assert row == [{"id": 1, "ufCrmCity": "Omsk", "ufCrm_1700000000": None}]
    for part in ("filter", "order"):
        status, body = ask(
            reader, "crm.item.list", entityTypeId=1, **{part: {"UF_CRM_CITY": "ASC"}}, **said
        )
        assert (status, body["error"]) == (400, "INVALID_ARG_VALUE")
        assert "'UF_CRM_CITY' is not allowed" in body["error_description"]


def test_original_names_leave_only_the_user_fields_of_a_select(reader: Portal) -> None:
    """As github.com/bitrix-tools/b24-rest-docs/issues/368 and 263 report."""

    def rows(*select: str) -> list[Any]:
        return items(reader, select=list(select), filter={"@id": [1, 2]}, useOriginalUfNames="Y")

    assert rows("id", "title", "stageId") == [[], []]
    assert rows("id", "UF_CRM_CITY") == [{"UF_CRM_CITY": "Omsk"}, {"UF_CRM_CITY": None}]
    assert rows("id", "ufCrmCity") == [[], []]
    assert [row["UF_CRM_CITY"] for row in rows()] == ["Omsk", None]
    assert [row["title"] for row in rows("*")] == [LEADS[0]["title"], LEADS[1]["title"]]
    found = items(reader, filter={"UF_CRM_CITY": "Omsk"}, useOriginalUfNames="Y")
    assert [row["id"] for row in found] == [1]


def test_select_returns_the_named_fields_only(reader: Portal) -> None:
    assert items(reader, select=["title"], filter={"id": 3}) == [{"title": "Alphabet"}]
    assert items(reader, select=["id", "fm", "nothing"], filter={"id": 1}) == [{"id": 1}]
    assert items(reader, select=["nothing"], filter={"id": 1}) == [[]]


# Filters


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, [1, 2, 3, 5, 9]),
        ({"id": 3}, [3]),
        ({"=id": "3"}, [3]),
        ({"id": [1, 9, 100]}, [1, 9]),
        ({"@id": [9, 1, 100]}, [1, 9]),
        ({"!@id": [1, 9]}, [2, 3, 5]),
        ({">id": 3}, [5, 9]),
        ({">=id": 3}, [3, 5, 9]),
        ({"<id": 3}, [1, 2]),
        ({"<=id": 3}, [1, 2, 3]),
        ({">id": 1, "<=id": 5}, [2, 3, 5]),
        ({"!id": 3}, [1, 2, 5, 9]),
        ({"!=id": 3}, [1, 2, 5, 9]),
        ({">id": ""}, [1, 2, 3, 5, 9]),
        ({">id": 9}, []),
        ({"@id": []}, []),
        ({">id": "9" * 20}, []),
        ({"<id": "9" * 20}, [1, 2, 3, 5, 9]),
        ({"contactIds": [4, 7]}, [1]),
        ({"!contactIds": 4}, [2, 3, 5, 9]),
        ({"%updatedTime": "2026-03-10"}, [1]),
        ({"opportunity": 1500.5}, [1]),
        ({">opportunity": "20"}, [1, 2, 9]),
        ({">=opportunity": 20}, [1, 2, 3, 9]),
        ({"<opportunity": 20}, [5]),
        ({"<=opportunity": 20}, [3, 5]),
        ({"stageId": "NEW"}, [1, 3]),
        ({"@stageId": ["NEW", "JUNK"]}, [1, 2, 3]),
        ({"@stageId": "NEW"}, [1, 3]),
        ({"!@stageId": ["NEW", "JUNK"]}, [5, 9]),
        ({"!stageId": "NEW"}, [2, 5, 9]),
        ({"%title": "ALPHA"}, [1, 3]),
        ({"%title": "0%"}, [5]),
        ({"!%title": "alpha"}, [2, 5, 9]),
        ({"=%title": "alpha%"}, [1, 3]),
        ({"%=title": "%bet"}, [3]),
        ({"=%title": "eta%"}, []),
        ({"=%title": "%et%"}, [2, 3]),
        ({"!=%title": "alpha%"}, [2, 5, 9]),
        ({"!%=title": "%et%"}, [1, 5, 9]),
        ({"name": ""}, [2, 3, 5]),
        ({"!=name": ""}, [1, 9]),
        ({"!name": "Anna"}, [2, 3, 5, 9]),
        ({"companyId": 0}, [2, 5, 9]),
        ({"!companyId": 0}, [1, 3]),
        ({"companyId": None}, [2, 5, 9]),
        ({"contactIds": 4}, [1]),
        ({"ufCrmVip": 1}, [1]),
        ({"ufCrmVip": 0}, [2, 3, 5, 9]),
        ({"ufCrmTags": 6}, [1]),
        ({"dateClosed": ""}, [1, 3, 5, 9]),
        ({"!dateClosed": ""}, [2]),
        ({"birthdate": "1990-05-06"}, [2]),
        ({"birthdate": "1990-05-06T03:00:00+03:00"}, [2]),
        ({"birthdate": "1990-05-06 12:00:00"}, [2]),
        ({"stageId": "NEW", ">opportunity": 100}, [1]),
        ({"logic": "OR", "stageId": "JUNK", ">opportunity": 1000}, [1, 2]),
        ({"0": {"logic": "OR", "0": {"!=name": ""}, "1": {"id": 3}}, "<id": 9}, [1, 3]),
        ([{"logic": "OR", "0": {"id": 1}, "1": {"id": 9}}], [1, 9]),
    ],
)
def test_filter(reader: Portal, filters: Any, expected: list[int]) -> None:
    assert ids(reader, filters) == expected
    body = ok(reader, "crm.item.list", entityTypeId=1, filter=filters, select=["id"])
    assert body["total"] == len(expected)
    assert ids(reader, filters, start=-1) == expected


@pytest.mark.parametrize(
    "moment",
    [
        "2026-03-05T10:00:00+03:00",
        "2026-03-05T07:00:00+00:00",
        "2026-03-05T07:00:00Z",
        "2026-03-05T10:00:00",
        "2026-03-05 10:00:00",
        "05.03.2026 10:00:00",
    ],
)
def test_times_are_compared_as_instants(reader: Portal, moment: str) -> None:
    assert ids(reader, {">=updatedTime": moment}) == [1, 5, 9]
    assert ids(reader, {">updatedTime": moment}) == [1, 9]
    assert ids(reader, {"<updatedTime": moment}) == [2, 3]
    old = ok(reader, "crm.lead.list", filter={">=DATE_MODIFY": moment})["result"]
    assert [row["ID"] for row in old] == ["1", "5", "9"]


def test_a_day_begins_at_midnight_of_the_portal(reader: Portal) -> None:
    # 23:30 of 2 March and 00:30 of 3 March in +03:00 are both 2 March in UTC.
    assert ids(reader, {"<updatedTime": "2026-03-03"}) == [2]


def test_order(reader: Portal) -> None:
    assert ids(reader, {}, order={"id": "DESC"}) == [9, 5, 3, 2, 1]
    assert ids(reader, {}, order={"opportunity": "asc"}) == [5, 3, 9, 2, 1]
    assert ids(reader, {}, order={"stageSemanticId": "ASC", "opportunity": "DESC"}) == [
        2, 1, 9, 3, 5
    ]  # fmt: skip
    # Empty values first when ascending, last when descending, then by ID.
    assert ids(reader, {}, order={"companyId": "ASC"}) == [2, 9, 5, 1, 3]
    assert ids(reader, {}, order={"companyId": "DESC"}) == [3, 1, 5, 2, 9]
    assert ids(reader, {">id": 1}, order={"ID": "ASC"}) == [2, 3, 5, 9]


def test_like_knows_letters_of_every_alphabet(portal: Portal) -> None:
    portal.upsert("leads", {"id": 3, "title": "Окна ПВХ"})
    assert ids(portal, {"%title": "пвх"}) == [3]
    assert ids(portal, {"=%title": "ОКНА%"}) == [3]


def test_upper_case_filters(reader: Portal) -> None:
    def found(**filters: Any) -> list[str]:
        body = ok(reader, "crm.lead.list", filter=filters["f"], select=["ID"])
        return [row["ID"] for row in body["result"]]

    assert found(f={"STATUS_ID": ["NEW", "JUNK"], ">OPPORTUNITY": 20}) == ["1", "2"]
    assert found(f={"!STATUS_ID": "NEW", "<=ID": 5}) == ["2", "5"]
    assert found(f={"UF_CRM_CITY": "Tver"}) == ["3"]
    # There is no OR, and an unknown field is silently ignored.
    assert found(f={"NO_SUCH_FIELD": 1, "ID": 3}) == ["3"]
    assert found(f={">=DATE_CREATE": "yesterday"}) == []


def test_recurring_templates_are_hidden_from_the_old_list_only(reader: Portal) -> None:
    def found(**filters: Any) -> list[str]:
        return [row["ID"] for row in ok(reader, "crm.deal.list", filter=filters["f"])["result"]]

    assert found(f={}) == ["1", "3"]
    assert found(f={">ID": 0}) == ["1", "3"]
    assert found(f={"IS_RECURRING": "Y"}) == ["2"]
    assert found(f={"@ID": [1, 2]}) == ["1", "2"]
    assert [row["id"] for row in items(reader, 2)] == [1, 2, 3]


# Paging


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Portal:
    """120 leads with even IDs 2 to 240."""
    rows = [
        {"id": number, "title": f"L{number}", "createdTime": "2026-03-01T10:00:00+03:00"}
        for number in range(2, 242, 2)
    ]
    return Portal(write(tmp_path_factory.mktemp("crowd"), leads=rows), Options(rate_limit=False))


@pytest.mark.parametrize(
    ("start", "first", "size", "following"),
    [(0, 2, 50, 50), (50, 102, 50, 100), (100, 202, 20, None), (150, None, 0, None)],
)
def test_pages(
    crowd: Portal, start: int, first: int | None, size: int, following: int | None
) -> None:
    for method, params in (("crm.item.list", {"entityTypeId": 1}), ("crm.lead.list", {})):
        body = ok(crowd, method, start=start, **params)
        rows = body["result"]["items"] if "items" in body["result"] else body["result"]
        assert len(rows) == size
        assert body["total"] == 120
        assert body.get("next") == following
        if first is not None:
            assert int(rows[0].get("id", rows[0].get("ID"))) == first


def test_a_long_directory_comes_in_pages(portal: Portal) -> None:
    rows = [
        {"ID": str(n), "ENTITY_ID": "SOURCE", "STATUS_ID": f"S{n}", "SORT": "10"}
        for n in range(1, 71)
    ]
    portal.replace("statuses", rows)
    body = ok(portal, "crm.status.list", order={"ID": "ASC"})
    assert ([row["ID"] for row in body["result"]], body["next"], body["total"]) == (
        [str(n) for n in range(1, 51)],
        50,
        70,
    )
    body = ok(portal, "crm.status.list", order={"ID": "ASC"}, start=50)
    assert [row["ID"] for row in body["result"]] == [str(n) for n in range(51, 71)]
    assert "next" not in body


def test_a_full_last_page_has_no_next(crowd: Portal) -> None:
    for method, key, params in (
        ("crm.item.list", "<=id", {"entityTypeId": 1}),
        ("crm.lead.list", "<=ID", {}),
    ):
        assert ok(crowd, method, filter={key: 200}, start=0, **params)["next"] == 50
        body = ok(crowd, method, filter={key: 200}, start=50, **params)
        assert body["total"] == 100 and "next" not in body


def test_start_between_pages(crowd: Portal) -> None:
    # The newer engine takes it as an offset, legacy methods go back to the start of the page.
    assert items(crowd, select=["id"], start=60)[0] == {"id": 122}
    body = ok(crowd, "crm.lead.list", start=60)
    assert body["result"][0]["ID"] == "102" and body["next"] == 100


def test_negative_start_counts_nothing(crowd: Portal) -> None:
    for method, params in (("crm.item.list", {"entityTypeId": 1}), ("crm.lead.list", {})):
        body = ok(crowd, method, start=-1, **params)
        assert body["total"] == 0 and "next" not in body
    assert len(items(crowd, start=-1, filter={">id": 100}, order={"id": "ASC"})) == 50
    assert [row["id"] for row in items(crowd, start=-1, filter={">id": 234})] == [236, 238, 240]


def test_a_later_page_follows_changes(tmp_path: Path) -> None:
    rows = [{"id": number} for number in range(1, 121)]
    portal = Portal(write(tmp_path, leads=rows), Options(rate_limit=False))
    body = ok(portal, "crm.item.list", entityTypeId=1, select=["id"], start=50)
    assert (body["result"]["items"][0], body["total"], body["next"]) == ({"id": 51}, 120, 100)
    portal.delete("leads", 7)
    body = ok(portal, "crm.item.list", entityTypeId=1, select=["id"], start=50)
    assert (body["result"]["items"][0], body["total"], body["next"]) == ({"id": 52}, 119, 100)
    sorted_down = items(portal, select=["id"], start=50, order={"id": "DESC"})
    assert [row["id"] for row in sorted_down[:2]] == [70, 69]


def steps(portal: Portal, method: str, **params: Any) -> tuple[Any, int]:
    """The answer, and how many hundreds of SQLite's steps it takes: the same on every machine."""
    taken = 0

    def step() -> None:
        nonlocal taken
        taken += 1

    database = portal.data.table("leads")._database
    database.set_progress_handler(step, 100)
    body = ok(portal, method, **params)
    database.set_progress_handler(None, 0)
    return body, taken


@pytest.fixture(scope="module")
def long_lists(tmp_path_factory: pytest.TempPathFactory) -> Portal:
    """10,000 leads, one a minute, of which every hundredth changed in April; 40,000 visits of them,
    those of a lead 10,000 rows apart."""
    began = datetime.fromisoformat("2026-03-01T00:00:00+03:00")
    leads = [
        {
            "id": number,
            "createdTime": (began + timedelta(minutes=number)).isoformat(),
            "updatedTime": f"2026-{'03' if number % 100 else '04'}-20T00:00:00+03:00",
            "lastActivityTime": f"2026-{'03' if number % 100 else '04'}-20T00:00:00+03:00",
        }
        for number in range(1, 10_001)
    ]
    visits = [
        {"ID": row + 1, "OWNER_ID": row % 10_000 + 1, "CREATED_TIME": "2026-03-08T00:00:00+03:00"}
        for row in range(40_000)
    ]
    folder = write(tmp_path_factory.mktemp("long"), leads=leads, lead_stage_history=visits)
    return Portal(folder, Options(rate_limit=False))


@pytest.mark.parametrize("start", [-1, 0])
def test_visits_of_a_few_leads_are_found_without_a_walk(long_lists: Portal, start: int) -> None:
    """A step or more for each of 40,000 visits otherwise."""
    asked = {"entityTypeId": 1, "order": {"ID": "ASC"}, "start": start}
    body, taken = steps(
        long_lists, "crm.stagehistory.list", filter={"@OWNER_ID": [7, 3], ">ID": 3}, **asked
    )
    found = [(row["ID"], row["OWNER_ID"]) for row in body["result"]["items"]]
    assert found == [
        (7, 7),
        (10_003, 3),
        (10_007, 7),
        (20_003, 3),
        (20_007, 7),
        (30_003, 3),
        (30_007, 7),
    ]
    assert body["total"] == (7 if start == 0 else 0)
    assert taken < 20


@pytest.mark.parametrize("start", [-1, 0])
@pytest.mark.parametrize(
    ("method", "key", "name"),
    [
        ("crm.item.list", "id", "updatedTime"),
        ("crm.item.list", "id", "lastActivityTime"),
        ("crm.lead.list", "ID", "DATE_MODIFY"),
    ],
)
def test_the_few_that_changed_are_found_without_a_walk(
    long_lists: Portal, method: str, key: str, name: str, start: int
) -> None:
    """A hundred changed, 49 of them above 5,100 and up to 10,000; a few steps for each."""
    body, taken = steps(
        long_lists,
        method,
        entityTypeId=1,
        select=[key],
        order={key: "ASC"},
        filter={f">={name}": "2026-04-01T00:00:00+03:00", f">{key}": 5_100, f"<={key}": 10_000},
        start=start,
    )
    rows = body["result"]["items"] if method == "crm.item.list" else body["result"]
    assert [int(row[key]) for row in rows] == list(range(5_200, 10_001, 100))
    assert body["total"] == (49 if start == 0 else 0)
    assert taken < 100


def test_many_that_changed_are_walked_in_the_order_of_their_ids(
    long_lists: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their list would be made for each page anew."""
    monkeypatch.setattr("scripts.demo_portal.table._FEW_ROWS", 99)
    asked = {"entityTypeId": 1, "order": {"id": "ASC"}, "select": ["id"], "start": -1}
    body, taken = steps(
        long_lists,
        "crm.item.list",
        filter={">updatedTime": "2026-03-31T00:00:00+03:00", ">id": 0},
        **asked,
    )
    assert [row["id"] for row in body["result"]["items"]] == list(range(100, 5_001, 100))
    assert taken > 100


# Other methods


def test_fields(reader: Portal) -> None:
    fields = ok(reader, "crm.item.fields", entityTypeId=1)["result"]["fields"]
    assert fields["createdTime"]["upperName"] == "CREATED_TIME"
    assert fields["createdTime"]["type"] == "datetime" and fields["createdTime"]["isReadOnly"]
    assert fields["stageId"]["statusType"] == "STATUS"
    assert fields["contactIds"]["isMultiple"] is True
    assert fields["ufCrmCity"]["listLabel"] == "City"
    original = ok(reader, "crm.item.fields", entityTypeId=1, useOriginalUfNames="Y")
    assert "UF_CRM_CITY" in original["result"]["fields"]
    old = ok(reader, "crm.lead.fields")["result"]
    assert old["DATE_CREATE"]["type"] == "datetime" and old["OPENED"]["type"] == "char"
    assert old["UF_CRM_CITY"]["title"] == "UF_CRM_CITY"
    assert old["UF_CRM_CITY"]["listLabel"] == "City"
    for name, field in (("deal", "LEAD_ID"), ("contact", "EXPORT"), ("company", "IS_MY_COMPANY")):
        assert field in ok(reader, f"crm.{name}.fields")["result"]


def test_stage_history(reader: Portal) -> None:
    body = ok(reader, "crm.stagehistory.list", entityTypeId=2, filter={"OWNER_ID": [1]})
    assert body["total"] == 2
    assert body["result"]["items"][1] == DIRECTORY["deal_stage_history"][1]
    leads = ok(reader, "crm.stagehistory.list", entityTypeId=1)["result"]["items"]
    assert leads == DIRECTORY["lead_stage_history"]
    chosen = ok(reader, "crm.stagehistory.list", entityTypeId=2, select=["STAGE_ID"])
    assert chosen["result"]["items"][0] == {"ID": 1, "STAGE_ID": "NEW"}
    unknown = ok(reader, "crm.stagehistory.list", entityTypeId=2, select=["STAGE_ID", "X"])
    assert len(unknown["result"]["items"][0]) == 7
    late = {"entityTypeId": 2, "filter": {">CREATED_TIME": "2026-03-02 00:00:00"}, "start": -1}
    assert [
        row["ID"] for row in ok(reader, "crm.stagehistory.list", **late)["result"]["items"]
    ] == [2]


def test_reference_data(reader: Portal) -> None:
    body = ok(reader, "crm.status.list", filter={"ENTITY_ID": "STATUS"})
    assert [row["STATUS_ID"] for row in body["result"]] == ["NEW", "JUNK"]  # 20 before 100
    assert body["total"] == 2 and body["result"][0]["ID"] == "2"
    assert body["result"][0]["SEMANTICS"] is None and body["result"][0]["CATEGORY_ID"] is None
    categories = ok(reader, "crm.category.list", entityTypeId=2)
    assert categories["total"] == 2
    assert categories["result"]["categories"][0]["originId"] == ""
    assert categories["result"]["categories"][1] == DIRECTORY["categories"][0]
    currencies = ok(reader, "crm.currency.list")
    assert currencies["total"] == 0
    assert currencies["result"][0]["CURRENCY"] == "RUB"
    assert currencies["result"][0]["THOUSANDS_SEP"] is None
    assert ok(reader, "crm.currency.base.get")["result"] == "RUB"
    assert ok(reader, "department.get", PARENT=1)["result"] == [DIRECTORY["departments"][1]]
    assert ok(reader, "department.get")["result"][0] == DIRECTORY["departments"][0]


def test_users(reader: Portal) -> None:
    body = ok(reader, "user.get", sort="ID", order="DESC")
    assert [row["ID"] for row in body["result"]] == ["10", "9", "1"]
    assert body["total"] == 3
    assert body["result"][2] == DIRECTORY["users"][0]
    active = ok(reader, "user.get", FILTER={"ACTIVE": True})["result"]
    assert [row["NAME"] for row in active] == ["Ada", "Cyd"]
    of_two = ok(reader, "user.get", FILTER={"UF_DEPARTMENT": 2, "ACTIVE": "false"})["result"]
    assert [row["NAME"] for row in of_two] == ["Bob"]
    assert ok(reader, "user.get", FILTER={"@ID": [9]}, select=["NAME"])["result"] == [
        {"NAME": "Cyd"}
    ]


def test_activities(reader: Portal) -> None:
    rows = ok(reader, "crm.activity.list")["result"]
    assert [row["SUBJECT"] for row in rows] == ["Earlier", "Later"]  # by START_TIME
    assert rows[1]["ID"] == "1" and rows[1]["OWNER_ID"] == "5"
    assert rows[1]["SETTINGS"] == [] and rows[1]["DEADLINE"] == "" and rows[1]["ORIGIN_ID"] is None
    assert "COMMUNICATIONS" not in rows[1]
    bound = {"BINDINGS": [{"OWNER_TYPE_ID": 2}, {"OWNER_TYPE_ID": 1, "OWNER_ID": 6}]}
    assert [row["ID"] for row in ok(reader, "crm.activity.list", filter=bound)["result"]] == ["2"]


def test_contacts_of_a_deal(reader: Portal) -> None:
    assert ok(reader, "crm.deal.contact.items.get", id=1)["result"] == [
        {"CONTACT_ID": 3, "SORT": 10, "ROLE_ID": 0, "IS_PRIMARY": "N"},
        {"CONTACT_ID": 4, "SORT": 20, "ROLE_ID": 0, "IS_PRIMARY": "Y"},
    ]
    missing = {"error": "", "error_description": "Not found."}
    assert ask(reader, "crm.deal.contact.items.get", id=77) == (400, missing)


def test_service_methods(portal: Portal) -> None:
    assert ok(portal, "server.time")["result"] == "2026-04-01T09:00:00+03:00"
    portal.set_now("2026-05-01T00:00:00Z")
    assert ok(portal, "server.time")["result"] == "2026-05-01T03:00:00+03:00"
    profile = ok(portal, "profile")["result"]
    assert (profile["ID"], profile["ADMIN"], profile["NAME"]) == ("1", True, "Ada")
    assert ok(portal, "scope")["result"] == ["crm", "department", "user"]
    assert ok(portal, "crm.settings.mode.get")["result"] == 1


# Ways of asking


def test_requests_in_every_encoding(reader: Portal) -> None:
    path = f"/rest/1/{reader.options.token}/"
    query = "entityTypeId=1&filter[%3E%3Did]=5&order[id]=DESC&select[]=id&select[]=title"
    form = "application/x-www-form-urlencoded"
    asked = [
        HttpRequest(path + "crm.item.list", query),
        HttpRequest(path + "crm.item.list.json/", query),
        HttpRequest(path + "CRM.Item.List", "", form, query.encode()),
        HttpRequest(path + "crm.item.list", "entityTypeId=2", form, query.encode()),
    ]
    for request in asked:
        body = json.loads(reader.answer(request).body)
        assert body["result"]["items"] == [
            {"id": 9, "title": "Gamma"},
            {"id": 5, "title": "50% off"},
        ]


def test_php_parameters() -> None:
    assert parse_query("a[b][]=1&a[b][]=2&c=%24x+y&a[d][x]=") == {
        "a": {"b": ["1", "2"], "d": {"x": ""}},
        "c": "$x y",
    }
    assert parse_query("f[0][logic]=OR&f[0][0][id]=1") == {"f": [{"logic": "OR", "0": {"id": "1"}}]}
    assert php_array({}) == [] and php_array({"0": 5, "1": 6}) == [5, 6]
    assert php_array({"1": 5}) == {"1": 5}
    results = {"a": {"items": [{"id": 7}]}, "b": [{"ID": "8"}]}
    asked = {
        ">id": "$result[a][items][0][id]",
        "t": "n $result[b][0][ID]",
        "x": "$result[b][9][ID]",
    }
    assert substitute(asked, results) == {">id": 7, "t": "n 8", "x": ""}


# batch


def test_batch_shape(reader: Portal) -> None:
    body = ok(
        reader,
        "batch",
        halt=0,
        cmd={
            "leads": "crm.lead.list?select[]=ID&filter[%3EID]=3",
            "mode": "crm.settings.mode.get",
            "wrong": "no.such.method",
        },
    )["result"]
    assert body["result"] == {"leads": [{"ID": "5"}, {"ID": "9"}], "mode": 1}
    assert body["result_error"] == {
        "wrong": {"error": "ERROR_METHOD_NOT_FOUND", "error_description": "Method not found!"}
    }
    assert body["result_total"] == {"leads": 2}
    assert body["result_next"] == []
    assert set(body["result_time"]) == {"leads", "mode"}


def test_batch_of_numeric_keys_is_a_list(reader: Portal) -> None:
    body = ok(reader, "batch", cmd=["scope", "crm.settings.mode.get"])["result"]
    assert body["result"] == [["crm", "department", "user"], 1]
    gap = ok(reader, "batch", cmd={"0": "scope", "1": "nope", "2": "crm.settings.mode.get"})
    assert gap["result"]["result"] == {"0": ["crm", "department", "user"], "2": 1}
    empty = ok(reader, "batch", cmd={})["result"]
    assert empty == {key: [] for key in empty} and len(empty) == 5


def test_batch_chains_pages_and_ends_in_empty_references(crowd: Portal) -> None:
    def page(after: str) -> str:
        return (
            "crm.item.list?entityTypeId=1&select[]=id&order[id]=ASC&start=-1"
            f"&filter[%3Eid]=%24result[{after}][items][49][id]"
        )

    first = "crm.item.list?entityTypeId=1&select[]=id&order[id]=ASC&start=-1&filter[%3Eid]=0"
    body = ok(
        crowd, "batch", halt=1, cmd={"a": first, "b": page("a"), "c": page("b"), "d": page("c")}
    )
    pages = {
        name: [row["id"] for row in part["items"]]
        for name, part in body["result"]["result"].items()
    }
    assert pages["a"] == list(range(2, 102, 2))
    assert pages["b"] == list(range(102, 202, 2))
    assert pages["c"] == list(range(202, 242, 2))
    # Page c is short: its 50th row does not exist, ">id" of nothing is ">0": the first page again.
    assert pages["d"] == pages["a"]
    assert body["result"]["result_total"] == {"a": 0, "b": 0, "c": 0, "d": 0}


def test_batch_halts_at_the_first_error(portal: Portal) -> None:
    commands = {"a": "scope", "b": "crm.item.list?entityTypeId=999", "c": "profile"}
    body = ok(portal, "batch", halt=1, cmd=commands)["result"]
    assert list(body["result"]) == ["a"] and list(body["result_error"]) == ["b"]
    assert body["result_error"]["b"]["error"] == "NOT_FOUND"
    goes_on = ok(portal, "batch", halt="0", cmd=commands)["result"]
    assert list(goes_on["result"]) == ["a", "c"]
    assert portal.calls == {"batch": 2, "scope": 2, "crm.item.list": 2, "profile": 1}
    assert portal.requests == 2


def test_batch_of_51_and_a_batch_in_a_batch(reader: Portal) -> None:
    commands = {f"c{number}": "crm.settings.mode.get" for number in range(51)}
    body = ok(reader, "batch", cmd=commands)["result"]
    assert len(body["result"]) == 50
    assert body["result_error"]["c50"]["error"] == "ERROR_BATCH_LENGTH_EXCEEDED"
    nested = ok(reader, "batch", cmd={"a": "batch?cmd[x]=scope"})["result"]
    assert nested["result_error"]["a"]["error"] == "ERROR_BATCH_METHOD_NOT_ALLOWED"
    assert nested["result"] == []


# Errors


@pytest.mark.parametrize(
    ("method", "params", "status", "code", "text"),
    [
        ("no.such.method", {}, 404, "ERROR_METHOD_NOT_FOUND", "Method not found!"),
        ("crm.item.list", {"entityTypeId": 999}, 400, "NOT_FOUND", "Smart process not found"),
        (
            "crm.item.list",
            {"entityTypeId": 1, "filter": {">FOO": 1}},
            400,
            "INVALID_ARG_VALUE",
            "Invalid filter: field 'FOO' is not allowed in filter",
        ),
        (
            "crm.item.list",
            {"entityTypeId": 1, "filter": {">=updatedTime": "soon"}},
            400,
            "INVALID_ARG_VALUE",
            "Invalid filter: field 'updatedTime' has invalid value",
        ),
        (
            "crm.item.list",
            {"entityTypeId": 1, "order": {"foo": "ASC"}},
            400,
            "INVALID_ARG_VALUE",
            "Invalid order: field 'foo' is not allowed in order",
        ),
        (
            "crm.item.list",
            {"entityTypeId": 1, "order": {"id": "up"}},
            400,
            "INVALID_ARG_VALUE",
            "Invalid order: allowed sort directions are `ASC, DESC`. But got 'up' for field 'id'",
        ),
        (
            "crm.stagehistory.list",
            {"entityTypeId": 2, "filter": {"STATUS_ID": "NEW"}},
            400,
            "INVALID_ARG_VALUE",
            "Invalid filter: field 'STATUS_ID' is not allowed in filter",
        ),
        ("crm.deal.list", {"filter": "x"}, 400, "", "Parameter 'filter' must be array."),
        ("crm.deal.list", {"order": "x"}, 400, "", "Parameter 'order' must be array."),
        (
            "crm.category.list",
            {"entityTypeId": 1},
            400,
            "ENTITY_TYPE_NOT_SUPPORTED",
            "Entity type `LEAD` is not supported",
        ),
    ],
)
def test_errors(
    reader: Portal, method: str, params: Any, status: int, code: str, text: str
) -> None:
    body = {"error": code, "error_description": text}
    assert ask(reader, method, **params) == (status, body)


def test_credentials_and_scopes(folder: Path) -> None:
    portal = Portal(folder, Options(rate_limit=False, token="right", scopes=("crm",)))
    for path in ("/rest/1/wrong/scope", "/rest/2/right/scope"):
        answer = portal.answer(HttpRequest(path))
        assert answer.status == 401
        assert json.loads(answer.body)["error"] == "INVALID_CREDENTIALS"
    assert portal.answer(HttpRequest("/rest/right")).status == 404
    status, body = ask(portal, "user.get")
    assert (status, body["error"]) == (403, "insufficient_scope")
    refusing = Portal(folder, Options(require_https=True))
    assert ask(refusing, "scope")[1]["error"] == "INVALID_REQUEST"


# Limits


def test_request_bucket(folder: Path) -> None:
    portal = Portal(folder, Options(bucket_size=5, bucket_drain=2))
    assert [ask(portal, "scope")[0] for _ in range(6)] == [200] * 5 + [503]
    assert ask(portal, "scope")[1]["error"] == "QUERY_LIMIT_EXCEEDED"
    portal.set_now(
        "2026-04-01T09:00:03.5+03:00"
    )  # 3 whole seconds on: 6 drained, the bucket is empty
    assert [ask(portal, "scope")[0] for _ in range(6)] == [200] * 5 + [503]
    portal.set_now("2026-04-01T09:00:04.5+03:00")  # one more whole second: room for two
    assert [ask(portal, "scope")[0] for _ in range(3)] == [200, 200, 503]
    free = Portal(folder, Options(rate_limit=False, bucket_size=5))
    assert {ask(free, "scope")[0] for _ in range(20)} == {200}


def test_operating_time_limit(folder: Path) -> None:
    # The example of the documentation: calls of 20 s against 480 s in ten minutes.
    portal = Portal(folder, Options(rate_limit=False, operating_seconds=20))
    for _ in range(25):
        body = ok(portal, "scope")
    assert body["time"]["operating"] == 500
    reset_at = body["time"]["operating_reset_at"]
    assert reset_at == 1775023800  # 2026-04-01T09:10:00+03:00
    status, refused = ask(portal, "scope")
    assert (status, refused["error"]) == (429, "OPERATION_TIME_LIMIT")
    assert ask(portal, "profile")[0] == 200  # another method goes on
    batch = ok(portal, "batch", cmd={"a": "scope", "b": "profile"})["result"]
    assert batch["result_error"]["a"]["error"] == "OPERATION_TIME_LIMIT"
    assert list(batch["result"]) == ["b"]
    portal.set_now("2026-04-01T09:10:00+03:00")
    assert ok(portal, "scope")["time"]["operating"] == 20


def test_operating_baskets_expire_one_by_one(folder: Path) -> None:
    portal = Portal(folder, Options(rate_limit=False, operating_seconds=100))
    for minute in (0, 2, 4, 6, 8):
        portal.set_now(f"2026-04-01T09:0{minute}:00+03:00")
        told = ok(portal, "scope")["time"]
    assert told["operating"] == 500
    portal.set_now("2026-04-01T09:09:59+03:00")
    assert ask(portal, "scope")[0] == 429
    portal.set_now("2026-04-01T09:10:00+03:00")  # the basket of 09:00 is out: 400, then 500 again
    assert ok(portal, "scope")["time"]["operating"] == 500
    assert ask(portal, "scope")[0] == 429


def test_operating_charged_to_batch(folder: Path) -> None:
    options = Options(rate_limit=False, operating_seconds=200, operating_charge="batch")
    portal = Portal(folder, options)
    body = ok(portal, "batch", cmd={"a": "scope", "b": "scope", "c": "scope"})
    assert body["time"]["operating"] == 600
    assert ask(portal, "batch", cmd={"a": "scope"})[1]["error"] == "OPERATION_TIME_LIMIT"
    assert ok(portal, "scope")["time"]["operating"] == 200


def test_operating_switches(folder: Path) -> None:
    silent = Portal(folder, Options(rate_limit=False, operating_fields=False))
    told = ok(silent, "scope")["time"]
    assert set(told) == {"start", "finish", "duration", "processing", "date_start", "date_finish"}
    unlimited = Portal(
        folder, Options(rate_limit=False, operating_limit=False, operating_seconds=500)
    )
    assert [ask(unlimited, "scope")[0] for _ in range(3)] == [200] * 3
    small = Portal(folder, Options(rate_limit=False, operating_seconds=0.05))
    assert ok(small, "scope")["time"]["operating"] == 0  # below a tenth of a second


# Changes while served


def test_changes_are_seen_at_once(portal: Portal) -> None:
    assert ids(portal, {"stageId": "NEW"}) == [1, 3]
    portal.upsert("leads", {"id": 3, "stageId": "JUNK", "UF_CRM_NEW": 4})
    new = {
        "id": 4,
        "title": "New one",
        "stageId": "NEW",
        "updatedTime": "2026-03-30T10:00:00+03:00",
    }
    portal.upsert("leads", [new])
    assert ids(portal, {"stageId": "NEW"}) == [1, 4]
    third = items(portal, filter={"id": 3}, useOriginalUfNames="Y")[0]
    assert (third["title"], third["UF_CRM_CITY"], third["UF_CRM_NEW"]) == ("Alphabet", "Tver", 4)
    assert ids(portal, {">=updatedTime": "2026-03-30 00:00:00"}) == [4]
    portal.delete("leads", 1)
    assert ids(portal, {}) == [2, 3, 4, 5, 9]
    portal.upsert("leads", {"id": 1, "title": "Restored"})
    restored = items(portal, filter={"id": 1})[0]
    assert (restored["title"], restored["stageId"]) == ("Restored", None)
    portal.replace("statuses", [{"ID": "8", "ENTITY_ID": "STATUS", "STATUS_ID": "X", "SORT": "1"}])
    assert [row["STATUS_ID"] for row in ok(portal, "crm.status.list")["result"]] == ["X"]
    portal.replace("statuses", [])
    assert ok(portal, "crm.status.list")["result"] == []


def test_the_offset_changes_while_served(portal: Portal) -> None:
    portal.data.set_zone(timezone(timedelta(hours=-5)))
    row = items(portal, 2, filter={"id": 1})[0]
    assert row["createdTime"] == "2026-02-28T16:00:00-05:00"
    assert row["closedate"] == "2026-03-30T19:00:00-05:00"
    # 16:00 of 28 February there: a day begins at its own midnight.
    assert [row["id"] for row in items(portal, 2, filter={"<createdTime": "2026-03-01"})] == [
        1,
        2,
        3,
    ]
    assert items(portal, 2, filter={">=createdTime": "2026-03-01"}) == []


def test_fields_that_differ_by_case_are_two(portal: Portal) -> None:
    portal.upsert("leads", {"id": 1, "UF_CRM_city": "Tomsk"})
    row = items(portal, filter={"id": 1}, useOriginalUfNames="Y")[0]
    assert (row["UF_CRM_CITY"], row["UF_CRM_city"]) == ("Omsk", "Tomsk")


def test_deletion_takes_history_and_activities_along(portal: Portal) -> None:
    portal.delete("leads", 5)
    assert ok(portal, "crm.stagehistory.list", entityTypeId=1)["total"] == 0
    assert [row["ID"] for row in ok(portal, "crm.activity.list")["result"]] == ["2"]
    portal.delete("deals", [3])
    history = ok(portal, "crm.stagehistory.list", entityTypeId=2)["result"]["items"]
    assert [row["ID"] for row in history] == [1, 2]
    assert ok(portal, "crm.activity.list")["result"] == []


def test_hidden_pipeline(portal: Portal) -> None:
    assert [row["id"] for row in items(portal, 2, filter={"!stageId": "X"})] == [1, 2, 3]
    portal.set_rights(admin=False, hidden_categories=[2])
    assert [row["id"] for row in items(portal, 2, filter={"!stageId": "X"})] == [1, 2]
    assert ok(portal, "profile")["result"]["ADMIN"] is False
    assert [row["id"] for row in items(portal, 2)] == [1, 2]
    assert [row["id"] for row in items(portal, 2, filter={">id": 1})] == [2]
    assert [row["ID"] for row in ok(portal, "crm.deal.list")["result"]] == ["1"]
    categories = ok(portal, "crm.category.list", entityTypeId=2)["result"]["categories"]
    assert [row["id"] for row in categories] == [0]
    history = ok(portal, "crm.stagehistory.list", entityTypeId=2)
    assert history["total"] == 2 and [row["ID"] for row in history["result"]["items"]] == [1, 2]
    assert [row["ID"] for row in ok(portal, "crm.activity.list")["result"]] == ["1"]
    portal.set_rights()
    assert [row["id"] for row in items(portal, 2)] == [1, 2, 3]


def test_a_record_by_its_id_is_there_hidden_or_gone(portal: Portal) -> None:
    listed = items(portal, 2, filter={"id": 1})
    assert ok(portal, "crm.item.get", entityTypeId=2, id=1)["result"] == {"item": listed[0]}
    portal.set_rights(hidden_deals=[1])
    assert [row["id"] for row in items(portal, 2)] == [2, 3]
    assert [row["OWNER_ID"] for row in history_of(portal)] == [3]
    refusals = {number: ask(portal, "crm.item.get", entityTypeId=2, id=number) for number in (1, 9)}
    assert refusals == {
        1: (
            400,
            {
                "error": "ACCESS_DENIED",
                "error_description": "You do not have permission to view this item",
            },
        ),
        9: (400, {"error": "NOT_FOUND", "error_description": "Element not found"}),
    }
    assert ask(portal, "crm.item.get", entityTypeId=2)[0] == 400


def history_of(portal: Portal) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = ok(portal, "crm.stagehistory.list", entityTypeId=2)["result"][
        "items"
    ]
    return rows


def test_history_of_the_present_pipeline_alone(folder: Path) -> None:
    portal = Portal(folder, Options(rate_limit=False, present_history=True))
    portal.upsert("deals", {"id": 1, "categoryId": 2})
    portal.upsert(
        "deal_stage_history",
        {"ID": 9, "TYPE_ID": 5, "OWNER_ID": 1, "CATEGORY_ID": 2, "STAGE_ID": "C2:NEW"},
    )

    def told() -> list[int]:
        rows = ok(portal, "crm.stagehistory.list", entityTypeId=2, filter={"OWNER_ID": [1]})
        assert rows["total"] == len(rows["result"]["items"])
        return [row["ID"] for row in rows["result"]["items"]]

    assert told() == [9]
    # Back in its first pipeline, the rows of that pipeline are returned again.
    portal.upsert("deals", {"id": 1, "categoryId": 0})
    assert told() == [1, 2]


def test_log(folder: Path) -> None:
    portal = Portal(folder, Options(rate_limit=False, log=True))
    ok(portal, "batch", cmd={"a": "crm.item.list?entityTypeId=1&start=-1"})
    assert portal.log == [("crm.item.list", {"entityTypeId": "1", "start": "-1"})]


# The data directory


def test_parquet_is_served_as_json_lines_are(tmp_path: Path, reader: Portal) -> None:
    write(tmp_path, leads=[])
    (tmp_path / "leads.jsonl").unlink()
    pl.DataFrame([{**row, "fm": None} for row in LEADS], infer_schema_length=None).write_parquet(
        tmp_path / "leads.parquet"
    )
    portal = Portal(tmp_path)
    expected = [{**row, "fm": []} for row in items(reader, useOriginalUfNames="Y")]
    assert items(portal, useOriginalUfNames="Y") == expected


def test_an_empty_directory_is_an_empty_portal(tmp_path: Path) -> None:
    portal = Portal(tmp_path, Options(rate_limit=False))
    for method, params in (
        ("crm.item.list", {"entityTypeId": 2, "filter": {">id": 1, "stageId": "NEW"}}),
        ("crm.stagehistory.list", {"entityTypeId": 1, "filter": {"OWNER_ID": [1]}}),
        ("crm.category.list", {"entityTypeId": 2}),
    ):
        body = ok(portal, method, **params)
        assert next(iter(body["result"].values())) == [] and body["total"] == 0
    for method in ("crm.lead.list", "crm.activity.list", "user.get", "department.get"):
        assert ok(portal, method, filter={"ID": 5})["result"] == []
    assert ok(portal, "crm.currency.base.get")["result"] is None
    portal.upsert("deals", {"id": 1, "title": "First"})
    assert items(portal, 2, select=["id", "title"]) == [{"id": 1, "title": "First"}]


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("leads", '{"id": 1', "leads.jsonl, line 1: not JSON"),
        ("leads", "[1]", "one JSON object a line"),
        ("leads", '{"title": "x"}', "'id'"),
        ("leads", '{"id": 1}\n{"id": 1}', "'id' 1 is there more than once"),
        ("leads", '{"id": 1, "createdTime": "yesterday"}', "'createdTime' must be ISO 8601"),
        ("leads", '{"id": 1, "createdTime": "2026-03-01T10:00:00"}', "with offset"),
        ("leads", '{"id": 1, "title": 5}', "'title' must be text, got 5"),
        ("leads", '{"id": 1, "companyId": 1.5}', "'companyId' must be int, got 1.5"),
        ("deals", '{"id": 1, "closedate": "2026-03-31T00:00:00+03:00"}', "midnight UTC"),
    ],
)
def test_wrong_data_is_named(tmp_path: Path, name: str, line: str, message: str) -> None:
    (tmp_path / f"{name}.jsonl").write_text(line)
    with pytest.raises(DataError, match=message):
        Portal(tmp_path)


def test_wrong_settings_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such data directory"):
        Portal(tmp_path / "absent")
    for settings, message in (
        ({"utc_offset": "Moscow"}, "utc_offset must look like"),
        ({"now": "today"}, "now must be ISO 8601"),
    ):
        with pytest.raises(DataError, match=message):
            Portal(write(tmp_path, portal=settings))


# The socket


def test_http(folder: Path) -> None:
    with serve(folder) as portal:
        assert portal.webhook_url.startswith("http://127.0.0.1:")
        answer = requests.post(portal.webhook_url + "server.time", timeout=10)
        assert answer.headers["content-type"].startswith("application/json")
        assert answer.json()["result"].startswith("2026-04-01T09:00:0")
        got = requests.get(
            portal.webhook_url + "crm.lead.list",
            params={"filter[>ID]": 5, "select[]": "TITLE"},
            timeout=10,
        )
        assert got.json()["result"] == [{"ID": "9", "TITLE": "Gamma"}]
        assert requests.get(portal.webhook_url + "nope", timeout=10).status_code == 404
        assert portal.requests == 3
    with pytest.raises(requests.ConnectionError):
        requests.get(portal.webhook_url + "server.time", timeout=2)


def test_https_with_a_test_certificate(folder: Path) -> None:
    with serve(folder, tls=True, require_https=True) as portal:
        assert portal.webhook_url.startswith("https://127.0.0.1:")
        answer = requests.get(portal.webhook_url + "scope", verify=str(portal.ca_file), timeout=10)
        assert answer.status_code == 200
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(portal.webhook_url + "scope", timeout=10)


@pytest.fixture
def command(folder: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "scripts.demo_portal", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()


def test_command(folder: Path, command: Callable[..., subprocess.Popen[str]]) -> None:
    process = command(str(folder), "--port", "0", "--token", "abc", "--no-rate-limit")
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    assert address.startswith("http://127.0.0.1:") and address.endswith("/rest/1/abc/")
    assert requests.get(address + "crm.settings.mode.get", timeout=10).json()["result"] == 1
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


def test_command_names_what_is_wrong(
    folder: Path, tmp_path: Path, command: Callable[..., subprocess.Popen[str]]
) -> None:
    process = command(str(tmp_path / "absent"))
    assert "no such data directory" in process.communicate(timeout=30)[1]
    assert process.returncode == 1
    with serve(folder) as portal:
        port = portal.webhook_url.split("/")[2].split(":")[1]
        taken = command(str(folder), "--port", port)
        assert f"127.0.0.1:{port} cannot be used" in taken.communicate(timeout=30)[1]
