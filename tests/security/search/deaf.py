"""``python -m tests.security.search.deaf [SHARE]``: calls that do not listen over a large value.

Each call that the guard passes for an analyst runs on one value, with an interrupt after a second. One
that goes on for two seconds of CPU time more is *deaf*; what it takes for a tenth of the value tells how
fast it grows.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import duckdb

from chronoduck.engine.live_definitions import LiveDefinitions
from chronoduck.errors import DuckDBException
from chronoduck.principals import Role
from chronoduck.sql.guard import Guard
from chronoduck.sql.statements import StatementParser
from tests.security.search.deaf_calls import Call, calls, setup, sizes_of
from tests.security.search.search import Child

__all__ = ["Deaf", "deaf_calls"]

CPU_SECONDS = 3.0
"""A second until the interrupt, and two after it."""
_UNBOUND = frozenset({"BinderException", "CatalogException", "ParserException"})
"""Then it makes no difference what the value is."""


class Deaf(NamedTuple):
    """What was found."""

    call: Call
    size: int
    """The smallest value for which it is deaf, or for which the process ends."""
    what: str
    growth: float
    """How much longer it takes for that value than for a tenth of it; infinity: no tenth was measured."""


def deaf_calls(share: float = 1.0, offset: int = 0) -> Iterator[Deaf]:
    """Yield what is deaf; ``share``: of the calls, every so many'th of them from ``offset`` on."""
    parser = StatementParser()
    database = duckdb.connect()
    guard = Guard(parser, LiveDefinitions(database.cursor))
    child = Child(["SET threads = 1", *setup()])
    unbound: set[str] = set()
    step = max(1, round(1 / share))
    try:
        for index, call in enumerate(calls()):
            if index % step != offset % step or call.expression in unbound:
                continue
            if not _passes(guard, call):
                continue
            found = _look(child, call, unbound)
            if found is not None:
                yield found
    finally:
        child.close()
        guard.close()
        parser.close()
        database.close()


def _passes(guard: Guard, call: Call) -> bool:
    try:
        guard.judge(call.sql(sizes_of(call.value)[-1]), Role.ANALYST)
    except DuckDBException:
        return False
    return True


def _look(child: Child, call: Call, unbound: set[str]) -> Deaf | None:
    """Try the largest value, and smaller ones once it is deaf."""
    sizes = sizes_of(call.value)[::-1]
    what = child.run(call.sql(sizes[0]), CPU_SECONDS)
    if child.last_error in _UNBOUND:
        unbound.add(call.expression)
    if not what:
        return None
    seconds = child.last_seconds
    for size, smaller in pairwise(sizes):
        less = child.run(call.sql(smaller), CPU_SECONDS)
        if not less:
            return Deaf(call, size, what, seconds / max(child.last_seconds, 0.001))
        what, seconds = less, child.last_seconds
    return Deaf(call, sizes[-1], what, float("inf"))


if __name__ == "__main__":
    for each in deaf_calls(*(float(argument) for argument in sys.argv[1:2])):
        print(
            f"{each.what}: {each.call.name}: {each.call.expression} of {each.call.value} {each.size:,}"
            f" (x{each.growth:.0f})",
            flush=True,
        )
