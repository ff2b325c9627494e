"""Every page in both languages: its words, its accessibility, its width."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import duckdb
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from pipelines.site.shell import REPORTS
from tests.support.reports_fixtures import PAGES, Sites, Tabs, opening, settle

OpenPage = Callable[..., Page]

PORTALS = {"ru": "company", "en": "english"}
LOCALES = {"ru": "ru-RU", "en": "en-US"}
FOREIGN = {"ru": re.compile(r"[A-Za-z]{2,}"), "en": re.compile(r"[А-Яа-яЁё]+")}
# Names and abbreviations that a Russian report has too; Ctrl and Alt are keys, II a quarter.
INTERNATIONAL = {
    *("CRM", "CSV", "Excel", "ID", "SQL", "UTM", "URL", "Ctrl", "Alt", "II", "III", "IV"),
    *("CPL", "CPQL", "CAC", "ROMI"),
}

IDENTIFIER = re.compile(r"\b[a-z]+(?:_[a-z]+)+\b")
# What a setting may say, as its description names it.
SETTING_VALUES = {
    *("quality", "junk", "none", "hash", "full", "deal", "sale", "direct", "customer"),
    *("true", "false"),
}
# Names by which SQL and settings know a thing, values of settings, and the label of a metric in the
# other language, which the page of definitions shows on purpose. A chart cuts its texts: the table
# beside it has them whole.
NAMES = (
    "code, [data-setting] td:nth-child(2), [data-definition] h3 [lang],"
    " [data-block=checks] td:first-child, .info-sign, .plot"
)
READ_WORDS = """(names) => {
    const named = [...document.querySelectorAll(names)];
    const hidden = named.map((name) => name.style.display);
    named.forEach((name) => { name.style.display = 'none'; });
    const words = [
        document.title,
        document.body.innerText,
        ...[...document.querySelectorAll('body *')].flatMap((element) =>
            ['title', 'placeholder', 'aria-label'].map((name) => element.getAttribute(name) ?? '')),
    ];
    named.forEach((name, i) => { name.style.display = hidden[i]; });
    return words;
}"""

# A dictionary with its keys and texts; functions give their code, as the words in it are shown too.
READ_DICTIONARY = """
const text = await (await import('node:fs/promises')).readFile(process.argv[1], 'utf8');
const code = text.replace(/^import [^;]*;/gm, '');
const names = [...text.matchAll(/^import {([^}]*)}/gm)].flatMap(([, list]) => list.split(','));
globalThis.none = () => '';
const words = await import('data:text/javascript,' + encodeURIComponent(
    names.map((name) => `const ${name.trim()} = globalThis.none;`).join('') + code));
const inCode = (value) => process.argv[2] === 'ru' ? '' : String(value);
const flat = (value, path) => value && typeof value === 'object'
    ? Object.entries(value).flatMap(([key, one]) => flat(one, [...path, key]))
    : [[path.join('.') + (typeof value === 'function' ? '()' : ''),
        typeof value === 'function' ? inCode(value) : String(value)]];
console.log(JSON.stringify(flat(words.default, [])));
"""
TEXTS = REPORTS / "shell" / "texts"


@pytest.mark.parametrize("name", sorted(file.name for file in (TEXTS / "ru").glob("*.js")))
def test_dictionaries_have_the_same_keys_and_their_own_letters(name: str) -> None:
    """What canvases show comes from them too. Code that makes Russian texts has Latin words."""
    keys = {}
    for language, foreign in FOREIGN.items():
        process = subprocess.run(
            ["node", "--input-type=module", "-e", READ_DICTIONARY, str(TEXTS / language / name),
             language],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        entries = json.loads(process.stdout)
        # Plural forms are those of the language.
        keys[language] = {re.sub(r"\.(one|few|many|other)$", ".…", key) for key, _ in entries}
        words = {word for _, text in entries for word in foreign.findall(IDENTIFIER.sub("", text))}
        allowed = INTERNATIONAL | SETTING_VALUES if language == "ru" else set()
        assert words - allowed == set()
    assert keys["ru"] == keys["en"] != set()


def test_both_languages_have_the_same_dictionaries() -> None:
    names = [sorted(file.name for file in (TEXTS / one).iterdir()) for one in ("ru", "en")]
    assert names[0] == names[1]


def open_everything(page: Page) -> None:
    """Brings out what a page hides: filters, folded parts."""
    page.locator("main details.details:not([open]) > summary").evaluate_all(
        "all => all.forEach((one) => one.click())"
    )
    settle(page)
    filters = page.get_by_role("button", name=re.compile("^(Фильтры|Filters)"))
    if filters.count():
        filters.click()


CRM_VALUE = re.compile(
    r'"(?:utm\w+|UF_CRM\w+|title|name|NAME|sourceId|stageId|STATUS_ID)":\s*"((?:[^"\\]|\\.)*)"'
)


def portal_words(sites: Sites, portal: str) -> set[str]:
    """Latin words that stand in the CRM itself, and in the spend files and their names."""
    folder = sites.root / portal
    texts = [
        value
        for file in (folder / "portal").glob("*.jsonl")
        for value in CRM_VALUE.findall(file.read_text(encoding="utf-8"))
    ]
    for file in (folder / "portal" / "spend").rglob("*.csv"):
        texts += [str(file.relative_to(folder)), file.read_text(encoding="utf-8", errors="ignore")]
    return {word for text in texts for word in FOREIGN["ru"].findall(text)}


def opened(open_page: OpenPage, sites: Sites, language: str, route: str) -> Page:
    """A page with all that it hides."""
    portal = PORTALS[language]
    if route == "/card/":
        with duckdb.connect(str(sites.data(portal) / "site.duckdb"), read_only=True) as marts:
            ((lead_id,),) = marts.sql("select min(lead_id) from marts.fct_leads").fetchall()
        route = f"/card/?lead={lead_id}"
    page = open_page(
        sites.address(portal), route, locale=LOCALES[language], color_scheme="light"
    )
    open_everything(page)
    return page


@pytest.fixture(scope="module", params=PAGES)
def russian(request: pytest.FixtureRequest, tabs: Tabs, sites: Sites) -> Iterator[Page]:
    """Each Russian page, opened once for the tests that only look at it."""
    with opening(tabs) as open_page:
        yield opened(open_page, sites, "ru", request.param)


def words_of(page: Page, language: str) -> set[str]:
    """Words in the letters of the other language."""
    text = IDENTIFIER.sub("", "\n".join(page.evaluate(READ_WORDS, NAMES)))
    assert page.locator("html").get_attribute("lang") == language
    return set(FOREIGN[language].findall(text))


@pytest.mark.parametrize("route", PAGES)
def test_no_russian_word_on_an_english_page(
    open_page: OpenPage, sites: Sites, route: str
) -> None:
    """The English portal's CRM has no Cyrillic letter."""
    assert words_of(opened(open_page, sites, "en", route), "en") == set()


def test_no_english_word_on_a_russian_page(russian: Page, sites: Sites) -> None:
    """The Russian portal's CRM has Latin words."""
    words = words_of(russian, "ru") - INTERNATIONAL - portal_words(sites, "company")
    words -= SETTING_VALUES if "/definitions/" in russian.url else set()
    assert words == set()


def test_no_serious_violation_of_accessibility(russian: Page) -> None:
    page = russian
    violations = {}
    for scheme, canvas in (("light", "rgb(255, 255, 255)"), ("dark", None)):
        page.emulate_media(color_scheme=scheme)
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (paper == canvas) == (scheme == "light"), paper
        response: dict[str, Any] = Axe().run(page).response
        assert response["passes"]
        violations |= {
            f"{scheme}: {violation['id']}": [node["html"][:200] for node in violation["nodes"][:3]]
            for violation in response["violations"]
            if violation["impact"] in ("serious", "critical")
        }
    assert violations == {}


def test_no_page_scrolls_sideways(russian: Page) -> None:
    page = russian
    for width in (1400, 1024, 390):
        page.set_viewport_size({"width": width, "height": 800})
        # Charts follow the width a moment later.
        page.wait_for_function("width => document.documentElement.scrollWidth === width", arg=width)
