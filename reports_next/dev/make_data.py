# ruff: noqa
"""A makeshift until the publication writes the data. Data for trying the shell: `data/<publication>/` and status.json from a published crm.duckdb.

    python reports_next/dev/make_data.py crm.duckdb site-folder

Metric blocks get their SQL from a small table here, not from the semantic layer; the fill of the
placeholders is the same as in shell/sql.js.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import sys
from decimal import Decimal
from pathlib import Path

import duckdb

PUBLICATION = "000001"

# metric: (entity, aggregate, numerator day column, denominator or none, label, format, comparable, records)
METRICS: dict[str, dict] = {
    "leads_received": dict(
        of="leads",
        sql="count(*)",
        day="created",
        label="Поступило",
        format="count",
        records="leads/received",
    ),
    "leads_junk": dict(
        of="leads",
        sql="count(*) filter (where is_junk)",
        day="created",
        label="Некачественные",
        format="count",
        comparable=False,
        records="leads/junk",
    ),
    "leads_quality_cohort": dict(
        of="leads",
        sql="count(*) filter (where is_quality)",
        day="created",
        label="Качественные, от созданных",
        format="count",
        comparable=False,
        records="leads/quality",
    ),
    "leads_in_work": dict(
        of="leads",
        sql="count(*) filter (where is_in_work)",
        day="created",
        label="В работе",
        format="count",
        comparable=False,
        records="leads/in_work",
    ),
    "lead_to_quality_rate_cohort": dict(
        of="leads",
        sql="count(*) filter (where is_quality) / nullif(count(*), 0)",
        day="created",
        label="Качественные, %",
        format="percent",
        comparable=False,
        records="leads/quality",
    ),
    "lead_to_sale_rate_cohort": dict(
        of="leads",
        sql="count(*) filter (where has_sale) / nullif(count(*), 0)",
        day="created",
        label="В продажу, %",
        format="percent",
        comparable=False,
        records="leads/with_sale",
    ),
    "leads_forgotten": dict(
        of="leads",
        sql="count(*) filter (where is_forgotten)",
        day=None,
        label="Забытые лиды",
        format="count",
        comparable=False,
        records="leads/forgotten_now",
    ),
    "leads_potential_amount": dict(
        of="leads",
        sql="sum(potential_amount)",
        day="created",
        label="Потенциал этих лидов",
        format="amount",
        comparable=False,
        records="leads/potential",
    ),
    "deals_created": dict(
        of="deals",
        sql="count(*)",
        day="created",
        label="Создано сделок",
        format="count",
        records="deals/created",
    ),
    "sales_period": dict(
        of="deals",
        sql="count(*) filter (where is_sale)",
        day="sold",
        label="Продажи",
        format="count",
        records="deals/sales_period",
    ),
    "sales_amount_period": dict(
        of="deals",
        sql="coalesce(sum(base_amount) filter (where is_sale), 0)",
        day="sold",
        label="Сумма продаж",
        format="amount",
        records="deals/sales_period",
    ),
    "average_sale_period": dict(
        of="deals",
        sql="sum(base_amount) filter (where is_sale) / nullif(count(base_amount) filter (where is_sale), 0)",
        day="sold",
        label="Средний чек",
        format="amount",
        records="deals/sales_period",
    ),
    "potential_amount": dict(
        of="deals",
        sql="sum(base_amount) filter (where is_in_work)",
        day=None,
        label="В работе, ₽",
        format="amount",
        comparable=False,
        records="deals/in_work_now",
    ),
    "deals_forgotten": dict(
        of="deals",
        sql="count(*) filter (where is_forgotten)",
        day=None,
        label="Забытые сделки",
        format="count",
        comparable=False,
        records="deals/forgotten_now",
    ),
}
DIMENSIONS = {
    "source": ("source_name", "Источник"),
    "manager": ("manager_name", "Менеджер"),
    "city": ("city", "Город"),
    "utm_campaign": ("utm_campaign", "UTM: кампания"),
    "stage": ("stage_name", "Этап"),
    "state": ("state", "Состояние"),
}
FILTERS = [
    ("pipeline", "Воронка", {"deals": "pipeline_name", "lead_deals": "pipeline_name"}),
    (
        "manager",
        "Менеджер",
        {"leads": "manager_name", "deals": "manager_name", "lead_deals": "lead_manager_name"},
    ),
    (
        "source",
        "Источник",
        {"leads": "source_name", "deals": "source_name", "lead_deals": "lead_source_name"},
    ),
    ("city", "Город", {"leads": "city", "deals": "city", "lead_deals": "lead_city"}),
    ("deal_stage", "Этап сделки", {"deals": "pipeline_stage_name"}),
    ("state", "Состояние сделки", {"deals": "state"}),
    ("lead_stage", "Этап лида", {"leads": "stage_name"}),
    ("lead_state", "Состояние лида", {"leads": "state"}),
    ("utm_source", "UTM: источник", {"leads": "utm_source", "deals": "utm_source"}),
    ("utm_campaign", "UTM: кампания", {"leads": "utm_campaign", "deals": "utm_campaign"}),
]
VALUES = {
    "state": {"sale": "Продажа", "failed": "Провалена", "in_work": "В работе"},
    "lead_state": {
        "quality": "Качественные",
        "in_progress": "Взяты в работу",
        "new": "Новые",
        "junk": "Некачественные",
    },
}
TABLES = {
    "leads": "select * exclude (created_at, last_activity_at, next_activity_at, outcome_at, quality_at, first_deal_at, first_sold_at), cast(created_at at time zone 'Europe/Moscow' as time) as created_time from src.marts.fct_leads order by created_date, lead_id",
    "deals": "select * exclude (created_at, last_activity_at, next_activity_at, sold_at, failed_at, lead_created_at), pipeline_name || ' / ' || stage_name as pipeline_stage_name, cast(created_at at time zone 'Europe/Moscow' as time) as created_time, cast(sold_at at time zone 'Europe/Moscow' as time) as sold_time from src.marts.fct_deals order by created_date, deal_id",
}


def metric_sql(names: list[str], by: list[str], grain: bool, order: str | None) -> str:
    columns = [DIMENSIONS[one.split(".")[-1]][0] for one in by]
    parts = []
    keys = [*(["[[grain {day}_date]] as period"] if grain else []), *columns]
    key_names = [*(["period"] if grain else []), *columns]
    groups: dict[tuple[str, str | None], list[str]] = {}
    for name in names:
        groups.setdefault((METRICS[name]["of"], METRICS[name]["day"]), []).append(name)
    for i, ((of, day), group) in enumerate(groups.items()):
        when = (
            ""
            if day is None
            else (
                f"and [[window {day}_date]]" if grain else f"and [[period {day}_date {day}_time]]"
            )
        )
        selected = [
            *[key.format(day=day) for key in keys],
            *[f"{METRICS[n]['sql']} as {n}" for n in group],
        ]
        tail = "group by all" if key_names else ""
        parts.append(
            f"p{i} as (select {', '.join(selected)} from marts.fct_{of} where is_counted {when} and [[where {of}]] {tail})"
        )
    first = "p0"
    joins = ""
    for i in range(1, len(parts)):
        on = (
            " and ".join(f"p0.{key} is not distinct from p{i}.{key}" for key in key_names) or "true"
        )
        joins += f" full join p{i} on {on}"
    select = [
        f"coalesce({', '.join(f'p{i}.{key}' for i in range(len(parts)))}) as {key}"
        for key in key_names
    ]
    sql = f"with {', '.join(parts)} select {', '.join([*select, *names])} from {first}{joins}"
    if grain:
        return sql + " order by period"
    if order:
        sql += (
            f" order by {order.lstrip('-')} {'desc' if order.startswith('-') else 'asc'} nulls last"
        )
    return sql


def between(
    column: str, start: dt.date, end: dt.date, time_column: str | None, until: str | None
) -> str:
    if until and time_column:
        return f"({column} >= date '{start}' and ({column} < date '{end}' or ({column} = date '{end}' and {time_column} <= time '{until}')))"
    return f"{column} between date '{start}' and date '{end}'"


def fill(sql: str, period: tuple, window: tuple, grain: str, as_of: dt.date) -> str:
    def one(match: re.Match) -> str:
        kind, rest = match[1], match[2].split()
        if kind == "where":
            return "true"
        if kind == "user_fields":
            return ""
        if kind == "set":
            return "created_date between date '{}' and date '{}'".format(*period[:2])
        if kind == "period":
            return between(
                rest[0], period[0], period[1], rest[1] if len(rest) > 1 else None, period[2]
            )
        if kind == "window":
            return between(rest[0], window[0], window[1], None, None)
        if kind == "grain":
            return f"cast(date_trunc('{grain}', {rest[0]}) as date)"
        return f"date '{as_of}'"

    return re.sub(
        r"\[\[(where|period|window|grain|set|user_fields|as_of_date)\b([^\]]*)\]\]", one, sql
    )


def value(one: object) -> object:
    if isinstance(one, Decimal):
        return float(one)
    if isinstance(one, (dt.date, dt.datetime, dt.time)):
        return str(one)
    return one


def main(source: str, folder: str) -> None:
    site = Path(folder)
    data = site / "data" / PUBLICATION
    (data / "pages").mkdir(parents=True, exist_ok=True)
    database = data / "site.duckdb"
    database.unlink(missing_ok=True)
    build = duckdb.connect()
    build.execute("install icu; load icu" if False else "select 1")
    build.execute(f"attach '{source}' as src (read_only)")
    build.execute(f"attach '{database}' as site (storage_version 'v1.4.0')")
    build.execute(
        "create schema site.marts; create schema site.quality; create schema site.metrics"
    )
    for of, sql in TABLES.items():
        build.execute(f"create table site.marts.fct_{of} as {sql}")
    for table in ("dim_metrics", "dim_stages", "dim_sources", "dim_managers", "fct_reversals"):
        build.execute(f"create table site.marts.{table} as select * from src.marts.{table}")
    as_of = build.execute(
        "select max(as_of) at time zone 'Europe/Moscow' from src.quality.refreshes"
    ).fetchone()[0]
    build.close()
    site_db = duckdb.connect(str(database), read_only=True)
    today = as_of.date()
    start = today.replace(day=1)
    if today.day <= 7:
        end = start - dt.timedelta(days=1)
        start, preset = end.replace(day=1), "previousMonth"
        before = ((start - dt.timedelta(days=1)).replace(day=1), start - dt.timedelta(days=1), None)
    else:
        end, preset = today, "thisMonth"
        before_start = (start - dt.timedelta(days=1)).replace(day=1)
        last = start - dt.timedelta(days=1)
        same = min(today.day, last.day)
        before = (
            before_start,
            before_start.replace(day=same),
            as_of.strftime("%H:%M:%S") if same == today.day else None,
        )
    period = (start, end, None)
    months = end.year * 12 + end.month - 1 - 11
    window = (dt.date(months // 12, months % 12 + 1, 1), end)

    def run(sql: str, when: tuple, days: tuple, grain: str) -> tuple[list, list]:
        cursor = site_db.execute(fill(sql, when, days, grain, today))
        columns = [{"name": c[0], "type": str(c[1])} for c in cursor.description]
        return columns, [[value(one) for one in row] for row in cursor.fetchall()]

    def result(sql: str, when: tuple = period, days: tuple = window, grain: str = "month") -> dict:
        columns, rows = run(sql, when, days, grain)
        return {"sql": sql, "columns": columns, "rows": rows}

    blocks = json.loads((site / "blocks.json").read_text())["blocks"]
    pages: dict[str, list] = {}
    for block in blocks:
        variants = {}
        if block["kind"] == "metrics":
            grain = (block["grain"] or ["month"])[0]
            for i, by in enumerate(block["by"] or [[]]):
                sql = metric_sql(block["metrics"], by, bool(block["grain"]), block.get("order"))
                variant = result(sql, grain=grain) if i == 0 else {"sql": sql}
                if block["compare"] and i == 0:
                    variant["compare"] = run(
                        sql, before, tuple(day.replace(year=day.year - 1) for day in window), grain
                    )[1]
                if block["total"]:
                    total = metric_sql(block["metrics"], [], False, None)
                    variant["total"] = result(total)
                    if block["compare"]:
                        variant["total"]["compare"] = run(total, before, window, grain)[1]
                if block.get("line"):
                    line = metric_sql(
                        [n for n in block["metrics"] if METRICS[n]["day"]], by, True, None
                    )
                    variant["line"] = result(line)
                variants[", ".join(by)] = variant
        else:
            chain = {one["id"]: one for one in blocks if one["route"] == block["route"]}

            def whole(one: dict) -> str | None:
                sql = one["sql"]
                for name in one["chain"]:
                    inner = whole(chain[name])
                    if inner is None:
                        return None
                    sql = sql.replace("${" + name + "}", f"(\n{inner}\n)")
                return None if one["inputs"] else sql

            sql = whole(block)
            if sql is None:
                continue
            if "list" in block:
                spec = block["list"]
                order = (spec["sort"] or spec["key"] or "1").lstrip("-")
                direction = "desc" if (spec["sort"] or "").startswith("-") else "asc"
                variant = result(
                    f"select * from ({sql}) as records order by {order} {direction} nulls last{', ' + spec['key'] if spec['key'] else ''} limit {spec['rows']}"
                )
                sums = "".join(f", sum({name}) as {name}" for name in spec["sums"])
                variant["total"] = result(
                    f"select count(*) as records{sums} from ({sql}) as records"
                )
                variants[""] = variant
            else:
                try:
                    variants[""] = result(sql)
                except duckdb.Error as error:
                    print(f"{block['file']}:{block['line']}: {error}")
                    continue
        pages.setdefault(block["route"], []).append({"id": block["id"], "variants": variants})
    for route, found in pages.items():
        name = "index" if route == "/" else route.strip("/").replace("/", ".")
        (data / "pages" / f"{name}.json").write_text(
            json.dumps({"blocks": found}, ensure_ascii=False, separators=(",", ":"))
        )

    def options(columns: dict) -> list:
        target, column = next(iter(columns.items()))
        table = "fct_leads" if target == "leads" else "fct_deals"
        rows = site_db.execute(
            f"select coalesce({column}, '') from marts.{table} where is_counted group by 1 order by count(*) desc, 1 limit 1000"
        ).fetchall()
        return [row[0] for row in rows]

    metrics = {}
    told = {
        r[0]: r
        for r in site_db.execute(
            "select metric_name, label_ru, definition_ru, formula from marts.dim_metrics"
        ).fetchall()
    }
    for name, one in METRICS.items():
        _, label, definition, formula = told.get(name, (name, one["label"], "", ""))
        metrics[name] = {
            "label": label,
            "short": one["label"],
            "definition": definition,
            "formula": formula,
            "format": one["format"],
            "comparable": one.get("comparable", True),
            "records": one["records"],
        }
    text = as_of.strftime("%d.%m.%Y %H:%M")
    first = site_db.execute("select min(created_date) from marts.fct_leads").fetchone()[0]
    lead_sets = [
        ("received", "поступившие в периоде", "true", "created_date"),
        ("junk", "некачественные", "is_junk", "created_date"),
        ("quality", "качественные", "is_quality", "created_date"),
        ("in_work", "в работе, из поступивших", "is_in_work", "created_date"),
        ("in_work_now", "в работе сейчас", "is_in_work", None),
        ("forgotten_now", "забытые сейчас", "is_forgotten", None),
        ("with_sale", "с продажей", "has_sale", "created_date"),
    ]
    deal_sets = [
        ("created", "созданные в периоде", "true", "created_date"),
        ("sales_period", "проданные в периоде", "is_sale", "sold_date"),
        ("in_work_now", "в работе сейчас", "is_in_work", None),
        ("forgotten_now", "забытые сейчас", "is_forgotten", None),
    ]
    sets = lambda rows: [{"name": n, "label": l, "sql": s, "day": d} for n, l, s, d in rows]
    meta = {
        "publication": PUBLICATION,
        "as_of": as_of.isoformat(),
        "as_of_text": text,
        "as_of_date": str(today),
        "as_of_time": as_of.strftime("%H:%M:%S"),
        "language": "ru",
        "currency": "RUB",
        "crm_mode": "classic",
        "portal_url": "",
        "first_date": str(first),
        "min_sample": 30,
        "filters": [
            {
                "name": name,
                "label": label,
                "kind": "list",
                "columns": columns,
                "dimensions": {
                    "state": ["deal.state"],
                    "lead_state": ["lead.state"],
                    "lead_stage": ["lead.stage"],
                    "deal_stage": [],
                }.get(name, [f"{e}.{name}" for e in ("lead", "deal")] + [name]),
                "options": [
                    {
                        "value": o,
                        **(
                            {"label": VALUES[name][o]}
                            if name in VALUES and o in VALUES[name]
                            else {}
                        ),
                    }
                    for o in options(columns)
                ],
            }
            for name, label, columns in FILTERS
        ],
        "dimensions": {
            prefix + name: {"label": label}
            for name, (_, label) in DIMENSIONS.items()
            for prefix in ("", "lead.", "deal.")
        },
        "metrics": metrics,
        "record_sets": {"leads": sets(lead_sets), "deals": sets(deal_sets)},
        "default_period": {
            "preset": preset,
            "start": str(start),
            "end": str(end),
            "compare_start": str(before[0]),
            "compare_end": str(before[1]),
            "compare_until": before[2],
        },
    }
    (data / "meta.json").write_text(json.dumps(meta, ensure_ascii=False, separators=(",", ":")))
    (site / "status.json").write_text(
        json.dumps(
            {
                "status": "published",
                "as_of": dt.datetime.now(dt.UTC).isoformat(),
                "as_of_text": text,
                "stale_after_hours": 26,
                "publication": PUBLICATION,
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
