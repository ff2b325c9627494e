"""What a page says while it is filtered: every figure opens its records, nothing is compared or
left out that should not be."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import duckdb
import pytest
from playwright.sync_api import Locator, Page, expect

from pipelines.metric_sql import filled
from tests.reports.test_page_figures import PERIODS, front_matter
from tests.support.reports_fixtures import Sites, settle, visit

OpenPage = Callable[..., Page]

MARCH = PERIODS["thisMonth"]
# Pages whose figures open their records.
LINKED = ["/", "/sales/", "/marketing/", "/money/", "/forgotten/"]
# Amounts of leads whose column in the list is another than what the lead itself is worth.
LEAD_AMOUNTS = {
    "leads_potential_amount": "potential_amount",
    "sales_amount_of_leads_cohort": "sales_amount",
}
# Amounts per record: the list has what they are made of.
PER_RECORD = ("average_sale", "revenue_per_lead")
TALL = {"viewport": {"width": 1400, "height": 9000}}


@dataclass(frozen=True)
class Site:
    """What the company's site holds."""

    meta: dict[str, Any]
    blocks: list[dict[str, Any]]
    connection: duckdb.DuckDBPyConnection

    def one(self, sql: str, *values: Any) -> Any:
        """The value that the SQL comes to."""
        ((value,),) = self.connection.execute(sql, list(values)).fetchall()
        return value

    def value(self, name: str, place: int = 1) -> str:
        """A value of a filter, by default one that not all records have."""
        (found,) = [one for one in self.meta["filters"] if one["name"] == name]
        return str(found["options"][place]["value"])

    def listed(self, href: str) -> tuple[str, int, float]:
        """Metric, count and sum of the records that an address lists."""
        parts = urlsplit(href)
        asked = parse_qs(parts.query, keep_blank_values=True)
        (block,) = [
            one
            for one in self.blocks
            if one["route"] == parts.path and "[[set" in one.get("sql", "")
        ]
        (listed,) = re.findall(r"\[\[set (\w+)\]\]", block["sql"])
        (found,) = [
            one for one in self.meta["record_sets"][listed] if one["name"] == asked["show"][0]
        ]
        metric = found["name"].removesuffix("_now")
        days = MARCH
        if "period" in asked:
            days = PERIODS[asked["period"][0]]
        elif "from" in asked:
            days = (
                dt.date.fromisoformat(asked["from"][0]),
                dt.date.fromisoformat(asked["to"][0]),
            )
        condition = found["sql"]
        if found["day"]:
            condition += f" and {found['day']} between date '{days[0]}' and date '{days[1]}'"
        sql = block["sql"].replace(f"[[set {listed}]]", f"({condition})")
        sql = re.sub(r"\[\[user_fields \w+\]\]", "", sql)
        column = (
            "base_amount" if listed == "deals" else LEAD_AMOUNTS.get(metric, "opportunity_amount")
        )
        ((count, amount),) = self.connection.execute(
            f"select count(*), sum({column}) from ({filled(sql, where=self.where(parts.path, asked))})"
        ).fetchall()
        return metric, count, float(amount or 0)

    def where(self, route: str, asked: dict[str, list[str]]) -> dict[str, str]:
        """Conditions by target of the filters that a page has."""
        head = front_matter(route)
        names = re.findall(r"\w+", f"{head['filters']} {head.get('more_filters', '')}")
        aliases = dict(re.findall(r"(\w+)=(\w+)", head.get("targets", "")))
        where = {}
        for target in ("leads", "deals", "lead_sales"):
            parts = [
                narrowing(one["columns"][aliases.get(target, target)], asked[name], is_out)
                for one in self.meta["filters"]
                for name, is_out in ((one["name"], False), (f"not_{one['name']}", True))
                if name in asked
                and (one["name"] in names or one.get("user_field"))
                and aliases.get(target, target) in one["columns"]
            ]
            where[target] = " and ".join(parts) or "true"
        return where


def narrowing(column: Any, values: Sequence[str], is_out: bool) -> str:
    """SQL that keeps what has one of the values, or none of them; '' is no value."""
    texts = ", ".join("'" + value.replace("'", "''") + "'" for value in values)
    if isinstance(column, dict) and column.get("each"):
        inside = narrowing("value", values, is_out)
        return f"{column['id']} in (select id from ({column['of']}) where {inside})"
    if isinstance(column, dict):
        found = f"{column['id']} in (select id from ({column['of']}) where value in ({texts}))"
        if "" in values:
            has_any = f"select id from ({column['of']}) where value is not null"
            found = f"({found} or {column['id']} not in ({has_any}))"
    else:
        found = f"coalesce({column}, '') in ({texts})"
    return f"not ({found})" if is_out else found


@pytest.fixture(scope="module")
def site(sites: Sites) -> Iterator[Site]:
    folder = sites.data("company")
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    told = json.loads((sites.folder("company") / "blocks.json").read_text(encoding="utf-8"))
    with duckdb.connect(str(folder / "site.duckdb"), read_only=True) as connection:
        yield Site(meta, told["blocks"], connection)


def unfold(page: Page) -> None:
    page.locator("main details.details:not([open]) > summary").evaluate_all(
        "all => all.forEach((one) => one.click())"
    )
    settle(page)


READ_LINKS = """() => [...document.querySelectorAll('main a[href*="show="]')]
    .filter((link) => !link.closest('.popover'))
    .map((link) => [
        link.closest('[data-block]')?.dataset.block ?? '',
        link.closest('.todo') ? link.querySelector('.todo-text').innerText : link.innerText,
        link.closest('.tile-value, td')?.title.match(/\\d/) ? link.closest('.tile-value, td').title : '',
        link.href,
    ])"""


def links(page: Page) -> set[tuple[str, str, str, str]]:
    """Block, text, exact value and address of each link to records, behind all tabs."""
    found = {tuple(link) for link in page.evaluate(READ_LINKS)}
    for tab in page.locator("[role=tab][aria-selected=false]").all():
        tab.click()
        settle(page)
        found |= {tuple(link) for link in page.evaluate(READ_LINKS)}
    return found


def number(text: str) -> float:
    """The first figure of a text; millions are written as such."""
    found = re.search(r"-?\d[\d\u202f\xa0]*(,\d+)?", text.replace("−", "-"))
    assert found, text
    value = float(re.sub(r"[\u202f\xa0]", "", found[0]).replace(",", "."))
    return value * (1e6 if "млн" in text else 1)


@pytest.mark.parametrize("chosen", ["", "manager", "not_source"])
@pytest.mark.parametrize("route", LINKED)
def test_every_figure_opens_its_records(
    open_page: OpenPage, company: str, site: Site, route: str, chosen: str
) -> None:
    """Tiles, tables with their totals, matrices, funnels, bars: the list behind a count has as many
    records, that behind an amount their sum. Filters that the page has not change neither."""
    choice = {}
    if chosen == "manager":
        # Of one pipeline too: it narrows deals and the sale step.
        names = ("manager", "pipeline", "department")
        choice = {"period": "previousQuarter"} | {name: site.value(name, 0) for name in names}
    elif chosen:
        choice = {"not_source": site.value("source"), "not_deal_stage": site.value("deal_stage")}
        choice |= {"lead_source": "без лида"} if route == "/money/" else {}
    page = open_page(company, f"{route}?{urlencode(choice)}", **TALL)
    unfold(page)
    formats = {name: one["format"] for name, one in site.meta["metrics"].items()}
    wrong, counts, amounts = [], 0, 0
    for block, text, exact, href in sorted(links(page)):
        metric, count, amount = site.listed(href)
        if formats[metric] == "count":
            # A line of what to do begins with who it is about.
            shown = number(text.rpartition(": ")[2])
            counts += 1
            is_right = shown == count
        elif formats[metric] == "amount" and not metric.startswith(PER_RECORD):
            shown = number(exact or text)
            amounts += 1
            # Millions have three digits.
            near = 0.006 if exact else 0.005 * amount if "млн" in text else 0.51
            is_right = abs(shown - amount) <= near
        else:
            # Of a rate or an average the list has what it is made of.
            shown, is_right = number(exact or text), count > 0
        if not is_right:
            wrong.append(f"{block}: {metric} {shown} ({text!r}), listed {count} of {amount}: {href}")
    assert not wrong, "\n".join([f"{len(wrong)} of {counts + amounts}", *wrong[:20]])
    assert chosen or min(counts, amounts) > 0


def test_the_list_shows_what_the_link_promised(
    open_page: OpenPage, company: str, site: Site
) -> None:
    """In the browser too: a list of leads, one of deals, one of deals by their leads."""
    page = open_page(company, f"/marketing/?{urlencode({'source': site.value('source')})}")
    tiles = page.locator('[data-block="tiles"] [data-figure]')
    hrefs = [
        tiles.and_(page.locator(f'[data-figure="{name}"]')).locator(".tile-value a")
        for name in ("leads_received", "sales_of_leads_period")
    ]
    found = [(one.inner_text(), one.evaluate("one => one.href")) for one in hrefs]
    visit(page, f"{company}/sales/")
    one = page.locator('[data-block="strip"] [data-figure="sales_period"] .tile-value a')
    found.append((one.inner_text(), one.evaluate("one => one.href")))
    assert [urlsplit(href).path for _, href in found] == ["/leads/", "/lead_deals/", "/deals/"]
    for text, href in found:
        visit(page, href)
        expect(page.locator("[data-records-count] strong")).to_have_text(text)


def test_the_sale_step_follows_the_pipeline(open_page: OpenPage, company: str, site: Site) -> None:
    """The leads of the funnel stay, those with a sale are those with one in the pipeline."""
    pipeline = site.value("pipeline", 0)
    page = open_page(company, f"/sales/?{urlencode({'period': 'allTime', 'pipeline': pipeline})}")
    leads = "select count(*) from marts.fct_leads where is_counted"
    sold = (
        " and lead_id in (select lead_id from marts.fct_deals where is_counted and is_sale and"
        " case when is_handed_over then sale_pipeline_name else pipeline_name end = ?)"
    )
    expected = {
        "leads_received": site.one(leads),
        "leads_quality_cohort": site.one(f"{leads} and is_quality"),
        "leads_quality_with_sale_cohort": site.one(f"{leads} and is_quality {sold}", pipeline),
    }
    assert expected["leads_quality_with_sale_cohort"] < site.one(
        f"{leads} and is_quality and has_sale"
    )
    for name, count in expected.items():
        step = page.locator(f'[data-step="{name}"] .funnel-value')
        expect(step, name).to_have_text(f"{count:,}".replace(",", "\u202f"))


def test_deals_without_a_lead_are_chosen_where_that_filters_them(
    open_page: OpenPage, company: str, site: Site
) -> None:
    """«без лида» is no source of leads: on the page of leads a click on it does nothing."""
    page = open_page(company, "/marketing/?period=allTime", **TALL)
    row = row_of(page.locator('[data-block="sold"]'), "без лида")
    expect(row).not_to_have_class(re.compile("pickable"))
    expect(row.locator("button.cell")).to_have_count(0)
    row.locator("td").first.click()
    assert "source=" not in page.url
    visit(page, f"{company}/money/?period=allTime")
    row = row_of(page.locator('[data-block="sources"]'), "без лида")
    row.locator("button.cell").click()
    settle(page)
    count = site.one(
        "select count(*) from marts.fct_deals"
        " where is_counted and is_sale and sold_date is not null and lead_source_name = 'без лида'"
    )
    listed = page.locator('[data-block="sales"] [data-records-count] strong')
    expect(listed).to_have_text(f"{count:,}".replace(",", "\u202f"))


def row_of(block: Locator, name: str) -> Locator:
    more = block.get_by_role("button", name=re.compile("^Показать все"))
    if more.count():
        more.click()
    return block.locator("tbody tr").filter(has=block.page.get_by_text(name, exact=True))


def test_the_list_of_marketing_shows_what_is_chosen(
    open_page: OpenPage, company: str, site: Site
) -> None:
    page = open_page(company, "/marketing/", **TALL)
    listed = page.locator('[data-block="leads"] [data-records-count] strong')
    in_work = site.one("select count(*) from marts.fct_leads where is_counted and is_in_work")
    expect(listed).to_have_text(f"{in_work:,}".replace(",", "\u202f"))
    page.locator('[data-record-set="leads"]').select_option("leads_junk")
    junk = site.one(
        "select count(*) from marts.fct_leads where is_counted and is_junk"
        " and created_date between ? and ?",
        *MARCH,
    )
    expect(listed).to_have_text(f"{junk:,}".replace(",", "\u202f"))
    assert parse_qs(urlsplit(page.url).query)["show"] == ["leads_junk"]


def test_a_finished_month_is_compared_with_the_one_before(
    open_page: OpenPage, company: str, site: Site
) -> None:
    """However it was chosen: by preset, by its days, by its bar. January is 31 days, February 28."""
    january = site.one(
        "select count(*) from marts.fct_deals where is_counted and is_sale"
        " and sold_date between date '2026-01-01' and date '2026-01-31'"
    )
    change = '[data-block="strip"] [data-figure="sales_period"] .tile-change'
    page = open_page(company, "/sales/?period=previousMonth")
    expect(page.locator(change)).to_contain_text(f"к {january}")
    visit(page, f"{company}/sales/?from=2026-02-01&to=2026-02-28")
    expect(page.locator(change)).to_contain_text(f"к {january}")
    visit(page, f"{company}/sales/")
    chart = page.locator('[data-block="customers"]')
    chart.get_by_role("button", name="Таблица").click()
    chart.locator("tbody button.cell").nth(-2).click()
    settle(page)
    assert parse_qs(urlsplit(page.url).query) == {"from": ["2026-02-01"], "to": ["2026-02-28"]}
    expect(page.locator(change)).to_contain_text(f"к {january}")
    page.locator('[data-chip="period"]').click()
    expect(page.locator("[data-compared]")).to_have_text("01.01.2026 – 31.01.2026")


def test_stage_figures_of_a_pipeline_stay_when_it_is_chosen(
    open_page: OpenPage, company: str, site: Site
) -> None:
    pipeline = site.value("pipeline", 0)
    address = "/sales/?period=previousQuarter&stages=deals"
    page = open_page(company, address, **TALL)

    def rows() -> list[list[str]]:
        unfold(page)
        table = page.locator('[data-block="deal_stages"] tbody tr')
        return [row.locator("td").all_inner_texts() for row in table.all()]

    whole = [row for row in rows() if row[0] == pipeline]
    visit(page, f"{company}{address}&{urlencode({'pipeline': pipeline})}")
    assert rows() == whole
    assert whole


def test_tiles_follow_the_switch_of_their_table(open_page: OpenPage, company: str) -> None:
    page = open_page(company, "/bridge/?period=previousQuarter")
    tiles = page.locator('[data-block="conversions"] .tile')
    of_leads = tiles.all_inner_texts()
    steps = page.locator('[data-block="steps"].data-table tbody tr').first
    leads = steps.inner_text()
    page.get_by_role("button", name="Сделки", exact=True).click()
    settle(page)
    expect(steps).not_to_have_text(leads)
    assert tiles.all_inner_texts() != of_leads


def test_a_matrix_over_time_has_every_month(open_page: OpenPage, company: str, site: Site) -> None:
    """Also those in which no deal of the choice was created."""
    sparse = site.one(
        "select manager_name from marts.fct_deals where is_counted and is_in_work"
        " group by manager_name having count(distinct date_trunc('month', created_date))"
        " < date_diff('month', min(created_date), max(created_date)) + 1"
        " and date_diff('month', min(created_date), max(created_date)) < 12"
        " order by count(*) desc limit 1"
    )
    query = {"manager": sparse, "potential_grain": "month"}
    page = open_page(company, f"/marketing/?{urlencode(query)}", **TALL)
    unfold(page)
    heads = page.locator('[data-block="potential"] thead th').all_inner_texts()[1:-1]
    months = ["янв", "фев", "мар", "апр", "ма", "июн", "июл", "авг", "сен", "окт", "ноя", "дек"]
    found = [
        next(i for i, month in enumerate(months) if head.lower().startswith(month))
        for head in heads
    ]
    assert len(found) > 2
    steps = {(later - one) % 12 for one, later in zip(found, found[1:], strict=False)}
    assert steps == {1}


def test_the_period_is_off_where_it_does_not_count(open_page: OpenPage, company: str) -> None:
    page = open_page(company, "/forgotten/?period=previousMonth")
    expect(page.locator(".filters .pill.off").first).to_be_visible()
    visit(page, f"{company}/sales/?period=previousMonth")
    expect(page.locator('[data-block="oldest"] [data-note]')).to_contain_text(
        "за всё время, период не учитывается"
    )


def test_closing_time_is_of_deals_closed_in_the_period(
    open_page: OpenPage, company: str, site: Site
) -> None:
    days, count = site.connection.execute(
        "select avg(days_to_close), count(*) from marts.fct_deals where is_counted"
        " and not is_in_work and coalesce(sold_date, failed_date) between date '2026-02-01'"
        " and date '2026-02-28'"
    ).fetchall()[0]
    page = open_page(company, "/sales/?period=previousMonth", **TALL)
    tile = page.locator('[data-block="closing"] [data-figure="days_to_close_avg_period"]')
    expect(tile.locator(".tile-value")).to_contain_text(f"{days:.1f}".replace(".", ","))
    closed = page.locator('[data-block="closing"] [data-figure="deals_closed_period"] .tile-value')
    expect(closed).to_have_text(str(count))


def test_a_potential_says_of_what(open_page: OpenPage, company: str) -> None:
    page = open_page(company, "/marketing/", **TALL)
    unfold(page)
    heads = page.locator('th[data-column$="potential_amount"]').all_inner_texts()
    heads += page.locator('[data-figure$="potential_amount"] .tile-label').all_inner_texts()
    assert heads
    for head in heads:
        assert re.search(r"этих\s(лидов|сделок)", head), head
