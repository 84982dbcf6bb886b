"""Who may use a path, and advice about it that harms nobody.

All advice that changes an owner or a mode is made here. It never touches what others use: a directory
such as ``/tmp``, a file of another user. There, the service gets a place of its own instead.
"""

from __future__ import annotations

import os
import pwd
import stat
from itertools import islice
from pathlib import Path
from shlex import quote

__all__ = [
    "current_user",
    "describe_path",
    "directory_advice",
    "file_advice",
    "is_read_only",
    "is_writable",
    "new_directory_advice",
]

_ENTRIES_LOOKED_AT = 1000
_NEAR_ROOT = 3
"""``/``, ``/var`` and ``/var/lib`` belong to the machine: parts of a path that is one of them."""


def current_user() -> str:
    """Return the name of the user that this process runs as, or the number when it has no name."""
    return _name(os.geteuid())


def describe_path(path: Path) -> str:
    """Return ``path (owner app, mode 0644)`` for an error that names what is wrong."""
    try:
        info = path.stat()
    except OSError as error:
        return f"{path} ({error.strerror or error})"
    return f"{path} (owner {_name(info.st_uid)}, mode {stat.S_IMODE(info.st_mode):04o})"


def is_writable(directory: Path) -> bool:
    """Whether this process may create files in a directory; access(2) knows read-only volumes."""
    return os.access(directory, os.R_OK | os.W_OK | os.X_OK, effective_ids=True)


def is_read_only(path: Path) -> bool:
    """Whether the path, or the directory that it would be made in, lies on a volume mounted read-only."""
    place = next((p for p in (path, *path.parents) if p.exists()), Path("/"))
    return bool(os.statvfs(place).f_flag & os.ST_RDONLY)


def directory_advice(path: Path, mode: int, *, setting: str) -> str:
    """Return what to do about an existing directory that is not writable, or too open.

    ``setting`` is the variable that names the directory, or a file in it.
    """
    if is_read_only(path):
        return _read_only_advice(path)
    if _is_ours_alone(path):
        return f"Run: chmod {mode:o} {quote(str(path))}"
    owner = path.stat().st_uid
    if owner not in (0, os.geteuid()):
        return f"Run this as user {_name(owner)}, who owns it. {_own_place(path, setting)}"
    return _own_place(path, setting)


def new_directory_advice(path: Path, mode: int, *, setting: str) -> str:
    """Return what to do about a directory that could not be created."""
    if is_read_only(path):
        return _read_only_advice(path)
    parent = next(p for p in path.parents if p.exists())
    if not parent.is_dir():
        return f"{parent} is a file: set {setting} to another place."
    if is_writable(parent):
        return f"Set {setting} to another place."
    return f"Run: sudo install -d -m {mode:o} -o {current_user()} {quote(str(path))}  - or set {setting}."


def file_advice(path: Path, mode: int) -> str:
    """Return what to do about an existing file that is not readable, or open to others."""
    if is_read_only(path):
        return _read_only_advice(path)
    owner = path.stat().st_uid
    if owner == os.geteuid() and path.is_file():
        return f"Run: chmod {mode:o} {quote(str(path))}"
    return (
        f"It belongs to user {_name(owner)}: run this as that user, or give the service a file of its "
        "own."
    )


def _read_only_advice(path: Path) -> str:
    return (
        f"The volume of {path} is mounted read-only. Look why: findmnt -T {quote(str(path))}; "
        "dmesg | tail. The kernel does this after an I/O error: check the disk before you mount it "
        "for writing."
    )


def _own_place(path: Path, setting: str) -> str:
    own = _free_name(path)
    make = f"install -d -m 750 {quote(str(own))}"
    if not is_writable(path):
        make = f"sudo install -d -m 750 -o {current_user()} {quote(str(own))}"
    return (
        f"Leave {path} as it is, others use it. Make a directory of the service's own in it: {make}  "
        f"- and set {setting} to it or to a file in it."
    )


def _free_name(directory: Path) -> Path:
    """Return a path in the directory that nothing has yet."""
    names = [f"chronoduck-{current_user()}", *(f"chronoduck-{n}" for n in range(2, 100))]
    return next(path for name in names if not os.path.lexists(path := directory / name))


def _is_ours_alone(directory: Path) -> bool:
    """Whether a change of the mode can concern nobody else."""
    me = os.geteuid()
    absolute = directory.resolve()
    info = absolute.stat()
    if info.st_uid != me or info.st_mode & stat.S_ISVTX or os.path.ismount(absolute):
        return False
    if len(absolute.parts) <= _NEAR_ROOT or absolute in _homes():
        return False
    with os.scandir(absolute) as entries:
        found = list(islice(entries, _ENTRIES_LOOKED_AT + 1))
    return len(found) <= _ENTRIES_LOOKED_AT and all(
        entry.stat(follow_symlinks=False).st_uid == me for entry in found
    )


def _homes() -> set[Path]:
    return {Path(entry.pw_dir) for entry in pwd.getpwall()} | {Path.home()}


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)
