"""The plan as rows of the REST API, a chunk at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from scripts.demo_company import edge_cases
from scripts.demo_company.deals import CURRENCY_CODES, SOURCE_CODES
from scripts.demo_company.plan import Plan, seconds
from scripts.demo_company.stages import DEALS, DELIVERY, LEADS, SUCCESS
from scripts.demo_company.timeline import DAY, HOUR, MINUTE, Integers, Mask, Times, pick, some
from scripts.demo_company.vocabulary import (
    ACTIVITY_SUBJECTS,
    ADMIN,
    AREA_FIELD,
    CAMPAIGNS,
    CITIES,
    COMPANY_ENDS,
    COMPANY_FORMS,
    COMPANY_STARTS,
    DELETED_SOURCE,
    DIRECTION_FIELD,
    DIRECTIONS,
    LANDING_FIELD,
    LANDINGS,
    LAST_NAMES,
    MEASURE_FIELD,
    MEN,
    OWN_COMPANIES,
    PRODUCTS,
    SERVICES,
    SERVICES_FIELD,
    SOURCES,
    WOMEN,
)

CHUNK = 100_000
Frames = Iterator[pl.DataFrame]

ENTITY_LEAD, ENTITY_DEAL, ENTITY_CONTACT = 1, 2, 3


def _words(words: Sequence[str | None], index: npt.NDArray[np.integer]) -> pl.Series:
    """A word for each index, null for index -1."""
    return pl.Series([*words, None], dtype=pl.String).gather(index % (len(words) + 1))


def _yes(mask: Mask) -> pl.Series:
    return _words(("N", "Y"), mask.astype(np.int64))


def _joined(*parts: pl.Series | str) -> pl.Series:
    """Texts put together row by row."""
    expressions = [pl.lit(part) for part in parts]
    return pl.select(pl.concat_str(expressions)).to_series()


def _or_null(values: npt.NDArray[np.generic], known: Mask) -> pl.Series:
    return pl.select(pl.when(pl.lit(pl.Series(known))).then(pl.lit(pl.Series(values)))).to_series()


def _lists(values: Integers, counts: Integers) -> pl.Series:
    """Lists of so many consecutive values each."""
    offsets = np.append(0, np.cumsum(counts))
    lists = pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(values))
    return pl.Series(pl.from_arrow(lists))


def _steps(counts: Integers) -> Integers:
    """0, 1, … within each run of the given lengths."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)


def _chunks(count: int) -> Iterator[slice]:
    for start in range(0, max(count, 1), CHUNK):
        yield slice(start, min(start + CHUNK, count))


class Rows:
    """All rows of the portal; every property or method gives one file's rows."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.clock = plan.clock
        sign = -1 if self.clock.offset[0] == "-" else 1
        hours, minutes = (int(part) for part in self.clock.offset[1:].split(":"))
        self.offset_seconds = sign * (hours * HOUR + minutes * MINUTE)
        self.lead_ids = edge_cases.with_gaps(plan.rng("lead ids"), plan.leads.height)
        self.deal_ids = edge_cases.with_gaps(plan.rng("deal ids"), plan.deals.height)
        customers = plan.customers
        contacts = customers["contacts"].to_numpy()
        companies = customers["has_company"].to_numpy()
        self.first_contact = 1 + np.cumsum(contacts) - contacts
        self.company_id = np.where(companies, len(OWN_COMPANIES) + np.cumsum(companies), 0)

    def _iso(self, times: Times, known: Mask | None = None) -> pl.Series:
        """Instants as the API writes them; null where not known."""
        text = pl.from_epoch(pl.Series(times), "s").dt.strftime("%Y-%m-%dT%H:%M:%S")
        text = text + self.clock.offset
        return text if known is None else _or_null_text(text, known)

    def _date(self, times: Times) -> pl.Series:
        """Days as the API writes them: midnight UTC in the portal's offset."""
        return self._iso(times // DAY * DAY + self.offset_seconds)

    def leads(self) -> Frames:
        """`crm.item.list` with `entityTypeId` 1."""
        plan, leads = self.plan, self.plan.leads
        rng, count = plan.rng("rows of leads"), leads.height
        column = {name: leads[name].to_numpy() for name in leads.columns}
        product = rng.integers(0, len(PRODUCTS), count)
        surname = rng.integers(0, len(LAST_NAMES), count)
        woman = rng.random(count) < 0.45
        name = np.where(
            woman, rng.integers(0, len(WOMEN), count) + len(MEN), rng.integers(0, len(MEN), count)
        )
        manager = edge_cases.unlisted(rng, column["manager"])
        by_robot = np.array([s.rhythm == "web" for s in SOURCES])[column["source"]]
        no_semantics = edge_cases.unknown_semantics(rng, count)
        source = np.where(column["source"] == len(SOURCES) - 1, -1, column["source"])
        source[some(rng, source < 0, 0.03)] = len(SOURCES)
        with_amount = rng.random(count) < 0.3
        amount = np.where(with_amount, np.round(rng.lognormal(11.5, 0.7, count), -3), 0.0)
        customer = column["customer"]
        has_contact, has_company = self._customer_has(customer)
        landing = np.where(
            by_robot & (rng.random(count) < 0.9), rng.integers(0, len(LANDINGS), count), -1
        )
        term, content = rng.random(count), rng.random(count)
        updated = self._updated(rng, column["moved"])
        final = LEADS.is_final[column["stage"]]
        closed = np.where(column["settled_at"] > 0, column["settled_at"], column["moved"])
        titles = [f"{s.opening}: " for s in SOURCES]
        codes = [*(s.code for s in SOURCES[:-1]), None, DELETED_SOURCE]
        for part in _chunks(count):
            contact = np.where(has_contact, self.first_contact[customer], 0)[part]
            yield pl.DataFrame(
                {
                    "id": self.lead_ids.ids[part],
                    "title": _joined(
                        _words(titles, column["source"][part]), _words(PRODUCTS, product[part])
                    ),
                    "name": _words((*MEN, *WOMEN), name[part]),
                    "lastName": _joined(
                        _words(LAST_NAMES, surname[part]),
                        _words(("", "а"), woman[part].astype(np.int64)),
                    ),
                    "createdTime": self._iso(column["created"][part]),
                    "updatedTime": self._iso(updated[part]),
                    "movedTime": self._iso(column["moved"][part]),
                    "createdBy": np.where(by_robot, ADMIN, manager)[part],
                    "updatedBy": manager[part],
                    "movedBy": manager[part],
                    "assignedById": manager[part],
                    "opened": pl.repeat("Y", part.stop - part.start, eager=True),
                    "sourceId": _words(codes, source[part]),
                    "stageId": _words(list(LEADS.codes), column["stage"][part]),
                    "stageSemanticId": _or_null_text(
                        _words(list(LEADS.semantics), column["stage"][part]), ~no_semantics[part]
                    ),
                    "isReturnCustomer": _yes(column["returning"][part]),
                    "currencyId": pl.repeat("RUB", part.stop - part.start, eager=True),
                    "opportunity": amount[part],
                    "isManualOpportunity": _yes(with_amount[part]),
                    "companyId": _or_null(self.company_id[customer][part], has_company[part]),
                    "contactId": _or_null(contact, contact > 0),
                    "contactIds": _lists(contact[contact > 0], (contact > 0).astype(np.int64)),
                    "dateClosed": self._iso(closed[part], final[part]),
                    "lastActivityTime": self._iso(column["last_activity"][part]),
                    "lastActivityBy": manager[part],
                    **_utm(column["campaign"][part], content[part], term[part]),
                    LANDING_FIELD: _words(LANDINGS, landing[part]),
                }
            )

    def lead_addresses(self) -> Frames:
        """`crm.lead.list` with `select` `ID, ADDRESS_CITY`."""
        ids = self.lead_ids.ids
        city = pick(self.plan.rng("cities"), [share for _, share in CITIES], ids.size)
        for part in _chunks(ids.size):
            yield pl.DataFrame(
                {
                    "ID": pl.Series(ids[part]).cast(pl.String),
                    "ADDRESS_CITY": _words([name for name, _ in CITIES], city[part]),
                }
            )

    def deals(self) -> Frames:
        """`crm.item.list` with `entityTypeId` 2."""
        plan, deals = self.plan, self.plan.deals
        rng, count = plan.rng("rows of deals"), deals.height
        column = {name: deals[name].to_numpy() for name in deals.columns}
        stage, moved = column["stage"], column["moved"]
        free = ~column["fixed"] & (column["imported"] == 0)
        final = DEALS.is_final[stage]
        lead_id = edge_cases.lead_links(plan, self.lead_ids)
        manager = edge_cases.unlisted(rng, column["manager"])
        no_semantics = edge_cases.unknown_semantics(rng, count)
        company, contact, contact_ids, counts = self._deal_customers(rng, free)
        ends = np.append(0, np.cumsum(counts))

        planned = column["created"] + rng.integers(7, 60, count) * DAY
        edited = free & final & (rng.random(count) < 0.02) & ~self._without_moved
        close = np.where(final, moved, planned) - np.where(edited, 3 * DAY, 0)
        updated = self._updated(rng, moved)
        # Bitrix24 calls a known customer's deal repeat once one was won, before that a repeated
        # inquiry.
        won = pl.when(pl.col("outcome") == SUCCESS).then("due").min().over("customer")
        bought = deals.select((won < pl.col("created")) & (pl.col("customer") >= 0))
        repeated = column["returning"] & ~bought.to_series().fill_null(False).to_numpy()
        category = DEALS.categories[stage]
        direction = np.where(category == DELIVERY, -1, pick(rng, (6, 2, 1, 0.3), count))
        direction[rng.random(count) < 0.15] = -1
        service_count = np.where(category == DELIVERY, 1, pick(rng, (2, 4, 3, 1), count))
        service_first = rng.integers(0, len(SERVICES) - 3, count)
        codes = np.array([code for code, _ in SERVICES])
        measured = (category == 0) & (rng.random(count) < 0.5)
        area = np.where(rng.random(count) < 0.6, rng.integers(3, 120, count), 0)
        product = rng.integers(0, len(PRODUCTS), count)
        content, term = rng.random(count), rng.random(count)
        titles = [name[0].upper() + name[1:] + ", заказ " for name in PRODUCTS]
        imported = column["imported"] > 0
        for part in _chunks(count):
            size = part.stop - part.start
            ids = pl.Series(self.deal_ids.ids[part]).cast(pl.String)
            services = service_count[part]
            yield pl.DataFrame(
                {
                    "id": self.deal_ids.ids[part],
                    "title": _joined(_words(titles, product[part]), ids),
                    "typeId": _words(("SALE", "SERVICE"), (category == DELIVERY)[part] * 1),
                    "createdTime": self._iso(column["created"][part]),
                    "updatedTime": self._iso(updated[part]),
                    "movedTime": self._iso(moved[part], ~self._without_moved[part]),
                    "createdBy": np.where(imported, ADMIN, manager)[part],
                    "updatedBy": manager[part],
                    "movedBy": manager[part],
                    "assignedById": manager[part],
                    "opened": pl.repeat("Y", size, eager=True),
                    "sourceId": _words(SOURCE_CODES, column["source"][part]),
                    "categoryId": category[part],
                    "stageId": _words(list(DEALS.codes), stage[part]),
                    "stageSemanticId": _or_null_text(
                        _words(list(DEALS.semantics), stage[part]), ~no_semantics[part]
                    ),
                    "isNew": _yes(np.char.endswith(DEALS.codes, "NEW")[stage[part]]),
                    "isRecurring": _yes(column["recurring"][part]),
                    "isReturnCustomer": _yes((column["returning"] & ~repeated)[part]),
                    "isRepeatedApproach": _yes(repeated[part]),
                    "closed": _yes(final[part]),
                    "begindate": self._date(column["created"][part]),
                    "closedate": self._date(close[part]),
                    "currencyId": _words(CURRENCY_CODES, column["currency"][part]),
                    "opportunity": column["amount"][part],
                    "isManualOpportunity": pl.repeat("Y", size, eager=True),
                    "leadId": _or_null(lead_id[part], lead_id[part] > 0),
                    "companyId": _or_null(company[part], company[part] > 0),
                    "contactId": _or_null(contact[part], contact[part] > 0),
                    "contactIds": _lists(
                        contact_ids[ends[part.start] : ends[part.stop]], counts[part]
                    ),
                    "lastActivityTime": self._iso(column["last_activity"][part]),
                    "lastActivityBy": manager[part],
                    "originatorId": _words(("import",), np.where(imported, 0, -1)[part]),
                    "originId": _or_null_text(_joined("1c-", ids), imported[part]),
                    **_utm(column["campaign"][part], content[part], term[part]),
                    DIRECTION_FIELD: _or_null(
                        np.array([code for code, _ in DIRECTIONS])[direction[part]],
                        direction[part] >= 0,
                    ),
                    SERVICES_FIELD: _lists(
                        codes[np.repeat(service_first[part], services) + _steps(services)], services
                    ),
                    MEASURE_FIELD: _or_null_text(
                        self._date(column["created"][part]), measured[part]
                    ),
                    AREA_FIELD: _or_null(area[part], area[part] > 0),
                }
            )

    def contacts(self) -> Frames:
        """`crm.item.list` with `entityTypeId` 3."""
        customers = self.plan.customers
        rng = self.plan.rng("rows of contacts")
        counts = customers["contacts"].to_numpy()
        owner = np.repeat(np.arange(counts.size), counts)
        count = owner.size
        created = customers["created"].to_numpy()[owner] + _steps(counts) * 7
        created = np.minimum(created, self.clock.until)
        manager = customers["manager"].to_numpy()[owner]
        woman = rng.random(count) < 0.5
        name = np.where(
            woman, rng.integers(0, len(WOMEN), count) + len(MEN), rng.integers(0, len(MEN), count)
        )
        surname = rng.integers(0, len(LAST_NAMES), count)
        lead = customers["lead"].to_numpy()[owner]
        # The code 000 is not in use, so that no real number appears.
        phone = rng.integers(1_000_000, 9_999_999, count)
        for part in _chunks(count):
            number = pl.Series(phone[part]).cast(pl.String)
            yield pl.DataFrame(
                {
                    "id": np.arange(part.start, part.stop) + 1,
                    "name": _words((*MEN, *WOMEN), name[part]),
                    "lastName": _joined(
                        _words(LAST_NAMES, surname[part]),
                        _words(("", "а"), woman[part].astype(np.int64)),
                    ),
                    "createdTime": self._iso(created[part]),
                    "updatedTime": self._iso(created[part]),
                    "createdBy": manager[part],
                    "updatedBy": manager[part],
                    "assignedById": manager[part],
                    "opened": pl.repeat("Y", part.stop - part.start, eager=True),
                    "typeId": pl.repeat("CLIENT", part.stop - part.start, eager=True),
                    "sourceId": _words(SOURCE_CODES, customers["source"].to_numpy()[owner[part]]),
                    "companyId": _or_null(
                        self.company_id[owner[part]], self.company_id[owner[part]] > 0
                    ),
                    "leadId": _or_null(self.lead_ids.ids[lead[part]], lead[part] >= 0),
                    "hasPhone": pl.repeat("Y", part.stop - part.start, eager=True),
                    "fm": _phones(np.arange(part.start, part.stop) + 1, _joined("+7000", number)),
                }
            )

    def companies(self) -> Frames:
        """`crm.item.list` with `entityTypeId` 4; the first are the company's own legal entities."""
        customers = self.plan.customers.filter(pl.col("has_company"))
        rng, own = self.plan.rng("rows of companies"), len(OWN_COMPANIES)
        count = customers.height
        form = rng.integers(0, len(COMPANY_FORMS), count)
        start = rng.integers(0, len(COMPANY_STARTS), count)
        end = rng.integers(0, len(COMPANY_ENDS), count)
        lead = customers["lead"].to_numpy()
        created = customers["created"].to_numpy()
        manager = customers["manager"].to_numpy()
        first = np.full(own, self.clock.start - 40 * DAY)
        yield pl.DataFrame(
            {
                "id": np.arange(own) + 1,
                "title": list(OWN_COMPANIES),
                "createdTime": self._iso(first),
                "updatedTime": self._iso(first),
                "createdBy": np.full(own, ADMIN),
                "updatedBy": np.full(own, ADMIN),
                "assignedById": np.full(own, ADMIN),
                "opened": ["Y"] * own,
                "isMyCompany": ["Y"] * own,
                "typeId": ["OTHER"] * own,
                "currencyId": ["RUB"] * own,
                "leadId": pl.Series([None] * own, dtype=pl.Int64),
            }
        )
        for part in _chunks(count):
            size = part.stop - part.start
            yield pl.DataFrame(
                {
                    "id": np.arange(part.start, part.stop) + own + 1,
                    "title": _joined(
                        _words(COMPANY_FORMS, form[part]),
                        " «",
                        _words(COMPANY_STARTS, start[part]),
                        _words(COMPANY_ENDS, end[part]),
                        "»",
                    ),
                    "createdTime": self._iso(created[part]),
                    "updatedTime": self._iso(created[part]),
                    "createdBy": manager[part],
                    "updatedBy": manager[part],
                    "assignedById": manager[part],
                    "opened": pl.repeat("Y", size, eager=True),
                    "isMyCompany": pl.repeat("N", size, eager=True),
                    "typeId": pl.repeat("CUSTOMER", size, eager=True),
                    "currencyId": pl.repeat("RUB", size, eager=True),
                    "leadId": _or_null(self.lead_ids.ids[lead[part]], lead[part] >= 0),
                }
            )

    def lead_stage_history(self) -> Frames:
        """`crm.stagehistory.list` with `entityTypeId` 1."""
        history, _ = self._lead_history
        for part in _chunks(history.height):
            rows = history[part]
            stage = rows["stage"].to_numpy()
            yield pl.DataFrame(
                {
                    "ID": rows["id"],
                    "TYPE_ID": rows["type_id"],
                    "OWNER_ID": self.lead_ids.ids[rows["item"].to_numpy()],
                    "CREATED_TIME": self._iso(rows["time"].to_numpy()),
                    "STATUS_SEMANTIC_ID": _words(list(LEADS.semantics), stage),
                    "STATUS_ID": _words(list(LEADS.codes), stage),
                }
            )

    def deal_stage_history(self) -> Frames:
        """`crm.stagehistory.list` with `entityTypeId` 2."""
        history, _ = self._deal_history
        for part in _chunks(history.height):
            rows = history[part]
            stage = rows["stage"].to_numpy()
            yield pl.DataFrame(
                {
                    "ID": rows["id"],
                    "TYPE_ID": rows["type_id"],
                    "OWNER_ID": self.deal_ids.ids[rows["item"].to_numpy()],
                    "CREATED_TIME": self._iso(rows["time"].to_numpy()),
                    "CATEGORY_ID": DEALS.categories[stage],
                    "STAGE_SEMANTIC_ID": _words(list(DEALS.semantics), stage),
                    "STAGE_ID": _words(list(DEALS.codes), stage),
                }
            )

    def activities(self) -> Frames:
        """`crm.activity.list`: planned ones, some overdue, and a part of those that are done."""
        rng = self.plan.rng("activities")
        parts = [
            self._activities_of(
                rng, ENTITY_LEAD, self.plan.leads, LEADS.is_final, self.lead_ids.ids, 0.62
            ),
            self._activities_of(
                rng, ENTITY_DEAL, self.plan.deals, DEALS.is_final, self.deal_ids.ids, 0.68
            ),
        ]
        contacts = int(self.plan.customers["contacts"].sum())
        calls = max(2, contacts // 50)
        parts.append(
            pl.DataFrame(
                {
                    "owner_type": np.full(calls, ENTITY_CONTACT),
                    "owner": rng.integers(1, contacts + 1, calls),
                    "manager": np.full(calls, 3),
                    "created": self.clock.until - rng.integers(HOUR, 60 * DAY, calls),
                    "done": rng.random(calls) < 0.5,
                }
            )
        )
        rows = pl.concat(parts).sort("created", maintain_order=True)
        count = rows.height
        done, created = rows["done"].to_numpy(), rows["created"].to_numpy()
        overdue = rng.random(count) < 0.35
        distance = rng.integers(10 * MINUTE, 14 * DAY, count)
        deadline = np.where(overdue, self.clock.until - distance, self.clock.until + distance)
        deadline = np.where(done, created + HOUR, np.maximum(deadline, created + 10 * MINUTE))
        has_deadline = done | (rng.random(count) < 0.93)
        kind = pick(rng, (0.15, 0.6, 0.25), count)
        subject = rng.integers(0, len(ACTIVITY_SUBJECTS), count)
        updated = np.where(done, np.minimum(created + HOUR, self.clock.until), created)
        for part in _chunks(count):
            manager = rows["manager"][part].cast(pl.String)
            yield pl.DataFrame(
                {
                    "ID": pl.Series(np.arange(part.start, part.stop) + 1).cast(pl.String),
                    "OWNER_ID": rows["owner"][part].cast(pl.String),
                    "OWNER_TYPE_ID": rows["owner_type"][part].cast(pl.String),
                    "TYPE_ID": _words(("1", "2", "6"), kind[part]),
                    "PROVIDER_ID": _words(("CRM_MEETING", "CRM_CALL", "CRM_TODO"), kind[part]),
                    "SUBJECT": _words(ACTIVITY_SUBJECTS, subject[part]),
                    "CREATED": self._iso(created[part]),
                    "LAST_UPDATED": self._iso(updated[part]),
                    "DEADLINE": self._iso(deadline[part], has_deadline[part]),
                    "COMPLETED": _yes(done[part]),
                    "STATUS": _words(("1", "2"), done[part].astype(np.int64)),
                    "RESPONSIBLE_ID": manager,
                    "AUTHOR_ID": manager,
                    "EDITOR_ID": manager,
                    "PRIORITY": pl.repeat("2", part.stop - part.start, eager=True),
                    "DIRECTION": pl.repeat("2", part.stop - part.start, eager=True),
                }
            )

    def _activities_of(
        self,
        rng: np.random.Generator,
        owner_type: int,
        items: pl.DataFrame,
        final: Mask,
        ids: Integers,
        planned: float,
    ) -> pl.DataFrame:
        is_open = ~final[items["stage"].to_numpy()]
        # A few stay planned on closed items.
        chance = np.where(is_open, planned, 0.01)
        todo = np.flatnonzero(rng.random(is_open.size) < chance)
        second = todo[rng.random(todo.size) < 0.12]
        finished = np.flatnonzero(rng.random(is_open.size) < 0.18)
        row = np.concatenate([todo, second, finished])
        created = items["created"].to_numpy()[row]
        last = items["last_activity"].to_numpy()[row]
        return pl.DataFrame(
            {
                "owner_type": np.full(row.size, owner_type),
                "owner": ids[row],
                "manager": items["manager"].to_numpy()[row],
                "created": created + ((last - created) * rng.random(row.size)).astype(np.int64),
                "done": np.arange(row.size) >= todo.size + second.size,
            }
        )

    @cached_property
    def _lead_history(self) -> tuple[pl.DataFrame, Mask]:
        history = self.plan.lead_history.with_row_index("id", 1).cast({"id": pl.Int64})
        free = np.ones(self.plan.leads.height, dtype=bool)
        rng = self.plan.rng("lead history")
        return edge_cases.drop_history(rng, LEADS, history, self.plan.leads, free)

    @cached_property
    def _deal_history(self) -> tuple[pl.DataFrame, Mask]:
        deals = self.plan.deals
        history = self.plan.deal_history.with_row_index("id", 1).cast({"id": pl.Int64})
        free = (~deals["fixed"] & (deals["imported"] == 0) & ~deals["recurring"]).to_numpy()
        rng = self.plan.rng("deal history")
        return edge_cases.drop_history(rng, DEALS, history, deals, free)

    @cached_property
    def _without_moved(self) -> Mask:
        """Closed deals without history whose last move is unknown too."""
        _, without_history = self._deal_history
        closed = DEALS.is_final[self.plan.deals["stage"].to_numpy()]
        unknown = np.zeros(closed.size, dtype=bool)
        unknown[some(self.plan.rng("unknown moves"), without_history & closed, 0.2, 1)] = True
        return unknown

    def _updated(self, rng: np.random.Generator, moved: Times) -> Times:
        edits = seconds(rng.exponential(2.0, moved.size)) * (rng.random(moved.size) < 0.35)
        updated: Times = np.minimum(moved + edits, self.clock.until)
        return updated

    def _customer_has(self, customer: Integers) -> tuple[Mask, Mask]:
        """Whether there is a contact, and whether there is a company."""
        contacts = self.plan.customers["contacts"].to_numpy()
        companies = self.plan.customers["has_company"].to_numpy()
        return (customer >= 0) & (contacts[customer] > 0), (customer >= 0) & companies[customer]

    def _deal_customers(
        self, rng: np.random.Generator, free: Mask
    ) -> tuple[Integers, Integers, Integers, Integers]:
        """`companyId`, `contactId` (0 is none), all contact IDs deal after deal, their counts.

        A returning customer may come with other contacts than before, so that two of his deals
        share only a second contact or none; some deals name the company's own legal entity.
        """
        deals = self.plan.deals
        customer, returning = deals["customer"].to_numpy(), deals["returning"].to_numpy()
        count = customer.size
        has_contact, has_company = self._customer_has(customer)
        people = np.where(has_contact, self.plan.customers["contacts"].to_numpy()[customer], 0)
        other = returning & (people > 1) & (rng.random(count) < 0.35)
        skipped = np.where(other, 1, 0)
        linked = np.where(
            people > 0, 1 + (rng.random(count) * (people - skipped)).astype(np.int64), 0
        )
        first = np.where(people > 0, self.first_contact[customer] + skipped, 0)

        has_company &= ~((people > 0) & (rng.random(count) < 0.12))
        company = np.where(has_company, self.company_id[customer], 0)
        company[some(rng, free & (company == 0), 0.003)] = 1

        return company, first, np.repeat(first, linked) + _steps(linked), linked


def _or_null_text(text: pl.Series, known: Mask) -> pl.Series:
    return text.zip_with(pl.Series(known), pl.Series([None], dtype=pl.String))


def _phones(ids: Integers, numbers: pl.Series) -> pl.Series:
    """Multifield with one phone number each."""
    phone = pl.struct(
        id=pl.lit(pl.Series(ids)),
        valueType=pl.lit("MOBILE"),
        value=pl.lit(numbers),
        typeId=pl.lit("PHONE"),
    )
    return pl.select(pl.concat_list(phone)).to_series()


def _utm(campaign: Integers, content: np.ndarray, term: np.ndarray) -> dict[str, pl.Series]:
    """UTM labels of the campaigns, null without one."""

    def one_of(lists: list[tuple[str, ...]], luck: np.ndarray) -> pl.Series:
        words = [word for words in lists for word in words]
        sizes = np.array([len(words) for words in lists])
        index = (np.cumsum(sizes) - sizes)[campaign] + (luck * sizes[campaign]).astype(np.int64)
        return _words(words, np.where((campaign >= 0) & (sizes[campaign] > 0), index, -1))

    return {
        "utmSource": _words([item.utm_source for item in CAMPAIGNS], campaign),
        "utmMedium": _words([item.utm_medium for item in CAMPAIGNS], campaign),
        "utmCampaign": _words([item.utm_campaign for item in CAMPAIGNS], campaign),
        "utmContent": one_of([item.contents for item in CAMPAIGNS], content),
        "utmTerm": one_of([item.terms for item in CAMPAIGNS], term),
    }
