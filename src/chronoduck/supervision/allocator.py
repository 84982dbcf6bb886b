"""How the server's allocators give memory back: options that they read before the program begins."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["allocator_environment"]

_GIVES_BACK = (
    # By default it keeps the address space of all that it ever freed. After one statement that ran into
    # the bound of the address space nothing else in the process found any: no thread could start.
    "retain:false,"
    # What is freed goes back at once. By default it waits for others to free something, too.
    "dirty_decay_ms:0,muzzy_decay_ms:0,"
    # But for one: each statement needs a block of 256 KB, and a thread may keep four of each size.
    "tcache_max:262144,tcache_nslots_large:4"
)
_OPTIONS = {
    # What the jemalloc inside DuckDB reads (on x86-64; elsewhere DuckDB uses the system's allocator).
    "DUCKDB_JE_MALLOC_CONF": _GIVES_BACK,
    # Each heap of the C library takes 64 MB of address space. By default there may be eight for each
    # processor; with two of them everything here was measured.
    "MALLOC_ARENA_MAX": "16",
}


def allocator_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a server's process that is started with ``environ``; its own stay."""
    return {name: environ.get(name, value) for name, value in _OPTIONS.items()}
