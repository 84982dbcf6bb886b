"""No test reads the log of a server in the moment: a thread writes it, and it may not be there yet."""

from __future__ import annotations

from pathlib import Path

TESTS = Path(__file__).parents[1]
_DIRECT = (
    "server.log.read_",
    "machine.log.read_",
    "self.log.read_",
    'server.log").read_',
    "server.log.open(",
    'server.log").open("r',
)
_POLLED = "until(lambda: "
"""Whoever looks again and again may look directly."""


def test_logs_are_read_once_they_have_settled() -> None:
    found = [
        f"{path.relative_to(TESTS)}:{number}"
        for path in sorted(TESTS.rglob("*.py"))
        if path.name != Path(__file__).name
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if any(each in line for each in _DIRECT) and _POLLED not in line
    ]
    assert found == [], "use Server.log_lines(), Server.log_text() or settled_text()"
