"""The hash of files, by which what was made of them is known again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path


def hash_files(folder: Path, files: Iterable[Path]) -> str:
    """Hash of the files and their names within the folder, whatever their order on the disk."""
    found = hashlib.sha256()
    for path in sorted(files):
        found.update(f"{path.relative_to(folder)}\0".encode())
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()
