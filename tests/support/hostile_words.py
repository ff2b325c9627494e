"""Words in a CRM that a program may take for something else.

Every text of a portal can be any of them. Each must be shown as it is: as a key it does not find a
built-in property, as a number it keeps its digits, as markup, path, SQL or formula it does not run.
"""

from __future__ import annotations

import re

KEYS = (
    "constructor",
    "toString",
    "__proto__",
    "hasOwnProperty",
    "valueOf",
    "length",
    "then",
    "is_rest",
    "manager_name",
)
NUMBERS = (
    "1e3",
    "0x10",
    "NaN",
    "Infinity",
    "00123",
    "1 000",
    "1,5",
    "0",
    "2026-03-01",
    "01.03.2026",
    "true",
    "null",
    "undefined",
    "None",
)
MARKUP = (
    "<script>window.planted = 1</script>",
    "<img src=x onerror=window.planted=1>",
    "</script></textarea><b>жирный",
    "<!-- ",
    "{#if planted}",
    "{@html '<i>'}",
    "${inputs.period.start}",
    "{{ var('pii') }} {% raw %}",
    "{a|b} {b}: {c}",
    "**жирный** _x_",
    "[ссылка](javascript:window.planted=1)",
    "| a | b |",
    "`код`",
    "Рога &amp; копыта",
    "&lt;b&gt; &#60;",
    "%s %d {0}",
)
PATHS = (
    "../../etc/passwd",
    "CON",
    "a/b",
    "C:\\temp\\new",
    "%2e%2e%2f",
    "?source=x&y=1#z",
    "Лист:1[2]*",
)
SQL = (
    "'; drop table marts.fct_leads; --",
    "' or true --",
    "100%",
    "a_b",
    "\\",
    '"двойные"',
    "«ёлочки» „лапки“ ‘ ’ ´",
    "$$ /* */",
)
FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "=cmd|' /C calc'!A0", "\t=2+2")
URLS = ("mailto:a@b.example", "http://evil.example/", "internal:'Лиды'!A1", "external:c:\\x.xlsx")
UNICODE = (
    "до \u202eнаоборот",
    "две\nстроки",
    "нуле\u200bвой",
    "и\u0306",
    "👩\u200d👩\u200d👧",
    "🇷🇺 флаг",
    "İSTANBUL",
    "_x0041_",
    "1\u00a0500",
    "\ufeffBOM",
)
# What the reports write if the portal does not have a name.
MADE_UP = (
    "без источника",
    "без ответственного",
    "пользователь 7",
    "удалённый этап (NEW)",
    "удалённая воронка (7)",
    "удалённое значение (7)",
    "Лид №7",
)
OWN = ("Итого", "Всего", "Все", "прочие", "не указано", "—")

# Characters that Unicode or XML forbids, or that a terminal executes.
CONTROLS = (
    "нуль\x00внутри",
    "звонок\x07",
    "\x1b[31mкрасный\x1b[0m",
    "\uffff не знак",
)
# As cut texts end; no file of texts holds it.
HALF = "половина \ud83d"
LONG = "длинно " + "я" * 33_000

# Nothing in them is visible: the record counts as having no text.
BLANKS = ("", " ", "\t\n", "\u00a0", "\u200b\ufeff")

WORDS = (
    *(*KEYS, *NUMBERS, *MARKUP, *PATHS, *SQL, *FORMULAS),
    *(*URLS, *UNICODE, *OWN, *MADE_UP, *CONTROLS),
)

UNREADABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
BREAKS = re.compile("[\xad\u200b\u2060\ufeff]")
INVISIBLE = "\\s\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff"
OUTER = re.compile(f"^[{INVISIBLE}]+|[{INVISIBLE}]+$")


def shown(word: str) -> str:
    """The word as reports show it, by METRICS (Dimensions).

    White space and characters without width around it are trimmed, within it a white space is one
    blank; control characters and lone surrogates, which no text can hold, become U+FFFD.
    """
    seen = BREAKS.sub("", UNREADABLE.sub("\ufffd", word))
    return re.sub(r"\s+", " ", OUTER.sub("", seen))


def names(word: str, number: int | str) -> set[str]:
    """What the thing of this name and ID may be called: the ID tells it from what is made up."""
    return {shown(word)} | ({f"{shown(word)} (ID {number})"} if word in MADE_UP else set())
