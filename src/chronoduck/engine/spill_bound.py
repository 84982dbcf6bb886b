"""How much may be spilled on the volume of the database: two floors of free space stay."""

from __future__ import annotations

import shutil
from pathlib import Path

__all__ = ["SPILL_FLOORS", "is_same_volume", "spill_cap"]

SPILL_FLOORS = 2
_LEAST_BYTES = 64_000_000
"""So much may always be spilled: hardly any statement runs without that in little memory."""


def is_same_volume(one: Path, other: Path) -> bool:
    """Whether two directories are on one volume.

    Raises:
        OSError: one of them is not there.
    """
    return one.stat().st_dev == other.stat().st_dev


def spill_cap(directory: Path, temp: Path, most_bytes: int, floor_bytes: int) -> int:
    """Return what all statements together may spill, by the space that is free at an opening.

    ``directory`` is the database's. The engine's settings are locked once it is open: what is written
    later is watched by ``assembly/greedy_spillers``.
    """
    try:
        if not floor_bytes or not is_same_volume(directory, temp):
            return most_bytes
        left = shutil.disk_usage(temp).free - SPILL_FLOORS * floor_bytes
    except OSError:
        return most_bytes
    return min(most_bytes, max(_LEAST_BYTES, left))
