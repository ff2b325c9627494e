"""Workflows, systemd units and the audit: files that run elsewhere, checked here."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from dotenv import dotenv_values
from starlette.requests import Request
from starlette.responses import Response

from pipelines.__main__ import cli
from pipelines.environment import ROOT
from pipelines.errors import EXIT_CODES
from scripts import audit
from scripts.serve import POLICY, application, with_policy

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
UNITS = ROOT / "scripts" / "systemd"


def test_workflows_follow_the_schema_of_github() -> None:
    command = [str(Path(sys.executable).with_name("check-jsonschema")), "--builtin-schema"]
    done = subprocess.run(
        [*command, "vendor.github-workflows", *WORKFLOWS],
        capture_output=True,
        text=True,
        check=False,
    )
    assert [path.name for path in WORKFLOWS] == ["ci.yml", "refresh.yml"]
    assert done.returncode == 0, done.stdout


def workflow(name: str) -> dict[str, Any]:
    text = (ROOT / ".github" / "workflows" / name).read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def test_nobody_reads_more_than_needed_and_nothing_is_public_by_default() -> None:
    for path in WORKFLOWS:
        assert workflow(path.name)["permissions"] == {"contents": "read"}
    jobs = workflow("refresh.yml")["jobs"]
    opt_in = "vars.PAGES == 'anyone-may-read-it'"
    assert jobs["pages"]["if"] == opt_in
    pages = [step for step in jobs["refresh"]["steps"] if "pages" in step.get("uses", "")]
    assert [step["if"] for step in pages] == [opt_in]
    assert jobs["refresh"]["steps"][0]["name"] == "Refuse a public repository"


def test_secrets_reach_the_refresh_alone_and_no_command_line() -> None:
    for path in WORKFLOWS:
        for job in workflow(path.name)["jobs"].values():
            for step in job["steps"]:
                # An expression in a command is code from anyone who may set it.
                assert "${{" not in step.get("run", ""), step
                if "secrets." in json.dumps(step):
                    assert step["name"] == "Refresh"


def test_actions_are_named_by_the_hash_of_a_commit() -> None:
    for path in WORKFLOWS:
        used = re.findall(r"uses: (.*)", path.read_text(encoding="utf-8"))
        assert used
        for action in used:
            assert re.fullmatch(r"actions/[a-z/-]+@[0-9a-f]{40} # v[0-9.]+", action), action


def test_values_in_single_quotes_are_read_alike(tmp_path: Path) -> None:
    """By the shell and python-dotenv; systemd takes single quotes literally too (systemd.exec)."""
    secret = 'a$HOME `b` #c d"e'
    file = tmp_path / "settings.env"
    file.write_text(f"PLANTED='{secret}'\n", encoding="utf-8")
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    assert "BITRIX24_WEBHOOK_URL='https://…/rest/1/…/'" in page
    done = subprocess.run(
        ["bash", "-c", f"set -a; . {file}; printenv PLANTED"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{secret}\n"
    assert dotenv_values(file) == {"PLANTED": secret}


def test_nginx_sends_the_policy_of_make_serve_from_each_location() -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    block = page.split("```nginx")[1].split("```")[0]
    assert block.count(f'add_header Content-Security-Policy "{POLICY}" always;') == 3
    assert len(re.findall(r"^    location ", block, re.MULTILINE)) == 3


def test_make_serve_sends_the_policy() -> None:
    async def page(_: Request) -> Response:
        return Response("a page")

    # Playwright keeps a loop running in the thread of the tests.
    with ThreadPoolExecutor() as thread:
        answer = thread.submit(asyncio.run, with_policy(Request({"type": "http"}), page)).result()
    assert answer.headers["Content-Security-Policy"] == POLICY
    middleware = [one.kwargs.get("dispatch") for one in application(ROOT).user_middleware]
    assert with_policy in middleware


def test_the_warehouse_of_a_run_that_failed_or_timed_out_is_kept() -> None:
    """A first load of many hours continues in the next job."""
    job = workflow("refresh.yml")["jobs"]["refresh"]
    steps = {step.get("name"): step for step in job["steps"]}
    assert steps["Refresh"]["timeout-minutes"] < job["timeout-minutes"] - 20
    keep, restore = steps["Keep the warehouse"], steps["Warehouse of the last refresh"]
    assert keep["if"].startswith("always() && ")
    assert "outputs.code" not in keep["if"]
    assert keep["with"]["path"] == restore["with"]["path"]
    assert {"data/warehouse.duckdb", "data/.dlt", "data/full_reading_owed_by"} < set(
        keep["with"]["path"].split()
    )


def test_the_refresh_step_shows_run_json_and_ends_with_its_exit_code(tmp_path: Path) -> None:
    """The step's script, run as GitHub runs it, with a refresh that fails by settings."""
    (step,) = [
        step
        for step in workflow("refresh.yml")["jobs"]["refresh"]["steps"]
        if step.get("name") == "Refresh"
    ]
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    data = tmp_path / "data"
    data.mkdir()
    (data / "run.json").write_text('{"summary": ["of an earlier run"], "error": ""}')
    run = {"summary": ["failed, exit code 3", "seconds: check 1.0"], "error": "raw checks failed"}
    python.write_text(
        "#!/bin/bash\n"
        'if [ "$1" = -c ]; then exec python3 "$@"; fi\n'
        '[ "$*" = "-m pipelines refresh --full" ] || exit 99\n'
        f'[ -n "$NO_RUN" ] || echo \'{json.dumps(run)}\' > "$WAREHOUSE_DIR/run.json"\n'
        "echo told on stderr >&2\n"
        "exit 3\n"
    )
    python.chmod(0o755)

    def runs(**environment: str) -> str:
        summary = tmp_path / "summary.md"
        summary.unlink(missing_ok=True)
        done = subprocess.run(
            ["bash", "-e", "-c", step["run"]],
            cwd=tmp_path,
            env={
                "PATH": "/usr/bin:/bin",
                "WAREHOUSE_DIR": "data",
                "ARGUMENTS": "--full",
                "GITHUB_OUTPUT": str(tmp_path / "output"),
                "GITHUB_STEP_SUMMARY": str(summary),
                **environment,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 3
        assert "told on stderr" in done.stderr
        assert (tmp_path / "output").read_text().endswith("code=3\n")
        return summary.read_text()

    assert runs() == (
        "### Exit code 3\n```\nfailed, exit code 3\nseconds: check 1.0\nraw checks failed\n```\n"
    )
    assert runs(NO_RUN="1") == "### Exit code 3\n```\ntold on stderr\n```\n"


def test_units_are_sound(tmp_path: Path) -> None:
    """The units name a program that is only there once installed: here the running Python."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is missing: apt-get install systemd")
    for path in UNITS.iterdir():
        text = path.read_text(encoding="utf-8")
        text = text.replace("/opt/bitrix24-analytics/.venv/bin/python", sys.executable)
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", *sorted(tmp_path.iterdir())],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_commands_that_schedules_run_exist() -> None:
    texts = [path.read_text(encoding="utf-8") for path in (*WORKFLOWS, *UNITS.iterdir())]
    texts.append((ROOT / "docs" / "operations.md").read_text(encoding="utf-8"))
    named = set(re.findall(r"python -m pipelines ([a-z]+)", "\n".join(texts)))
    assert {"refresh", "compact", "notify"} <= named <= set(cli.commands)


def test_the_docs_tell_every_exit_code() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \*\*(\d)\*\* \|", text, flags=re.MULTILINE)
    assert [int(code) for code in rows] == list(EXIT_CODES)


def test_the_messages_of_the_docs_are_those_of_the_code() -> None:
    source = "".join(
        re.sub(r'"\s*\n\s*f?"', "", path.read_text(encoding="utf-8"))
        for path in (ROOT / "pipelines").rglob("*.py")
    )
    table = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    table = table[table.index("| message begins |") : table.index("## Backup")]
    messages = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert len(messages) >= 10
    pieces = [piece.strip() for text in messages for piece in re.findall(r"[^`…,]{4,}", text)]
    assert [piece for piece in pieces if piece not in source] == []


def answering(tmp_path: Path, text: str, code: int) -> list[str]:
    program = tmp_path / "auditor"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\necho the reason >&2\nexit {code}\n")
    program.chmod(0o755)
    return [str(program)]


def test_an_audit_that_could_not_ask_is_not_passed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clean = {"dependencies": [{"name": "dlt", "version": "1.31.0", "vulns": []}], "fixes": []}
    monkeypatch.setattr(audit, "PYTHON_COMMAND", answering(tmp_path, json.dumps(clean), 0))
    monkeypatch.setattr(audit, "NODE_COMMAND", [str(tmp_path / "nothing")])
    assert audit.main() == 2
    out = capsys.readouterr().out
    assert "auditor: 0 known vulnerabilities" in out
    assert "not audited: nothing could not ask its service: FileNotFoundError" in out
    skipped = {"dependencies": [{"name": "dlt", "skip_reason": "Dependency not found on PyPI"}]}
    refused = {"message": "405 Method Not Allowed - POST /-/npm/v1/security", "statusCode": 405}
    (tmp_path / "npm").mkdir()
    monkeypatch.setattr(audit, "PYTHON_COMMAND", answering(tmp_path, json.dumps(skipped), 0))
    monkeypatch.setattr(audit, "NODE_COMMAND", answering(tmp_path / "npm", json.dumps(refused), 1))
    assert audit.main() == 2
    out = capsys.readouterr().out
    assert "service: 1 packages skipped: Dependency not found on PyPI\n" in out
    assert "service: 405 Method Not Allowed\n" in out
    monkeypatch.setattr(audit, "PYTHON_COMMAND", answering(tmp_path, "", 1))
    assert audit.main() == 2
    assert "not audited: auditor could not ask its service: the reason" in capsys.readouterr().out


def test_what_an_audit_finds_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    vulnerability = {"id": "PYSEC-1", "fix_versions": ["2.1"], "aliases": [], "description": ""}
    found = {"dependencies": [{"name": "dlt", "version": "1.31.0", "vulns": [vulnerability]}]}
    node = {"vulnerabilities": {"svelte": {"range": "<4.2.19", "severity": "moderate"}}}
    (tmp_path / "npm").mkdir()
    monkeypatch.setattr(audit, "PYTHON_COMMAND", answering(tmp_path, json.dumps(found), 1))
    monkeypatch.setattr(audit, "NODE_COMMAND", answering(tmp_path / "npm", json.dumps(node), 1))
    assert audit.main() == 1
    out = capsys.readouterr().out
    assert "  dlt 1.31.0: PYSEC-1, fixed in 2.1\n" in out
    assert "  svelte <4.2.19: moderate\n" in out
