"""dlt's destination for a raw log in files: readers find a file whole or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from dlt.destinations import filesystem
from dlt.destinations.impl.filesystem.filesystem import FilesystemClient
from fsspec.implementations.local import LocalFileSystem

from pipelines.raw_files import whole


class WholeFiles(filesystem):
    """dlt's `filesystem` on a disk, where a file would have its name before it is whole."""

    @property
    def client_class(self) -> type[FilesystemClient]:
        return _Client


class _Client(FilesystemClient):
    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.fs_client = _Files()


class _Files(LocalFileSystem):
    def put_file(self, path1: str, path2: str, callback: Any = None, **_: Any) -> None:
        with whole(Path(path2)) as part:
            shutil.copyfile(path1, part)

    def write_text(self, path: str, value: str, encoding: Any = None, **_: Any) -> None:
        with whole(Path(path)) as part:
            part.write_text(value, encoding=encoding)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        # dlt makes the folder of a log that it has not begun, but one that moved has it.
        super().makedirs(path, exist_ok=True)
