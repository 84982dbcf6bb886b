"""What a process worked on, read after its death."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from chronoduck.supervision.running_record import (
    LostWork,
    RunningRecord,
    encode_work,
    new_record,
    read_record,
)

CHILD = """
import os, sys
from chronoduck.supervision.running_record import RunningRecord, encode_work
record = RunningRecord(int(sys.argv[1]))
fields = ("select", "1", "req", "key:a", "ann", "analyst", "", "10.0.0.7", "abcd", "1.5")
outer = record.begin(encode_work(*fields, "SELECT 1"))
ended = record.begin(encode_work(*fields, "SELECT 2"))
inner = record.begin(encode_work(*fields, "SELECT '\\x1f' -- \\u2028"))
record.end(ended)
record.flag_stuck(inner)
record.flag_proved(outer)
os.kill(os.getpid(), int(sys.argv[2]))
"""


@pytest.fixture
def descriptor() -> Iterator[int]:
    descriptor = new_record()
    yield descriptor
    os.close(descriptor)


def work(text: str, query_hash: str = "abcd") -> bytes:
    return encode_work(
        "select", "1", "req", "key:a", "ann", "analyst", "", "", query_hash, "1.5", text
    )


def texts(lost: LostWork) -> list[str]:
    return [each.text for each in lost.works]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_what_ran_when_a_signal_ended_the_process_is_read(
    descriptor: int, number: signal.Signals
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", CHILD, str(descriptor), str(int(number))],
        pass_fds=[descriptor],
        check=False,
    )
    assert ended.returncode == -number
    lost = read_record(descriptor)
    assert lost.is_complete
    assert texts(lost) == ["SELECT 1", "SELECT '\x1f' -- \u2028"]
    outer, inner = lost.works
    assert (outer.principal, outer.name, outer.role) == ("key:a", "ann", "analyst")
    assert (outer.id, outer.request_id, outer.query_hash) == ("1", "req", "abcd")
    assert (outer.address, outer.started_at) == ("10.0.0.7", "1.5")
    assert (outer.is_stuck, outer.is_proved) == (False, True)
    assert (inner.is_stuck, inner.is_proved) == (True, False)


def test_a_process_that_never_wrote_worked_on_nothing(descriptor: int) -> None:
    assert read_record(descriptor) == LostWork()


def test_flags_of_work_before_are_not_those_of_work_after(descriptor: int) -> None:
    record = RunningRecord(os.dup(descriptor))
    for _ in range(300):
        at = record.begin(work("SELECT 1"))
        record.flag_stuck(at)
        record.end(at)
    record.begin(work("SELECT 2"))
    assert not read_record(descriptor).works[0].is_stuck


def test_more_than_there_are_slots_is_told_and_hurts_nothing(descriptor: int) -> None:
    record = RunningRecord(os.dup(descriptor))
    slots = [record.begin(work(f"SELECT {number}")) for number in range(300)]
    lost = read_record(descriptor)
    assert not lost.is_complete
    assert len(set(texts(lost))) == len(lost.works) == 128
    for at in slots:
        record.flag_stuck(at)
        record.end(at)
    assert read_record(descriptor) == LostWork()
    assert record.begin(work("SELECT 1")) != 0


def test_a_long_text_is_cut_and_its_hash_is_not_made_of_the_rest(descriptor: int) -> None:
    record = RunningRecord(os.dup(descriptor))
    record.begin(work("\U0001f986" * 100_000, ""))
    record.begin(work("SELECT 1; ", ""))
    found, short = read_record(descriptor).works
    assert found.text == "\U0001f986" * 4_000
    assert found.query_hash == ""
    # As everywhere: without outer space and semicolons.
    assert short.query_hash == "e004ebd5b5532a4b"


def test_an_unprintable_text_is_noted_all_the_same(descriptor: int) -> None:
    record = RunningRecord(os.dup(descriptor))
    record.begin(work("SELECT '\ud800'"))
    assert texts(read_record(descriptor)) == ["SELECT '?'"]


def test_without_a_supervisor_it_is_a_record_that_nobody_reads() -> None:
    record = RunningRecord()
    with record.noted(work("SELECT 1")):
        pass
