"""Objects of S3 as files of a directory, for statements that read them."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from pathlib import Path

from chronoduck.errors import LimitExceededError
from chronoduck.settings import Settings
from chronoduck.transfer.places import find_places
from chronoduck.units import format_bytes

__all__ = ["fetch_objects"]

_BEGINS = frozenset(string.ascii_letters + string.digits + "_=+ -")
_SIGNS = _BEGINS | {"."}
_LONGEST_END = 8
_PIECE_BYTES = 1 << 20


def fetch_objects(
    addresses: Sequence[str],
    directory: Path,
    settings: Settings,
    show: Callable[[str, int, int], None],
) -> dict[str, list[str]]:
    """Fetch what each address means into the directory; return the files by address.

    Files keep the names of their objects, by which DuckDB knows formats and partitions, where these
    are harmless.

    Raises:
        LimitExceededError: together they are larger than ``DUCKDB_MAX_UPLOAD_SIZE``.
        DuckDBException: an object is not there or cannot be read.
    """
    files: dict[str, list[str]] = {}
    total = 0
    for number, address in enumerate(addresses):
        files[address] = []
        for index, place in enumerate(find_places([address], settings)):
            key = place.shown.partition("://")[2]
            name = key if _is_harmless(key) else f"{index:06}{_end(place.name)}"
            target = directory / str(number) / name
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with place.open(lambda done, size: None) as source, target.open("xb") as file:
                while piece := source.read(_PIECE_BYTES):
                    total += len(piece)
                    if total > settings.max_upload_size:
                        raise LimitExceededError(
                            "the objects that the statement reads are larger than "
                            f"{format_bytes(settings.max_upload_size)} together",
                            hint="Raise DUCKDB_MAX_UPLOAD_SIZE, or read fewer objects.",
                        )
                    file.write(piece)
            show("reading objects", total, 0)
            files[address].append(str(target))
    return files


def _is_harmless(key: str) -> bool:
    return all(part[:1] in _BEGINS and _SIGNS.issuperset(part) for part in key.split("/"))


def _end(name: str) -> str:
    """Return the last one or two ends of a name, with their points: ``.csv.gz``."""
    end = ""
    for piece in reversed(name.removesuffix("\n").rsplit(".", 2)[1:]):
        if not (piece.isascii() and piece.isalnum() and len(piece) <= _LONGEST_END):
            break
        end = f".{piece}{end}"
    return end
