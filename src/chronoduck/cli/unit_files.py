"""The files of a service under systemd: their texts, what is to be done about each, and the writing.

The texts are those of ``deploy/systemd``: ``chronoduck/systemd`` is a link to it in the repository, and a
directory in the wheel.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

__all__ = ["SETTINGS", "UNIT", "Action", "UnitFile", "Written", "plan", "unit_files", "write"]

_SOURCE = Path(__file__).parents[1] / "systemd"
UNIT = Path("/etc/systemd/system/chronoduck.service")
SETTINGS = Path("/etc/chronoduck/duckdb.env")
_FILES = {
    UNIT: "chronoduck.service",
    Path("/etc/sysusers.d/chronoduck.conf"): "sysusers.conf",
    Path("/etc/tmpfiles.d/chronoduck.conf"): "tmpfiles.conf",
    SETTINGS: "duckdb.env",
    Path("/etc/chronoduck/shell.sh"): "shell.sh",
}
_PROGRAMS = "/opt/chronoduck/bin"
_USER = "chronoduck"
_USER_PLACES = ("User=%", "Group=%", "u % ", " % % -", "root % -", "runuser -u % ", "-o % -g % ")


@dataclass(frozen=True)
class UnitFile:
    """A file with its text; ``path`` is the one on the machine that it is for."""

    path: Path
    text: str

    @property
    def mode(self) -> int:
        """Settings may hold secrets; the others are read by systemd's programs and every operator."""
        return 0o640 if self.path == SETTINGS else 0o644

    def below(self, root: Path) -> Path:
        """Return where it stands in a machine whose root directory is ``root``."""
        return root / self.path.relative_to("/")


class Action(Enum):
    """What is to be done about a file."""

    WRITE = "wrote"
    REPLACE = "replaced"
    LEAVE = "unchanged"
    KEEP = "kept yours"
    REFUSE = "differs"


@dataclass(frozen=True)
class Written:
    """A file, and what is done about it; ``old`` is where its earlier text went."""

    file: UnitFile
    action: Action
    old: Path | None = None


def unit_files(programs: Path, user: str) -> list[UnitFile]:
    """Return the files for a service of that user, whose program lies in the directory ``programs``."""
    return [
        UnitFile(path, _adapt((_SOURCE / name).read_text(encoding="utf-8"), programs, user))
        for path, name in _FILES.items()
    ]


def _adapt(text: str, programs: Path, user: str) -> str:
    text = text.replace(_PROGRAMS, str(programs))
    for place in _USER_PLACES:
        text = text.replace(place.replace("%", _USER), place.replace("%", user))
    return text


def plan(files: Sequence[UnitFile], root: Path, *, is_forced: bool) -> list[Written]:
    """Return what is to be done about each file; nothing is written.

    The settings are the operator's from the first day on: a file that is there stays, forced or not.
    """
    return [Written(file, _action(file, file.below(root), is_forced)) for file in files]


def _action(file: UnitFile, path: Path, is_forced: bool) -> Action:
    if not path.exists():
        return Action.WRITE
    if path.read_bytes() == file.text.encode():
        return Action.LEAVE
    if file.path == SETTINGS:
        return Action.KEEP
    return Action.REPLACE if is_forced else Action.REFUSE


def write(planned: Sequence[Written], root: Path) -> Iterator[Written]:
    """Write what is to be written, and yield each file when it is there.

    What a file said before is kept beside it.
    """
    for each in planned:
        path, old = each.file.below(root), None
        if each.action is Action.REPLACE:
            old = _free_name(path)
            path.rename(old)
        if each.action in (Action.WRITE, Action.REPLACE):
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_new(path, each.file)
        yield Written(each.file, each.action, old)


def _write_new(path: Path, file: UnitFile) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, file.mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        os.fchmod(descriptor, file.mode)  # whatever the umask is
        opened.write(file.text)


def _free_name(path: Path) -> Path:
    """Return ``NAME.old``, or one with a number: none takes the place of an older one."""
    number, found = 1, path.with_name(f"{path.name}.old")
    while found.exists():
        number += 1
        found = path.with_name(f"{path.name}.old-{number}")
    return found
