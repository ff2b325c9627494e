"""The small files: stages and sources, pipelines, people, currencies, field descriptions."""

from __future__ import annotations

from typing import Any

from scripts.demo_company.stages import CATEGORIES, DEAL_STAGES, LEAD_STAGES, Stage
from scripts.demo_company.vocabulary import (
    AREA_FIELD,
    CURRENCIES,
    DEPARTMENTS,
    DIRECTION_FIELD,
    DIRECTIONS,
    EMPLOYEES,
    IDLE_SOURCE,
    LANDING_FIELD,
    MEASURE_FIELD,
    REPEAT_SOURCE,
    SERVICES,
    SERVICES_FIELD,
    SOURCES,
)

Row = dict[str, Any]


def statuses() -> list[Row]:
    """`crm.status.list`: lead statuses, deal stages of every pipeline, sources, types."""
    groups: list[tuple[str, str | None, list[Stage]]] = [("STATUS", None, list(LEAD_STAGES))]
    for number, _ in CATEGORIES:
        entity = "DEAL_STAGE" if number == 0 else f"DEAL_STAGE_{number}"
        stages = [stage for stage in DEAL_STAGES if stage.category == number]
        groups.append((entity, str(number) if number else None, stages))
    rows: list[Row] = []
    for entity, category, stages in groups:
        listed = [stage for stage in stages if not stage.deleted]
        for place, stage in enumerate(listed, 1):
            meaning = {None: "process", "S": "success", "F": "failure"}[stage.semantics]
            extra = {"SEMANTICS": "apology" if stage.apology else meaning, "COLOR": stage.color}
            row = _status(entity, stage.code, stage.name, place, system="UC_" not in stage.code)
            row |= {"CATEGORY_ID": category, "COLOR": stage.color, "SEMANTICS": stage.semantics}
            rows.append(row | {"EXTRA": extra})
    sources = [(source.code, source.name) for source in SOURCES if source.code]
    sources += [(REPEAT_SOURCE, "Повторные продажи"), IDLE_SOURCE]
    words = {
        "SOURCE": sources,
        "DEAL_TYPE": [("SALE", "Продажа"), ("SERVICE", "Услуга")],
        "CONTACT_TYPE": [("CLIENT", "Клиент"), ("PARTNER", "Партнёр")],
        "COMPANY_TYPE": [("CUSTOMER", "Клиент"), ("PARTNER", "Партнёр"), ("OTHER", "Другое")],
    }
    for entity, names in words.items():
        for place, (code, name) in enumerate(names, 1):
            rows.append(_status(entity, code, name, place, system="UC_" not in code))
    return [{"ID": str(number), **row} for number, row in enumerate(rows, 1)]


def _status(entity: str, code: str, name: str, place: int, system: bool) -> Row:
    return {
        "ENTITY_ID": entity,
        "STATUS_ID": code,
        "NAME": name,
        "NAME_INIT": name if system else "",
        "SORT": str(place * 10),
        "SYSTEM": "Y" if system else "N",
        "CATEGORY_ID": None,
        "COLOR": "",
        "SEMANTICS": None,
    }


def categories() -> list[Row]:
    """`crm.category.list` with `entityTypeId` 2."""
    return [
        {
            "id": number,
            "name": name,
            "sort": 100 + 100 * number,
            "entityTypeId": 2,
            "isDefault": "Y" if number == 0 else "N",
        }
        for number, name in CATEGORIES
    ]


def users() -> list[Row]:
    """`user.get`."""
    return [
        {
            "ID": str(person.user_id),
            "ACTIVE": not person.dismissed,
            "NAME": person.name,
            "LAST_NAME": person.last_name,
            "SECOND_NAME": person.second_name,
            "EMAIL": f"user{person.user_id}@example.com",
            "LAST_LOGIN": "",
            "DATE_REGISTER": "2019-02-04T00:00:00+03:00",
            "TIME_ZONE": "",
            "IS_ONLINE": "N",
            "TIMESTAMP_X": {},
            "LAST_ACTIVITY_DATE": {},
            "PERSONAL_GENDER": "F" if person.woman else "M",
            "PERSONAL_BIRTHDAY": "",
            "WORK_POSITION": person.position,
            "UF_EMPLOYMENT_DATE": "",
            "UF_DEPARTMENT": list(person.departments),
            "USER_TYPE": "employee",
        }
        for person in EMPLOYEES
    ]


def departments() -> list[Row]:
    """`department.get`."""
    return [
        {
            "ID": str(number),
            "NAME": name,
            "SORT": 500,
            **({"PARENT": str(parent)} if parent else {}),
        }
        for number, name, parent in DEPARTMENTS
    ]


def currencies() -> list[Row]:
    """`crm.currency.list`: `AMOUNT` roubles for `AMOUNT_CNT` units."""
    names = {"RUB": "Российский рубль", "USD": "Доллар США", "EUR": "Евро", "KZT": "Тенге"}
    rows = []
    for place, (code, _, price) in enumerate(CURRENCIES, 1):
        units = 100 if price < 1 else 1
        rows.append(
            {
                "CURRENCY": code,
                "AMOUNT_CNT": str(units),
                "AMOUNT": f"{price * units:.4f}",
                "SORT": str(place * 100),
                "BASE": "Y" if code == "RUB" else "N",
                "FULL_NAME": names[code],
                "LID": "ru",
                "FORMAT_STRING": "# " + code,
                "DEC_POINT": ".",
                "THOUSANDS_SEP": "&nbsp;",
                "DECIMALS": "2",
                "DATE_UPDATE": "2026-01-12T10:00:00+03:00",
            }
        )
    return rows


# Name in crm.item.list: name in crm.item.fields' `upperName`, type, label.
STANDARD_FIELDS = {
    "id": ("ID", "integer", "ID"),
    "title": ("TITLE", "string", "Название"),
    "createdTime": ("DATE_CREATE", "datetime", "Дата создания"),
    "updatedTime": ("DATE_MODIFY", "datetime", "Дата изменения"),
    "assignedById": ("ASSIGNED_BY_ID", "user", "Ответственный"),
    "opportunity": ("OPPORTUNITY", "double", "Сумма"),
    "currencyId": ("CURRENCY_ID", "crm_currency", "Валюта"),
    "sourceId": ("SOURCE_ID", "crm_status", "Источник"),
}


def fields() -> list[Row]:
    """`crm.item.fields` of leads and deals, user fields included."""
    standard = {
        name: {
            "type": kind,
            "isRequired": False,
            "isReadOnly": name in ("id", "createdTime", "updatedTime"),
            "isImmutable": False,
            "isMultiple": False,
            "isDynamic": False,
            "title": label,
            "upperName": upper,
        }
        for name, (upper, kind, label) in STANDARD_FIELDS.items()
    }
    lead = {LANDING_FIELD: _user_field(LANDING_FIELD, "string", "Посадочная страница")}
    deal = {
        DIRECTION_FIELD: _user_field(
            DIRECTION_FIELD, "enumeration", "Направление", items=DIRECTIONS
        ),
        SERVICES_FIELD: _user_field(
            SERVICES_FIELD, "enumeration", "Услуги", multiple=True, items=SERVICES
        ),
        MEASURE_FIELD: _user_field(MEASURE_FIELD, "date", "Дата замера"),
        AREA_FIELD: _user_field(AREA_FIELD, "integer", "Площадь, м²"),
    }
    return [
        {"entityTypeId": 1, "fields": standard | lead},
        {"entityTypeId": 2, "fields": standard | deal},
    ]


def _user_field(
    code: str,
    kind: str,
    label: str,
    multiple: bool = False,
    items: tuple[tuple[int, str], ...] = (),
) -> Row:
    field: Row = {
        "type": kind,
        "isRequired": False,
        "isReadOnly": False,
        "isImmutable": False,
        "isMultiple": multiple,
        "isDynamic": True,
        "title": label,
        "upperName": code,
        "listLabel": label,
        "formLabel": label,
        "filterLabel": label,
        "settings": {},
    }
    if items:
        field["items"] = [{"ID": str(number), "VALUE": name} for number, name in items]
    return field
