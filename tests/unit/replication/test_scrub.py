"""The scrub of the database file: rot and a lost end are found, a write under way is not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chronoduck.engine.disk_format import DatabaseFile, free_blocks, read_header
from chronoduck.replication import scrub
from chronoduck.replication.scrub import Scrubber
from tests.damaged_file import block_of, cut, invert, make_database, zero
from tests.damaged_wal import crash
from tests.patience import PATIENCE_SECONDS

SECONDS = PATIENCE_SECONDS


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "test.db"
    make_database(path)
    crash(
        path,
        [
            "CREATE TABLE gone AS FROM big",
            "CREATE TABLE last AS FROM big",
            "CHECKPOINT",
            "DROP TABLE gone",
            "CHECKPOINT",
        ],
    )
    return path


@contextmanager
def scrubbing(database: Path) -> Iterator[Scrubber]:
    """A scrub beside a replica that knows no block."""
    scrubber = Scrubber(database, lambda number, stored: False, bytes_per_second=1e9)
    scrubber.start()
    try:
        yield scrubber
    finally:
        scrubber.stop()


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("harm", [invert, zero])
def test_a_damaged_block_that_the_replica_does_not_know_is_found(
    database: Path, harm: Callable[[Path, int], None]
) -> None:
    number = block_of(database, "big")
    harm(database, number)
    with scrubbing(database) as scrubber:
        until(lambda: scrubber.ended_us)
        assert scrubber.damaged == {number}


def test_a_free_block_that_a_crash_tore_is_nobodys(database: Path) -> None:
    with DatabaseFile(database) as file:
        free = free_blocks(read_header(file.headers()), file.read)
        torn = min(number for number in free if number < file.block_count)
    invert(database, torn)
    with scrubbing(database) as scrubber:
        until(lambda: scrubber.ended_us)
        assert scrubber.damaged == set()


def test_a_block_in_the_middle_of_being_written_is_not_damaged(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrub, "_SETTLE_SECONDS", (0.5, 30.0))
    whole = database.read_bytes()
    number = block_of(database, "big")
    zero(database, number)

    def write() -> None:
        with database.open("r+b") as file:
            file.write(whole)

    with scrubbing(database) as scrubber:
        writing = threading.Timer(0.3, write)
        writing.start()
        until(lambda: scrubber.ended_us)
        writing.join()
        assert scrubber.damaged == set()


def test_a_file_that_loses_its_end_is_noticed_between_two_rounds(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrub, "_LENGTH_SECONDS", 0.1)
    number = block_of(database, "t")
    with scrubbing(database) as scrubber:
        until(lambda: scrubber.ended_us)
        assert scrubber.damaged == set()
        cut(database, number)
        until(lambda: number in scrubber.damaged)
