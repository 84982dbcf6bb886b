"""The check of the doctor and of the daily round for files that a recovery set aside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from chronoduck.cli.findings import Check, Severity
from chronoduck.engine.offline import SetAside, find_set_aside
from chronoduck.units import format_bytes

__all__ = ["check_set_aside"]


def check_set_aside(database: Path) -> Iterator[Check]:
    """Yield a notice for each; none is a fault, and only an operator removes them."""
    for each in find_set_aside(database):
        what = (
            "transactions that a start or a recovery left out, which the database lacks"
            if each.is_rest
            else "a database that a recovery replaced"
        )
        yield Check(
            "set-aside",
            Severity.WARNING,
            f"{each.path} ({_contents(each)}) was set aside: {what}",
            "Look whether something in it is missed, then remove it",
        )


def _contents(each: SetAside) -> str:
    size = format_bytes(each.size)
    if not each.is_wal:
        return size
    try:
        count = each.count_transactions()
    except OSError:
        return size
    return f"{size}, {count:,} whole transaction{'' if count == 1 else 's'}"
