"""A portal in which every text is a hostile word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.hostile_words import BLANKS, LONG, WORDS
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

CREATED, MOVED = "2026-03-05T10:00:00+03:00", "2026-03-20T10:00:00+03:00"
TIMES = {
    "createdTime": CREATED,
    "updatedTime": MOVED,
    "movedTime": MOVED,
    "lastActivityTime": MOVED,
}
UTM = ("utmSource", "utmMedium", "utmCampaign", "utmContent", "utmTerm")

TEXT, LIST, MANY = "UF_CRM_TEXT", "UF_CRM_LIST", "UF_CRM_MANY"
# Fields labelled with words: a few, for every one is a column of the lists.
LABELS = {
    f"UF_CRM_LABEL_{n}": word
    for n, word in enumerate(WORDS)
    if word in ("__proto__", "1e3", "</script></textarea><b>жирный", "{#if planted}", "=1+1", "\\")
}
USER_FIELDS = [TEXT, LIST, MANY, *LABELS]
COMMON = "общее"
SETTINGS = {
    **{"pii": "full", "keep_titles": True, "user_fields": USER_FIELDS},
    **{"lead_stage_outcomes": {"constructor": "junk"}, "paid_stages": ["toString"]},
}


def _fields(entity_type_id: int) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name in USER_FIELDS:
        kind = "enumeration" if name == LIST else "string"
        label = LABELS.get(name, f"Поле {name[7:]}")
        fields[name] = {
            "type": kind,
            "isRequired": False,
            "isReadOnly": False,
            "isImmutable": False,
            "isMultiple": name == MANY,
            "isDynamic": True,
            **dict.fromkeys(("title", "listLabel", "formLabel", "filterLabel"), label),
            "upperName": name,
            "settings": {},
        }
    items = [{"ID": str(n), "VALUE": word} for n, word in enumerate(WORDS, 1)]
    fields[LIST]["items"] = items
    return {"entityTypeId": entity_type_id, "fields": fields}


def _named(n: int, word: str) -> dict[str, list[dict[str, Any]]]:
    """Reference data for a word: the word gives their IDs and codes."""
    own = {"CATEGORY_ID": str(n)}
    return {
        "statuses": [
            status(1000 + n, "SOURCE", f"SOURCE{n}") | {"NAME": word},
            status(2000 + n, "STATUS", f"STAGE{n}") | {"NAME": word},
            status(4000 + n, f"DEAL_STAGE_{n}", f"C{n}:NEW") | own | {"NAME": word},
            status(5000 + n, f"DEAL_STAGE_{n}", f"C{n}:WON", "S") | own,
            status(6000 + n, f"DEAL_STAGE_{n}", f"C{n}:LOSE", "F") | own,
        ],
        "categories": [{"id": n, "name": word, "sort": 100 + n, "isDefault": "N"}],
        "departments": [{"ID": str(n), "NAME": word, "SORT": 500}],
        "users": [
            {
                **{"ID": str(n), "ACTIVE": True, "UF_DEPARTMENT": [n]},
                **{"NAME": word, "LAST_NAME": "", "WORK_POSITION": word},
            }
        ],
    }


def lay_out_words(folder: Path) -> None:
    """Lead n and deal n have word n in every text, and so has everything that they link to.

    Words count from 1. Leads and deals after them have blank texts, the last a text that is too
    long for a cell of a workbook; then come leads from deleted sources whose codes are the words.
    Every third deal is open, the others are sold for n thousand roubles; so is every third lead.
    Nothing stands on the stages that the settings name, whose codes are words.
    """
    tables: dict[str, list[dict[str, Any]]] = {
        "statuses": [
            *STATUSES,
            status(101, "STATUS", "constructor"),
            status(102, "DEAL_STAGE", "toString"),
        ],
        "categories": [{"id": 0, "name": "Продажи", "sort": 100, "isDefault": "Y"}],
        "users": [USERS[0] | {"ID": "1000", "UF_DEPARTMENT": [1000]}],
        "departments": [{"ID": "1000", "NAME": "Продажи", "SORT": 500}],
        "currencies": [{**row, "FULL_NAME": WORDS[0]} for row in CURRENCIES],
        "fields": [_fields(1), _fields(2)],
        **{name: [] for name in ("leads", "deals", "contacts", "lead_addresses")},
        **{name: [] for name in ("lead_stage_history", "deal_stage_history")},
    }
    texts = [*WORDS, *BLANKS, LONG]
    for n, word in enumerate(texts, 1):
        has_name = n <= len(WORDS)
        is_open = n % 3 == 0
        if has_name:
            for name, rows in _named(n, word).items():
                tables[name] += rows
        item = {
            "title": word,
            "sourceId": f"SOURCE{n}" if has_name else None,
            "assignedById": n if has_name else 1000,
            "contactIds": [n],
            "originId": word[:255],
            **dict.fromkeys(UTM, word),
            **{TEXT: word, MANY: [word, COMMON], LIST: n if has_name else None},
            **dict.fromkeys(LABELS, word[:255]),
            **TIMES,
        }
        open_stage = f"STAGE{n}" if has_name else "NEW"
        now = (open_stage, "P") if is_open else ("CONVERTED", "S")
        tables["leads"].append(
            lead(n) | item | dict(zip(("stageId", "stageSemanticId"), now, strict=True))
        )
        tables["lead_addresses"].append({"ID": n, "ADDRESS_CITY": word})
        tables["lead_stage_history"].append(lead_visit(2 * n, n, open_stage, "P", CREATED))
        if not is_open:
            tables["lead_stage_history"].append(lead_visit(2 * n + 1, n, *now, MOVED))

        pipeline = {"CATEGORY_ID": n if has_name else 0}
        prefix = f"C{n}:" if has_name else ""
        now = (f"{prefix}NEW", "P") if is_open else (f"{prefix}WON", "S")
        tables["deals"].append(
            deal(n, leadId=n, opportunity=1000 * n, closed="N" if is_open else "Y")
            | item
            | {"categoryId": pipeline["CATEGORY_ID"], "stageId": now[0], "stageSemanticId": now[1]}
        )
        tables["deal_stage_history"].append(
            deal_visit(2 * n, n, f"{prefix}NEW", "P", CREATED) | pipeline
        )
        if not is_open:
            tables["deal_stage_history"].append(deal_visit(2 * n + 1, n, *now, MOVED) | pipeline)
        tables["contacts"].append({"id": n, "name": word, "comments": word, **TIMES})
    for n, word in enumerate(WORDS, len(texts) + 1):
        tables["leads"].append(lead(n, sourceId=word, assignedById=1000, **TIMES))
    write_portal(folder, **tables)
