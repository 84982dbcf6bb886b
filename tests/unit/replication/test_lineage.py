"""File and replica disagree: which is newer is decided, or the start is refused; nothing goes back."""

from __future__ import annotations

import random
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest

from chronoduck.engine.disk_format import (
    BLOCK_BYTES,
    HEADER_BYTES,
    DatabaseFile,
    checksum,
    read_roots,
    root_block,
)
from chronoduck.replication.archive import Archive
from chronoduck.replication.envelope import Envelope
from chronoduck.replication.failures import ReplicaMismatchError
from chronoduck.replication.local_state import LocalState, root_mark, state_path
from chronoduck.replication.recovery import recover_database, restore_database
from chronoduck.replication.restore_plan import RestorePoint, list_points, plan_restore, time_text
from chronoduck.replication.shipper import Shipper, Step
from chronoduck.replication.startup import Comparison, resume
from chronoduck.replication.state_keeper import StateKeeper
from chronoduck.storage import DirectoryBlobStore
from tests.damaged_wal import crash


class Home:
    """A database, and a replica of it that is shipped to in this process."""

    def __init__(self, directory: Path, version: str) -> None:
        directory.mkdir(exist_ok=True)
        self.directory, self.version = directory, version
        self.database = directory / "test.db"
        self.store = directory / "replica"

    def connect(self) -> duckdb.DuckDBPyConnection:
        return duckdb.connect(
            str(self.database),
            config={"wal_autocheckpoint": "1TB", "storage_compatibility_version": self.version},
        )

    def write(self, checkpoints: int = 1, rows: int = 1) -> None:
        """Commit and checkpoint that often."""
        with self.connect() as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS t (a BIGINT, b VARCHAR)")
            for _ in range(checkpoints):
                connection.execute(f"INSERT INTO t SELECT range, md5('a') FROM range({rows})")
                connection.execute("CHECKPOINT")

    def ship(self, *, adopt: bool = False) -> Comparison:
        """Compare, then ship all, as the replicator does at a start."""
        archive = Archive(DirectoryBlobStore(self.store), Envelope())
        replica_id = archive.create()
        keeper = StateKeeper(self.database, archive.url)
        if LocalState.read(self.database) is None and archive.is_empty():
            keeper.begin(replica_id)
        with ThreadPoolExecutor(2) as executor:
            shipper = Shipper(
                self.database, archive, executor, now_us=lambda: time.time_ns() // 1000
            )
            found = resume(
                shipper, archive, self.database, executor, replica_id=replica_id, adopt=adopt
            )
            for _ in range(20):
                if shipper.step() is Step.IDLE:
                    break
            assert shipper.generation is not None
            keeper.note_shipped(
                replica_id, shipper.generation, shipper.total_commits, shipper.last_point_us
            )
            shipper.close()
        return found

    def ships_newest(self) -> bool:
        """Whether the replica's newest point is the file as it is."""
        with ThreadPoolExecutor(2) as executor:
            archive = Archive(DirectoryBlobStore(self.store), Envelope())
            plan = plan_restore(archive, archive.listing(), executor)
        return plan.headers == self.database.read_bytes()[: len(plan.headers)]

    def newest_point(self) -> RestorePoint:
        with ThreadPoolExecutor(2) as executor:
            archive = Archive(DirectoryBlobStore(self.store), Envelope())
            return list_points(archive, archive.listing(), executor)[-1]

    def rows_at(self, time_us: int) -> int:
        """Restore as the command does for a time that it lists, in milliseconds; return the rows."""
        output = self.directory / f"{time_us}.db"
        archive = Archive(DirectoryBlobStore(self.store), Envelope())
        restore_database(archive, output, to_us=time_us // 1000 * 1000 + 999)
        with duckdb.connect(str(output), read_only=True) as connection:
            found = connection.execute("SELECT count(*) FROM t").fetchone()
        assert found
        return int(found[0])

    def keep(self, name: str, *, with_note: bool = True) -> Path:
        """Copy the files as a careful operator would."""
        kept = self.directory / name
        kept.mkdir()
        shutil.copy2(self.database, kept)
        if with_note:
            shutil.copy2(state_path(self.database), kept)
        return kept

    def put_back(self, kept: Path) -> None:
        for path in kept.iterdir():
            shutil.copy2(path, self.directory)

    def refusal(self) -> ReplicaMismatchError:
        before = self.database.read_bytes()
        with pytest.raises(ReplicaMismatchError) as refused:
            self.ship()
        assert self.database.read_bytes() == before
        return refused.value


@pytest.fixture(params=["v1.0.0", "v1.5.0"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Home:
    """Storage versions without and with an identifier of the database."""
    home = Home(tmp_path / "home", request.param)
    home.write(3, rows=100_000)
    home.ship()
    return home


@pytest.mark.parametrize("checkpoints", [1, 2, 10])
def test_a_file_that_is_newer_begins_a_new_generation(home: Home, checkpoints: int) -> None:
    home.write(checkpoints)
    assert home.ship().notice == ""
    assert home.ships_newest()


@pytest.mark.parametrize("version", ["v1.0.0", "v1.5.0"])
def test_a_file_of_a_single_block_is_recognized_after_its_next_checkpoint(
    tmp_path: Path, version: str
) -> None:
    """That checkpoint writes into the same block: of what was shipped, nothing is there unchanged."""
    home = Home(tmp_path / "home", version)
    with home.connect() as connection:
        connection.execute("CREATE TABLE t (a BIGINT)")
        connection.execute("CHECKPOINT")
        home.ship()
        connection.execute("ALTER TABLE t ADD COLUMN b INTEGER DEFAULT 7")
        connection.execute("CHECKPOINT")
    assert home.database.stat().st_size < 2 * BLOCK_BYTES
    assert home.ship().notice == ""
    assert home.ships_newest()


@pytest.mark.parametrize("seed", range(3))
def test_the_mark_of_a_checkpoint_lives_through_the_next_one(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    home = Home(tmp_path / "home", "v1.0.0")
    home.write()
    statements = [
        "ALTER TABLE t ADD COLUMN c{} INTEGER DEFAULT 7",
        "CREATE TABLE u{} AS SELECT range AS i, md5(range::VARCHAR) AS h FROM range(150000)",
        "CREATE VIEW v{} AS SELECT repeat('x', 9) AS " + "x" * 3000,
        "INSERT INTO t (a) VALUES ({})",
        "DELETE FROM t WHERE a % {} <> 1",
        "CREATE OR REPLACE TABLE u AS SELECT {} AS a",
    ]
    with home.connect() as connection:
        for number in range(1, 25):
            for _ in range(chance.randrange(4)):
                connection.execute(chance.choice(statements).format(chance.randrange(2, 10**9)))
            (before, _) = _marks(home.database)
            connection.execute(chance.choice(["CHECKPOINT", "FORCE CHECKPOINT"]))
            assert before in _marks(home.database), number


def _marks(database: Path) -> list[str]:
    with DatabaseFile(database) as file:
        return [root_mark(file, root) for root in read_roots(file.headers())]


@pytest.mark.parametrize("with_note", [True, False])
def test_an_older_file_is_refused_and_recover_named(home: Home, with_note: bool) -> None:
    kept = home.keep("older", with_note=with_note)
    for _ in range(3):
        home.write()
        home.ship()
    home.put_back(kept)
    refusal = home.refusal()
    assert "is older than the replica" in refusal.detail
    assert "transactions up to" in refusal.detail
    assert "chronoduck recover" in refusal.hint


def test_an_older_copy_that_went_its_own_way_is_refused_without_bad_advice(home: Home) -> None:
    kept = home.keep("older")
    for _ in range(3):
        home.write()
        home.ship()
    home.put_back(kept)
    home.write(20)  # more checkpoints than the replica has seen
    refusal = home.refusal()
    assert "each may hold transactions that the other lacks" in refusal.detail
    assert "chronoduck recover" not in refusal.hint
    home.ship(adopt=True)
    assert home.ships_newest()


@pytest.mark.parametrize("other_version", ["v1.0.0", "v1.5.0"])
def test_another_database_under_this_note_is_recognized(
    home: Home, tmp_path: Path, other_version: str
) -> None:
    other = Home(tmp_path / "other", other_version)
    other.write(50, rows=3)
    home.database.unlink()
    shutil.copy2(other.database, home.database)
    refusal = home.refusal()
    assert "not the same database" in refusal.detail
    assert "chronoduck recover" not in refusal.hint


def test_another_database_made_by_the_same_statements_is_recognized(tmp_path: Path) -> None:
    homes = [Home(tmp_path / name, "v1.5.0") for name in "ab"]
    for home in homes:
        home.write(3)
        home.ship()
    shutil.copy2(homes[1].database, homes[0].database)
    assert "not the same database" in homes[0].refusal().detail


def test_a_replica_that_was_left_for_a_while_is_continued(home: Home, tmp_path: Path) -> None:
    """Its address was changed, and changed back."""
    first, home.store = home.store, tmp_path / "second"
    home.write(2)
    home.ship()
    home.write(2)
    home.ship()
    home.store = first
    home.ship()
    assert home.ships_newest()
    home.store = tmp_path / "second"
    home.write()
    home.ship()
    assert home.ships_newest()


def test_a_compaction_while_the_replica_was_off_is_continued(home: Home) -> None:
    new = home.directory / "new.db"
    with duckdb.connect(config={"storage_compatibility_version": home.version}) as connection:
        connection.execute(f"ATTACH '{home.database}' AS old (READ_ONLY)")
        connection.execute(f"ATTACH '{new}' AS new (STORAGE_VERSION '{home.version}')")
        connection.execute("COPY FROM DATABASE old TO new")
    note = LocalState.read(home.database)
    assert note is not None
    LocalState.of_restored(note.replica_id, new, note.commits, note.time_us, note).write(
        home.database
    )
    new.replace(home.database)
    home.write(4)
    if home.version == "v1.0.0":  # without an identifier nobody can tell it from another database
        assert "chronoduck recover" not in home.refusal().hint
        home.ship(adopt=True)
    else:
        home.ship()
    assert home.ships_newest()


@pytest.mark.parametrize("checkpoints", [0, 1])
def test_a_store_that_went_back_before_a_start_is_told(home: Home, checkpoints: int) -> None:
    older = home.directory / "older"
    shutil.copytree(home.store, older)
    for _ in range(3):
        home.write()
        home.ship()
    shutil.rmtree(home.store)
    older.rename(home.store)
    if checkpoints:
        home.write(checkpoints)
    assert "has lost what was shipped" in home.ship().notice
    assert home.ships_newest()


def test_an_adopted_older_file_is_a_point_of_its_own_time(home: Home) -> None:
    """Whoever names the time of the newer point gets that one, not the file adopted after it."""
    kept = home.keep("older")
    home.write(rows=7)
    home.ship()
    newer = home.newest_point()
    home.put_back(kept)
    home.ship(adopt=True)
    adopted = home.newest_point()
    assert time_text(adopted.time_us) != time_text(newer.time_us)
    assert adopted.clock_us == 0
    assert home.rows_at(newer.time_us) == home.rows_at(adopted.time_us) + 7


def test_a_recovery_says_what_the_replica_held_once(home: Home) -> None:
    home.write(rows=7)
    home.ship()
    newest = sorted((home.store / "generations").iterdir())[-1]
    shutil.rmtree(newest)
    home.database.unlink()
    report = recover_database(Archive(DirectoryBlobStore(home.store), Envelope()), home.database)
    assert "this machine had shipped" in report.damage


def test_a_clone_that_went_its_own_way_is_refused_without_an_order_to_recover(home: Home) -> None:
    """Both hold acknowledged transactions behind the same beginning of a WAL."""
    crash(home.database, ["INSERT INTO t VALUES (-1, 'both')"])
    home.ship()
    clone = home.keep("clone")
    wal = home.database.with_name("test.db.wal")
    shutil.copy2(wal, clone)
    for number in range(3):
        crash(home.database, [f"INSERT INTO t VALUES ({number}, 'original')"])
    home.ship()
    home.put_back(clone)
    for _ in range(2):
        crash(home.database, ["INSERT INTO t VALUES (-2, 'the clone')"])
    refused = home.refusal()
    assert "Each side may hold transactions" in refused.detail
    assert not refused.hint.startswith("Run `chronoduck recover`")
    report = recover_database(Archive(DirectoryBlobStore(home.store), Envelope()), home.database)
    assert (report.local.grafted, report.local.lost, report.local.unrelated) == (0, None, 3)


def test_a_wal_that_is_shorter_than_what_was_shipped_is_older(home: Home) -> None:
    crash(home.database, ["INSERT INTO t VALUES (-1, 'a')"])
    wal = home.database.with_name("test.db.wal")
    kept = wal.read_bytes()
    home.ship()
    crash(home.database, ["INSERT INTO t VALUES (-2, 'b')"])
    home.ship()
    wal.write_bytes(kept)
    refused = home.refusal()
    assert "holds 1 transaction that the file lacks" in refused.detail
    assert refused.hint.startswith("Run `chronoduck recover`")


@pytest.mark.parametrize("is_beside", [True, False])
def test_a_file_whose_checkpoint_was_killed_is_the_one_that_was_shipped(
    home: Home, is_beside: bool
) -> None:
    """It wrote beside the catalog into the same block, and no header. A changed catalog is another."""
    home.ship()
    with DatabaseFile(home.database) as file:
        root = read_roots(file.headers())[0]
        number = root_block(root)
        assert number is not None
        block = bytearray(file.block(number))
    pieces = (BLOCK_BYTES - 8) // 64
    catalog = int.from_bytes(root[16:24], "little") >> 56
    piece = (catalog + 1) % 64 if is_beside else catalog
    block[8 + piece * (pieces // 8 * 8) + 100] ^= 1
    block[:8] = checksum(bytes(block[8:])).to_bytes(8, "little")
    with home.database.open("r+b") as written:
        written.seek(HEADER_BYTES + number * BLOCK_BYTES)
        written.write(block)
    if is_beside:
        assert home.ship().notice == ""
    else:
        assert "older" in home.refusal().detail
