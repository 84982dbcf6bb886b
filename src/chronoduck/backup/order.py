"""In which order backups were made, and how long ago: known without the machine's clock.

A clock that jumps stamps a backup with a wrong time. Beside the backups a note keeps a number for each,
and the time since the machine was started, which nobody can set. Backups without a note (of an older
version) stand where their names put them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import orjson

from chronoduck.storage.durable_write import write_durably

__all__ = ["Made", "in_order", "made_now", "note_made", "read_made"]

T = TypeVar("T")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Made:
    """When something was made, by a clock that starts with the machine."""

    number: int
    boot: str
    seconds: float

    def seconds_since(self, earlier: Made) -> float | None:
        """Return the time between the two; None: the machine was started in between."""
        if not self.boot or self.boot != earlier.boot:
            return None
        return max(0.0, self.seconds - earlier.seconds)


def made_now(number: int) -> Made:
    """Return this moment."""
    try:
        boot = _BOOT_ID.read_text().strip()
    except OSError:
        boot = ""
    return Made(number, boot, round(time.clock_gettime(time.CLOCK_BOOTTIME), 3))


def read_made(path: Path) -> dict[str, Made]:
    """Return what a note says of each backup's id; nothing if there is none."""
    try:
        return {name: Made(**fields) for name, fields in orjson.loads(path.read_bytes()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def note_made(path: Path, backup_id: str, there: Sequence[str]) -> None:
    """Note that a backup is made now, the newest of those that are ``there``."""
    known = read_made(path)
    number = 1 + max((made.number for made in known.values()), default=0)
    kept = {name: vars(made) for name, made in known.items() if name in there}
    write_durably(path, [orjson.dumps({**kept, backup_id: vars(made_now(number))})])


def in_order(named: Sequence[tuple[str, T]], known: dict[str, Made]) -> list[T]:
    """Return values, given with their ids and sorted by them, in the order in which they were made."""
    numbered = iter(
        sorted(
            (each for each in named if each[0] in known),
            key=lambda each: known[each[0]].number,
        )
    )
    return [next(numbered)[1] if name in known else value for name, value in named]
