"""Judges random statements; ends by SIGALRM when one of them takes too long."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import duckdb

from chronoduck.engine.live_definitions import LiveDefinitions
from chronoduck.errors import DuckDBException
from chronoduck.principals import Role
from chronoduck.sql.guard import Guard
from chronoduck.sql.statements import StatementParser
from tests.security.grammar import Grammar
from tests.security.stage import make_database

SECONDS_EACH = 15
_KEPT = 20_000
"""Accepted statements that are written down, to be run by somebody else."""


def main(directory: Path, seed: int, count: int) -> None:
    """Judge ``count`` statements of one seed and write what came of it."""
    make_database(directory / "fuzz.db")
    database = duckdb.connect(str(directory / "fuzz.db"))
    guard = Guard(StatementParser(), LiveDefinitions(database.cursor))
    places: dict[str, object] = {
        "secret": directory / "secret.csv",
        "db": directory / "fuzz.db",
        "temp": directory / "temp",
        "port": 9,
        "http": 9,
    }
    roles = [Role.ANALYST, Role.WRITER, Role.ADMIN]
    totals = {"accepted": 0, "refused": 0, "invalid": 0}
    crashes: list[tuple[str, str]] = []
    accepted: list[tuple[str, str]] = []
    current = (directory / "current.txt").open("w+")
    for index, sql in enumerate(Grammar(seed, places).statements(count)):
        role = roles[index % 3]
        current.seek(0)
        current.truncate()
        current.write(repr(sql))
        current.flush()
        signal.setitimer(signal.ITIMER_REAL, SECONDS_EACH)
        try:
            guard.judge(sql, role)
        except DuckDBException as error:
            rule = getattr(error, "rule", None)
            if error.http_status >= 500 or "could not be judged" in error.detail:
                crashes.append((sql, error.operator_detail))
            totals["refused" if rule else "invalid"] += 1
        except Exception as error:  # noqa: BLE001 - any of them is what is looked for
            crashes.append((sql, repr(error)))
        else:
            totals["accepted"] += 1
            if len(accepted) < _KEPT:
                accepted.append((role.value, sql))
    signal.setitimer(signal.ITIMER_REAL, 0)
    (directory / "outcome.json").write_text(
        json.dumps({"totals": totals, "crashes": crashes[:50], "accepted": accepted})
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
