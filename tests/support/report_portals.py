"""Portals for the tests of the reports, each after a whole refresh.

`company` is the demo company with the reference month, which every test of figures reads; the
others are the edges: another language, and portals with nothing, little or too much in them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pipelines.warehouse import Warehouse
from scripts.demo_company import generate
from scripts.demo_company.spend import SETTINGS as COMPANY_SPEND
from scripts.demo_portal import serve
from tests.support.commands import run_command
from tests.support.compiled_models import compiled_models
from tests.support.hostile_portal import SETTINGS as WORD_SETTINGS
from tests.support.hostile_portal import lay_out_words
from tests.support.small_portal import (
    USERS,
    deal,
    deal_visit,
    lead,
    lead_visit,
    status,
    write_portal,
)

USER_FIELDS = ["UF_CRM_DIRECTION", "UF_CRM_LANDING"]
# The settings file lies above the folder of the company.
SPEND = {
    "spend": [{**files, "path": f"portal/{files['path']}"} for files in COMPANY_SPEND["spend"]],
    "spend_rules": COMPANY_SPEND["spend_rules"],
}

# Texts that a visitor can write into a form: none may run in a browser or a workbook.
IMAGE = "<img src=x onerror=window.planted=1>"
HOSTILE_TITLES = (
    "<script>window.planted = 1</script>" + IMAGE,
    '=HYPERLINK("https://evil.example/";"Счёт")',
)
HOSTILE_SOURCE = f"Кафе «д'Арк» {IMAGE}"
HOSTILE_CAMPAIGN = f"весна' {IMAGE}"

SOURCES, MANAGERS = 300, 200


def rewrite(file: Path, change: Callable[[int, dict[str, Any]], None]) -> None:
    """Changes the rows of a JSON Lines file in place, each with its number from 0."""
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    for number, row in enumerate(rows):
        change(number, row)
    file.write_text(
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8"
    )


def lay_out_company(folder: Path) -> None:
    """The reference month, with hostile texts where strangers write or names are odd."""
    generate(folder, leads=3000, reference_month=True)
    open_leads = iter(HOSTILE_TITLES)

    def plant(_: int, row: dict[str, Any]) -> None:
        if row.get("stageSemanticId") == "P":
            row["title"] = next(open_leads, row["title"])
        if row.get("utmCampaign") == "vk_novosely":
            row["utmCampaign"] = HOSTILE_CAMPAIGN

    def rename(_: int, row: dict[str, Any]) -> None:
        if row["STATUS_ID"] == "UC_VK":
            row["NAME"] = HOSTILE_SOURCE

    rewrite(folder / "leads.jsonl", plant)
    rewrite(folder / "deals.jsonl", plant)
    rewrite(folder / "statuses.jsonl", rename)


LETTERS = "абвгдеёжзийклмнопрстуфхцчшщъыьэюя"
SOUNDS = "a b v g d e yo zh z i y k l m n o p r s t u f kh ts ch sh shch ' y ' e yu ya"
LATIN = dict(zip(LETTERS, SOUNDS.split(), strict=True)) | {"«": "'", "»": "'", "№": "No"}


def lay_out_english(folder: Path) -> None:
    """A company in whose CRM no letter is Cyrillic: what is on its pages comes from the product."""
    generate(folder, leads=700)
    table = str.maketrans({**LATIN, **{a.upper(): b.title() for a, b in LATIN.items()}})
    for file in folder.glob("*.json*"):
        file.write_text(file.read_text(encoding="utf-8").translate(table), encoding="utf-8")


def lay_out_empty(folder: Path) -> None:
    """Reference data without records."""
    write_portal(folder)


def lay_out_simple(folder: Path) -> None:
    """Simple CRM mode: deal 1 is sold in March, deal 2 is in work, deal 3 failed."""
    won, lost = {"stageId": "WON", "stageSemanticId": "S"}, {"stageId": "LOSE"}

    def at(day: str) -> str:
        return f"2026-{day}T10:00:00+03:00"

    write_portal(
        folder,
        mode=2,
        deals=[
            deal(1, createdTime=at("02-20"), opportunity=1000, contactIds=[1], closed="Y", **won),
            deal(2, createdTime=at("03-05"), opportunity=500, contactIds=[1]),
            deal(3, createdTime=at("03-06"), opportunity=200, closed="Y", **lost)
            | {"stageSemanticId": "F"},
        ],
        deal_stage_history=[
            deal_visit(1, 1, "NEW", "P", at("02-20")),
            deal_visit(2, 1, "WON", "S", at("03-10")),
            deal_visit(3, 2, "NEW", "P", at("03-05")),
            deal_visit(4, 3, "NEW", "P", at("03-06")),
            deal_visit(5, 3, "LOSE", "F", at("03-08")),
        ],
        contacts=[{"id": 1, "createdTime": at("02-20"), "updatedTime": at("02-20")}],
    )


def lay_out_one_day(folder: Path) -> None:
    """What is loaded is one day: two leads and a deal of 31 March; a lead of 2020 is left out."""
    times = ("createdTime", "updatedTime", "movedTime", "lastActivityTime")
    today = dict.fromkeys(times, "2026-03-31T10:00:00+03:00")
    write_portal(
        folder,
        leads=[
            lead(1, **dict.fromkeys(times, "2020-03-31T10:00:00+03:00")),
            lead(3, sourceId="WEB", **today),
            lead(4, **today | {"stageId": "CONVERTED", "stageSemanticId": "S"}),
        ],
        deals=[deal(1, leadId=4, opportunity=700, **today)],
        lead_stage_history=[
            lead_visit(1, 3, "NEW", "P", today["createdTime"]),
            lead_visit(2, 4, "CONVERTED", "S", today["createdTime"]),
        ],
        deal_stage_history=[deal_visit(1, 1, "NEW", "P", today["createdTime"])],
    )


def lay_out_wide(folder: Path) -> None:
    """300 sources and 200 managers, each with records, some with long names."""
    generate(folder, leads=1500)
    long = "с очень длинным названием, которое никто не сокращал"
    sources = [
        status(1000 + n, "SOURCE", f"S{n}")
        | {"NAME": f"Источник {n} {long if n % 10 == 0 else ''}".strip()}
        for n in range(SOURCES)
    ]
    users = [
        USERS[0] | {"ID": str(1000 + n), "NAME": f"Имя{n}", "LAST_NAME": f"Фамилия{n}"}
        for n in range(MANAGERS)
    ]
    for name, rows in (("statuses", sources), ("users", users)):
        with (folder / f"{name}.jsonl").open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)

    def spread(number: int, row: dict[str, Any]) -> None:
        row["sourceId"] = f"S{number % SOURCES}"
        row["assignedById"] = 1000 + number % MANAGERS

    rewrite(folder / "leads.jsonl", spread)
    rewrite(folder / "deals.jsonl", spread)


class Portal(NamedTuple):
    """How a portal is laid out, the language of its report, and what differs."""

    lay_out: Callable[[Path], None]
    language: str = "ru"
    settings: dict[str, Any] = {}  # noqa: RUF012
    options: Sequence[str] = ()


PORTALS = {
    "company": Portal(
        lay_out_company, "ru", {"keep_titles": True, "user_fields": USER_FIELDS, **SPEND}
    ),
    # The columns of the other files are called in Russian.
    "english": Portal(
        lay_out_english,
        "en",
        {"keep_titles": True, "user_fields": USER_FIELDS, "spend": SPEND["spend"][:1]},
    ),
    "empty": Portal(lay_out_empty),
    "simple": Portal(lay_out_simple),
    "one_day": Portal(lay_out_one_day, options=["--history-from", "2026-03-31"]),
    "wide": Portal(lay_out_wide),
    "words": Portal(lay_out_words, "ru", WORD_SETTINGS),
}


def publish_portal(name: str, folder: Path) -> Path:
    """Lays a portal out in the folder and refreshes from it: the folder of what is published."""
    published = folder / "published"
    if published.exists():
        return published
    portal = PORTALS[name]
    (folder / "portal").mkdir(parents=True, exist_ok=True)
    portal.lay_out(folder / "portal")
    settings = folder / "settings.yml"
    settings.write_text(json.dumps(portal.settings), encoding="utf-8")
    with serve(folder / "portal") as address, compiled_models():
        done = run_command(
            Warehouse(folder),
            "refresh",
            "--no-report",
            *portal.options,
            BITRIX24_WEBHOOK_URL=address.webhook_url,
            SETTINGS=str(settings),
            REPORT_LANG=portal.language,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    return published
