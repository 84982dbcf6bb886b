"""The walls that an operator may demand (``DUCKDB_REQUIRE_SANDBOX``)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator
from pydantic_settings import NoDecode

__all__ = ["WALLS", "WallList"]

WALLS = {
    "guard": "each statement from outside is judged before DuckDB runs it",
    "engine": "DuckDB's access to files and network is off, and its settings are locked",
    "directories": "statements reach no directory but the one where uploads wait",
    "network": "DuckDB has no extension that opens a socket",
    "spill": "spill files are encrypted",
    "analyzers": "statements are read by processes without files, network, environment and secrets",
    "uploads": "uploaded Parquet files are read by such a process first",
    "landlock": "Landlock keeps these processes from all files",
    "syscalls": "seccomp keeps these processes from all system calls that they do not need",
    "files": "no other user may read the database, tokens and keys",
    "user": "the service does not run as root",
    "memory": "the address space is bounded",
    "supervisor": "a supervisor replaces the process, and knows whose statement ended it",
}
"""What each stands for; docs/security.md says what it stops."""


def _read(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return tuple(filter(None, (name.strip() for name in value.split(","))))


def _known(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in WALLS:
            raise ValueError(f"{name!r} is not a wall; the walls are {', '.join(WALLS)}")
    return names


WallList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_read), AfterValidator(_known)]
