"""A transaction that a power cut tore is told from damage, and cut off before DuckDB refuses it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.engine.boot_note import may_have_lost_power
from chronoduck.engine.disk_format import (
    HEADER_BYTES,
    find_damage,
    read_header,
    torn_end,
    transaction_ends,
    version_end,
)
from chronoduck.engine.quarantine import check_log, cut_torn_end
from chronoduck.errors import DamagedLogError, DuckDBConnectionError
from chronoduck.settings import Settings
from tests.damaged_wal import count_rows, crash, crash_in_checkpoint

_TEXT = "SELECT 'a text that fills a sector of the WAL and more than one ' || range FROM range(40)"


@pytest.fixture
def torn(tmp_path: Path) -> tuple[Path, int, int]:
    """A database with a WAL; where its last transaction begins, and how many rows are before it."""
    path, copy = tmp_path / "a.db", tmp_path / "copy.db"
    with duckdb.connect(str(path), config={"wal_autocheckpoint": "1TB"}) as connection:
        connection.execute("CREATE TABLE t (a VARCHAR)")
        connection.execute("CHECKPOINT")
        connection.execute("INSERT INTO t VALUES ('first')")
        begin = path.with_name("a.db.wal").stat().st_size
        connection.execute(f"INSERT INTO t {_TEXT}")
        shutil.copy(path, copy)
        shutil.copy(f"{path}.wal", f"{copy}.wal")
    return copy, begin, 1


def lose(wal: Path, begin: int, end: int) -> bytes:
    content = bytearray(wal.read_bytes())
    content[begin:end] = bytes(end - begin)
    wal.write_bytes(content)
    return bytes(content)


def rows(database: Path) -> int:
    with duckdb.connect(str(database)) as connection:
        row = connection.execute("SELECT count(*) FROM t").fetchone()
        assert row is not None
        return int(row[0])


@pytest.mark.parametrize("sector", [0, 1, 2])
def test_a_lost_sector_of_the_last_transaction_is_cut_off(
    torn: tuple[Path, int, int], sector: int
) -> None:
    database, begin, before = torn
    wal = database.with_name(f"{database.name}.wal")
    start = max(begin, (begin // 512 + sector) * 512)
    content = lose(wal, start, (start // 512 + 1) * 512)
    assert find_damage(content) is None
    assert torn_end(content, 0) == begin
    check_log(database)
    [kept] = cut_torn_end(database)
    assert rows(database) == before
    assert list(database.parent.glob("*.wal.torn-*")) == [kept]
    assert kept.read_bytes() == content[begin:]


def test_a_flipped_bit_is_damage(torn: tuple[Path, int, int]) -> None:
    database, begin, _ = torn
    wal = database.with_name(f"{database.name}.wal")
    content = bytearray(wal.read_bytes())
    content[begin + 600] ^= 1
    wal.write_bytes(content)
    with pytest.raises(DamagedLogError):
        check_log(database)


def test_a_lost_sector_before_the_last_transaction_is_damage(torn: tuple[Path, int, int]) -> None:
    database, begin, _ = torn
    wal = database.with_name(f"{database.name}.wal")
    lose(wal, begin - 60, begin)
    with pytest.raises(DamagedLogError):
        check_log(database)


def test_a_torn_checkpoint_entry_is_cut_off_unless_the_checkpoint_is_in_the_file(
    tmp_path: Path,
) -> None:
    path, before = tmp_path / "a.db", tmp_path / "before.db"
    with duckdb.connect(str(path), config={"wal_autocheckpoint": "1TB"}) as connection:
        connection.execute("CREATE TABLE t (a VARCHAR)")
        connection.execute("CHECKPOINT")
        connection.execute("INSERT INTO t VALUES ('first')")
        shutil.copy(path, before)
        wal = path.with_name("a.db.wal")
        end = wal.stat().st_size
        descriptor = os.open(wal, os.O_RDONLY)  # DuckDB deletes the file at the checkpoint's end
        connection.execute("CHECKPOINT")
        content = bytearray(os.pread(descriptor, 1 << 20, 0))
        os.close(descriptor)
        root = read_header(path.read_bytes()[:HEADER_BYTES]).meta_block
    content[-13:] = bytes(13)  # the checksum of the flush entry behind it
    assert len(content) > end
    assert torn_end(bytes(content), root) is None
    before.with_name("before.db.wal").write_bytes(content)
    assert [kept.stat().st_size for kept in cut_torn_end(before)] == [len(content) - end]
    assert rows(before) == 1


def test_a_whole_wal_stays_as_it_is(torn: tuple[Path, int, int]) -> None:
    database, _, before = torn
    assert cut_torn_end(database) == ()
    assert rows(database) == before + 40


def test_a_wal_cut_at_any_byte_ends_with_a_transaction_or_its_rest_is_kept(tmp_path: Path) -> None:
    database = tmp_path / "a.db"
    crash(
        database,
        ["CREATE TABLE t(a INTEGER)", "CHECKPOINT"]
        + [f"INSERT INTO t VALUES ({number})" for number in range(3)],
    )
    wal = database.with_name("a.db.wal")
    whole = wal.read_bytes()
    ends = transaction_ends(whole)
    empty = version_end(whole)
    for size in range(len(whole) + 1):
        wal.write_bytes(whole[:size])
        check_log(database)
        kept = b"".join(file.read_bytes() for file in cut_torn_end(database))
        assert wal.read_bytes() + kept == whole[:size]
        assert len(wal.read_bytes()) in (0, empty, *ends)
        assert bool(kept) == (size not in (0, empty, *ends)), size
        for file in tmp_path.glob("*.torn-*"):
            file.unlink()
        if size == len(whole) or size in ends or size + 1 in ends:
            assert count_rows(database) == list(range(sum(end <= size for end in ends)))


def test_the_end_of_a_wal_that_a_checkpoint_wrote_stays_wherever_it_is_cut(tmp_path: Path) -> None:
    database = tmp_path / "a.db"
    crash_in_checkpoint(
        database,
        ["CREATE TABLE t(a INTEGER)", "CHECKPOINT", "INSERT INTO t VALUES (1)"],
        "before_header",
    )
    wal = database.with_name("a.db.wal")
    whole = wal.read_bytes()
    [end] = transaction_ends(whole)
    assert len(whole) > end
    for size in range(end, len(whole) + 1):
        wal.write_bytes(whole[:size])
        kept = b"".join(file.read_bytes() for file in cut_torn_end(database))
        assert wal.read_bytes() + kept == whole[:size]
        for file in tmp_path.glob("*.torn-*"):
            file.unlink()
        assert count_rows(database) == [1], size


@pytest.mark.parametrize("place", range(21))
def test_damage_counts_the_transaction_that_it_is_in(tmp_path: Path, place: int) -> None:
    database = tmp_path / "a.db"
    crash(
        database,
        ["CREATE TABLE t(a INTEGER)", "CHECKPOINT"]
        + [f"INSERT INTO t VALUES ({number})" for number in range(5)],
    )
    whole = database.with_name("a.db.wal").read_bytes()
    ends = transaction_ends(whole)
    for begin in (ends[0], ends[1] - 21):  # the first entry of the second transaction, and its last
        content = bytearray(whole)
        content[begin + place] ^= 0xFF
        damage = find_damage(bytes(content))
        assert damage is not None
        assert (damage.good.commits, damage.lost_commits) == (1, 4), begin


@pytest.fixture
def zeros(tmp_path: Path) -> tuple[bytes, int]:
    """A WAL whose last transaction has sectors of zeros in it, as columns of zeros have; its begin."""
    path = tmp_path / "a.db"
    with duckdb.connect(str(path), config={"wal_autocheckpoint": "1TB"}) as connection:
        connection.execute("CREATE TABLE t (a BIGINT)")
        connection.execute("CHECKPOINT")
        connection.execute("INSERT INTO t VALUES (1)")
        wal = path.with_name("a.db.wal")
        begin = wal.stat().st_size
        connection.execute("INSERT INTO t SELECT 0 FROM range(1000)")
        return wal.read_bytes(), begin


def test_without_a_power_cut_no_changed_bit_of_a_whole_transaction_passes(
    zeros: tuple[bytes, int],
) -> None:
    """It was acknowledged. With a power cut the same bytes may be what is left of one that was not."""
    content, begin = zeros
    assert find_damage(content, may_be_torn=False) is None
    passed = []
    for place in range(begin, len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << (place % 8)
        if find_damage(bytes(changed), may_be_torn=False) is None:
            passed.append(place)
    assert passed == []
    changed = bytearray(content)
    changed[begin + 1] ^= 1  # of the first entry's length
    assert find_damage(bytes(changed)) is None


_FLUSH_ENTRY = bytes.fromhex("0500000000000000e7fe7d722fed3d5e640064ffff")


@pytest.mark.parametrize("may_be_torn", [False, True])
def test_a_killed_write_of_values_that_look_like_a_wal_is_no_damage(
    tmp_path: Path, may_be_torn: bool
) -> None:
    path = tmp_path / "a.db"
    with duckdb.connect(str(path), config={"wal_autocheckpoint": "1TB"}) as connection:
        connection.execute("CREATE TABLE t (a BLOB)")
        connection.execute("CHECKPOINT")
        connection.execute("INSERT INTO t VALUES ('x')")
        wal = path.with_name("a.db.wal")
        begin = wal.stat().st_size
        connection.execute("INSERT INTO t VALUES (?)", [_FLUSH_ENTRY * 500])
        content = wal.read_bytes()
    assert content.count(_FLUSH_ENTRY, begin) > 500
    for end in range(begin, len(content), 7):
        cut = content[:end]
        if end > begin and cut.endswith(
            _FLUSH_ENTRY
        ):  # as the end of a transaction: not decided here
            continue
        assert find_damage(cut, may_be_torn=may_be_torn) is None, end
        assert torn_end(cut, 0) == (None if end == begin else begin)


@pytest.mark.parametrize("is_killed_later", [False, True])
@pytest.mark.parametrize("length", [1 << 20, 1 << 31])
def test_transactions_behind_a_header_that_is_spoilt_as_a_whole_are_not_passed_over(
    tmp_path: Path, length: int, is_killed_later: bool
) -> None:
    """Its length may look right and its checksum tells nothing any more; a kill may follow it."""
    path = tmp_path / "a.db"
    with duckdb.connect(str(path), config={"wal_autocheckpoint": "1TB"}) as connection:
        connection.execute("CREATE TABLE t (a BIGINT)")
        connection.execute("CHECKPOINT")
        connection.execute("INSERT INTO t VALUES (1)")
        wal = path.with_name("a.db.wal")
        begin = wal.stat().st_size
        for number in range(4):
            connection.execute(f"INSERT INTO t VALUES ({number})")
        content = bytearray(wal.read_bytes())
    content[begin : begin + 16] = length.to_bytes(8, "little") + bytes(range(8))
    if is_killed_later:
        del content[-5:]
    for may_be_torn in (False, True):
        damage = find_damage(bytes(content), may_be_torn=may_be_torn)
        assert damage is not None
        assert damage.lost_commits == 4 - is_killed_later


async def test_a_start_in_the_same_boot_believes_in_no_power_cut(
    make_settings: Callable[..., Settings],
) -> None:
    made = make_settings()
    async with DuckDBService(made) as service:
        await service.execute_query("CREATE TABLE t (a BIGINT)")
    database = made.database_path
    crash(database, ["INSERT INTO t SELECT 0 FROM range(1000)"])
    wal = database.with_name(f"{database.name}.wal")
    content = bytearray(wal.read_bytes())
    content[len(content) // 2] ^= 1
    wal.write_bytes(content)
    with pytest.raises(DuckDBConnectionError, match="silently drop"):
        async with DuckDBService(made):
            raise AssertionError("it was opened")
    assert wal.read_bytes() == content
    database.with_name(f"{database.name}.boot").write_text("another boot")
    async with DuckDBService(made) as service:
        assert (await service.execute_query("SELECT count(*) FROM t")).data == [(0,)]
    assert len(list(database.parent.glob("*.wal.torn-*"))) == 1


async def test_a_boot_that_cannot_be_noted_keeps_nobody_from_starting(
    make_settings: Callable[..., Settings],
) -> None:
    """As on a full disk after the machine booted. Then a power cut is believed, as without a note."""
    made = make_settings()
    async with DuckDBService(made) as service:
        await service.execute_query("CREATE TABLE t (a BIGINT)")
    note = made.database_path.with_name(f"{made.database_path.name}.boot")
    note.write_text("another boot")
    note.with_name(f"{note.name}.new").mkdir()  # root may write everywhere, but not there
    async with DuckDBService(made) as service:
        assert (await service.execute_query("SELECT count(*) FROM t")).data == [(0,)]
    assert may_have_lost_power(made.database_path)
