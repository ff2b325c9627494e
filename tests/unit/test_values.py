"""The portal's values: shapes of PHP, days, numbers, user fields; what is cut from texts."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from decimal import Decimal
from typing import Any

import pytest

from pipelines.bitrix24.client import rows_of
from pipelines.bitrix24.entities import (
    COMPANIES,
    CONTACT_DETAILS,
    DEALS,
    FIELDS,
    LEAD_ADDRESSES,
    LEADS,
    USERS,
)
from pipelines.bitrix24.offsets import WrittenTimes
from pipelines.bitrix24.redaction import CUT, is_suspect, redacted, without_addresses
from pipelines.bitrix24.values import UserField, day, decimal, instant, integer, listed, mapping
from pipelines.errors import Bitrix24Error
from tests.support.small_portal import deal, lead

CODE = "abcdefgh12345678"
HALF = "\ud83d"
MOMENT = "2026-03-01T00:30:00+03:00"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([5, 7], [5, 7]),
        # A list with gaps, keys as texts: 10 comes after 2.
        ({"10": 9, "0": 5, "2": 7}, [5, 7, 9]),
        ({}, []),
        ([], []),
        (None, []),
        ("", []),
        (False, []),
        (5, [5]),
        ("5", ["5"]),
        ({"VALUE": "x"}, [{"VALUE": "x"}]),
    ],
)
def test_a_list_in_each_shape_of_php(value: Any, expected: list[Any]) -> None:
    assert listed(value) == expected


def test_an_object_in_each_shape_of_php() -> None:
    assert mapping([]) == {} == mapping(None)
    assert mapping(["a", "b"]) == {"0": "a", "1": "b"}
    with pytest.raises(TypeError):
        mapping("text")


def test_rows_with_gaps_are_rows() -> None:
    rows = {"items": {"0": {"id": 1}, "2": {"id": 3}}}
    assert rows_of(rows, "items", "crm.item.list") == [{"id": 1}, {"id": 3}]
    assert rows_of([], None, "user.get") == []
    with pytest.raises(Bitrix24Error, match="unknown form"):
        rows_of({"items": [1]}, "items", "crm.item.list")


def test_another_shape_of_the_same_value_is_no_other_version() -> None:
    same = [
        deal(1, contactIds=[3, 2], UF_CRM_LIST=[44, 46], opportunity=100),
        deal(1, contactIds={"0": 3, "2": "2"}, UF_CRM_LIST={"1": "44", "5": "46"}, opportunity=100),
    ]
    kinds = {"UF_CRM_LIST": UserField("enumeration", is_multiple=True)}
    frame = DEALS.typed(same, 1, kinds)
    assert frame["contact_ids"].to_list() == ["[3, 2]"] * 2
    assert frame["row_hash"].n_unique() == 1
    departments = [
        {"ID": "1", "UF_DEPARTMENT": given} for given in ([7], {"3": 7}, 7, "7", False, [])
    ]
    found = USERS.typed(departments, 1)["department_ids"].to_list()
    assert found == ["[7]"] * 4 + ["[]"] * 2
    items = {"0": {"ID": "1", "VALUE": "Да"}, "4": {"ID": "2", "VALUE": "Нет"}}
    about = {"entity_type_id": 1, "field_name": "UF_CRM_A", "items": items}
    (told,) = FIELDS.typed([about], 1)["items"]
    assert json.loads(told) == [{"ID": "1", "VALUE": "Да"}, {"ID": "2", "VALUE": "Нет"}]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-01T03:00:00+03:00", dt.date(2026, 3, 1)),
        # Midnight UTC in New York: the text names the day before.
        ("2026-02-28T19:00:00-05:00", dt.date(2026, 3, 1)),
        ("2026-03-01", dt.date(2026, 3, 1)),
        ("01.03.2026", dt.date(2026, 3, 1)),
        ("0022-05-01T02:30:00+02:30", dt.date(22, 5, 1)),
        ("0000-00-00", None),
        ("-0001-11-30T00:00:00+02:30", None),
        ("", None),
        (None, None),
    ],
)
def test_days(text: str | None, expected: dt.date | None) -> None:
    assert day(text) == expected
    assert DEALS.typed([deal(1, closedate=text)], 1)["closedate"].to_list() == [expected]
    field = UserField("date", is_multiple=True)
    assert field.decode(text) == ([expected.isoformat()] if expected else [])


def test_a_list_of_nothing_among_days_is_no_day() -> None:
    days = [deal(1, closedate=[]), deal(2, closedate="29.02.2024"), deal(3, closedate=False)]
    assert DEALS.typed(days, 1)["closedate"].to_list() == [None, dt.date(2024, 2, 29), None]


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (Decimal("100.10000000000001"), "100.10"),
        (Decimal("0.005"), "0.01"),
        (Decimal("-0.005"), "-0.01"),
        (Decimal("1E+5"), "100000.00"),
        (Decimal("99999999999999999.995"), "100000000000000000.00"),
        (Decimal("999999999999999999.99"), "999999999999999999.99"),
        (Decimal("999999999999999999.995"), "999999999999999999.99"),
        (-(10**18), "-999999999999999999.99"),
    ],
)
def test_money_is_rounded_and_kept_within_its_column(number: Any, expected: str) -> None:
    (found,) = DEALS.typed([deal(1, opportunity=number)], 1)["opportunity"]
    assert str(found) == expected


def test_a_version_keeps_its_hashes() -> None:
    # Other hashes would append every record of every warehouse once more.
    row = {"ID": "7", "ADDRESS_CITY": "Казань"}
    (address,) = LEAD_ADDRESSES.typed([row], 1)["row_hash"]
    assert address == hashed("('7', 'Казань')")
    given = {source: None for source, _ in COMPANIES.columns.values()}
    given |= {"id": 5, "createdTime": MOMENT, "updatedTime": MOMENT, "UF_CRM_SUM": Decimal("1.50")}
    (company,) = COMPANIES.typed([given], 1, {"UF_CRM_SUM": UserField("double")})["row_hash"]
    fields = '{"UF_CRM_SUM": "1.5"}'
    assert company == hashed(f"(5, None, None, None, '{MOMENT}', '{MOMENT}', '{fields}')")
    given = {source: None for source, _ in LEADS.columns.values()}
    given |= {"id": 1, "stageId": "NEW", "opportunity": Decimal("2.50"), "contactIds": {"1": "3"}}
    given |= {"createdTime": MOMENT, "updatedTime": MOMENT, "lastActivityTime": MOMENT}
    (version,) = LEADS.typed([given], 1).to_dicts()
    state = (
        "(1, None, 'NEW', None, None, None, None, None, None, None, '[3]', Decimal('2.50'), None,"
        " None, None, None, None, None, None, None, None,"
        f" '{MOMENT}', '{MOMENT}', None, None, '{{}}')"
    )
    assert version["state_hash"] == hashed(state)
    assert version["row_hash"] == hashed(state + MOMENT)


def hashed(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def test_written_times_are_the_first_and_last_of_each_month_and_offset() -> None:
    times = WrittenTimes()
    times.note_all(
        [
            "2026-01-05T10:00:00+03:00",
            "2026-01-02T10:00:00+03:00",
            "2026-01-04T10:00:00+02:00",
            # Earlier than all, and of no form of the portal.
            "2026-01-01 10:00:00+03:00",
            "1999-01-01T10:00:00+03:00",
            "",
            None,
            5,
        ]
    )
    times.note_all(["2026-01-06T10:00:00+03:00", "2026-01-03T10:00:00+03:00"])
    assert times.until(dt.datetime(2026, 2, 1, tzinfo=dt.UTC)) == [
        "2026-01-02T10:00:00+03:00",
        "2026-01-04T10:00:00+02:00",
        "2026-01-06T10:00:00+03:00",
    ]


def test_instants_and_numbers() -> None:
    moment = dt.datetime(2026, 2, 28, 21, 30, tzinfo=dt.UTC)
    for text in ("2026-03-01T00:30:00+03:00", "2026-02-28T21:30:00Z", "2026-02-28 21:30:00+00:00"):
        assert instant(text) == moment
        assert LEADS.typed([lead(1, movedTime=text)], 1)["moved_time"].to_list() == [moment]
    assert instant("") is None
    with pytest.raises(TypeError, match="not a time"):
        instant(5)
    with pytest.raises(ValueError, match="offset"):
        instant("2026-03-01T00:30:00")
    assert [integer(value) for value in (5, "5", "5.00", Decimal("5.0"), "", None)] == (
        [5, 5, 5, 5, None, None]
    )
    for bad in (True, "5,5", "1_000", "٥", "5.5"):
        with pytest.raises(ValueError, match="number"):
            integer(bad)
    for endless in ("NaN", "Infinity", "1E+1000"):
        with pytest.raises(ValueError, match="not a number"):
            decimal(Decimal(endless))


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("enumeration", "44", 44),
        ("enumeration", False, None),
        ("employee", 0, None),
        ("boolean", False, False),
        ("boolean", "Y", True),
        ("boolean", "1", True),
        ("boolean", "", None),
        ("datetime", "2026-03-01T00:30:00+03:00", "2026-02-28T21:30:00+00:00"),
        ("double", Decimal("0.10"), "0.1"),
        ("double", "1500.00", "1500"),
        ("integer", "0", 0),
        ("money", "1500.50|RUB", "1500.50 RUB"),
        ("money", "1500.5|RUB", "1500.50 RUB"),
        ("money", "1500.00|RUB", "1500 RUB"),
        ("money", "1500.25|RUB", "1500.25 RUB"),
        ("money", "0|USD", "0 USD"),
        ("money", "|RUB", None),
        ("address", "ул. Ленина, 1, Казань|55.79;49.10|12", "ул. Ленина, 1, Казань"),
        ("address", "Казань|;", "Казань"),
        ("address", "|55.79;49.10", None),
        ("address", "Казань", "Казань"),
        ("iblock_element", "15", 15),
        ("file", {"id": 5, "url": "/x?id=5", "urlMachine": "https://p/rest/1/x/"}, 5),
        ("file", {"id": "5", "showUrl": "/x", "downloadUrl": "/y"}, 5),
        ("file", {"fileId": "7", "url": "/x"}, 7),
        ("file", 5, 5),
        # A file by its shape, whatever the portal says of the field.
        ("rest_1_drive", {"id": 6, "urlMachine": "https://p/rest/1/x/"}, 6),
        # And what is left of one.
        ("rest_1_drive", {"id": 6, "name": "Счёт.pdf"}, 6),
        ("rest_1_drive", {"id": 6, "fileId": 7, "name": "Счёт.pdf"}, 6),
        ("crm", "C_5", "C_5"),
        ("crm", 0, None),
        ("string", "0", "0"),
        ("string", 7, "7"),
        ("string", HALF, "\ufffd"),
        ("rest_1_color", {"r": Decimal("0.5"), "g": [1]}, {"r": "0.5", "g": [1]}),
        ("rest_1_color", {"g": [Decimal("0.50")], HALF: HALF}, {"g": ["0.5"], "\ufffd": "\ufffd"}),
        ("rest_1_color", {"": 1}, {"": 1}),
    ],
)
def test_user_fields(kind: str, value: Any, expected: Any) -> None:
    """One value, and the same as the only one of a multiple field, in both shapes of a list."""
    assert UserField(kind).decode(value) == expected
    several = UserField(kind, is_multiple=True)
    whole = [] if expected is None else [expected]
    if value is not False:
        assert several.decode([value]) == several.decode({"3": value}) == whole


@pytest.mark.parametrize("kind", ["string", "double", "money", "address", "date", "datetime"])
def test_what_is_empty_among_several_values_is_none_of_them(kind: str) -> None:
    assert UserField(kind, is_multiple=True).decode(["", None]) == []


def test_a_field_with_several_values_is_a_list_whatever_the_portal_says_of_it() -> None:
    assert UserField("integer").decode([1, 2]) == [1, 2]


@pytest.mark.parametrize("value", [True, {"a": "b"}])
def test_what_is_no_text_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="not a text"):
        UserField("string").decode(value)


def test_nothing_is_null() -> None:
    (row,) = LEADS.typed([lead(1, title="", contactId=False, companyId="0")], 1).to_dicts()
    assert (row["title"], row["contact_id"], row["company_id"]) == (None, None, None)


def test_a_link_of_a_field_with_one_kind_gets_it_from_the_settings() -> None:
    assert UserField("crm", settings={"LEAD": "N", "CONTACT": "Y"}).decode("5") == "C_5"
    assert UserField("crm", settings={"DYNAMIC_128": "Y"}).decode(12) == "T80_12"
    # An empty object is an empty list.
    assert UserField("crm", settings=[]).decode("5") == "5"


def test_half_of_an_emoji_stops_nothing() -> None:
    row = lead(1, title=f"Привет {HALF}", utmSource=HALF) | {f"UF_CRM_{HALF}": {HALF: [HALF]}}
    safe = redacted(row, [])
    json.dumps(safe, ensure_ascii=False).encode()
    frame = LEADS.typed([row, safe], 1)
    assert frame["title"].to_list() == ["Привет \ufffd"] * 2
    frame.to_arrow()
    assert LEAD_ADDRESSES.typed([{"ID": 1, "ADDRESS_CITY": HALF}], 1)["address_city"][0] == "\ufffd"


def test_what_cannot_be_decoded_names_record_field_and_value() -> None:
    kinds = {"UF_CRM_A": UserField("date")}
    with pytest.raises(Bitrix24Error, match=r"leads 2: field UF_CRM_A .*\(вчера\)"):
        LEADS.typed([lead(1), lead(2, UF_CRM_A="вчера")], 1, kinds)
    with pytest.raises(Bitrix24Error, match="leads 1: field companyId") as caught:
        LEADS.typed([lead(1, companyId=f"https://p/rest/1/{CODE}/?auth=tttt")], 1)
    assert CODE not in str(caught.value)
    assert "tttt" not in str(caught.value)
    # Customers' contacts are never shown.
    with pytest.raises(Bitrix24Error, match="contact_details 3: field NAME holds a list") as caught:
        CONTACT_DETAILS.typed([{"ID": 3, "NAME": ["Пелагея"]}], 1)
    assert "Пелагея" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"см. https://p/rest/1/{CODE}/profile.json", f"см. https://p/rest/1/{CUT}/profile.json"),
        # Another portal's, and short, is a secret too.
        ("https://p/rest/17/abc/", f"https://p/rest/17/{CUT}/"),
        (
            r"{\"u\":\"https:\/\/p\/rest\/1\/abc\/x\"}",
            rf"{{\"u\":\"https:\/\/p\/rest\/1\/{CUT}\/x\"}}",
        ),
        ("https://p/x?auth=T1&id=5", f"https://p/x?auth={CUT}&id=5"),
        ("/x.php?id=5&amp;access_token=T1", f"/x.php?id=5&amp;access_token={CUT}"),
        ("[url=https://p/x?token=T1]файл[/url]", f"[url=https://p/x?token={CUT}]файл[/url]"),
        ("https://p/?auth[access_token]=T1#a", f"https://p/?auth[access_token]={CUT}#a"),
        (
            "https://q/?to=https%3A%2F%2Fp%2Frest%2F1%2Fabc%2Fx%3Ftoken%3DT1%26id%3D5",
            f"https://q/?to=https%3A%2F%2Fp%2Frest%2F1%2F{CUT}%2Fx%3Ftoken%3D{CUT}%26id%3D5",
        ),
        (f"код {CODE}!", f"код {CUT}!"),
        # Nothing of a way in.
        ("https://a.ru/?q=1&utm_source=ya", "https://a.ru/?q=1&utm_source=ya"),
        ("Автор: token ring, auth, /rest/area", "Автор: token ring, auth, /rest/area"),
    ],
)
def test_addresses_lose_their_secrets(text: str, expected: str) -> None:
    assert without_addresses(text, [CODE]) == expected
    assert without_addresses(expected, [CODE]) == expected
    if text != expected:
        for body in (json.dumps(text), json.dumps(text, ensure_ascii=False).replace("/", "\\/")):
            assert is_suspect(body.encode(), [CODE])


def test_each_secret_in_use_is_cut_but_for_what_may_be_a_word() -> None:
    assert is_suspect("код 12345678".encode(), ["abcdefgh", "12345678"])
    assert not is_suspect("код 1234567".encode(), ["1234567"])
    # In any case of letters.
    assert is_suspect(b"HTTPS://PORTAL/REST/1/CODE/", [])
    assert is_suspect(b"https://portal/?AuTh=1", [])
    told = without_addresses("12345678, 1234567", ["abcdefgh", "12345678", "1234567"])
    assert told == f"{CUT}, 1234567"


def test_files_of_any_depth_keep_number_and_name() -> None:
    file = {"id": 5, "name": "Счёт.pdf", "url": "/x", "urlMachine": f"https://p/rest/1/{CODE}/"}
    given = {"items": [{"id": 1, "ufCrmFile": file, "ufCrmFiles": {"0": file, "3": [file]}}]}
    kept = {"id": 5, "name": "Счёт.pdf"}
    assert redacted(given, [CODE]) == {
        "items": [{"id": 1, "ufCrmFile": kept, "ufCrmFiles": {"0": kept, "3": [kept]}}]
    }
