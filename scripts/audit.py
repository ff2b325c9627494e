"""`make audit`: known vulnerabilities of the locked Python and Node packages.

Both services are on the network and change by the day, so this is not a test. What could
not be asked is not passed: exit code 0 all asked and clean, 1 something found, 2 not all asked.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pipelines.environment import ROOT

PYTHON_COMMAND = [
    str(Path(sys.executable).with_name("pip-audit")),
    *("--requirement", "requirements.lock", "--require-hashes", "--disable-pip"),
    *("--format", "json", "--progress-spinner", "off", "--timeout", "30"),
]
NODE_COMMAND = ["npm", "audit", "--json", "--prefix", "reports"]


class NotAsked(Exception):
    """The service gave no answer about the packages; says what it answered."""


def python_findings(report: Any) -> Iterator[str]:
    """Lines of pip-audit's report; raises KeyError or TypeError if it is not a report."""
    # If PyPI has no JSON pages (a mirror), pip-audit skips packages and calls the rest clean.
    skipped = [package for package in report["dependencies"] if "skip_reason" in package]
    if skipped:
        raise NotAsked(f"{len(skipped)} packages skipped: {skipped[0]['skip_reason']}")
    for package in report["dependencies"]:
        for found in package.get("vulns", []):
            fixed = ", ".join(found["fix_versions"]) or "none yet"
            yield f"{package['name']} {package['version']}: {found['id']}, fixed in {fixed}"


def node_findings(report: Any) -> Iterator[str]:
    """Lines of npm's report; raises KeyError or TypeError if it is not a report."""
    if "message" in report:
        raise NotAsked(str(report["message"]).split(" - ")[0])
    for name, found in report["vulnerabilities"].items():
        yield f"{name} {found['range']}: {found['severity']}"


def ask(command: list[str], findings: Callable[[Any], Iterator[str]]) -> list[str] | None:
    """What a service knows; None if it could not be asked, which is reported."""
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600
        )
        return list(findings(json.loads(done.stdout)))
    except NotAsked as error:
        reason = str(error)
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = type(error).__name__
    except (ValueError, KeyError, TypeError, AttributeError):
        said = (done.stderr.strip() or done.stdout.strip() or "no answer").splitlines()
        reason = said[-1][:300]
    print(f"not audited: {Path(command[0]).name} could not ask its service: {reason}")
    return None


def main() -> int:
    """Prints what both services know."""
    code = 0
    for command, findings in ((PYTHON_COMMAND, python_findings), (NODE_COMMAND, node_findings)):
        found = ask(command, findings)
        if found is None:
            code = code or 2
            continue
        print(f"{Path(command[0]).name}: {len(found)} known vulnerabilities")
        for line in found:
            print(f"  {line}")
        code = 1 if found else code
    return code


if __name__ == "__main__":
    sys.exit(main())
