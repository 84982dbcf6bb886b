"""A database that does not open plainly is opened by another way, or reported with what it would cost."""

from __future__ import annotations

import functools
import hashlib
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest

from chronoduck.assembly.opening import open_instance
from chronoduck.engine.database import DuckDBInstance
from chronoduck.engine.disk_format import transaction_ends
from chronoduck.engine.offline import (
    AttemptFailedError,
    Budget,
    HeldWal,
    Opening,
    Run,
    UnopenableError,
    Way,
    attempt,
    finish_placing,
    open_by_ways,
    place_database,
    read_database,
    side_files,
)
from chronoduck.engine.offline.prefix import find_longest
from chronoduck.engine.opening_options import OPENING_OPTIONS
from chronoduck.settings import load_settings
from tests.damaged_wal import count_rows, crash, make_unreplayable

OPENERS = Path(__file__).with_name("openers.py")
ON_1_5 = duckdb.__version__ < "2"
only_1_5 = pytest.mark.skipif(not ON_1_5, reason="DuckDB 2 replays this WAL")


def opener(how: str, limit: int) -> Run:
    return functools.partial(attempt, command=[sys.executable, str(OPENERS), how, str(limit)])


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.mark.parametrize(("good", "bad"), [(0, 1), (3, 2)])
def test_exactly_what_cannot_be_replayed_is_left_out_and_kept_in_a_file(
    tmp_path: Path, good: int, bad: int
) -> None:
    database = tmp_path / "a.db"
    make_unreplayable(database, good, bad)
    before = {path.name: path.read_bytes() for path in (database, side_files(database)[0])}
    opening = open_by_ways(
        database, "it failed", checkpoint=False, may_shorten=True, is_original=True
    )
    assert (opening.way, opening.kept, opening.lost) == (Way.SHORTENED, good, bad)
    assert count_rows(database) == list(range(good + 1))
    assert opening.rest is not None
    assert before["a.db.wal"].endswith(opening.rest.read_bytes())
    # The old files are there, to the byte, for an engine that can replay them.
    assert [path.read_bytes() for path in opening.set_aside] == list(before.values())
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"a.db", opening.rest.name, *(path.name for path in opening.set_aside)}


@pytest.mark.parametrize("may_shorten", [True, False])
@pytest.mark.parametrize("shipped", [2, 3, 4, 5])
def test_what_a_replica_holds_is_never_left_out(
    tmp_path: Path, shipped: int, may_shorten: bool
) -> None:
    database = tmp_path / "a.db"
    make_unreplayable(database, 3, 2)
    before = contents(tmp_path)
    log = side_files(database)[0].read_bytes()
    size = transaction_ends(log)[shipped - 1]
    held = HeldWal(size, hashlib.sha256(log[:size]).hexdigest(), "/replica", shipped)

    def open_it() -> Opening:
        return open_by_ways(
            database,
            "it failed",
            checkpoint=False,
            may_shorten=may_shorten,
            is_original=True,
            held=held,
        )

    if shipped <= 3 and may_shorten:
        assert open_it().kept == 3
        return
    with pytest.raises(UnopenableError) as raised:
        open_it()
    assert (raised.value.kept, raised.value.lost) == (3, 2)
    is_in_replica = f"the replica in /replica holds its first {shipped} transactions"
    assert (is_in_replica in raised.value.detail) == (shipped > 3)
    assert raised.value.hint.startswith("Run `chronoduck recover`") == (shipped > 3)
    assert contents(tmp_path) == before


def test_a_wal_that_is_not_what_was_shipped_takes_no_place(tmp_path: Path) -> None:
    database = tmp_path / "a.db"
    crash(database, ["CREATE TABLE t(a INTEGER)", "CHECKPOINT", "INSERT INTO t VALUES (1)"])
    before = contents(tmp_path)
    held = HeldWal(20, hashlib.sha256(b"another WAL").hexdigest(), "/replica")
    with pytest.raises(UnopenableError, match="the replica in /replica holds its first 20 B"):
        open_by_ways(database, "it failed", checkpoint=True, is_original=True, held=held)
    assert contents(tmp_path) == before


def test_without_leave_to_leave_anything_out_nothing_is_changed_and_the_cost_is_told(
    tmp_path: Path,
) -> None:
    database = tmp_path / "a.db"
    make_unreplayable(database, 3, 2)
    before = contents(tmp_path)
    with pytest.raises(UnopenableError) as raised:
        open_by_ways(database, "it failed", checkpoint=False, is_original=True)
    assert (raised.value.kept, raised.value.lost) == (3, 2)
    assert "first 3 of 5 transactions" in raised.value.detail
    assert "DUCKDB_QUARANTINE_WAL" in raised.value.hint
    assert contents(tmp_path) == before


def test_a_damaged_file_is_told_from_a_damaged_wal(tmp_path: Path) -> None:
    database = tmp_path / "a.db"
    make_unreplayable(database, 3, 2)
    data = bytearray(database.read_bytes())
    data[100] ^= 1  # the main header
    database.write_bytes(data)
    with pytest.raises(UnopenableError) as raised:
        open_by_ways(database, "it failed", checkpoint=False, may_shorten=True, is_original=True)
    assert raised.value.kept is None
    assert "the file itself" in raised.value.detail
    assert database.read_bytes() == bytes(data)


@pytest.mark.parametrize(("how", "count"), [("crash", 4), ("hang", 1)])
def test_an_engine_that_dies_or_hangs_loses_only_what_makes_it(
    tmp_path: Path, how: str, count: int
) -> None:
    database = tmp_path / "a.db"
    crash(database, ["CREATE TABLE t(a INTEGER)", "CHECKPOINT"])
    sizes = []
    for number in range(count + 1):
        crash(database, [f"INSERT INTO t VALUES ({number})"])
        sizes.append(side_files(database)[0].stat().st_size)
    opening = open_by_ways(
        database,
        "it died",
        checkpoint=False,
        may_shorten=True,
        is_original=True,
        seconds=40.0,  # a hang is known by 2 s of CPU time
        run=opener(how, sizes[-2]),
    )
    assert (opening.way, opening.kept, opening.lost) == (Way.SHORTENED, count, 1)
    assert count_rows(database) == list(range(count))


def test_the_second_plain_attempt_is_enough_when_it_works(tmp_path: Path) -> None:
    database = tmp_path / "a.db"
    crash(database, ["CREATE TABLE t(a INTEGER)", "INSERT INTO t VALUES (1)"])
    before = contents(tmp_path)
    calls = []

    def run(do: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        calls.append(do)
        if len(calls) == 1:
            raise AttemptFailedError("not yet", stage="opened")
        return attempt(do, *args, **kwargs)

    opening = open_by_ways(database, "it failed", checkpoint=False, is_original=True, run=run)
    assert (opening.way, calls) == (Way.AGAIN, ["open", "open"])
    assert opening.refusals == ("it failed", "not yet")
    assert contents(tmp_path) == before


def test_tables_are_copied_when_the_wal_opens_and_cannot_be_checkpointed(tmp_path: Path) -> None:
    database = tmp_path / "a.db"
    crash(
        database,
        ["CREATE TABLE t(a INTEGER PRIMARY KEY)", "CHECKPOINT", "INSERT INTO t VALUES (1), (2)"],
    )

    def run(do: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        if do in ("checkpoint", "open"):
            raise AttemptFailedError("CHECKPOINT is fatal", stage="checkpointed")
        return attempt(do, *args, **kwargs)

    opening = open_by_ways(database, "it failed", checkpoint=True, is_original=True, run=run)
    assert opening.way is Way.COPIED
    assert not side_files(database)[0].exists()
    assert count_rows(database) == [1, 2]


def test_the_newest_transactions_go_first_and_no_more_than_must() -> None:
    for count in range(30):
        for limit in range(count + 1):
            tried = []

            def accepts(number: int, limit: int = limit, tried: list[int] = tried) -> None:
                tried.append(number)
                if number > limit:
                    raise AttemptFailedError("no", stage="opened")

            assert find_longest(accepts, count) == limit
            assert len(tried) <= 8


def test_a_file_that_never_opens_has_no_beginning() -> None:
    def accepts(number: int) -> None:
        raise AttemptFailedError("no", stage="opened")

    assert find_longest(accepts, 5) is None


@pytest.mark.parametrize("how", ["crash", "hang"])
def test_reading_ends_whatever_the_engine_does(tmp_path: Path, how: str) -> None:
    database = tmp_path / "a.db"
    crash(database, ["CREATE TABLE t(a INTEGER)", "INSERT INTO t VALUES (1)"])
    with pytest.raises(AttemptFailedError) as raised:
        read_database(database, full=True, seconds=40.0, run=opener(how, 0))
    assert raised.value.is_dead
    assert ("SIGSEGV" if how == "crash" else "CPU time") in raised.value.detail


def test_an_attempt_that_waits_is_ended_at_its_deadline(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    started = time.monotonic()
    with pytest.raises(AttemptFailedError) as raised:
        attempt("open", tmp_path / "a.db", Budget(5, 0.5), command=command)
    assert raised.value.is_timeout
    assert time.monotonic() - started < 30


# --- one file takes the other's place ---------------------------------------------------------


@pytest.mark.parametrize("step", ["plan", "link", "rename", "first wal", "all"])
def test_a_kill_while_files_change_places_leaves_one_whole_database(
    tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, new = tmp_path / "a.db", tmp_path / "new.db"
    crash(database, ["CREATE TABLE t(a INTEGER)", "CHECKPOINT", "INSERT INTO t VALUES (1)"])
    side_files(database)[1].write_bytes(b"second")
    crash(new, ["CREATE TABLE t(a INTEGER)", "INSERT INTO t VALUES (2)", "CHECKPOINT"])
    old = {path.name: path.read_bytes() for path in (database, *side_files(database)[:2])}
    _kill_at(step, monkeypatch)
    try:
        place_database(new, database, "old")
    except KilledError:
        monkeypatch.undo()
        finish_placing(database)
        finish_placing(database)
    is_new = step in ("rename", "first wal", "all")
    names = {path.name for path in tmp_path.iterdir()}
    if is_new:
        assert names == {"a.db", "a.db.old", "a.db.wal.old", "a.db.wal.checkpoint.old"}
        assert count_rows(database) == [2]
        assert {name: (tmp_path / f"{name}.old").read_bytes() for name in old} == old
    else:
        assert names == {*old, "new.db"}
        assert {name: (tmp_path / name).read_bytes() for name in old} == old


class KilledError(BaseException):
    """The process ends here."""


def _kill_at(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from chronoduck.engine.offline import placing

    rename, done = Path.rename, []

    def link(*names: Path) -> None:
        if step == "plan":
            raise KilledError
        _link(*names)
        if step == "link":
            raise KilledError

    def renames(self: Path, target: Path) -> Path:
        result = rename(self, target)
        done.append(target)
        if step == "rename" or (step == "first wal" and len(done) == 2):
            raise KilledError
        return result

    _link = placing.os.link
    monkeypatch.setattr(placing.os, "link", link)
    monkeypatch.setattr(Path, "rename", renames)


# --- what DuckDB 1.5 cannot replay ------------------------------------------------------------


@only_1_5
def test_an_alter_beside_a_default_is_opened_by_attaching(tmp_path: Path) -> None:
    database = tmp_path / "a.db"
    crash(
        database,
        [
            "CREATE TABLE t(a INTEGER, made TIMESTAMP DEFAULT now())",
            "CHECKPOINT",
            "INSERT INTO t(a) VALUES (1)",
            "ALTER TABLE t ADD COLUMN n INTEGER",
            "INSERT INTO t(a) VALUES (2)",
        ],
    )
    reading = read_database(database, full=True, checkpoint=True)
    assert reading.opening.way is Way.ATTACHED
    assert [(table.name, table.rows) for table in reading.inspection.tables] == [("main.t", 2)]
    assert count_rows(database) == [1, 2]


@only_1_5
@pytest.mark.parametrize(
    ("index", "insert"),
    [
        ("v", ["INSERT INTO t VALUES (1, 'a')", "x"]),
        ("k", ["x", "INSERT INTO t VALUES (1, 'a')"]),
    ],
)
def test_an_index_with_small_and_bulk_rows_crashes_children_only(
    tmp_path: Path, index: str, insert: list[str]
) -> None:
    database = tmp_path / "a.db"
    bulk = "INSERT INTO t SELECT i, 'x' || i FROM range(10, 125010) r(i)"
    crash(
        database,
        [
            "CREATE TABLE t(k BIGINT, v VARCHAR)",
            f"CREATE INDEX i ON t({index})",
            "CHECKPOINT",
            *(bulk if each == "x" else each for each in insert),
        ],
    )
    opening = open_by_ways(database, "it died", checkpoint=True, may_shorten=True, is_original=True)
    assert (opening.kept, opening.lost) == (1, 1)
    assert opening.rest is not None
    assert count_rows(database.with_name("a.db"), "(SELECT count(*) AS a FROM t)") == [
        1 if index == "v" else 125_000
    ]


@only_1_5
def test_a_checkpoint_without_end_ends(tmp_path: Path) -> None:
    database = tmp_path / "a.db"
    crash(
        database,
        [
            "CREATE TABLE p(a INTEGER PRIMARY KEY)",
            "CREATE TABLE f(a INTEGER, p INTEGER REFERENCES p(a))",
            "CHECKPOINT",
            "ALTER TABLE f ALTER a SET DEFAULT NULL",
            "ALTER TABLE p RENAME TO p2",
        ],
    )
    with pytest.raises(UnopenableError) as raised:
        read_database(database, full=True, checkpoint=True, seconds=48.0)
    assert "CPU time" in raised.value.operator_detail


def test_a_child_that_dies_before_it_reads_its_request_is_an_attempt_that_failed(
    tmp_path: Path,
) -> None:
    request = "x" * 1_000_000  # more than a pipe holds, so that the child cannot miss it
    with pytest.raises(AttemptFailedError) as caught:
        attempt("open", tmp_path / "a.db", Budget(5, 30.0), command=["/bin/false"], request=request)
    assert caught.value.is_dead


def test_a_start_removes_the_copies_of_an_attempt_that_was_killed(tmp_path: Path) -> None:
    """They are as large as the database, and a plain open may succeed the next time."""
    database = tmp_path / "a.db"
    database.write_bytes(b"database")
    for name in (".a.db.opening", ".a.db.opening.wal", ".a.db.copied-tables"):
        (tmp_path / name).write_bytes(b"copy")
    finish_placing(database)
    assert contents(tmp_path) == {"a.db": b"database"}


_FIELD_BESIDE_NOW = (
    "CREATE TABLE t(a INTEGER, made TIMESTAMP DEFAULT now(), s STRUCT(x INTEGER, y VARCHAR))",
    "CHECKPOINT",
    "INSERT INTO t(a) VALUES (1)",
    "ALTER TABLE t DROP COLUMN s.x",
    "INSERT INTO t(a) VALUES (2)",
)


@pytest.mark.skipif(duckdb.__version__ < "2", reason="no options make DuckDB 1.5 replay it plainly")
def test_a_wal_that_needs_a_function_of_the_wheel_is_replayed_by_a_start(tmp_path: Path) -> None:
    database = tmp_path / "a.db"
    crash(database, _FIELD_BESIDE_NOW)
    with pytest.raises(duckdb.Error, match="core_functions"):
        duckdb.connect(database).close()
    with duckdb.connect(database, config=dict(OPENING_OPTIONS)) as connection:
        assert connection.execute("SELECT a FROM t ORDER BY a").fetchall() == [(1,), (2,)]


async def test_a_start_goes_on_when_only_a_child_could_open_it(tmp_path: Path) -> None:
    database = tmp_path / "a.db"
    make_unreplayable(database, good=2, bad=2)

    def run(do: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        nonlocal opened
        if do == "open" and not opened:
            opened = True
            return {"tables": 1}
        return attempt(do, *args, **kwargs)

    opened = False
    instance = DuckDBInstance(
        load_settings(
            database_path=database,
            temp_directory=tmp_path / "tmp",
            ballast_size=0,
            quarantine_wal=True,
        )
    )
    await open_instance(instance, run=run)
    instance.close()
    assert opened
    assert count_rows(database) == [0, 1, 2]
