"""Which boot of the machine had the database open last, noted beside it: ``NAME.db.boot``.

A killed process leaves all that it wrote. Only a machine that goes down loses writes that were not
synced, and then it boots again: what looks like such a loss in the same boot is damage.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

__all__ = ["boot_id", "boot_path", "may_have_lost_power"]

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def may_have_lost_power(database: Path) -> bool:
    """Whether the machine may have gone down since the database was open; True if it is not known."""
    boot = boot_id()
    try:
        return not boot or boot_path(database).read_bytes() != boot
    except OSError:
        return True


def boot_path(database: Path) -> Path:
    """Return the note's file."""
    return database.with_name(database.name + ".boot")


def boot_id() -> bytes:
    """Return what this boot of the machine is called; empty: the system does not say."""
    with contextlib.suppress(OSError):
        return _BOOT_ID.read_bytes()
    return b""
