"""Volumes of a few megabytes, to fill to the brim."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

__all__ = ["fill", "free", "small_volume"]


@contextmanager
def small_volume(path: Path, megabytes: int) -> Iterator[Path]:
    """Mount a tmpfs; needs root."""
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0750", "none", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        if os.environ.get("CI"):
            pytest.fail(f"a small volume cannot be mounted: {mounted.stderr}")
        pytest.skip(f"needs a small volume, and mount says: {mounted.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=False)


def free(path: Path) -> int:
    """Return the free bytes of the volume."""
    return shutil.disk_usage(path).free


def fill(path: Path, leave: int) -> Path:
    """Write a file that leaves so many bytes of the volume; return it."""
    stuffing = path / "stuffing"
    with stuffing.open("ab") as file, suppress(OSError):
        while (more := free(path) - leave) > 0:
            file.write(bytes(min(more, 1 << 20)))
            file.flush()
    return stuffing
