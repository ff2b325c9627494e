"""Leads, deals and stage visits with every attribute that a metric needs."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from tests.support.calculation.metrics import Facts
from tests.support.calculation.portal import (
    Portal,
    Row,
    business_date,
    instant,
    is_awaited,
    line,
    link,
    links,
    money,
    start_of,
    system_time,
    text,
)
from tests.support.calculation.reference import (
    CREATED_FAILED,
    LEAD_DELETED,
    LEAD_IMPORTED,
    NO_LEAD,
    Rates,
    Reference,
    held,
    to_base,
)
from tests.support.calculation.settings import Settings
from tests.support.calculation.spend import ad_costs
from tests.support.calculation.stages import (
    FAILURE,
    OPEN,
    SUCCESS,
    Step,
    first_of_stay,
    read_history,
    standing_sale,
    visits,
)

LEAD, DEAL = 1, 2
UTM = ("utm_source", "utm_medium", "utm_campaign", "utm_content", "utm_term")
LEAD_DIMENSIONS = (
    "source_id",
    "source_name",
    *UTM,
    "manager_id",
    "manager_name",
    "department_name",
    "city",
)
OUTCOME = {SUCCESS: "quality", FAILURE: "junk", OPEN: "in_work"}
STATE = {SUCCESS: "sale", FAILURE: "failed", OPEN: "in_work"}
MEANING = {"S": SUCCESS, "F": FAILURE, "P": OPEN}
BEGINNING = datetime.min.replace(tzinfo=UTC)
END = datetime.max.replace(tzinfo=UTC)
# A move writes its row of the history within seconds.
ROW_DELAY = timedelta(hours=1)
DAY = timedelta(days=1)

MOMENT = pl.Datetime("us", "UTC")
AMOUNT = pl.Decimal(38, 2)


def calculate(portal: Portal, settings: Settings, as_of: datetime) -> Facts:
    """Calculate everything as of a moment (aware); rows created later are left out."""
    if as_of.tzinfo is None:
        raise ValueError("as_of has no offset")
    return _Calculation(portal, settings, as_of.astimezone(UTC)).facts()


class _Calculation:
    def __init__(self, portal: Portal, settings: Settings, as_of: datetime) -> None:
        self.portal = portal
        self.settings = settings
        self.as_of = as_of
        self.zone = ZoneInfo(settings.portal_timezone)
        self.reference = Reference(portal)
        self.rates = Rates(portal, as_of)
        self.rules = settings.parsed_legacy_rules()
        self.own_companies = {
            int(row["id"]) for row in portal.companies if row.get("isMyCompany") == "Y"
        }
        self.deadlines: dict[tuple[int, int], list[datetime | None]] = {}
        for row in portal.activities:
            if row.get("COMPLETED") == "N" and not is_awaited(instant(row.get("CREATED")), as_of):
                owner = int(row["OWNER_TYPE_ID"]), int(row["OWNER_ID"])
                deadline = instant(row.get("DEADLINE"))
                # What Bitrix24 writes if there is no deadline.
                if deadline and deadline.year == 9999:
                    deadline = None
                self.deadlines.setdefault(owner, []).append(deadline)

    def facts(self) -> Facts:
        """Leads first (deals take their attributes), then deals, then leads' sums of deals."""
        stage_visits: list[dict[str, Any]] = []
        leads = self.leads(stage_visits)
        deals = self.deals({lead["lead_id"]: lead for lead in leads}, stage_visits)
        self.add_deals_to_leads(leads, deals)
        costs = ad_costs(self.portal, self.settings, self.reference, self.rates, leads)
        self.add_ad_costs(leads, deals, costs)
        fields = dict.fromkeys(self.settings.user_fields, pl.String)
        return Facts(
            portal=self.portal,
            settings=self.settings,
            as_of=self.as_of,
            reference=self.reference,
            leads=pl.DataFrame(leads, schema=LEADS | fields),
            deals=pl.DataFrame(deals, schema=DEALS | fields),
            stage_visits=pl.DataFrame(stage_visits, schema=STAGE_VISITS),
            ad_costs=costs,
        )

    def time(self, value: Any) -> datetime | None:
        """A time that the portal sets, if it is possible."""
        return system_time(value, self.zone, self.as_of)

    def living(self, rows: Iterable[Row]) -> list[tuple[Row, int, datetime | None]]:
        """Rows of this sync with ID and time of creation, by ID."""
        found = []
        for row in rows:
            created_at = instant(row.get("createdTime"))
            if created_at is None:
                raise ValueError(f"item {row['id']} has no createdTime")
            if not is_awaited(created_at, self.as_of):
                found.append((row, int(row["id"]), self.time(row["createdTime"])))
        return sorted(found, key=lambda item: item[1])

    def day(self, moment: datetime | None) -> date | None:
        """The day in the portal's timezone."""
        return moment.astimezone(self.zone).date() if moment else None

    def lead_meaning(self, stage_id: str, semantics: str) -> str:
        """The stage's outcome by the setting, else by the semantics."""
        outcome = self.settings.lead_stage_outcomes.get(stage_id)
        named = {"quality": SUCCESS, "junk": FAILURE, "in_work": OPEN}
        return named[outcome] if outcome else MEANING[semantics]

    def deal_meaning(self, stage_id: str, semantics: str) -> str:
        """Sale before failed before in work; a stage named as paid is a sale."""
        return SUCCESS if stage_id in self.settings.paid_stages else MEANING[semantics]

    def item(
        self,
        entity: str,
        row: Row,
        item_id: int,
        created_at: datetime | None,
        steps: list[Step],
    ) -> dict[str, Any]:
        """Attributes that leads and deals have in common."""
        entity_type = LEAD if entity == "lead" else DEAL
        stage_id = str(row["stageId"])
        semantics = self.reference.semantics(entity, row.get("stageSemanticId"), stage_id)
        manager_id = link(row.get("assignedById"))
        last_activity_at = self.time(row.get("lastActivityTime"))
        planned = self.deadlines.get((entity_type, item_id), [])
        created_date = self.day(created_at)
        source_id = text(row.get("sourceId"))
        city_field = self.settings.city_field
        item: dict[str, Any] = {
            "title": line(row.get("title")),
            "created_at": created_at,
            "created_date": created_date,
            "stage_id": stage_id,
            "stage_name": self.reference.stage_name(entity, stage_id),
            "is_known_stage": stage_id in self.reference.stages(entity),
            "has_own_semantics": row.get("stageSemanticId") in ("P", "S", "F"),
            "semantics": semantics,
            "source_id": source_id,
            "source_name": self.reference.source_name(source_id),
            "manager_id": manager_id,
            "manager_name": self.reference.manager_name(manager_id),
            "department_name": self.reference.department_name(manager_id),
            "is_manager_dismissed": self.reference.is_dismissed(manager_id),
            "city": (
                self.reference.decode(entity_type, city_field, row.get(city_field), self.zone)
                if city_field
                else None
            ),
            "currency_code": text(row.get("currencyId")),
            "last_activity_at": last_activity_at,
            "has_planned_activity": bool(planned),
            "next_activity_at": min((at for at in planned if at), default=None),
            "is_legacy": any(
                rule.holds(
                    entity,
                    stage_id,
                    text(row.get("originatorId")),
                    created_date,
                    bool(steps) and steps[0].semantics in ("S", "F"),
                )
                for rule in self.rules
            ),
        }
        for name in UTM:
            word = name.removeprefix("utm_").capitalize()
            item[name] = line(row.get(f"utm{word}"))
        for name in self.settings.user_fields:
            item[name] = self.reference.decode(entity_type, name, row.get(name), self.zone)
        return item

    def add_forgotten(self, item: dict[str, Any], limit_days: int) -> None:
        """Forgotten: in work and quiet for the limit or longer."""
        seen_at = item["last_activity_at"] or item["created_at"]
        is_quiet = bool(seen_at) and self.as_of - seen_at >= timedelta(days=limit_days)
        item["is_inactive"] = item["is_in_work"] and is_quiet
        item["is_forgotten_without_plan"] = item["is_inactive"] and not item["has_planned_activity"]
        item["is_forgotten"] = (
            item["is_forgotten_without_plan"]
            if self.settings.planned_is_not_forgotten
            else item["is_inactive"]
        )

    def add_overdue(self, item: dict[str, Any]) -> None:
        """Overdue: in work, and the earliest deadline lies before the day of the data."""
        today = start_of(self.as_of.astimezone(self.zone).date(), self.zone)
        due = item["next_activity_at"]
        item["is_overdue"] = item["is_in_work"] and due is not None and due < today

    def add_drop(
        self, item: dict[str, Any], is_failed: bool, own_visits: list[dict[str, Any]]
    ) -> None:
        """The last open stage before failing; null for items that did not fail."""
        drop = next((visit for visit in own_visits if visit["is_drop"]), None)
        item["drop_stage_id"] = drop["stage_id"] if drop else None
        name = drop["stage_name"] if drop else CREATED_FAILED
        item["drop_stage_name"] = name if is_failed else None

    def leads(self, stage_visits: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Leads by ID, without the sums of their deals."""
        history = read_history(
            self.portal.lead_stage_history,
            "lead",
            self.reference,
            self.lead_meaning,
            self.as_of,
            self.zone,
        )
        cities = {int(row["ID"]): row.get("ADDRESS_CITY") for row in self.portal.lead_addresses}
        found = []
        for row, lead_id, created_at in self.living(self.portal.leads):
            steps = history.get(lead_id, [])
            lead = {"lead_id": lead_id} | self.item("lead", row, lead_id, created_at, steps)
            if not self.settings.city_field:
                lead["city"] = line(cities.get(lead_id))
            meaning = self.lead_meaning(lead["stage_id"], lead["semantics"])
            outcome_at, outcome_at_source, import_evidence = self.outcome(
                "lead", row, created_at, steps, meaning
            )
            in_work = meaning == OPEN
            lead |= {
                "outcome": OUTCOME[meaning],
                "is_quality": meaning == SUCCESS,
                "is_junk": meaning == FAILURE,
                "is_in_work": in_work,
                "is_new": in_work and lead["stage_id"] == self.reference.first_lead_stage,
                "is_repeat": row.get("isReturnCustomer") == "Y",
                "counts": self.settings.include_legacy or not lead["is_legacy"],
                "outcome_at": outcome_at,
                "outcome_at_source": outcome_at_source,
                "import_evidence": import_evidence,
                "quality_at": outcome_at if meaning == SUCCESS else None,
                "processing_days": None if in_work else _days(created_at, outcome_at),
                "age_days": self.age(created_at) if in_work else _days(created_at, outcome_at),
                "opportunity": held(money(row.get("opportunity"))),
                "opportunity_amount": to_base(
                    money(row.get("opportunity")), self.rates.latest(lead["currency_code"])
                ),
                "company_id": self.company(row),
                "contact_ids": _contacts(row),
            }
            lead["is_in_progress"] = in_work and not lead["is_new"]
            work = "new" if lead["is_new"] else "in_progress"
            lead["state"] = work if in_work else lead["outcome"]
            lead["is_first_time"] = not lead["is_repeat"]
            lead["quality_date"] = self.day(lead["quality_at"])
            self.add_forgotten(lead, self.settings.forgotten_lead_days)
            self.add_overdue(lead)
            lead["is_amount_unknown"] = _is_unknown(lead["opportunity"], lead["opportunity_amount"])
            present = Step(
                self.time(row.get("movedTime")) or created_at,
                lead["stage_id"],
                lead["semantics"],
                meaning,
                None,
            )
            own_visits = visits("lead", lead_id, steps, present, self.reference, self.as_of)
            for visit in own_visits:
                visit["counts"] = lead["counts"]
            self.add_drop(lead, lead["is_junk"], own_visits)
            stage_visits += own_visits
            found.append(lead)
        return found

    def company(self, row: Row) -> int | None:
        """The company, unless it is one of the portal's own legal entities."""
        company_id = link(row.get("companyId"))
        return None if company_id in self.own_companies else company_id

    def deals(
        self, leads: dict[int, dict[str, Any]], stage_visits: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """Deals by ID, templates left out."""
        history = read_history(
            self.portal.deal_stage_history,
            "deal",
            self.reference,
            self.deal_meaning,
            self.as_of,
            self.zone,
        )
        leads_of = _LeadsOfCustomers(leads.values())
        found = []
        for row, deal_id, created_at in self.living(self.portal.deals):
            if row.get("isRecurring") == "Y":
                continue
            steps = history.get(deal_id, [])
            deal = {"deal_id": deal_id} | self.item("deal", row, deal_id, created_at, steps)
            pipeline_id = int(row.get("categoryId") or 0)
            present = Step(
                self.time(row.get("movedTime")) or created_at,
                deal["stage_id"],
                deal["semantics"],
                self.deal_meaning(deal["stage_id"], deal["semantics"]),
                pipeline_id,
            )
            sale = self.sale(steps, present)
            meaning = SUCCESS if sale else present.meaning
            is_of_many = len({pipeline_id, *(step.pipeline_id for step in steps)}) > 1
            outcome_at, outcome_at_source, import_evidence = self.outcome(
                "deal", row, created_at, steps, meaning, sale if is_of_many else None
            )
            if meaning == OPEN:
                outcome_at, outcome_at_source = None, None
            is_sale, is_failed = meaning == SUCCESS, meaning == FAILURE
            amount, currency = money(row.get("opportunity")), deal["currency_code"]
            rate = self.rates.at(currency, outcome_at) if is_sale else self.rates.latest(currency)
            sale_pipeline_id = (sale or present).pipeline_id if is_sale else None
            sale_stage_id = (
                (sale or first_of_stay(steps, SUCCESS) or present).stage_id if is_sale else None
            )
            is_sales_pipeline = self.sells(pipeline_id if not is_sale else sale_pipeline_id)
            is_kept = self.settings.include_legacy or not deal["is_legacy"]
            deal |= {
                "pipeline_id": pipeline_id,
                "pipeline_name": self.reference.pipeline_name(pipeline_id),
                "is_handed_over": is_sale and sale_pipeline_id != pipeline_id,
                "sale_pipeline_id": sale_pipeline_id,
                "sale_pipeline_name": (
                    self.reference.pipeline_name(sale_pipeline_id)
                    if sale_pipeline_id is not None
                    else None
                ),
                "sale_stage_id": sale_stage_id,
                "sale_stage_name": (
                    self.reference.stage_name("deal", sale_stage_id) if sale_stage_id else None
                ),
                "counts_where_it_stands": self.sells(pipeline_id) and is_kept,
                "is_sales_pipeline": is_sales_pipeline,
                "state": STATE[meaning],
                "is_sale": is_sale,
                "is_failed": is_failed,
                "is_in_work": meaning == OPEN,
                "is_closed": meaning != OPEN,
                "counts": is_sales_pipeline and is_kept,
                "sold_at": outcome_at if is_sale else None,
                "sold_at_source": outcome_at_source if is_sale else None,
                "failed_at": outcome_at if is_failed else None,
                "closed_date": self.day(outcome_at),
                "import_evidence": import_evidence,
                "amount": held(amount),
                "base_amount": to_base(amount, rate),
                "days_to_close": _days(created_at, outcome_at),
                "age_days": (
                    self.age(created_at) if meaning == OPEN else _days(created_at, outcome_at)
                ),
                "company_id": self.company(row),
                "contact_ids": _contacts(row),
                "portal_repeat_flag": row.get("isReturnCustomer") == "Y",
                "portal_repeated_approach_flag": row.get("isRepeatedApproach") == "Y",
                "is_reversal": not is_sale and any(s.meaning == SUCCESS for s in steps),
            }
            deal["sold_date"] = self.day(deal["sold_at"])
            deal["failed_date"] = self.day(deal["failed_at"])
            deal["days_to_close_bin"] = _bin(deal["days_to_close"])
            self.add_forgotten(deal, self.settings.forgotten_deal_days)
            self.add_overdue(deal)
            deal["is_amount_unknown"] = _is_unknown(amount, deal["base_amount"])
            self.add_lead(deal, link(row.get("leadId")), leads, leads_of)
            own_visits = visits(
                "deal", deal_id, steps, present, self.reference, self.as_of, sale is not None
            )
            for visit in own_visits:
                visit["counts"] = self.sells(visit["pipeline_id"]) and is_kept
            self.add_drop(deal, is_failed, own_visits)
            stage_visits += own_visits
            found.append(deal)
        self.add_customer_kinds(found)
        return found

    def sells(self, pipeline_id: int | None) -> bool:
        """Whether a pipeline is one of sales; all are where the setting names none."""
        named = self.settings.sales_pipelines
        return not named or pipeline_id in named

    def sale(self, steps: list[Step], present: Step) -> Step | None:
        """The step that sold the deal, where it is a sale that a sales pipeline made.

        A deal that stood in one pipeline alone is a sale where it stands on success, since the
        stay began by the history.
        """
        if any(step.pipeline_id != present.pipeline_id for step in steps):
            return standing_sale([*steps, present], self.sells)
        if present.meaning == SUCCESS:
            return first_of_stay(steps, SUCCESS) or present
        return None

    def age(self, created_at: datetime | None) -> float | None:
        """Days to `as_of`, never below 0."""
        days = _days(created_at, self.as_of)
        return None if days is None else max(days, 0.0)

    def outcome(
        self,
        entity: str,
        row: Row,
        created_at: datetime | None,
        steps: list[Step],
        meaning: str,
        sale: Step | None = None,
    ) -> tuple[datetime | None, str, str | None]:
        """Since when the item has its outcome, the source of that, and signs of an import.

        History, then the last move, then the close date; the row of an import is not a move.
        A deal of several pipelines is sold since `sale`.
        """
        moved = self.time(row.get("movedTime"))
        closed_on, closed_at, source, is_closed = self.closing(entity, row)
        stay = []
        for step in reversed(steps):
            if step.meaning != meaning:
                break
            stay.insert(0, step)
        is_whole = bool(steps) and len(stay) == len(steps)
        if sale is not None:
            stay = [step for step in steps if step is sale]
            is_whole = bool(stay) and steps[0] is sale
        found: tuple[datetime | None, str]
        evidence = None
        if stay and stay[0].at:
            found = stay[0].at, "history"
        elif moved:
            found = moved, "moved_time"
        else:
            found = (closed_at if is_closed else None), source
        begun = steps[0].at if steps else None
        if begun and meaning != OPEN and is_whole:
            first_move = self.first_move(entity, row, meaning, sale is not None)
            if moved and begun - moved > ROW_DELAY:
                evidence, found = "moved_time", (moved, "moved_time")
            elif moved and moved <= begun:
                pass
            elif first_move and begun - first_move > ROW_DELAY:
                evidence, found = "earlier_moved_time", (first_move, "moved_time")
            elif first_move and first_move <= begun:
                pass
            elif created_at and begun - created_at > DAY:
                evidence, found = "created_time", (closed_at, source)
        created_on = self.day(created_at)
        if (
            evidence is None
            and meaning != OPEN
            and is_whole
            and closed_on
            and created_on
            and closed_on < created_on
        ):
            evidence = "close_date"
        at, said_by = found
        return (at, said_by, evidence) if at and at <= self.as_of else (None, "none", evidence)

    def closing(self, entity: str, row: Row) -> tuple[date | None, datetime | None, str, bool]:
        """Day and time of the close date, its name, and whether the item is closed.

        One in the future is a plan, one before 2000 a slip: neither has a time.
        """
        if entity == "lead":
            closed_at = self.time(row.get("dateClosed"))
            found = self.day(closed_at), closed_at, "date_closed", True
        else:
            closed_on = business_date(row.get("closedate"))
            start = start_of(closed_on, self.zone) if closed_on else None
            found = closed_on, self.time(start), "close_date", row.get("closed") == "Y"
        day, moment, name, is_closed = found
        return day, moment if moment and moment <= self.as_of else None, name, is_closed

    def first_move(self, entity: str, row: Row, meaning: str, is_of_many: bool) -> datetime | None:
        """The earliest move that syncs saw since the item has its present outcome.

        For a sale in another pipeline, among all syncs that saw it sold.
        """
        seen = [
            old for kind, old in self.portal.version_log if (kind, old["id"]) == (entity, row["id"])
        ]
        moves = []
        for version in reversed([*seen, row]):
            stage_id = str(version["stageId"])
            semantics = self.reference.semantics(entity, version.get("stageSemanticId"), stage_id)
            meant = self.lead_meaning if entity == "lead" else self.deal_meaning
            if meant(stage_id, semantics) != meaning:
                if is_of_many:
                    continue
                break
            moves.append(self.time(version.get("movedTime")))
        return min((move for move in moves if move), default=None)

    def add_lead(
        self,
        deal: dict[str, Any],
        named: int | None,
        leads: dict[int, dict[str, Any]],
        leads_of: _LeadsOfCustomers,
    ) -> None:
        """Link the deal to its lead, and give it the lead's dimensions."""
        lead = leads.get(named) if named else None
        lead_link = "direct" if lead else "deleted" if named else "none"
        if not named and self.settings.attribution == "customer":
            lead = leads_of.latest_before(deal)
            lead_link = "customer" if lead else "none"
        deal["lead_id"] = lead["lead_id"] if lead else None
        deal["lead_link"] = lead_link
        deal["has_counting_lead"] = bool(lead and lead["counts"])
        for name in LEAD_DIMENSIONS:
            deal[f"lead_{name}"] = lead[name] if lead and lead["counts"] else None
        deal["lead_created_date"] = lead["created_date"] if lead else None
        deal["lead_to_sale_days"] = (
            _days(lead["created_at"], deal["sold_at"]) if lead and lead["counts"] else None
        )
        if lead is None:
            deal["lead_source_name"] = LEAD_DELETED if named else NO_LEAD
        elif not lead["counts"]:
            deal["lead_source_name"] = LEAD_IMPORTED
        if deal["city"] is None and lead:
            deal["city"] = lead["city"]

    def add_customer_kinds(self, deals: list[dict[str, Any]]) -> None:
        """New, repeat or unknown: one pass from the earliest deal on, legacy ones first."""
        only_sales = self.settings.repeat_means == "sale"
        earliest: dict[tuple[str, int], datetime] = {}
        for deal in sorted(
            deals, key=lambda d: (not d["is_legacy"], d["created_at"] or END, d["deal_id"])
        ):
            customers = [("contact", contact_id) for contact_id in deal["contact_ids"]]
            if deal["company_id"]:
                customers.append(("company", deal["company_id"]))
            is_repeat = any(
                customer in earliest
                and (
                    not only_sales
                    or earliest[customer] == BEGINNING
                    or bool(deal["created_at"] and earliest[customer] < deal["created_at"])
                )
                for customer in customers
            )
            deal["customer_kind"] = "repeat" if is_repeat else "new" if customers else "unknown"
            said = deal["portal_repeat_flag"] or (
                not only_sales and deal["portal_repeated_approach_flag"]
            )
            deal["is_repeat_flag_different"] = bool(customers) and said != is_repeat
            moment = deal["sold_at"] if only_sales else deal["created_at"] or END
            if deal["is_legacy"] and (deal["is_sale"] or not only_sales):
                moment = BEGINNING
            if moment is not None:
                for customer in customers:
                    earliest[customer] = min(earliest.get(customer, moment), moment)

    def add_deals_to_leads(self, leads: list[dict[str, Any]], deals: list[dict[str, Any]]) -> None:
        """Counts, sums and first dates of each lead's deals that are in the metrics."""
        of_lead: dict[int, list[dict[str, Any]]] = {}
        for deal in deals:
            if deal["lead_id"] and deal["counts"]:
                of_lead.setdefault(deal["lead_id"], []).append(deal)
        for lead in leads:
            own = of_lead.get(lead["lead_id"], [])
            sales = [deal for deal in own if deal["is_sale"]]
            in_work = [deal for deal in own if deal["is_in_work"]]
            first_sold_at = min((d["sold_at"] for d in sales if d["sold_at"]), default=None)
            first_deal_at = min((d["created_at"] for d in own if d["created_at"]), default=None)
            lead |= {
                "deals_count": len(own),
                "sales_count": len(sales),
                "has_deal": bool(own),
                "has_sale": bool(sales),
                "first_deal_at": first_deal_at,
                "first_deal_date": self.day(first_deal_at),
                "first_sold_at": first_sold_at,
                "first_sold_date": self.day(first_sold_at),
                "sales_amount": _sum(sales),
                "sales_amount_unknown_count": sum(d["is_amount_unknown"] for d in sales),
                "deals_in_work_count": len(in_work),
                "potential_amount": _sum(in_work),
                "potential_amount_unknown_count": sum(d["is_amount_unknown"] for d in in_work),
                "lead_to_sale_days": _days(lead["created_at"], first_sold_at),
            }

    def add_ad_costs(
        self, leads: list[dict[str, Any]], deals: list[dict[str, Any]], costs: pl.DataFrame
    ) -> None:
        """Whether the lead's source has a known cost in the month of the lead, or of the sale."""
        paid = {
            (row["matched_source_id"], row["cost_date"].replace(day=1))
            for row in costs.iter_rows(named=True)
            if row["matched_source_id"] and row["base_cost"]
        }
        for lead in leads:
            day = lead["created_date"]
            lead["has_ad_cost"] = bool(day and (lead["source_id"], day.replace(day=1)) in paid)
        for deal in deals:
            day = deal["sold_date"]
            deal["has_ad_cost"] = bool(day and (deal["lead_source_id"], day.replace(day=1)) in paid)


class _LeadsOfCustomers:
    """Leads of each contact and company, by time of creation."""

    def __init__(self, leads: Iterable[dict[str, Any]]) -> None:
        self._leads: dict[tuple[str, int], list[tuple[datetime, int, dict[str, Any]]]] = {}
        for lead in sorted(leads, key=lambda lead: (lead["created_at"] or END, lead["lead_id"])):
            for customer in self._customers(lead):
                entry = (lead["created_at"] or END, lead["lead_id"], lead)
                self._leads.setdefault(customer, []).append(entry)

    @staticmethod
    def _customers(item: dict[str, Any]) -> list[tuple[str, int]]:
        found = [("contact", contact_id) for contact_id in item["contact_ids"]]
        return [*found, ("company", item["company_id"])] if item["company_id"] else found

    def latest_before(self, deal: dict[str, Any]) -> dict[str, Any] | None:
        """The latest lead of the deal's contacts or company created before the deal."""
        latest: tuple[datetime, int, dict[str, Any]] | None = None
        for customer in self._customers(deal):
            leads = self._leads.get(customer, [])
            before = bisect_left(leads, deal["created_at"] or END, key=lambda entry: entry[0])
            if before and (latest is None or leads[before - 1][:2] > latest[:2]):
                latest = leads[before - 1]
        return latest[2] if latest else None


def _contacts(row: Row) -> list[int]:
    first = link(row.get("contactId"))
    return sorted({*links(row.get("contactIds")), *([first] if first else [])})


def _days(start: datetime | None, end: datetime | None) -> float | None:
    return (end - start).total_seconds() / 86_400 if start and end else None


def _bin(days: float | None) -> str | None:
    """Whole days elapsed: 0–7 means under 8."""
    if days is None:
        return None
    return "0–7" if days < 8 else "8–30" if days < 31 else "31–90" if days < 91 else "91+"


def _sum(deals: list[dict[str, Any]]) -> Decimal | None:
    """Sum of base amounts that are known; 0 of no deals, null where none is known."""
    amounts = [deal["base_amount"] for deal in deals if deal["base_amount"] is not None]
    if not amounts and any(deal["is_amount_unknown"] for deal in deals):
        return None
    return sum(amounts, Decimal(0))


def _is_unknown(amount: Decimal | None, base_amount: Decimal | None) -> bool:
    """Whether sums leave the record out: no amount, or no rate; 0 is 0 in any currency."""
    return base_amount is None and amount != 0


_ITEM: dict[str, Any] = {
    "title": pl.String,
    "created_at": MOMENT,
    "created_date": pl.Date,
    "stage_id": pl.String,
    "stage_name": pl.String,
    "is_known_stage": pl.Boolean,
    "has_own_semantics": pl.Boolean,
    "semantics": pl.String,
    "source_id": pl.String,
    "source_name": pl.String,
    **dict.fromkeys(UTM, pl.String),
    "manager_id": pl.Int64,
    "manager_name": pl.String,
    "department_name": pl.String,
    "is_manager_dismissed": pl.Boolean,
    "drop_stage_id": pl.String,
    "drop_stage_name": pl.String,
    "city": pl.String,
    "currency_code": pl.String,
    "last_activity_at": MOMENT,
    "has_planned_activity": pl.Boolean,
    "next_activity_at": MOMENT,
    "is_legacy": pl.Boolean,
    "counts": pl.Boolean,
    "is_inactive": pl.Boolean,
    "is_forgotten_without_plan": pl.Boolean,
    "is_forgotten": pl.Boolean,
    "is_overdue": pl.Boolean,
    "is_amount_unknown": pl.Boolean,
    "is_in_work": pl.Boolean,
    "age_days": pl.Float64,
    "company_id": pl.Int64,
    "contact_ids": pl.List(pl.Int64),
}
LEADS: dict[str, Any] = {
    "lead_id": pl.Int64,
    **_ITEM,
    "outcome": pl.String,
    "state": pl.String,
    "is_quality": pl.Boolean,
    "is_junk": pl.Boolean,
    "is_new": pl.Boolean,
    "is_in_progress": pl.Boolean,
    "is_repeat": pl.Boolean,
    "is_first_time": pl.Boolean,
    "outcome_at": MOMENT,
    "outcome_at_source": pl.String,
    "import_evidence": pl.String,
    "quality_at": MOMENT,
    "quality_date": pl.Date,
    "first_deal_at": MOMENT,
    "first_deal_date": pl.Date,
    "first_sold_at": MOMENT,
    "first_sold_date": pl.Date,
    "processing_days": pl.Float64,
    "lead_to_sale_days": pl.Float64,
    "deals_count": pl.Int64,
    "sales_count": pl.Int64,
    "has_deal": pl.Boolean,
    "has_sale": pl.Boolean,
    "has_ad_cost": pl.Boolean,
    "sales_amount": AMOUNT,
    "sales_amount_unknown_count": pl.Int64,
    "deals_in_work_count": pl.Int64,
    "potential_amount": AMOUNT,
    "potential_amount_unknown_count": pl.Int64,
    "opportunity": AMOUNT,
    "opportunity_amount": AMOUNT,
}
DEALS: dict[str, Any] = {
    "deal_id": pl.Int64,
    **_ITEM,
    "lead_id": pl.Int64,
    "lead_link": pl.String,
    "has_counting_lead": pl.Boolean,
    "lead_source_id": pl.String,
    "lead_source_name": pl.String,
    **{f"lead_{name}": pl.String for name in UTM},
    "lead_manager_id": pl.Int64,
    "lead_manager_name": pl.String,
    "lead_department_name": pl.String,
    "lead_city": pl.String,
    "lead_created_date": pl.Date,
    "lead_to_sale_days": pl.Float64,
    "has_ad_cost": pl.Boolean,
    "pipeline_id": pl.Int64,
    "pipeline_name": pl.String,
    "is_handed_over": pl.Boolean,
    "sale_pipeline_id": pl.Int64,
    "sale_pipeline_name": pl.String,
    "sale_stage_id": pl.String,
    "sale_stage_name": pl.String,
    "counts_where_it_stands": pl.Boolean,
    "is_sales_pipeline": pl.Boolean,
    "state": pl.String,
    "is_sale": pl.Boolean,
    "is_failed": pl.Boolean,
    "is_closed": pl.Boolean,
    "sold_at": MOMENT,
    "sold_date": pl.Date,
    "sold_at_source": pl.String,
    "failed_at": MOMENT,
    "import_evidence": pl.String,
    "failed_date": pl.Date,
    "closed_date": pl.Date,
    "amount": AMOUNT,
    "base_amount": AMOUNT,
    "days_to_close": pl.Float64,
    "days_to_close_bin": pl.String,
    "customer_kind": pl.String,
    "portal_repeat_flag": pl.Boolean,
    "portal_repeated_approach_flag": pl.Boolean,
    "is_repeat_flag_different": pl.Boolean,
    "is_reversal": pl.Boolean,
}
STAGE_VISITS: dict[str, Any] = {
    "entity": pl.String,
    "item_id": pl.Int64,
    "visit_number": pl.Int64,
    "pipeline_id": pl.Int64,
    "stage_id": pl.String,
    "stage_name": pl.String,
    "stage_sort": pl.Int64,
    "is_known_stage": pl.Boolean,
    "semantics": pl.String,
    "meaning": pl.String,
    "is_open": pl.Boolean,
    "entered_at": MOMENT,
    "left_at": MOMENT,
    "days": pl.Float64,
    "is_current": pl.Boolean,
    "is_drop": pl.Boolean,
    "is_moved_out": pl.Boolean,
    "is_forward": pl.Boolean,
    "counts": pl.Boolean,
}
