"""JSON files that readers see whole: the old one or the new one."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any


def write_atomically(path: Path, content: Any) -> None:
    """Writes JSON beside the file and renames it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(
        json.dumps(content, ensure_ascii=False, indent=2, default=_text) + "\n", encoding="utf-8"
    )
    temporary.replace(path)


def _text(value: Any) -> str:
    return value.isoformat(timespec="seconds") if isinstance(value, dt.datetime) else str(value)
