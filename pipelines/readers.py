"""File rights: only the owner reads the warehouse, the named groups read what is published.

Nobody may write to a published file: DuckDB locks a file that it may write, and no other reader
can open it.
"""

from __future__ import annotations

import grp
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from pipelines.environment import Folders
from pipelines.errors import SettingsError

# Variables that name the groups.
PUBLISHED, SITE = "PUBLISHED_GROUP", "SITE_GROUP"
PRIVATE_UMASK = 0o077


def check_groups() -> None:
    """Checks that the groups in the environment exist and that this account is in them.

    Raises:
        SettingsError: names the variable and what to do.
    """
    for variable, name in _groups():
        try:
            number = grp.getgrnam(name).gr_gid
        except KeyError:
            raise SettingsError(
                f"{variable} is {name!r}, but this machine does not have that group: use one that"
                " `getent group` lists"
            ) from None
        if os.geteuid() and number not in {os.getegid(), *os.getgroups()}:
            raise SettingsError(
                f"{variable} is {name!r}, but this account is not in that group: add it with"
                f" `usermod -aG {name} <account>` and log in again"
            )


def hand_over(path: Path, variable: str) -> None:
    """Makes a published file or folder readable by the variable's group and writable by nobody.

    Without a group only the owner can open the folder.
    """
    group = dict(_groups()).get(variable)
    for one in (path, *path.rglob("*")):
        if one.is_symlink():
            continue
        if group:
            shutil.chown(one, group=group)
        one.chmod((0o750 if group else 0o700) if one.is_dir() else (0o440 if group else 0o444))


def close_to_others(directory: Path, published: Path) -> None:
    """Leaves the warehouse folder, except what is published, to its owner only.

    If groups are set, they can reach what is published but cannot list the folders on the way.
    """
    is_shared = any(True for _ in _groups())
    for folder in (directory, published, published / ".refreshes", published / ".sites"):
        if folder.exists():
            folder.chmod(0o711 if is_shared else 0o700)
    for path in directory.iterdir():
        if path != published and not path.is_symlink() and path.stat().st_mode & 0o077:
            path.chmod(path.stat().st_mode & 0o700)


def _groups() -> Iterator[tuple[str, str]]:
    folders = Folders.read()
    for variable, name in ((PUBLISHED, folders.published_group), (SITE, folders.site_group)):
        if name:
            yield variable, name
