"""Damage in the database file: the file decides, never the words of an error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from chronoduck.engine.disk_format import (
    BLOCK_BYTES,
    HEADER_BYTES,
    DatabaseFile,
    DatabaseHeader,
    free_blocks,
    missing_blocks,
    read_header,
)
from chronoduck.engine.file_damage import confirm, find_damage_in
from chronoduck.engine.opening_options import OPENING_OPTIONS
from chronoduck.engine.quarantine import check_headers
from chronoduck.errors import DatabaseCorruptError
from tests.damaged_file import block_of, cut, invert, make_database, zero


def header_of(file: DatabaseFile) -> DatabaseHeader:
    return read_header(file.headers())


def offset(number: int) -> int:
    return HEADER_BYTES + number * BLOCK_BYTES


def says(number: int, stored: int = 0) -> str:
    """Return DuckDB's words about a damaged block."""
    return (
        "Corrupt database file: computed checksum 5381 does not match stored checksum "
        f"{stored} in block at location {offset(number)}"
    )


@pytest.fixture
def shortened(tmp_path: Path) -> Path:
    """A sound file that is shorter than its header says: free blocks were cut off after it."""
    path = tmp_path / "test.db"
    with duckdb.connect(str(path), config=OPENING_OPTIONS) as connection:
        connection.execute("CREATE TABLE t (a INTEGER)")
        connection.execute("CHECKPOINT")
        for _ in range(3):
            connection.execute(
                "CREATE OR REPLACE TABLE big AS SELECT range AS i, md5(range::VARCHAR) AS v "
                "FROM range(300000)"
            )
            connection.execute("CHECKPOINT")
        connection.execute("DROP TABLE big")
        for number in range(8):
            connection.execute(f"INSERT INTO t VALUES ({number})")
            connection.execute("CHECKPOINT")
            with DatabaseFile(path) as file:
                if file.block_count < header_of(file).block_count:
                    break
        (tmp_path / "copy.db").write_bytes(path.read_bytes())
    return tmp_path / "copy.db"


def test_a_sound_file_may_be_shorter_than_its_header_says(shortened: Path) -> None:
    with DatabaseFile(shortened) as file:
        header = header_of(file)
        assert file.block_count < header.block_count
        assert missing_blocks(header, file.size(), file.read) == ()
        assert not find_damage_in(file)
    check_headers(shortened)


def test_each_cut_through_a_block_in_use_is_damage_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    make_database(path, "DROP TABLE big", "CHECKPOINT")
    with DatabaseFile(path) as file:
        header = header_of(file)
        free = free_blocks(header, file.read)
        used = set(range(header.block_count)) - free
        assert free
        assert used
        for size in range(HEADER_BYTES, file.size() + BLOCK_BYTES, BLOCK_BYTES // 2):
            there = (size - HEADER_BYTES) // BLOCK_BYTES
            lost = {number for number in used if number >= there}

            def read(start: int, count: int, end: int = size) -> bytes:
                return file.read(start, max(0, min(count, end - start)))

            missing = set(missing_blocks(header, size, read))
            assert missing >= lost
            assert bool(missing) == bool(lost)


def test_a_start_refuses_a_file_whose_end_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    make_database(path)
    check_headers(path)
    cut(path, block_of(path, "t"))
    with pytest.raises(DatabaseCorruptError, match="its end is cut off") as caught:
        check_headers(path)
    assert "chronoduck recover" in caught.value.hint


def test_damage_is_named_where_an_error_points(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    make_database(path)
    damaged = block_of(path, "t")
    invert(path, damaged)
    with DatabaseFile(path) as file:
        assert confirm(says(damaged), file).blocks == {damaged}
        assert not confirm(says(damaged + 1), file)
        assert not confirm("no block is named", file)


def test_words_alone_are_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    make_database(path, "DROP TABLE big", "CHECKPOINT")
    with DatabaseFile(path) as file:
        free = free_blocks(header_of(file), file.read)
    torn, hole = sorted(number for number in free if number < file_blocks(path))[:2]
    invert(path, torn)  # a crash may leave such blocks, which nobody uses
    zero(path, hole)
    with DatabaseFile(path) as file:
        for number in (*range(file_blocks(path)), 10**6, 10**18):
            assert not confirm(says(number), file)
        assert not confirm("Could not read enough bytes", file)


def file_blocks(path: Path) -> int:
    return (path.stat().st_size - HEADER_BYTES) // BLOCK_BYTES


@pytest.mark.parametrize("harm", [invert, zero])
def test_a_block_that_is_whole_at_the_second_look_was_being_written(
    tmp_path: Path, harm: Callable[[Path, int], None]
) -> None:
    path = tmp_path / "test.db"
    make_database(path)
    number = block_of(path, "t")
    whole = path.read_bytes()
    harm(path, number)
    with DatabaseFile(path) as file:
        assert find_damage_in(file, [number]).blocks == {number}
        assert not confirm(says(number), file, rest=lambda seconds: restore(path, whole))


def restore(path: Path, content: bytes) -> None:
    with path.open("r+b") as file:
        file.write(content)
