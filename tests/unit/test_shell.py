"""The shell of the reports: its own tests in Node, its rule of periods against that of the
workbooks, and how its files are served."""

from __future__ import annotations

import datetime as dt
import http.client
import json
import random
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.environment import ROOT
from pipelines.excel.period import period_of
from pipelines.metric_sql import GRAINS
from pipelines.site.choice import Choice
from tests.support.reports_fixtures import serve

pytestmark = pytest.mark.unit

SHELL = ROOT / "reports"
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="Node.js is missing: install Node.js 20")
needs_packages = pytest.mark.skipif(
    not (SHELL / "node_modules").exists(), reason="packages of the reports are missing: `npm ci`"
)


def node(*arguments: str, text: str | None = None) -> str:
    """What a Node program prints."""
    assert NODE
    done = subprocess.run(
        [NODE, *arguments], cwd=SHELL, input=text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_node
@needs_packages
def test_the_shells_own_tests_pass() -> None:
    files = sorted(str(path) for path in (SHELL / "tests").glob("*.test.mjs"))
    node("--test", *files)


@needs_node
def test_pages_and_workbooks_compare_the_same_periods() -> None:
    chance = random.Random(20260331)
    cases = []
    for _ in range(3000):
        as_of = dt.datetime(2026, 1, 1, tzinfo=dt.UTC) + dt.timedelta(
            days=chance.randrange(800), hours=chance.randrange(1, 23)
        )
        day = as_of.date()
        start = chance.choice(
            [
                day.replace(day=1),
                day.replace(day=1, month=(day.month - 1) // 3 * 3 + 1),
                day.replace(day=1, month=1),
                day - dt.timedelta(days=chance.randrange(400)),
            ]
        )
        end = chance.choice([day, start + dt.timedelta(days=chance.choice([0, 6, 27, 29, 30]))])
        if start <= end:
            cases.append((start, min(end, day), as_of))
    asked = [
        {
            "period": {"preset": None, "start": str(start), "end": str(end)},
            "asOf": {"date": str(as_of.date()), "time": as_of.strftime("%H:%M:%S")},
        }
        for start, end, as_of in cases
    ]
    program = """
        import { comparedWith } from './shell/period.js';
        import { readFileSync } from 'node:fs';
        const asked = JSON.parse(readFileSync(0, 'utf8'));
        const answer = ({ period, asOf }) => comparedWith(period, asOf, 'previous');
        console.log(JSON.stringify(asked.map(answer)));
    """
    told = json.loads(node("--input-type=module", "-e", program, text=json.dumps(asked)))
    for (start, end, as_of), answer in zip(cases, told, strict=True):
        period = period_of(start, end, as_of)
        until = period.previous_until
        assert answer == {
            "start": str(period.previous_start),
            "end": str(period.previous_end),
            "until": until and until.strftime("%H:%M:%S"),
        }, (start, end, as_of)


@needs_node
def test_a_page_opens_with_the_choice_of_its_first_figures() -> None:
    """Period, comparison and time axes of the publication are those that the shell asks for."""
    chance = random.Random(20261129)
    asked, expected = [], []
    for _ in range(400):
        moment = dt.datetime(2026, 1, 1) + dt.timedelta(
            days=chance.randrange(1200), seconds=chance.randrange(86_400)
        )
        first = moment.date() - dt.timedelta(days=chance.choice([0, 5, 40, 300, 2000]))
        choice = Choice(moment, first)
        asked.append(
            {"date": str(moment.date()), "time": f"{moment:%H:%M:%S}", "first": str(first)}
        )
        before, year = choice.before, choice.year_before
        expected.append(
            {
                "period": [choice.preset, *map(str, choice.period)],
                "before": [*map(str, before.days), before.until and before.until[-9:-1]],
                "year": [*map(str, year.days), year.until and year.until[-9:-1]],
                "axes": [list(map(str, choice.axis(grain))) for grain in GRAINS],
                "lines": [list(map(str, choice.window(grain, choice.period))) for grain in GRAINS],
            }
        )
    program = """
        import * as p from './shell/period.js';
        import { readFileSync } from 'node:fs';
        const grains = ['day', 'week', 'month', 'quarter', 'year'];
        const days = ({ start, end }) => [start, end];
        const answer = ({ date, time, first }) => {
            const preset = p.defaultPreset(date);
            const [start, end] = p.presetDays(preset, date);
            const period = { preset, start, end };
            const compared = (mode) => {
                const found = p.comparedWith(period, { date, time }, mode);
                return [found.start, found.end, found.until];
            };
            return {
                period: [preset, start, end],
                before: compared('previous'),
                year: compared('year'),
                axes: grains.map((grain) => days(p.axisWindow(grain, period, date, first))),
                lines: grains.map((grain) => days(p.lineWindow(grain, period, date, first))),
            };
        };
        console.log(JSON.stringify(JSON.parse(readFileSync(0, 'utf8')).map(answer)));
    """
    told = json.loads(node("--input-type=module", "-e", program, text=json.dumps(asked)))
    for given, one, other in zip(asked, told, expected, strict=True):
        assert one == other, given


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    content: bytes


@dataclass(frozen=True)
class Site:
    port: int

    def ask(self, path: str, method: str = "GET", **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers={"accept-encoding": "identity", **named})
        response = connection.getresponse()
        told = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, told, response.read())


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A site with a database, an engine with its compressed copies, and a page."""
    (tmp_path / "data" / "7").mkdir(parents=True)
    (tmp_path / "assets").mkdir()
    (tmp_path / "data" / "7" / "site.duckdb").write_bytes(bytes(range(256)) * 40)
    (tmp_path / "assets" / "engine.wasm").write_bytes(b"\0asm" * 1000)
    (tmp_path / "assets" / "engine.wasm.br").write_bytes(b"brotli")
    (tmp_path / "assets" / "engine.wasm.gz").write_bytes(b"gzip")
    (tmp_path / "index.html").write_text("<p>" * 1000)
    with serve(tmp_path) as address:
        yield Site(int(address.rsplit(":", 1)[1]))


def test_the_database_is_served_by_range_and_never_compressed(site: Site) -> None:
    path, takes = "/data/7/site.duckdb", "gzip, br"
    head = site.ask(path, "HEAD", accept_encoding=takes)
    assert (head.headers["content-length"], head.headers["accept-ranges"]) == ("10240", "bytes")
    assert "content-encoding" not in site.ask(path, accept_encoding=takes).headers
    part = site.ask(path, accept_encoding=takes, range="bytes=256-259")
    assert (part.status, part.content) == (206, bytes([0, 1, 2, 3]))
    assert part.headers["content-range"] == "bytes 256-259/10240"


@pytest.mark.parametrize(
    ("takes", "encoding", "content"),
    [
        ("gzip, br", "br", b"brotli"),
        ("gzip", "gzip", b"gzip"),
        ("identity", None, b"\0asm" * 1000),
    ],
)
def test_the_engine_is_served_as_it_was_compressed(
    site: Site, takes: str, encoding: str | None, content: bytes
) -> None:
    answer = site.ask("/assets/engine.wasm", accept_encoding=takes)
    assert (answer.headers.get("content-encoding"), answer.content) == (encoding, content)
    assert answer.headers["content-type"] == "application/wasm"
    assert "immutable" in answer.headers["cache-control"]


def test_pages_are_asked_for_anew(site: Site) -> None:
    assert site.ask("/").headers["cache-control"] == "no-cache"
