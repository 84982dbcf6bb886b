"""The supervisor's log lines: whoever does not read them holds up nothing."""

from __future__ import annotations

import json
import os

from chronoduck.supervision.log_lines import LogLines

FAR_MORE_THAN_A_PIPE_HOLDS = 5_000


def test_lines_that_nobody_reads_are_counted() -> None:
    reading, writing = os.pipe()
    lines = LogLines(writing)
    for number in range(FAR_MORE_THAN_A_PIPE_HOLDS):
        lines.write("error", "statement_lost", number=number, text="x" * 500)
    with os.fdopen(reading, "rb") as pipe:
        first = [json.loads(pipe.readline()) for _ in range(100)]
        # Somebody reads again: the next line tells how many there were no place for.
        while True:
            lines.write("info", "last")
            told = json.loads(pipe.readline())
            if told["event"] == "log_lines_lost":
                break
        while lines._waiting:
            pipe.read1()
    os.close(writing)
    assert [line["number"] for line in first] == list(range(100))
    assert 0 < told["lines"] < FAR_MORE_THAN_A_PIPE_HOLDS
    assert {"timestamp", "level"} < told.keys()


def test_what_was_written_is_there_at_the_end() -> None:
    reading, writing = os.pipe()
    lines = LogLines(writing)
    lines.write("info", "ended", code=3)
    lines.flush()
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert json.loads(pipe.read())["code"] == 3


def test_a_reader_that_has_gone_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    lines = LogLines(writing)
    for _ in range(3):
        lines.write("info", "ended")
    lines.flush()
    os.close(writing)
    assert not lines._waiting
