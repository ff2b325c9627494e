"""Money spent on advertising: its days, its value in base currency, and what it is of."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from decimal import ROUND_DOWN, Decimal
from typing import Any
from urllib.parse import unquote
from zoneinfo import ZoneInfo

import polars as pl

from tests.support.calculation.portal import Portal, Row, line, start_of, text
from tests.support.calculation.reference import Rates, Reference, to_base
from tests.support.calculation.settings import Settings

UTM = ("utm_source", "utm_medium", "utm_campaign", "utm_content", "utm_term")
NOT_MATCHED = "не сопоставлено"
KOPECK = Decimal("0.01")
DAY = timedelta(days=1)
INSTANT = timedelta(microseconds=1)
# {campaign_id} of Yandex Direct, {{campaign_id}} of VK.
PLACEHOLDER = r"\{+[^{}]+\}+"

AD_COSTS: dict[str, Any] = {
    "file": pl.String,
    "line_number": pl.Int64,
    "source_code": pl.String,
    "matched_source_id": pl.String,
    "source_name": pl.String,
    **dict.fromkeys(UTM, pl.String),
    "match_kind": pl.String,
    "rule_number": pl.Int64,
    "currency_code": pl.String,
    "is_cost_unknown": pl.Boolean,
    "cost": pl.Decimal(18, 6),
    "vat_percent": pl.Decimal(5, 2),
    "base_cost": pl.Decimal(20, 2),
    "clicks": pl.Int64,
    "cost_date": pl.Date,
}

# How a row was matched, the source, and the number of the rule.
Match = tuple[str, str | None, int | None]


def ad_costs(
    portal: Portal,
    settings: Settings,
    reference: Reference,
    rates: Rates,
    leads: Iterable[Mapping[str, Any]],
) -> pl.DataFrame:
    """One row per row of the spend files and day, as `AD_COSTS` says."""
    zone = ZoneInfo(settings.portal_timezone)
    base = next((str(r["CURRENCY"]) for r in portal.currencies if r.get("BASE") == "Y"), None)
    labels = _Labels(portal, settings, [lead for lead in leads if lead["counts"]])
    found = []
    for row in portal.ad_costs:
        kind, source_id, rule = labels.match(row)
        currency = text(row.get("currency_code"))
        code = currency.upper() if currency else base
        percent = row.get("vat_percent") or Decimal(0)
        about = {
            "file": row["file"],
            "line_number": row["line_number"],
            "source_code": line(row.get("source_code")),
            "matched_source_id": source_id,
            "source_name": reference.source_name(source_id) if source_id else NOT_MATCHED,
            **{name: labels.spelling(name, row) or NOT_MATCHED for name in UTM},
            "match_kind": kind,
            "rule_number": rule,
            "currency_code": code,
            "vat_percent": percent,
        }
        for day, cost, clicks in _days(row):
            rate = rates.at(code, start_of(day + DAY, zone) - INSTANT)
            known = to_base(cost * (100 + percent) / 100, rate) if cost else Decimal(0)
            found.append(
                about
                | {"cost_date": day, "cost": cost, "clicks": clicks, "base_cost": known}
                | {"is_cost_unknown": known is None}
            )
    return pl.DataFrame(found, schema=AD_COSTS)


def _days(row: Row) -> Iterator[tuple[date, Decimal, int | None]]:
    """Days of a row, each with its whole kopecks and clicks; what is left over is of the first."""
    first, last = row["date_from"], row["date_to"]
    days = [first + DAY * n for n in range((last - first).days + 1)]
    whole = abs(row["cost"]).quantize(KOPECK, ROUND_DOWN)
    parts = [part * KOPECK for part in _parts(int(whole / KOPECK), len(days))]
    parts[0] += abs(row["cost"]) - whole
    clicks = row.get("clicks")
    clicked = [None] * len(days) if clicks is None else _parts(clicks, len(days))
    sign = -1 if row["cost"] < 0 else 1
    for day, part, count in zip(days, parts, clicked, strict=True):
        yield day, sign * part, count


def _parts(number: int, parts: int) -> list[int]:
    share, over = divmod(number, parts)
    return [share + (place < over) for place in range(parts)]


def folded(label: Any) -> str | None:
    """A label as it is compared: decoded, without double blanks, in lower case."""
    if label is None:
        return None
    try:
        decoded = unquote(str(label).replace("+", " "), errors="strict")
    except UnicodeDecodeError:
        decoded = str(label)
    seen = line(decoded)
    return seen.lower() if seen else None


def _pattern(label: str, any_text: str) -> re.Pattern[str]:
    """What fits a label in which some parts stand for any text."""
    return re.compile(".*".join(map(re.escape, re.split(any_text, label))), re.DOTALL)


class _Labels:
    """What the labels of spend rows name, by the leads that count."""

    def __init__(self, portal: Portal, settings: Settings, leads: list[Mapping[str, Any]]) -> None:
        self.rules = settings.spend_rules
        # Leads by folded UTM source and source.
        self.sources = Counter(
            (folded(lead["utm_source"]), lead["source_id"]) for lead in leads if lead["source_id"]
        )
        # The first of the spellings that the files have, by folded label.
        self.stated: dict[str, dict[str | None, str]] = {name: {} for name in UTM}
        for name, by_label in self.stated.items():
            for value in sorted({line(row.get(name)) or "" for row in portal.ad_costs} - {""}):
                by_label.setdefault(folded(value), value)
        # The spelling that most leads have, by folded label.
        self.spellings: dict[str, dict[str, str]] = {}
        for name in UTM:
            counts = Counter(lead[name] for lead in leads if lead[name])
            known = self.spellings[name] = {}
            for value in sorted(counts, key=lambda value: (-counts[value], value)):
                if (label := folded(value)) is not None:
                    known.setdefault(label, value)
        directory = [row for row in portal.statuses if row["ENTITY_ID"] == "SOURCE"]
        self.ids = [code for row in directory if (code := text(row["STATUS_ID"]))]
        self.ids_of_leads = sorted({lead["source_id"] for lead in leads if lead["source_id"]})
        names = [(folded(line(row["NAME"])), text(row["STATUS_ID"])) for row in directory]
        times = Counter(name for name, _ in names)
        self.names = {name: code for name, code in names if name and times[name] == 1}

    def fits(self, name: str, label: str) -> set[str]:
        """Folded labels of leads that a label of a file means."""
        own = folded(label)
        if own is None:
            return set()
        known = self.spellings[name]
        rest = re.sub(PLACEHOLDER, "", own)
        if rest == own or text(rest) is None:
            return {own} & known.keys()
        pattern = _pattern(own, PLACEHOLDER)
        return {label for label in known if pattern.fullmatch(label)}

    def spelling(self, name: str, row: Row) -> str | None:
        """The label as leads have it, else the first of the files' spellings."""
        stated = line(row.get(name))
        if stated is None:
            return None
        own = folded(stated)
        found = self.fits(name, stated)
        known = self.spellings[name]
        if own in found:
            return known[own]
        if len(found) == 1:
            return known[found.pop()]
        return self.stated[name][own] if own else stated

    def named(self, word: str | None) -> tuple[str, str] | None:
        """A source by its ID or name, and which of them it was."""
        own = folded(word)
        if word is None or own is None:
            return None
        for codes in (
            [code for code in (*self.ids, *self.ids_of_leads) if code == word],
            sorted(code for code in self.ids if folded(code) == own),
            [code for code in self.ids_of_leads if folded(code) == own],
        ):
            if codes:
                return codes[0], "source_id"
        return (self.names[own] or "", "source_name") if own in self.names else None

    def match(self, row: Row) -> Match:
        """The first rule, then the code, then the UTM source as ID, name or label of leads."""
        for number, rule in enumerate(self.rules, start=1):
            if all(
                _pattern(folded(wanted) or "", PLACEHOLDER + r"|\*").fullmatch(
                    folded(line(row.get(name))) or ""
                )
                for name, wanted in rule.items()
                if name != "source" and wanted is not None
            ):
                return "rule", str(rule["source"]), number
        code, utm_source = line(row.get("source_code")), line(row.get("utm_source"))
        if by_code := self.named(code):
            return "source_code", by_code[0], None
        if by_utm := self.named(utm_source):
            return by_utm[1], by_utm[0], None
        fits = self.fits("utm_source", utm_source) if utm_source else set()
        sources: Counter[str] = Counter()
        for (label, source_id), count in self.sources.items():
            if label in fits:
                sources[source_id] += count
        if sources:
            return "lead_utm_source", min(sources, key=lambda one: (-sources[one], one)), None
        if fits:
            return "leads_without_source", None, None
        if utm_source:
            return "unknown_utm_source", None, None
        return ("unknown_source_code" if code else "nothing_stated"), None, None
