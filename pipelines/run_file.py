"""JSON files that are replaced in one step: readers see the old one or the new one."""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def write_atomically(
    path: Path,
    content: Any,
    private: bool = False,
    before: Callable[[Path], None] | None = None,
) -> None:
    """Writes JSON beside the file and renames it into place.

    Args:
        private: only the owner may ever read it, and it survives a crash of the machine.
        before: called with the new file before it replaces the old one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    text = json.dumps(content, ensure_ascii=False, indent=2, default=_text) + "\n"
    if private:
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
    else:
        try:
            temporary.write_text(text, encoding="utf-8")
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
    if before:
        before(temporary)
    temporary.replace(path)
    if private:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _text(value: Any) -> str:
    return value.isoformat(timespec="seconds") if isinstance(value, dt.datetime) else str(value)
