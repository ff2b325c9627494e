"""Hostile words in every text of a portal: each is shown as itself, and nothing else happens."""

from __future__ import annotations

import json

import pytest

from pipelines.bitrix24.entities import CONTACT_DETAILS, DEALS, FIELDS, LEADS, STATUSES, USERS
from tests.support.hostile_words import CONTROLS, HALF, LONG, UNREADABLE, WORDS
from tests.support.small_portal import deal, lead, status


@pytest.mark.parametrize("word", [*WORDS, HALF, LONG], ids=ascii)
def test_a_word_is_read_as_it_is(word: str) -> None:
    """In columns, user fields and lists; characters that no text can hold become U+FFFD."""
    expected = UNREADABLE.sub("\ufffd", word)
    assert ("\ufffd" in expected) == (word in (*CONTROLS, HALF))
    values = {"UF_CRM_TEXT": word, "UF_CRM_MANY": [word, {"VALUE": word}]}
    for table, row in ((LEADS, lead(1)), (DEALS, deal(1))):
        read = table.typed([row | {"title": word, "utmTerm": word} | values], 1).row(0, named=True)
        assert (read["title"], read["utm_term"]) == (expected, expected)
        assert json.loads(read["user_fields"]) == {
            "UF_CRM_TEXT": expected,
            "UF_CRM_MANY": [expected, {"VALUE": expected}],
        }
    read = STATUSES.typed([status(1, "SOURCE", "WEB") | {"NAME": word}], 1).row(0, named=True)
    assert read["name"] == expected
    read = USERS.typed([{"ID": "1", "LAST_NAME": word}], 1).row(0, named=True)
    assert read["last_name"] == expected
    row = {"ID": "1", "COMMENTS": word, "PHONE": [{"VALUE": word}]}
    read = CONTACT_DETAILS.typed([row], 1).row(0, named=True)
    assert (read["comments"], json.loads(read["phones"])) == (expected, [expected])
    field = {"entity_type_id": 1, "field_name": "UF_CRM_LIST", "label": word}
    read = FIELDS.typed([field | {"items": [{"ID": "1", "VALUE": word}]}], 1).row(0, named=True)
    assert read["label"] == expected
    assert json.loads(read["items"]) == [{"ID": "1", "VALUE": expected}]
