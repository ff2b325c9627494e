"""The raw tables: the method, key, columns and kind of each.

Kinds differ in how changes and deletions are found:
- entity: changed rows by `updatedTime` and `lastActivityTime`, deletions by counts of ID windows;
- legacy: legacy methods, changed rows by `DATE_MODIFY` (only they give a lead's city and multiple
  phones);
- history: stage history, read in full at a full sync, else for the items that changed (rows may
  disappear: Bitrix24 rewrites the history of deleted, reopened and moved items);
- snapshot: reference data and open activities, read in full every time;
- file: rows of spend files, read in full every time, without the portal.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import partial
from typing import Any, Literal

import polars as pl

from pipelines.bitrix24 import values
from pipelines.bitrix24.redaction import UNREADABLE, readable, without_addresses
from pipelines.bitrix24.values import UserField
from pipelines.errors import Bitrix24Error

# Python has no year 0 or 10000; PHP writes the empty date of a database as 30.11.-0001.
FIRST_INSTANT = dt.datetime(1, 1, 2, tzinfo=dt.UTC)
LAST_INSTANT = dt.datetime(9999, 12, 30, tzinfo=dt.UTC)
# More digits than the widest column, so that numbers are rounded exactly.
LONG = Context(prec=60)

Kind = Literal["entity", "legacy", "history", "snapshot", "file"]

LEAD, DEAL, CONTACT, COMPANY = 1, 2, 3, 4
# The only field that an activity changes in a lead or deal; stage history is then not read again.
ACTIVITY_FIELD = "lastActivityTime"
USER_FIELD = "UF_CRM_"


def _decimal(digits: int, decimals: int) -> Callable[[Any], Decimal | None]:
    """Decodes a number and rounds it: the JSON text of a float may be longer (100.10000000000001).

    Numbers too large for the column become the largest one that fits.
    """
    unit = Decimal(1).scaleb(-decimals)
    largest = LONG.subtract(Decimal(10).scaleb(digits - decimals - 1), unit)

    def convert(value: Any) -> Decimal | None:
        number = values.decimal(value)
        if number is None:
            return None
        # Comparing takes as long as all the rest.
        if number.adjusted() >= digits - decimals - 1:
            number = max(min(number, largest), -largest)
        return number.quantize(unit, ROUND_HALF_UP, LONG)

    return convert


def _instants(times: Sequence[Any]) -> pl.Series:
    texts = [time if isinstance(time, str) and time else None for time in times]
    fast = pl.Series(texts, dtype=pl.String()).str.to_datetime(
        "%Y-%m-%dT%H:%M:%S%z", time_unit="us", time_zone="UTC", strict=False
    )
    fast = fast.clip(FIRST_INSTANT, LAST_INSTANT)
    # What the fast path cannot parse is decoded, or refused, one by one.
    if not (slow := {n for n in fast.is_null().arg_true() if times[n]}):
        return fast
    found = [values.instant(times[n]) if n in slow else at for n, at in enumerate(fast.to_list())]
    return pl.Series(found, dtype=pl.Datetime("us", "UTC"))


def _texts(given: Sequence[Any]) -> pl.Series:
    """Texts; the fast path for what comes nearly always: readable texts and null."""
    if set(map(type, given)) <= {str, type(None)}:
        try:
            texts = pl.Series(given, dtype=pl.String())
        except UnicodeEncodeError:
            # Half of a character.
            return _one_by_one(pl.String(), values.text, given)
        if not texts.str.contains(UNREADABLE).any():
            return texts.replace("", None)
    return _one_by_one(pl.String(), values.text, given)


def _integers(given: Sequence[Any], convert: Callable[[Any], int | None]) -> pl.Series:
    """Whole numbers; the fast path for numbers of JSON and plain digits."""
    kinds = set(map(type, given))
    try:
        if kinds <= {int, type(None)}:
            return pl.Series(given, dtype=pl.Int64())
        if kinds <= {str, type(None)}:
            texts = pl.Series(given, dtype=pl.String()).replace("", None)
            numbers = texts.str.to_integer(strict=False)
            if numbers.null_count() == texts.null_count():
                return numbers
    except (OverflowError, UnicodeEncodeError, pl.exceptions.PolarsError):
        pass
    return _one_by_one(pl.Int64(), convert, given)


def _links(given: Sequence[Any]) -> pl.Series:
    numbers = _integers(given, values.link)
    return numbers.set(numbers == 0, None)


def _days(given: Sequence[Any]) -> pl.Series:
    try:
        # A day is that of many records.
        known = {value: values.day(value) for value in set(given)}
    except TypeError:
        # A list of PHP, which may be nothing.
        return _one_by_one(pl.Date(), values.day, given)
    return pl.Series([known[value] for value in given], dtype=pl.Date())


def _one_by_one(
    kind: pl.DataType, convert: Callable[[Any], Any], given: Sequence[Any]
) -> pl.Series:
    return pl.Series([convert(value) for value in given], dtype=kind)


def _json_list(value: Any) -> str | None:
    """The items of a list field as a JSON array; null if there are none."""
    items = values.listed(value)
    return _json(items) if items else None


_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, default=str)


def _json(value: Any) -> str:
    return _ENCODER.encode(readable(value))


def _values(value: Any) -> str:
    """The values of a multiple field (phones, e-mails) as a JSON array, which may be empty."""
    return _json([values.text(item["VALUE"]) for item in values.listed(value)])


def _id_list(value: Any) -> str:
    """IDs as a JSON array in their order; it may be empty."""
    if type(value) is list and set(map(type, value)) <= {int}:
        return str(value)
    return json.dumps([values.integer(item) for item in values.listed(value)])


@dataclass(frozen=True)
class ColumnType:
    """Converts the values of one field to a typed column."""

    kind: pl.DataType
    convert: Callable[[Sequence[Any]], pl.Series]

    def series(self, given: Sequence[Any]) -> pl.Series:
        """The typed column; raises one of `BAD_VALUE` on a value of another type."""
        return self.convert(given)

    def one(self, value: Any) -> Any:
        """One value, decoded."""
        return self.series([value])[0]


def _each(kind: pl.DataType, convert: Callable[[Any], Any]) -> ColumnType:
    """A column that converts values one by one."""

    return ColumnType(kind, partial(_one_by_one, kind, convert))


def _typed(kind: pl.DataType) -> ColumnType:
    """A column of values that have their type already."""
    return ColumnType(kind, lambda given: pl.Series(given, dtype=kind))


TEXT = ColumnType(pl.String(), _texts)
INTEGER = ColumnType(pl.Int64(), lambda given: _integers(given, values.integer))
LINK = ColumnType(pl.Int64(), _links)
MONEY = _each(pl.Decimal(20, 2), _decimal(20, 2))
RATE = _each(pl.Decimal(38, 10), _decimal(38, 10))
COUNT = _each(pl.Decimal(20, 4), _decimal(20, 4))
INSTANT = ColumnType(pl.Datetime("us", "UTC"), _instants)
DAY = ColumnType(pl.Date(), _days)
BOOLEAN = _each(pl.Boolean(), values.boolean)
JSON_LIST = _each(pl.String(), _json_list)
ID_LIST = _each(pl.String(), _id_list)
VALUES = _each(pl.String(), _values)
BAD_VALUE = (*values.BAD_VALUE, pl.exceptions.PolarsError)
# Decoded to one form whatever shape PHP gave, so that a new shape is not a new version.
SHAPED = (ID_LIST, VALUES, JSON_LIST)

Columns = Mapping[str, tuple[str, ColumnType]]

UTM: Columns = {
    "utm_source": ("utmSource", TEXT),
    "utm_medium": ("utmMedium", TEXT),
    "utm_campaign": ("utmCampaign", TEXT),
    "utm_content": ("utmContent", TEXT),
    "utm_term": ("utmTerm", TEXT),
}


@dataclass(frozen=True)
class Table:
    """One raw table.

    Attributes:
        name: name in schema `raw`.
        kind: how changes and deletions are found.
        method: REST method that lists the rows; empty if they are not the portal's.
        columns: column → (field of the answer, type).
        items_key: key of the rows in the result; None if the result is the list itself.
        id_key: the answer's ID field.
        key: key columns.
        params: parameters of the method.
        has_user_fields: `UF_CRM_*` go into one JSON column `user_fields`.
        has_state: `state_hash` leaves out what only an activity changes.
        filled: columns that are never empty on a portal.
    """

    name: str
    kind: Kind
    method: str
    columns: Columns
    items_key: str | None = None
    id_key: str = "ID"
    key: Sequence[str] = ("id",)
    params: Mapping[str, Any] = field(default_factory=dict)
    has_user_fields: bool = False
    has_state: bool = False
    filled: Sequence[str] = ()

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """Column types of the raw table, bookkeeping included."""
        types = {name: column.kind for name, (_, column) in self.columns.items()}
        if self.has_user_fields:
            types["user_fields"] = pl.String()
        types["row_hash"] = pl.String()
        if self.has_state:
            types["state_hash"] = pl.String()
        types["is_deleted"] = pl.Boolean()
        types["refresh_no"] = pl.Int64()
        return types

    def typed(
        self,
        rows: Sequence[Mapping[str, Any]],
        refresh_no: int,
        user_fields: Mapping[str, UserField] | None = None,
    ) -> pl.DataFrame:
        """Rows of the API as typed versions with their hashes; see `versions`."""
        names = [source for source, _ in self.columns.values()]
        if self.has_user_fields:
            names += {name for row in rows for name in row if name.startswith(USER_FIELD)}
        given = {name: [row.get(name) for row in rows] for name in names}
        return self.versions(given, refresh_no, user_fields)

    def versions(
        self,
        given: Mapping[str, Sequence[Any]],
        refresh_no: int,
        user_fields: Mapping[str, UserField] | None = None,
    ) -> pl.DataFrame:
        """Rows of the API as typed versions with their hashes.

        Args:
            given: field of the answer → its values in all rows; a field that was not asked for is
                empty.
            user_fields: name → its metadata; values of other user fields are kept as texts.

        Raises:
            Bitrix24Error: a value does not match the type of its column; names table, ID and field.
        """
        ids = given[self.id_key]
        raw: dict[str, Sequence[Any]] = {
            source: given.get(source, [None] * len(ids)) for source, _ in self.columns.values()
        }
        columns: dict[str, Any] = {}
        for name, (source, column) in self.columns.items():
            try:
                columns[name] = column.series(raw[source])
            except BAD_VALUE:
                raise self._bad_value(ids, raw[source], source, column.one) from None
            if column in SHAPED:
                raw[source] = columns[name].to_list()
        if self.has_user_fields:
            raw["user_fields"] = self._user_fields(given, user_fields or {})
            columns["user_fields"] = raw["user_fields"]
        activity = raw.pop(ACTIVITY_FIELD) if self.has_state else [""] * len(ids)
        hashes = [
            _hashes(repr(row), str(last))
            for row, last in zip(zip(*raw.values(), strict=True), activity, strict=True)
        ]
        columns["row_hash"] = [row for _, row in hashes]
        if self.has_state:
            columns["state_hash"] = [state for state, _ in hashes]
        columns["is_deleted"] = [False] * len(ids)
        columns["refresh_no"] = [refresh_no] * len(ids)
        frame = pl.DataFrame(columns, schema=self.schema)
        for name in (*self.key, *self.filled):
            if frame[name].null_count():
                raise Bitrix24Error(
                    f"{self.name}: the row {ids[frame[name].is_null().arg_true()[0]]} came without"
                    f" {self.columns[name][0]}: run the refresh again; if it happens again, report"
                    " it as an error"
                )
        return frame

    def tombstones(self, keys: pl.DataFrame, refresh_no: int) -> pl.DataFrame:
        """Versions that mark the given keys as deleted from the portal."""
        return keys.select(
            *(
                pl.col(name)
                if name in self.key
                else pl.lit(name == "is_deleted" or None, dtype=kind).alias(name)
                if name != "refresh_no"
                else pl.lit(refresh_no, dtype=kind).alias(name)
                for name, kind in self.schema.items()
            )
        )

    def _user_fields(
        self, given: Mapping[str, Sequence[Any]], known: Mapping[str, UserField]
    ) -> list[str]:
        """One JSON object per row with plain values, whatever shape PHP gave them."""
        ids = given[self.id_key]
        names = [name for name in given if name.startswith(USER_FIELD)]
        if not names:
            return ["{}"] * len(ids)
        decoded = []
        for name in names:
            decode = known.get(name, UserField()).decode
            try:
                decoded.append([decode(value) for value in given[name]])
            except BAD_VALUE:
                raise self._bad_value(ids, given[name], name, decode) from None
        return [_json(dict(zip(names, row, strict=True))) for row in zip(*decoded, strict=True)]

    def _bad_value(
        self,
        ids: Sequence[Any],
        given: Sequence[Any],
        source: str,
        decode: Callable[[Any], Any],
    ) -> Bitrix24Error:
        """The error for the first value that cannot be decoded, without customers' contacts."""
        for item, value in zip(ids, given, strict=True):
            try:
                decode(value)
            except BAD_VALUE:
                shown = "" if self.name.endswith("_details") else f" ({_shortened(value)})"
                return Bitrix24Error(
                    f"{self.name} {item}: field {source} holds a"
                    f" {type(value).__name__} that cannot be read as its type{shown}: fix it in"
                    " the CRM or report it as an error"
                )
        return Bitrix24Error(f"{self.name}: field {source} cannot be read")


@dataclass(frozen=True, kw_only=True)
class EntityTable(Table):
    """A raw table of leads, deals, contacts or companies; `entity_type_id` is its CRM type."""

    entity_type_id: int


@dataclass(frozen=True, kw_only=True)
class OwnedTable(Table):
    """A stage history or legacy table; `owner` is the entity table whose items own the rows."""

    owner: str


def _shortened(value: Any, most: int = 60) -> str:
    shown = without_addresses(str(value))
    return f"{shown[:most]}…" if len(shown) > most else shown


def _hashes(state: str, last: str) -> tuple[str, str]:
    """The hash of a text, and that of the same text with another one after it."""
    digest = hashlib.blake2b(state.encode(errors="surrogatepass"), digest_size=8)
    first = digest.hexdigest()
    digest.update(last.encode(errors="surrogatepass"))
    return first, digest.hexdigest()


LEADS = EntityTable(
    name="leads",
    kind="entity",
    method="crm.item.list",
    items_key="items",
    id_key="id",
    params={"entityTypeId": LEAD},
    entity_type_id=LEAD,
    has_user_fields=True,
    has_state=True,
    filled=("stage_id", "created_time", "updated_time"),
    columns={
        "id": ("id", INTEGER),
        "title": ("title", TEXT),
        "stage_id": ("stageId", TEXT),
        "stage_semantic_id": ("stageSemanticId", TEXT),
        "source_id": ("sourceId", TEXT),
        "assigned_by_id": ("assignedById", LINK),
        "created_by": ("createdBy", LINK),
        "moved_by": ("movedBy", LINK),
        "company_id": ("companyId", LINK),
        "contact_id": ("contactId", LINK),
        "contact_ids": ("contactIds", ID_LIST),
        "opportunity": ("opportunity", MONEY),
        "currency_id": ("currencyId", TEXT),
        "is_return_customer": ("isReturnCustomer", TEXT),
        **UTM,
        "originator_id": ("originatorId", TEXT),
        "origin_id": ("originId", TEXT),
        "created_time": ("createdTime", INSTANT),
        "updated_time": ("updatedTime", INSTANT),
        "moved_time": ("movedTime", INSTANT),
        "date_closed": ("dateClosed", INSTANT),
        "last_activity_time": ("lastActivityTime", INSTANT),
    },
)

DEALS = EntityTable(
    name="deals",
    kind="entity",
    method="crm.item.list",
    items_key="items",
    id_key="id",
    params={"entityTypeId": DEAL},
    entity_type_id=DEAL,
    has_user_fields=True,
    has_state=True,
    filled=("stage_id", "created_time", "updated_time"),
    columns={
        "id": ("id", INTEGER),
        "title": ("title", TEXT),
        "type_id": ("typeId", TEXT),
        "category_id": ("categoryId", INTEGER),
        "stage_id": ("stageId", TEXT),
        "stage_semantic_id": ("stageSemanticId", TEXT),
        "source_id": ("sourceId", TEXT),
        "lead_id": ("leadId", LINK),
        "assigned_by_id": ("assignedById", LINK),
        "created_by": ("createdBy", LINK),
        "moved_by": ("movedBy", LINK),
        "company_id": ("companyId", LINK),
        "contact_id": ("contactId", LINK),
        "contact_ids": ("contactIds", ID_LIST),
        "opportunity": ("opportunity", MONEY),
        "currency_id": ("currencyId", TEXT),
        "closed": ("closed", TEXT),
        "is_recurring": ("isRecurring", TEXT),
        "is_return_customer": ("isReturnCustomer", TEXT),
        "is_repeated_approach": ("isRepeatedApproach", TEXT),
        **UTM,
        "originator_id": ("originatorId", TEXT),
        "origin_id": ("originId", TEXT),
        "closedate": ("closedate", DAY),
        "created_time": ("createdTime", INSTANT),
        "updated_time": ("updatedTime", INSTANT),
        "moved_time": ("movedTime", INSTANT),
        "last_activity_time": ("lastActivityTime", INSTANT),
    },
)

# Contacts and companies are read for links; names, phones and e-mails are in DETAILS.
CONTACTS = EntityTable(
    name="contacts",
    kind="entity",
    method="crm.item.list",
    items_key="items",
    id_key="id",
    params={"entityTypeId": CONTACT},
    entity_type_id=CONTACT,
    has_user_fields=True,
    filled=("created_time", "updated_time"),
    columns={
        "id": ("id", INTEGER),
        "source_id": ("sourceId", TEXT),
        "company_id": ("companyId", LINK),
        "lead_id": ("leadId", LINK),
        "assigned_by_id": ("assignedById", LINK),
        "created_time": ("createdTime", INSTANT),
        "updated_time": ("updatedTime", INSTANT),
    },
)

COMPANIES = EntityTable(
    name="companies",
    kind="entity",
    method="crm.item.list",
    items_key="items",
    id_key="id",
    params={"entityTypeId": COMPANY},
    entity_type_id=COMPANY,
    has_user_fields=True,
    filled=("created_time", "updated_time"),
    columns={
        "id": ("id", INTEGER),
        "is_my_company": ("isMyCompany", TEXT),
        "lead_id": ("leadId", LINK),
        "assigned_by_id": ("assignedById", LINK),
        "created_time": ("createdTime", INSTANT),
        "updated_time": ("updatedTime", INSTANT),
    },
)

LEAD_ADDRESSES = OwnedTable(
    name="lead_addresses",
    kind="legacy",
    method="crm.lead.list",
    params={"select": ["ID", "ADDRESS_CITY"]},
    columns={"id": ("ID", INTEGER), "address_city": ("ADDRESS_CITY", TEXT)},
    owner="leads",
)

PERSON: Columns = {
    "name": ("NAME", TEXT),
    "second_name": ("SECOND_NAME", TEXT),
    "last_name": ("LAST_NAME", TEXT),
}
REACHED_BY: Columns = {
    "phones": ("PHONE", VALUES),
    "emails": ("EMAIL", VALUES),
    "comments": ("COMMENTS", TEXT),
}


def _details(owner: str, name: str, columns: Columns) -> OwnedTable:
    """A customer's name and contacts: read if the setting `pii` allows it."""
    return OwnedTable(
        name=name,
        kind="legacy",
        method=f"crm.{name.removesuffix('_details')}.list",
        params={"select": ["ID", *(source for source, _ in columns.values())]},
        columns={"id": ("ID", INTEGER), **columns},
        owner=owner,
    )


LEAD_DETAILS = _details("leads", "lead_details", {**PERSON, **REACHED_BY})
CONTACT_DETAILS = _details("contacts", "contact_details", {**PERSON, **REACHED_BY})
COMPANY_DETAILS = _details("companies", "company_details", {"name": ("TITLE", TEXT), **REACHED_BY})

LEAD_STAGE_HISTORY = OwnedTable(
    name="lead_stage_history",
    kind="history",
    method="crm.stagehistory.list",
    items_key="items",
    params={"entityTypeId": LEAD},
    owner="leads",
    filled=("owner_id", "stage_id", "created_time"),
    columns={
        "id": ("ID", INTEGER),
        "type_id": ("TYPE_ID", INTEGER),
        "owner_id": ("OWNER_ID", INTEGER),
        "stage_id": ("STATUS_ID", TEXT),
        "stage_semantic_id": ("STATUS_SEMANTIC_ID", TEXT),
        "created_time": ("CREATED_TIME", INSTANT),
    },
)

DEAL_STAGE_HISTORY = OwnedTable(
    name="deal_stage_history",
    kind="history",
    method="crm.stagehistory.list",
    items_key="items",
    params={"entityTypeId": DEAL},
    owner="deals",
    filled=("owner_id", "stage_id", "created_time"),
    columns={
        "id": ("ID", INTEGER),
        "type_id": ("TYPE_ID", INTEGER),
        "owner_id": ("OWNER_ID", INTEGER),
        "category_id": ("CATEGORY_ID", INTEGER),
        "stage_id": ("STAGE_ID", TEXT),
        "stage_semantic_id": ("STAGE_SEMANTIC_ID", TEXT),
        "created_time": ("CREATED_TIME", INSTANT),
    },
)

ACTIVITIES = Table(
    name="activities",
    kind="snapshot",
    method="crm.activity.list",
    params={
        "select": [
            "ID",
            "OWNER_ID",
            "OWNER_TYPE_ID",
            "TYPE_ID",
            "PROVIDER_ID",
            "RESPONSIBLE_ID",
            "CREATED",
            "DEADLINE",
        ],
        "filter": {"COMPLETED": "N", "@OWNER_TYPE_ID": [LEAD, DEAL]},
    },
    columns={
        "id": ("ID", INTEGER),
        "owner_type_id": ("OWNER_TYPE_ID", INTEGER),
        "owner_id": ("OWNER_ID", LINK),
        "type_id": ("TYPE_ID", INTEGER),
        "provider_id": ("PROVIDER_ID", TEXT),
        "responsible_id": ("RESPONSIBLE_ID", LINK),
        "created": ("CREATED", INSTANT),
        "deadline": ("DEADLINE", INSTANT),
    },
)

STATUSES = Table(
    name="statuses",
    kind="snapshot",
    method="crm.status.list",
    params={"order": {"ID": "ASC"}},
    filled=("entity_id", "status_id"),
    columns={
        "id": ("ID", INTEGER),
        "entity_id": ("ENTITY_ID", TEXT),
        "status_id": ("STATUS_ID", TEXT),
        "name": ("NAME", TEXT),
        "sort": ("SORT", INTEGER),
        "semantics": ("SEMANTICS", TEXT),
        "category_id": ("CATEGORY_ID", INTEGER),
        "color": ("COLOR", TEXT),
    },
)

CATEGORIES = Table(
    name="categories",
    kind="snapshot",
    method="crm.category.list",
    items_key="categories",
    id_key="id",
    params={"entityTypeId": DEAL},
    columns={
        "id": ("id", INTEGER),
        "name": ("name", TEXT),
        "sort": ("sort", INTEGER),
        "is_default": ("isDefault", TEXT),
    },
)

USERS = Table(
    name="users",
    kind="snapshot",
    method="user.get",
    params={"sort": "ID", "order": "ASC"},
    columns={
        "id": ("ID", INTEGER),
        "name": ("NAME", TEXT),
        "last_name": ("LAST_NAME", TEXT),
        "second_name": ("SECOND_NAME", TEXT),
        "active": ("ACTIVE", BOOLEAN),
        "work_position": ("WORK_POSITION", TEXT),
        "department_ids": ("UF_DEPARTMENT", ID_LIST),
    },
)

DEPARTMENTS = Table(
    name="departments",
    kind="snapshot",
    method="department.get",
    params={"sort": "ID", "order": "ASC"},
    columns={
        "id": ("ID", INTEGER),
        "name": ("NAME", TEXT),
        "sort": ("SORT", INTEGER),
        "parent_id": ("PARENT", LINK),
    },
)

CURRENCIES = Table(
    name="currencies",
    kind="snapshot",
    method="crm.currency.list",
    id_key="CURRENCY",
    key=("currency",),
    params={"order": {"currency": "ASC"}},
    columns={
        "currency": ("CURRENCY", TEXT),
        "full_name": ("FULL_NAME", TEXT),
        "amount": ("AMOUNT", RATE),
        "amount_cnt": ("AMOUNT_CNT", COUNT),
        "base": ("BASE", TEXT),
        "sort": ("SORT", INTEGER),
        "decimals": ("DECIMALS", INTEGER),
    },
)

# Rows are made from crm.item.fields, one object for each CRM type.
FIELDS = Table(
    name="fields",
    kind="snapshot",
    method="crm.item.fields",
    id_key="field_name",
    key=("entity_type_id", "field_name"),
    columns={
        "entity_type_id": ("entity_type_id", INTEGER),
        "field_name": ("field_name", TEXT),
        "type": ("type", TEXT),
        "label": ("label", TEXT),
        "is_multiple": ("isMultiple", BOOLEAN),
        "is_dynamic": ("isDynamic", BOOLEAN),
        "items": ("items", JSON_LIST),
    },
)

# Rows are made from the spend files; `cost` is without VAT, `currency_code` null in base currency.
AD_COSTS = Table(
    name="ad_costs",
    kind="file",
    method="",
    id_key="file",
    key=("file", "line_number"),
    columns={
        name: (name, _typed(kind))
        for name, kind in {
            "file": pl.String(),
            "line_number": pl.Int64(),
            "date_from": pl.Date(),
            "date_to": pl.Date(),
            "utm_source": pl.String(),
            "utm_medium": pl.String(),
            "utm_campaign": pl.String(),
            "utm_content": pl.String(),
            "utm_term": pl.String(),
            "source_code": pl.String(),
            "cost": pl.Decimal(18, 6),
            "currency_code": pl.String(),
            "clicks": pl.Int64(),
            "vat_percent": pl.Decimal(5, 2),
        }.items()
    },
)

ENTITIES = (LEADS, DEALS, CONTACTS, COMPANIES)
# Columns that link to other records. When a contact or company is merged into another one or
# deleted, the portal changes only these and no time of change (the vendor's
# ContactMerger::rebind, DealContactTable::unbindAllDeals).
LINKS = {
    "company_id": COMPANIES,
    "contact_id": CONTACTS,
    "contact_ids": CONTACTS,
    "lead_id": LEADS,
}
# A linked record comes before the records that link to it.
SYNC_ORDER = (COMPANIES, CONTACTS, LEADS, DEALS)
HISTORIES = (LEAD_STAGE_HISTORY, DEAL_STAGE_HISTORY)
REFERENCE = (STATUSES, CATEGORIES, USERS, DEPARTMENTS, CURRENCIES)
DETAILS = (LEAD_DETAILS, CONTACT_DETAILS, COMPANY_DETAILS)
# Only the legacy methods give these.
LEGACY = (LEAD_ADDRESSES, *DETAILS)
TABLES = (*REFERENCE, FIELDS, AD_COSTS, *ENTITIES, *LEGACY, *HISTORIES, ACTIVITIES)
