"""What we send to Bitrix24 and what the demo portal answers, against the vendor's descriptions.

The descriptions (github.com/bitrix-tools/b24-rest-docs, `_assets/simulator/spec/methods`, MIT) give
parameters, their types, which are required, the keys of the answer and an example of it. Syncs and
the doctor run on the demo portal; each call, commands of a batch too, and each answer is compared
with its method's description. Differences are in `GAPS` with their reasons; no others are allowed.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from pipelines.bitrix24.client import Client
from pipelines.bitrix24.doctor import examine
from pipelines.bitrix24.entities import DEALS
from pipelines.bitrix24.extract import extract
from pipelines.check import complete
from pipelines.errors import Bitrix24Error, SettingsError
from pipelines.options import Options
from pipelines.settings import Settings
from pipelines.warehouse import Warehouse
from scripts.demo_portal import serve
from scripts.demo_portal.messages import HttpAnswer, HttpRequest
from scripts.demo_portal.params import parse_query
from tests.support.small_portal import (
    CURRENCIES,
    STATUSES,
    USERS,
    deal,
    deal_visit,
    lead,
    lead_visit,
    status,
    write_portal,
)

T0, T1 = "2026-03-01T10:00:00+03:00", "2026-03-10T12:00:00+03:00"
BETWEEN = dt.date(2026, 3, 5)

# Methods that the descriptions leave out.
WITHOUT_DESCRIPTION = {
    "batch": "described among the settings of the REST API, not as a method",
    "crm.currency.base.get": "has a page, and no description",
    "profile": "one of the common methods, none of which is described",
    "scope": "the same",
    "server.time": "the same",
}

MARKS_NOTHING = "its page marks nothing as required, the description then marks everything"
OF_ADD = "the description lists the fields that crm.*.add takes; {} is in {}"
# (method, what differs) → why the description is what is wrong; the pages are apidocs.bitrix24.com.
GAPS = {
    ("crm.activity.list", "answer has total"): "left out; its example has total and next",
    ("crm.activity.list", "field COMPLETED"): OF_ADD.format("COMPLETED", "crm.activity.fields"),
    ("crm.activity.list", "field CREATED"): OF_ADD.format("CREATED", "crm.activity.fields"),
    ("crm.activity.list", "field ID"): OF_ADD.format("ID", "crm.activity.fields"),
    ("crm.company.list", "field DATE_MODIFY"): OF_ADD.format("DATE_MODIFY", "crm.company.fields"),
    ("crm.contact.list", "field DATE_MODIFY"): OF_ADD.format("DATE_MODIFY", "crm.contact.fields"),
    ("crm.contact.list", "required parameters"): MARKS_NOTHING,
    ("crm.currency.list", "field DECIMALS"): OF_ADD.format("DECIMALS", "the page's own example"),
    ("crm.currency.list", "field FULL_NAME"): OF_ADD.format("FULL_NAME", "the page's own example"),
    ("crm.currency.list", "field currency"): "the page's own request sorts by currency so written",
    ("crm.item.list", "field closed"): OF_ADD.format("closed", "«CRM object fields», of deals"),
    ("crm.item.list", "field isRecurring"): "the same, of deals",
    ("crm.item.list", "field isRepeatedApproach"): "the same, of deals",
    ("crm.item.list", "field leadId"): "the same, of deals, contacts and companies",
    ("crm.lead.list", "field DATE_MODIFY"): OF_ADD.format("DATE_MODIFY", "the page's own example"),
    ("crm.lead.list", "field ID"): OF_ADD.format("ID", "the page's own example"),
    ("crm.lead.list", "parameter order"): "lost with the bold type of its name; the page has it",
    (
        "crm.settings.mode.get",
        "required parameters",
    ): "it takes none: these are those of the answer",
    ("crm.stagehistory.list", "answer has next"): "left out; all lists that take start give it",
    ("crm.stagehistory.list", "answer has total"): "left out; the page's own example has it",
    ("crm.stagehistory.list", "field STATUS_ID"): "what history of leads has in place of STAGE_ID",
    ("crm.stagehistory.list", "field STATUS_SEMANTIC_ID"): "the same, of STAGE_SEMANTIC_ID",
    ("crm.stagehistory.list", "required parameters"): MARKS_NOTHING,
    ("crm.stagehistory.list", "type of parameter select"): "the page's own request sends a list",
    ("crm.stagehistory.list", "type of result"): "the page's own example is an object with items",
    ("crm.status.list", "answer has next"): "portals return reference data in pages all the same",
    ("crm.status.list", "parameter start"): "the same; sent only if an answer names a next page",
    ("department.get", "answer has next"): "left out; all lists that take start give it",
    ("department.get", "parameter start"): "START in its table, start in the text of that line",
    ("user.get", "type of result"): "the page's own example is a list",
}


@dataclass(frozen=True)
class Call:
    """A call with its answer (`result`, `total`, `next`, `time`), alone or in a batch."""

    method: str
    params: dict[str, Any]
    answer: dict[str, Any]


def calls_of(request: HttpRequest, answered: HttpAnswer) -> Iterator[Call]:
    """The calls of a request; the answer of one that was refused has its `error` alone."""
    method = request.path.strip("/").rsplit("/", 1)[-1]
    params, body = json.loads(request.body), json.loads(answered.body)
    yield Call(method, params, body)
    if method == "batch":
        parts = {key: value or {} for key, value in body["result"].items()}
        for name, command in params["cmd"].items():
            inner, _, query = command.partition("?")
            answer = {
                key: parts[part][name]
                for key, part in (
                    ("error", "result_error"),
                    ("result", "result"),
                    ("total", "result_total"),
                    ("next", "result_next"),
                    ("time", "result_time"),
                )
                if name in parts[part]
            }
            yield Call(inner, parse_query(query), answer)


@pytest.fixture(scope="module")
def calls(bitrix24_spec: Mapping[str, Any], tmp_path_factory: pytest.TempPathFactory) -> list[Call]:
    """All that syncs of every kind and the doctor send, with the demo portal's answers."""
    phone = {"ID": "1", "VALUE_TYPE": "WORK", "VALUE": "+79990000000", "TYPE_ID": "PHONE"}
    folder = write_portal(
        tmp_path_factory.mktemp("portal"),
        leads=[
            lead(n, name="Пелагея", fm=[phone], UF_CRM_CITY="Казань", createdTime=time)
            for n, time in enumerate([T0] * 59 + [T1] * 11, start=1)
        ],
        deals=[
            deal(1, leadId=7, contactIds=[2], contactId=2, opportunity=100.5),
            deal(2, stageId="WON", stageSemanticId="S", closed="Y", createdTime=T1, companyId=5),
        ],
        contacts=[
            {"id": 2, "name": "Пелагея", "createdTime": T0, "updatedTime": T0, "fm": [phone]}
        ],
        companies=[{"id": 5, "title": "Ромашка", "createdTime": T1, "updatedTime": T1}],
        lead_stage_history=[lead_visit(n, n, "NEW", "P", T0) for n in range(1, 71)],
        deal_stage_history=[deal_visit(1, 1, "NEW", "P", T0), deal_visit(2, 2, "WON", "S", T1)],
        activities=[
            {"ID": 1, "OWNER_ID": 1, "OWNER_TYPE_ID": 2, "COMPLETED": "N", "CREATED": T0},
        ],
        lead_addresses=[{"ID": 7, "ADDRESS_CITY": "Казань"}],
        categories=[
            {"id": 0, "name": "Продажи", "sort": 100, "isDefault": "Y"},
            {"id": 3, "name": "Сервис", "sort": 200, "isDefault": "N"},
        ],
        currencies=[row | {"FULL_NAME": "Валюта", "DECIMALS": "2"} for row in CURRENCIES],
        departments=[
            {"ID": "1", "NAME": "Продажи", "SORT": 500},
            *(
                {"ID": str(n), "NAME": f"Сервис {n}", "SORT": 500, "PARENT": "1"}
                for n in range(2, 61)
            ),
        ],
        users=[USERS[0] | {"SECOND_NAME": "Ивановна", "WORK_POSITION": "менеджер"}],
        statuses=[*STATUSES, *(status(n, "SOURCE", f"S{n}") for n in range(8, 70))],
    )
    warehouse = Warehouse(folder / "data")
    defaults = Settings.load().model_dump() | {"pii": "full"}
    settings = Settings.model_validate(defaults)
    unknown = Settings.model_validate(defaults | {"paid_stages": ["UC_TYPO"]})
    found: list[Call] = []
    with serve(folder) as portal:
        answer = portal.answer

        def noted(request: HttpRequest) -> HttpAnswer:
            answered = answer(request)
            assert answered.status == 200, answered.body
            found.extend(calls_of(request, answered))
            return answered

        portal.answer = noted  # type: ignore[method-assign]
        client = Client(portal.webhook_url, per_second=0)
        list(examine(client, warehouse, settings))
        since = extract(client, warehouse, settings, Options(history_from=BETWEEN))
        complete(warehouse, since.refresh_no)
        with pytest.raises(SettingsError, match="UC_TYPO"):
            extract(client, warehouse, unknown)
        portal.change("leads", 65, {"UF_CRM_CITY": "Омск"})
        portal.delete("leads", [64, 66])
        portal.delete("contacts", 2)
        portal.set_rights(hidden_deals=[2])
        with pytest.raises(Bitrix24Error, match="hidden from"):
            extract(client, warehouse, settings)
        portal.set_rights()
        client.call("crm.item.get", {**DEALS.params, "id": 2})
        portal.upsert("lead_addresses", {"ID": 65, "ADDRESS_CITY": "Омск"})
        complete(warehouse, extract(client, warehouse, settings).refresh_no)
        list(examine(client, warehouse, settings))
    return found


Spec = Mapping[str, Mapping[str, Any]]
TYPES: dict[str, type | tuple[type, ...]] = {
    "integer": int,
    "string": str,
    "boolean": bool,
    "array": list,
    "object": dict,
}


def is_of(value: Any, base: str) -> bool:
    """Whether JSON holds a value of a type; PHP writes an empty object as an empty list."""
    if base == "integer" and isinstance(value, str):
        # In a query, as commands of a batch are, all values are texts.
        return value.lstrip("-").isdigit()
    is_one = isinstance(value, TYPES[base]) and (base == "boolean" or not isinstance(value, bool))
    return is_one or (base == "object" and value == [])


def kinds(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Path and JSON type of all that a value holds; what is empty is of no type."""
    if isinstance(value, dict):
        yield path, "object"
        for key, inner in value.items():
            yield from kinds(inner, f"{path}.{key}")
    elif isinstance(value, list) and value:
        yield path, "array"
        for inner in value:
            yield from kinds(inner, f"{path}[]")
    elif isinstance(value, bool | str):
        yield path, type(value).__name__
    elif isinstance(value, int | float):
        yield path, "number"


def names_of(spec: Spec, method: str) -> set[str]:
    """Fields that a description knows; those of crm.item.* stand in three of them."""
    of_items = ("crm.item.list", "crm.item.get", "crm.item.fields")
    names: set[str] = set()
    for described in of_items if method.startswith("crm.item.") else (method,):
        names.update(spec[described].get("entityFields") or [])
        example = kinds(spec[described].get("resultExample"))
        names.update(path.rsplit(".", 1)[-1] for path, _ in example)
    return names


def differences(spec: Spec, call: Call) -> Iterator[str]:
    """What differs from the description of the method."""
    yield from differences_of_request(spec[call.method], call)
    if "error" in call.answer:
        # Which codes there are its page alone tells.
        return
    yield from differences_of_answer(spec[call.method], call)
    known = names_of(spec, call.method)
    for name in {*asked_of(call.params), *(key for row in rows_of(call) for key in row)}:
        if name not in known and not name.lower().startswith("uf"):
            yield f"field {name}"


def rows_of(call: Call) -> list[dict[str, Any]]:
    """The rows of a list; of another method none."""
    result = call.answer["result"]
    lists = [result, *(result.values() if isinstance(result, dict) else ())]
    return next((rows for rows in lists if isinstance(rows, list)), [])


def asked_of(params: Mapping[str, Any]) -> Iterator[str]:
    """Fields that a list is asked for, filtered and sorted by."""
    if isinstance(params.get("select"), list):
        yield from params["select"]
    yield from (key.lstrip("!=%@<>") for key in params.get("filter", {}))
    if isinstance(params.get("order"), dict):
        yield from params["order"]
    if "sort" in params:
        yield params["sort"]


def differences_of_request(described: Mapping[str, Any], call: Call) -> Iterator[str]:
    takes = {one["name"]: one for one in described["params"]}
    for name, value in call.params.items():
        if name not in takes:
            yield f"parameter {name}"
        elif not is_of(value, takes[name]["base"]):
            yield f"type of parameter {name}"
    for name, one in takes.items():
        if one["required"] and name not in call.params:
            yield f"required {name}" if described["requiredConvention"] else "required parameters"


def differences_of_answer(described: Mapping[str, Any], call: Call) -> Iterator[str]:
    outer = ("result", "total", "next", "time")
    gives = {one["name"]: one["base"] for one in described["returns"]}
    inner = gives.keys() - set(outer)
    for name, value in call.answer.items():
        if name not in gives:
            yield f"answer has {name}"
        elif not is_of(value, gives[name]):
            yield f"type of {name}"
    result = call.answer["result"]
    if inner and (not isinstance(result, dict) or result.keys() != inner):
        yield f"keys of result are not {', '.join(sorted(inner))}"
    for name in inner & set(result if isinstance(result, dict) else ()):
        if not is_of(result[name], gives[name]):
            yield f"type of {name}"
    example: dict[str, set[str]] = {}
    for path, kind in kinds(described.get("resultExample")):
        example.setdefault(path, set()).add(kind)
    typed = {f".{name}" for name in outer} | {f".result.{name}" for name in inner}
    for path, kind in set(kinds(call.answer)):
        if path not in typed and kind not in example.get(path, {kind}):
            yield f"{path.lstrip('.')} is {kind}"


def test_requests_and_answers_fit_the_descriptions(bitrix24_spec: Spec, calls: list[Call]) -> None:
    asked = {call.method for call in calls}
    assert asked - bitrix24_spec.keys() == WITHOUT_DESCRIPTION.keys()
    found = {
        (call.method, difference)
        for call in calls
        if call.method in bitrix24_spec
        for difference in differences(bitrix24_spec, call)
    }
    new = sorted(found - GAPS.keys())
    assert not new, "\n".join(map(str, new))
    closed = sorted(GAPS.keys() - found)
    assert not closed, "\n".join(map(str, closed))


def test_records_by_their_id_are_given_refused_and_not_found(calls: list[Call]) -> None:
    told = [call.answer.get("error", {}) for call in calls if call.method == "crm.item.get"]
    assert {error.get("error") for error in told} == {None, "ACCESS_DENIED", "NOT_FOUND"}


def test_original_names_of_user_fields_are_never_asked_for(calls: list[Call]) -> None:
    """Portals answer them with empty rows: github.com/bitrix-tools/b24-rest-docs/issues/368."""
    lists = [call.params for call in calls if call.method == "crm.item.list"]
    assert any("ufCrmCity" in params.get("select", []) for params in lists)
    for call in calls:
        assert "useOriginalUfNames" not in call.params
        assert not [name for name in asked_of(call.params) if name.startswith("UF_CRM_")]


ITEM = {"id": 1, "opportunity": 5, "stageId": "NEW"}


@pytest.mark.parametrize(
    ("params", "answer", "told"),
    [
        ({"entityTypeId": 1, "select": ["id"]}, {"result": {"items": [ITEM]}}, set()),
        ({"select": ["id"]}, {"result": {"items": []}}, {"required entityTypeId"}),
        ({"entityTypeId": "x"}, {"result": {"items": []}}, {"type of parameter entityTypeId"}),
        ({"entityTypeId": 1, "selct": []}, {"result": {"items": []}}, {"parameter selct"}),
        (
            {"entityTypeId": 1, "select": "id", "filter": {">dateCreate": 1}},
            {"result": {"items": []}},
            {"type of parameter select", "field dateCreate"},
        ),
        (
            {"entityTypeId": 1},
            {"result": [ITEM]},
            {"type of result", "keys of result are not items"},
        ),
        ({"entityTypeId": 1}, {"result": {"items": {}}}, {"type of items"}),
        ({"entityTypeId": 1}, {"result": {"items": []}, "count": 1}, {"answer has count"}),
        ({"entityTypeId": 1}, {"result": {"items": []}, "total": "many"}, {"type of total"}),
        (
            {"entityTypeId": 1},
            {"result": {"items": [ITEM | {"opportunity": "5.00", "STAGE_ID": "NEW"}]}},
            {"result.items[].opportunity is str", "field STAGE_ID"},
        ),
    ],
)
def test_a_difference_is_told(
    bitrix24_spec: Spec, params: dict[str, Any], answer: dict[str, Any], told: set[str]
) -> None:
    assert set(differences(bitrix24_spec, Call("crm.item.list", params, answer))) == told
