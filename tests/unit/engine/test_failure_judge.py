"""What decides whether the engine or the disk has failed: measurements, never what an error says."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from chronoduck.engine.failure_judge import FailureJudge
from chronoduck.engine.volume_probe import ProbeResult, VolumeProbe
from chronoduck.errors import (
    DiskFullError,
    DuckDBException,
    DuckDBQueryError,
    EngineBugError,
    TransactionConflictError,
)
from chronoduck.sql.engine_errors import EngineFailure, FatalBugError, translate


class Instance:
    """An instance whose validity a test sets."""

    def __init__(self) -> None:
        self.generation = 1
        self.valid = True
        self.questions = 0

    def is_valid(self) -> bool:
        self.questions += 1
        return self.valid


class Probe(VolumeProbe):
    """A probe that meets what a test says."""

    def __init__(self, database: Path, result: ProbeResult) -> None:
        super().__init__(database)
        self.result = result

    def look(self) -> ProbeResult:
        self.last = self.result
        return self.result


WELL, DEAD = ProbeResult(), ProbeResult(read_errno=errno.EIO)
FULL, READ_ONLY = ProbeResult(write_errno=errno.ENOSPC), ProbeResult(write_errno=errno.EROFS)
IO = OSError('IO Error: {"exception_type":"IO","exception_message":"Could not read from file"}')
COMMIT = duckdb.TransactionException("TransactionContext Error: Failed to commit: x")


def judge(
    error: BaseException,
    tmp_path: Path,
    found: ProbeResult = WELL,
    *,
    valid: bool = True,
    is_checkpoint: bool = False,
) -> DuckDBException:
    instance = Instance()
    instance.valid = valid
    judge = FailureJudge(instance, Probe(tmp_path / "x.db", found))
    return judge.judge(translate(error), 1, is_checkpoint=is_checkpoint)


@pytest.mark.parametrize(
    ("error", "found", "expected"),
    [
        (IO, WELL, DuckDBQueryError),
        (IO, DEAD, EngineFailure),
        (IO, READ_ONLY, EngineFailure),
        (IO, FULL, DiskFullError),
        (COMMIT, WELL, TransactionConflictError),
        (COMMIT, FULL, DiskFullError),
        (COMMIT, READ_ONLY, EngineFailure),
    ],
)
def test_a_suspicion_is_what_the_probe_shows(
    tmp_path: Path, error: Exception, found: ProbeResult, expected: type[DuckDBException]
) -> None:
    told = judge(error, tmp_path, found)
    assert type(told) is expected
    assert getattr(told, "is_confirmed", False) is (expected is EngineFailure)


def test_a_refuted_suspicion_names_no_place_of_the_service(tmp_path: Path) -> None:
    error = OSError(f"IO Error: Could not read from file {tmp_path}/x.db: Bad address")
    judge = FailureJudge(Instance(), Probe(tmp_path / "x.db", WELL), lambda: (tmp_path, None))
    told = judge.judge(translate(error), 1)
    assert told.detail == "Could not read from file x.db: Bad address"


def test_an_instance_that_answers_is_not_closed_whatever_an_error_says(tmp_path: Path) -> None:
    for error in (
        duckdb.FatalException("FATAL Error: x"),
        OSError("FATAL Error: x"),
        duckdb.ConnectionException("Connection Error: Connection already closed!"),
    ):
        told = judge(error, tmp_path)
        assert isinstance(told, EngineFailure)
        assert not told.is_fatal
        assert not told.is_confirmed
        assert not told.is_statements_fault


def test_a_fatal_checkpoint_counts_and_a_fatal_statement_is_its_senders(tmp_path: Path) -> None:
    fatal = duckdb.FatalException("FATAL Error: x")
    own = judge(fatal, tmp_path, valid=False, is_checkpoint=True)
    users = judge(fatal, tmp_path, valid=False)
    disks = judge(fatal, tmp_path, DEAD, valid=False)
    assert isinstance(own, EngineFailure)
    assert isinstance(users, EngineFailure)
    assert isinstance(disks, EngineFailure)
    assert all(each.is_fatal for each in (own, users, disks))
    assert [each.is_confirmed for each in (own, users, disks)] == [True, False, True]
    assert [each.is_statements_fault for each in (own, users, disks)] == [False, True, False]


def test_an_internal_error_is_its_statements_fault_and_a_lost_instance_counts_once(
    tmp_path: Path,
) -> None:
    instance = Instance()
    judge = FailureJudge(instance, Probe(tmp_path / "x.db", WELL))
    bug = translate(duckdb.InternalException("INTERNAL Error: x"))
    assert judge.judge(bug, 1) is bug
    instance.valid = False
    told = judge.judge(bug, 1)
    assert isinstance(told, FatalBugError)
    assert isinstance(told, EngineBugError)
    assert (told.is_fatal, told.is_statements_fault, told.is_confirmed) == (True, True, False)
    assert not told.retryable
    late = judge.judge(translate(duckdb.FatalException("FATAL Error: x")), 1, is_checkpoint=True)
    assert isinstance(late, EngineFailure)
    assert (late.is_confirmed, late.is_statements_fault) == (False, False)
    instance.generation, instance.valid = 2, True
    again = judge.judge(translate(duckdb.FatalException("FATAL Error: x")), 1)
    assert isinstance(again, EngineFailure)
    assert not again.is_fatal, "that opening was replaced already"


@contextmanager
def file_limit(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_the_probe_writes_reads_and_leaves_nothing(tmp_path: Path) -> None:
    database = tmp_path / "x.db"
    connection = duckdb.connect(str(database))
    connection.execute("CREATE TABLE t AS FROM range(10)")
    now = [0.0]
    probe = VolumeProbe(database, lambda: now[0])
    assert probe.look() == ProbeResult()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.db", "x.db.wal"]
    with file_limit((tmp_path / "x.db.wal").stat().st_size):
        assert probe.look() == ProbeResult(), "it looks once a second"
        assert probe.count == 1
        now[0] = 1.0
        assert probe.look() == ProbeResult(write_errno=errno.EFBIG)
        assert probe.last.is_full
        assert not probe.last.is_failed
    now[0] = 2.0
    assert probe.look() == ProbeResult()
    assert probe.count == 3
    connection.close()


def test_the_probe_meets_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    gone = VolumeProbe(tmp_path / "gone" / "x.db").look()
    assert gone.write_errno == errno.ENOENT
    assert gone.is_failed
    if os.geteuid():
        tmp_path.chmod(0o500)
        assert VolumeProbe(tmp_path / "x.db").look().write_errno == errno.EACCES
        tmp_path.chmod(0o700)
