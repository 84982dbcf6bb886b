"""Rows of ``chronoduck audit list``: every event says what it was."""

from __future__ import annotations

import json
from pathlib import Path

from chronoduck.cli.audit import _row

TRAIL = Path(__file__).parents[2] / "golden" / "audit-format-1.jsonl"
LOAD = {
    "v": 1,
    "seq": 9,
    "time": "2026-09-21T14:13:20.123Z",
    "event": "load",
    "principal": "key:b0b",
    "name": "bob",
    "verdict": "ok",
    "table": "sales",
    "source": "upload",
    "rows": 3,
    "bytes": 120,
    "duration_ms": 12.3,
    "prev": "00",
}


def test_a_load_says_into_which_table_and_how_much() -> None:
    time, who, _, event, what, verdict = _row(LOAD)
    assert (time, who, event, verdict) == ("2026-09-21 14:13:20", "bob", "load", "ok")
    assert what == "table sales, source upload, rows 3, bytes 120, duration_ms 12.3"


def test_every_event_that_has_facts_shows_them() -> None:
    told = {}
    for line in TRAIL.read_text().splitlines():
        event = json.loads(line)
        told[event["event"]] = _row(event)[4]
    assert told["statement"] != ""
    assert told["service_started"] == "chronoduck 0.1.0, pid 1"
    assert told["events_dropped"].startswith("count 9, since ")
    assert told["breaker_reset"] == "", "its name says all"
