"""Every page in both languages: its words, its accessibility, its width."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from pipelines.site.shell import REPORTS
from tests.support.reports_fixtures import PAGES, Sites, settle

OpenPage = Callable[..., Page]

PORTALS = {"ru": "company", "en": "english"}
LOCALES = {"ru": "ru-RU", "en": "en-US"}
FOREIGN = {"ru": re.compile(r"[A-Za-z]{2,}"), "en": re.compile(r"[А-Яа-яЁё]+")}
# Names and abbreviations that a Russian report has too; Ctrl and Alt are keys.
INTERNATIONAL = {"CRM", "CSV", "Excel", "ID", "SQL", "UTM", "URL", "Ctrl", "Alt"}

IDENTIFIER = re.compile(r"\b[a-z]+(?:_[a-z]+)+\b")
# What a setting may say, as its description names it.
SETTING_VALUES = {
    *("quality", "junk", "none", "hash", "full", "deal", "sale", "direct", "customer"),
    *("true", "false"),
}
# Names by which SQL and settings know a thing, values of settings, and the label of a metric in the
# other language, which the page of definitions shows on purpose.
NAMES = (
    "code, [data-setting] td:nth-child(2), [data-definition] h3 [lang],"
    " [data-block=checks] td:first-child"
)
READ_WORDS = """(names) => [
    document.querySelectorAll(names).forEach((name) => { name.style.display = 'none'; }) ?? '',
    document.title,
    document.body.innerText,
    ...[...document.querySelectorAll('body *')].flatMap((element) =>
        ['title', 'placeholder', 'aria-label'].map((name) => element.getAttribute(name) ?? '')),
]"""

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
    """Latin words that stand in the CRM itself."""
    return {
        word
        for file in (sites.root / portal / "portal").glob("*.jsonl")
        for value in CRM_VALUE.findall(file.read_text(encoding="utf-8"))
        for word in FOREIGN["ru"].findall(value)
    }


@pytest.mark.parametrize("route", PAGES)
@pytest.mark.parametrize("language", PORTALS)
def test_no_word_of_the_other_language(
    open_page: OpenPage, sites: Sites, language: str, route: str
) -> None:
    """The English portal's CRM has no Cyrillic letter; that of the Russian one has Latin words."""
    query = "?lead=1" if route == "/card/" else ""
    page = open_page(sites.address(PORTALS[language]), route + query, locale=LOCALES[language])
    open_everything(page)
    text = IDENTIFIER.sub("", "\n".join(page.evaluate(READ_WORDS, NAMES)))
    words = set(FOREIGN[language].findall(text))
    if language == "ru":
        words -= INTERNATIONAL | portal_words(sites, "company")
        words -= SETTING_VALUES if route == "/definitions/" else set()
    assert words == set()
    assert page.locator("html").get_attribute("lang") == language


@pytest.mark.parametrize("route", PAGES)
def test_no_serious_violation_of_accessibility(
    open_page: OpenPage, company: str, route: str
) -> None:
    page = open_page(company, route, color_scheme="light")
    open_everything(page)
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


@pytest.mark.parametrize("route", PAGES)
def test_no_page_scrolls_sideways(open_page: OpenPage, company: str, route: str) -> None:
    page = open_page(company, route)
    open_everything(page)
    for width in (1400, 1024, 390):
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_timeout(500)  # charts follow the width a moment later
        assert page.evaluate("document.documentElement.scrollWidth") == width
