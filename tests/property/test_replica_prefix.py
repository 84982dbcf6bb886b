"""Whatever happens in whatever order, a restore yields a prefix of the acknowledged history."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chronoduck.replication.archive import Archive
from chronoduck.replication.envelope import Envelope
from chronoduck.replication.pruning import Pruner
from chronoduck.replication.restore import restore_files
from chronoduck.replication.restore_plan import list_points, plan_restore
from chronoduck.replication.shipper import Shipper, Step
from chronoduck.replication.startup import resume
from chronoduck.replication.state_keeper import StateKeeper
from chronoduck.replication.verification import verify_replica
from chronoduck.settings import ReplicaSettings
from chronoduck.storage import FailingBlobStore, MemoryBlobStore, StoreError
from tests.lagging_store import LaggingBlobStore

_CONFIG = {"wal_autocheckpoint": "1TB"}
_STATE = "SELECT count(*), sum(id), sum(hash(id, note)) FROM log"


class ReplicaMachine(RuleBasedStateMachine):
    """A database that is written, checkpointed, killed and shipped; a model of what was acknowledged.

    ``history[n]`` is what the tables look like after n commits.
    """

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="replica-"))
        self.database = self.directory / "live.db"
        self.blobs = LaggingBlobStore(MemoryBlobStore())
        self.store = FailingBlobStore(self.blobs, failure_rate=0.0, seed=1)
        self.executor = ThreadPoolExecutor(2)
        self.ticks = itertools.count(1)
        self.ids = itertools.count(1)
        self.connection: duckdb.DuckDBPyConnection | None = None
        self.history: list[tuple[object, ...]] = []
        self.shipped = 0

    @initialize()
    def create(self) -> None:
        self.connection = duckdb.connect(str(self.database), config=_CONFIG)
        self.connection.execute("CREATE TABLE log (id BIGINT, note VARCHAR)")
        self.connection.execute("CREATE TABLE big (id BIGINT, note VARCHAR)")
        self.connection.execute("CHECKPOINT")
        self.acknowledge()
        self.keeper = StateKeeper(self.database, self.store.url)
        self.shipper = self.new_shipper()

    def new_shipper(self) -> Shipper:
        """Begin as a new process does."""
        self.store.failure_rate = 0.0
        self.archive = Archive(self.store, Envelope())
        shipper = Shipper(
            self.database, self.archive, self.executor, now_us=lambda: next(self.ticks)
        )
        identity = self.archive.create()
        resume(shipper, self.archive, self.database, self.executor, replica_id=identity)
        return shipper

    def take_step(self) -> Step:
        """Ship a piece and note it, as the replicator does."""
        step = self.shipper.step()
        generation = self.shipper.generation
        if generation is not None:
            self.keeper.note_shipped(
                self.archive.create(),
                generation,
                self.shipper.total_commits,
                self.shipper.last_point_us,
            )
        return step

    def acknowledge(self) -> None:
        assert self.connection is not None
        self.history.append(state_of(self.connection))

    # --- what writers do ----------------------------------------------------------------------

    @rule(rows=st.integers(1, 3))
    def write_little(self, rows: int) -> None:
        values = ", ".join(f"({next(self.ids)}, 'note')" for _ in range(rows))
        self.connection.execute(f"INSERT INTO log (id, note) VALUES {values}")
        self.acknowledge()

    @rule(rows=st.sampled_from([125_000, 250_000]))
    def write_much(self, rows: int) -> None:
        first = next(self.ids) * 1_000_000
        self.connection.execute(
            f"INSERT INTO big SELECT i, md5(i::VARCHAR) FROM range({first}, {first + rows}) r(i)"
        )
        self.acknowledge()

    @rule()
    def update(self) -> None:
        self.connection.execute("UPDATE log SET note = note || 'x' WHERE id % 2 = 0")
        self.acknowledge()

    @rule(share=st.integers(2, 4))
    def delete(self, share: int) -> None:
        self.connection.execute(f"DELETE FROM big WHERE id % {share} = 0")
        self.acknowledge()

    @rule()
    def replace_table(self) -> None:
        self.connection.execute(
            "CREATE OR REPLACE TABLE big AS SELECT id, upper(note) AS note FROM big WHERE id % 3 <> 0"
        )
        self.acknowledge()

    @rule()
    def alter(self) -> None:
        column = f"c{next(self.ids)}"
        self.connection.execute(f"ALTER TABLE log ADD COLUMN {column} INTEGER DEFAULT 7")
        self.acknowledge()

    @rule()
    def index(self) -> None:
        self.connection.execute("DROP INDEX IF EXISTS log_id")
        self.acknowledge()
        self.connection.execute("CREATE INDEX log_id ON log (id)")
        self.acknowledge()

    @rule()
    def roll_back(self) -> None:
        self.connection.execute("BEGIN")
        self.connection.execute("INSERT INTO big SELECT i, 'gone' FROM range(130000) r(i)")
        self.connection.execute("DELETE FROM log")
        self.connection.execute("ROLLBACK")

    @rule()
    def checkpoint(self) -> None:
        self.connection.execute("CHECKPOINT")

    @rule()
    def crash(self) -> None:
        """The files as a kill would leave them, opened again."""
        copy = self.directory / "crash"
        copy.mkdir()
        for path in self.directory.glob("live.db*"):
            shutil.copyfile(path, copy / path.name)
        self.connection.close()
        for path in self.directory.glob("live.db*"):
            path.unlink()
        for path in copy.iterdir():
            path.rename(self.directory / path.name)
        copy.rmdir()
        self.shipper.close()
        self.shipper = self.new_shipper()
        self.connection = duckdb.connect(str(self.database), config=_CONFIG)

    # --- what the replicator does -------------------------------------------------------------

    @rule()
    def step(self) -> None:
        try:
            self.take_step()
        except StoreError:
            return

    @rule()
    def ship_all(self) -> None:
        self.store.failure_rate = 0.0
        for _ in range(30):
            if self.take_step() is Step.IDLE:
                break
        else:
            raise AssertionError("the replica does not catch up")
        self.shipped = len(self.history) - 1

    @precondition(lambda self: self.store.failure_rate == 0.0)
    @rule()
    def break_store(self) -> None:
        self.store.failure_rate = 0.5

    @rule(share=st.sampled_from([0.5, 1.0]))
    def let_listings_lag(self, share: float) -> None:
        self.blobs.lag(share)

    @rule()
    def let_listings_catch_up(self) -> None:
        self.blobs.catch_up()

    @rule(keeps=st.sampled_from([1, 1_000_000]))
    def prune(self, keeps: int) -> None:
        """Delete what is older than so many microseconds of the newest point."""
        settings = ReplicaSettings(detail=keeps / 1e6, retention=keeps / 1e6)
        pruner = Pruner(self.archive, self.executor, settings)
        in_use = frozenset(self.shipper.blocks.table.blocks_by_pack())
        pruner.prune(self.shipper.number, in_use, self.shipper.clock_step_us)

    @rule()
    def restart_replicator(self) -> None:
        self.store.failure_rate = 0.0
        self.shipper.close()
        self.shipper = self.new_shipper()

    # --- what must hold -----------------------------------------------------------------------

    @rule()
    def verify(self) -> None:
        """Nothing is damaged, whatever listings lack of it: who reads asks for what they lack."""
        rate, self.store.failure_rate = self.store.failure_rate, 0.0
        self.blobs.catch_up()
        found = verify_replica(Archive(self.store, Envelope()), self.executor)
        assert found.damages == ()
        self.store.failure_rate = rate

    @rule(share=st.floats(0, 1))
    def restore(self, share: float) -> None:
        rate, self.store.failure_rate = self.store.failure_rate, 0.0
        self.blobs.catch_up()  # whoever lists too early restores an older state
        listing = self.archive.listing()
        points = list_points(self.archive, listing, self.executor)
        self.store.failure_rate = rate
        if not points:
            return
        chosen = {points[-1], points[int(share * (len(points) - 1))]}
        positions = [self.position_of(point.time_us) for point in chosen]
        assert max(positions) >= self.shipped

    def position_of(self, time_us: int) -> int:
        rate, self.store.failure_rate = self.store.failure_rate, 0.0
        target = self.directory / "restored.db"
        listing = self.archive.listing()
        plan = plan_restore(self.archive, listing, self.executor, time_us)
        restore_files(self.archive, plan, target, self.executor)
        self.store.failure_rate = rate
        restored = duckdb.connect(str(target), config=_CONFIG)
        found = state_of(restored)
        restored.close()
        for path in self.directory.glob("restored.db*"):
            path.unlink()
        matches = [number for number, state in enumerate(self.history) if state == found]
        assert matches, f"{found} is no state that was acknowledged"
        return matches[-1]

    @invariant()
    def nothing_is_lost_locally(self) -> None:
        if self.connection is not None and self.history:
            assert state_of(self.connection) == self.history[-1]

    def teardown(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.shipper.close()
        self.executor.shutdown()
        shutil.rmtree(self.directory)


def state_of(connection: duckdb.DuckDBPyConnection) -> tuple[object, ...]:
    """What a user can see of both tables."""
    columns = connection.execute("SELECT count(*) FROM duckdb_columns() WHERE table_name = 'log'")
    width = columns.fetchone()
    return (
        width,
        connection.execute(_STATE).fetchone(),
        connection.execute(_STATE.replace("FROM log", "FROM big")).fetchone(),
        connection.execute("SELECT count(*) FROM duckdb_indexes()").fetchone(),
    )


TestReplicaIsAPrefix = ReplicaMachine.TestCase
TestReplicaIsAPrefix.settings = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
