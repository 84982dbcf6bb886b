"""Blocks that a power cut tore in a checkpoint are put back, and no others."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb
import pytest

from chronoduck.engine.disk_format import BLOCK_BYTES, HEADER_BYTES
from chronoduck.engine.disk_format.database_file import read_roots, root_block
from chronoduck.engine.offline import MetadataCopy
from chronoduck.engine.paths import find_descriptor


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database whose metadata was copied; ``before.db`` is how it was then."""
    path = tmp_path / "a.db"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE t AS SELECT range AS a FROM range(1000)")
        connection.execute("CHECKPOINT")
        blocks = connection.execute("SELECT block_id FROM pragma_metadata_info()").fetchall()
        descriptor = find_descriptor(path)
        assert descriptor is not None
        MetadataCopy(path).save(descriptor, [int(row[0]) for row in blocks])
        shutil.copy(path, tmp_path / "before.db")
        connection.execute("INSERT INTO t VALUES (-1)")
    return path


def tear(database: Path) -> None:
    """Spoil the end of the block that holds the metadata."""
    content = bytearray(database.read_bytes())
    number = root_block(read_roots(bytes(content[:HEADER_BYTES]))[0])
    assert number is not None
    end = HEADER_BYTES + (number + 1) * BLOCK_BYTES
    content[end - 100] ^= 1
    database.write_bytes(content)


def count(database: Path) -> int:
    with duckdb.connect(str(database), read_only=True) as connection:
        row = connection.execute("SELECT count(*) FROM t").fetchone()
        assert row is not None
        return int(row[0])


def test_a_torn_block_is_put_back(database: Path) -> None:
    before = database.with_name("before.db")
    before.replace(database)
    whole = database.read_bytes()
    tear(database)
    with pytest.raises(duckdb.Error, match="checksum"):
        count(database)
    assert MetadataCopy(database).put_back() == 1
    assert database.read_bytes() == whole
    assert count(database) == 1000
    assert MetadataCopy(database).put_back() == 0


def test_nothing_is_put_back_after_the_checkpoint(database: Path) -> None:
    tear(database)
    content = database.read_bytes()
    assert MetadataCopy(database).put_back() == 0
    assert database.read_bytes() == content


def test_a_damaged_copy_is_not_used(database: Path) -> None:
    database.with_name("before.db").replace(database)
    copy = MetadataCopy(database).path
    spoilt = bytearray(copy.read_bytes())
    spoilt[100] ^= 1
    copy.write_bytes(spoilt)
    tear(database)
    assert MetadataCopy(database).put_back() == 0


def test_a_block_that_is_whole_stays_as_it_is(database: Path) -> None:
    database.with_name("before.db").replace(database)
    content = database.read_bytes()
    assert MetadataCopy(database).put_back() == 0
    assert database.read_bytes() == content
