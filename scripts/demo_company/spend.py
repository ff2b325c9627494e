"""What the company spends on advertising, as the files that its head of marketing keeps.

A report of Yandex Direct; a file a month in the form of Yandex Metrica, for VKontakte, Avito, 2GIS
and newsletters; a list of invoices, for stands at trade shows and the radio. VKontakte and Avito
bring junk cheaply, trade shows are dear and pay. Nothing is spent on the other sources; no lead
came from the radio yet, and posts in Telegram fit nothing in the CRM.
"""

from __future__ import annotations

import csv
import datetime as dt
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from scripts.demo_company.plan import Plan
from scripts.demo_company.timeline import DAY, WEEKDAYS
from scripts.demo_company.vocabulary import CAMPAIGNS, IDLE_SOURCE, SOURCES

METRICA, DIRECT, INVOICES = "spend/metrica", "spend/direct.csv", "spend/invoices.csv"
# The settings that name the files, as seen from the company's folder.
SETTINGS: dict[str, Any] = {
    "spend": [
        {"path": f"{METRICA}/*.csv", "format": "metrica", "vat": 20},
        {
            "path": DIRECT,
            "format": "plain",
            "columns": {
                "date": "День",
                "utm_campaign": "Кампания",
                "clicks": "Клики",
                "cost": "Расход (руб.)",
            },
            "vat": 20,
        },
        {
            "path": INVOICES,
            "format": "plain",
            "columns": {
                "date": "Период",
                "source": "Источник",
                "cost": "Сумма",
                "currency": "Валюта",
            },
        },
    ],
    # The report of Direct names campaigns and no source.
    "spend_rules": [
        {"utm_campaign": name, "source": "UC_DIRECT"}
        for name in ("poisk_*", "rsya_*", "retarget_*", "brand")
    ],
}

# utm_source → clicks for a lead, roubles for a click.
BY_CLICK = {"yandex": (30, 45.0), "vk": (22, 7.5), "avito": (9, 30.0)}
# utm_source → roubles for a lead, paid for a whole month.
BY_MONTH = {"2gis": 700.0, "newsletter": 110.0}
# Posts in Telegram, once, in roubles for a day's leads.
TELEGRAM_DAY, TELEGRAM = 10, 900.0


class Invoice(NamedTuple):
    """An invoice of every year: its month, days, and units of its currency for a day's leads."""

    month: int
    first: int
    last: int
    source: str
    amount: float
    currency: str


YEARLY = (
    Invoice(2, 10, 13, "TRADE_SHOW", 34_000, "RUB"),
    Invoice(5, 20, 23, "TRADE_SHOW", 210, "EUR"),
    Invoice(10, 14, 17, "TRADE_SHOW", 31_000, "RUB"),
    Invoice(9, 1, 30, IDLE_SOURCE[0], 4_500, "RUB"),
)


class Clicks(NamedTuple):
    """Clicks of one campaign on one day; the cost in kopecks, without VAT."""

    day: dt.date
    utm_source: str
    utm_medium: str
    utm_campaign: str
    clicks: int
    cost: int


def write_spend(folder: Path, plan: Plan) -> None:
    """Writes `settings.yml` and the files that it names."""
    days = [
        dt.date(1970, 1, 1) + dt.timedelta(days=day)
        for day in range(plan.clock.start // DAY, plan.clock.until // DAY + 1)
    ]
    leads = plan.leads.height / len(days)
    clicks = sorted(_clicks(plan.rng("spend"), days, leads))
    settings = json.dumps(SETTINGS, ensure_ascii=False, indent=1)
    (folder / "settings.yml").write_text(settings + "\n", encoding="utf-8")
    (folder / METRICA).mkdir(parents=True, exist_ok=True)
    for old in (folder / METRICA).glob("*.csv"):
        old.unlink()
    for month, of_month in groupby(days, key=lambda day: f"{day:%Y-%m}"):
        span = list(of_month)
        rows: list[tuple[Any, ...]] = [
            (row.day, *row[1:4], _points(row.cost), row.clicks)
            for row in clicks
            if row.utm_source != "yandex" and span[0] <= row.day <= span[-1]
        ]
        rows += _monthly(span, leads)
        if span[-1] == days[-1] and len(span) >= TELEGRAM_DAY:
            cost = _points(round(leads * TELEGRAM) * 100)
            rows.append((span[TELEGRAM_DAY - 1], "telegram", "social", "tg_posevy", cost, ""))
        names = ("Date", "UTMSource", "UTMMedium", "UTMCampaign", "Expenses", "Clicks")
        _write(folder / METRICA / f"{month}.csv", [names, *rows], "utf-8", ",")
    _write(folder / DIRECT, _direct_report(clicks, days), "cp1251", ";")
    _write(folder / INVOICES, _invoices(days, leads), "utf-8-sig", ";")


def _clicks(rng: np.random.Generator, days: Sequence[dt.date], leads: float) -> Iterator[Clicks]:
    """Clicks of the campaigns that cost by the click, as many as bring their share of the leads."""
    share = {source.code: source.share for source in SOURCES}
    for campaign in CAMPAIGNS:
        if campaign.utm_source not in BY_CLICK:
            continue
        a_lead, price = BY_CLICK[campaign.utm_source]
        mean = leads * share[campaign.source] * campaign.share * a_lead
        for day in days:
            count = int(rng.poisson(mean * WEEKDAYS[day.weekday()]))
            cost = round(count * price * 100 * float(np.exp(rng.normal(0.0, 0.12))))
            if count:
                names = (campaign.utm_source, campaign.utm_medium, campaign.utm_campaign)
                yield Clicks(day, *names, count, cost)


def _monthly(span: Sequence[dt.date], leads: float) -> Iterator[tuple[Any, ...]]:
    """Rows of what is paid for a month, in Metrica's form."""
    share = {source.code: source.share for source in SOURCES}
    for campaign in CAMPAIGNS:
        if campaign.utm_source in BY_MONTH:
            brought = leads * len(span) * share[campaign.source] * campaign.share
            cost = _points(round(brought * BY_MONTH[campaign.utm_source]) * 100)
            names = (campaign.utm_source, campaign.utm_medium, campaign.utm_campaign)
            yield (f"{span[0]}/{span[-1]}", *names, cost, "")


def _direct_report(clicks: Sequence[Clicks], days: Sequence[dt.date]) -> Iterator[Sequence[Any]]:
    """The report of Yandex Direct, with its title and its total."""
    rows = [row for row in clicks if row.utm_source == "yandex"]
    yield [f"Отчёт за {days[0]:%d.%m.%Y} - {days[-1]:%d.%m.%Y}"]
    yield ["День", "Кампания", "Клики", "Расход (руб.)"]
    for row in rows:
        yield [f"{row.day:%d.%m.%Y}", row.utm_campaign, row.clicks, _comma(row.cost)]
    total = _comma(sum(row.cost for row in rows))
    yield ["Всего", "", sum(row.clicks for row in rows), total]


def _invoices(days: Sequence[dt.date], leads: float) -> Iterator[Sequence[Any]]:
    yield ["Период", "Источник", "Сумма", "Валюта"]
    for year in range(days[0].year, days[-1].year + 1):
        for one in YEARLY:
            first, last = (dt.date(year, one.month, day) for day in (one.first, one.last))
            if days[0] <= first and last <= days[-1]:
                cost = _comma(round(leads * one.amount) * 100)
                period = f"{first:%d.%m.%Y} - {last:%d.%m.%Y}"
                yield [period, one.source, cost, one.currency]


def _points(kopecks: int) -> str:
    return f"{kopecks // 100}.{kopecks % 100:02}"


def _comma(kopecks: int) -> str:
    return _points(kopecks).replace(".", ",")


def _write(path: Path, rows: Iterable[Sequence[Any]], encoding: str, separator: str) -> None:
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file, delimiter=separator).writerows(rows)
