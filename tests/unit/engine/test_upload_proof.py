"""Uploaded Parquet files are read by an enclosed process, whatever they do to it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chronoduck.engine.kernel.landlock import landlock_absence
from chronoduck.engine.kernel.seccomp import seccomp_absence
from chronoduck.engine.upload_proof import UploadProof
from chronoduck.errors import LoadError, OutOfMemoryError
from tests.patience import PATIENCE_SECONDS

SECRET = "hunter2"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "spool"
    made.mkdir(mode=0o700)
    return made


@pytest.fixture
def proof(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[UploadProof]:
    monkeypatch.setenv("DUCKDB_ADMIN_TOKEN", SECRET)
    made = UploadProof(directory, 256 << 20, 60.0)
    yield made
    made.close()


def parquet(path: Path) -> Path:
    pq.write_table(pa.table({"id": [1, 2, 3], "name": ["a", None, "c"]}), path)
    return path


def readers() -> list[int]:
    """Return this process's children that read uploads."""
    tasks = Path(f"/proc/{os.getpid()}/task").iterdir()
    children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    return [
        child
        for child in children
        if b"upload_reader" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


def test_files_are_read_by_one_process_that_is_kept_and_closed(
    proof: UploadProof, directory: Path
) -> None:
    proof.check(parquet(directory / "a.parquet"), "a.parquet")
    [reader] = readers()
    proof.check(parquet(directory / "b.parquet"), "b.parquet")
    assert readers() == [reader]
    assert SECRET.encode() not in Path(f"/proc/{reader}/environ").read_bytes()
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{reader}/status").read_text().splitlines()
    )
    if not seccomp_absence():
        assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")
    proof.close()
    assert readers() == []


def test_a_damaged_file_is_its_uploaders_fault_and_the_next_one_is_read(
    proof: UploadProof, directory: Path
) -> None:
    path = parquet(directory / "a.parquet")
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : len(data) // 3 + 40] = bytes(40)
    data[-60:-20] = bytes(40)
    path.write_bytes(data)
    with pytest.raises(LoadError, match=r"^a\.parquet cannot be read") as refused:
        proof.check(path, "a.parquet")
    assert str(directory) not in refused.value.detail
    proof.check(parquet(directory / "b.parquet"), "b.parquet")


@pytest.mark.skipif(bool(landlock_absence()), reason="without Landlock DuckDB alone refuses it")
def test_a_link_out_of_the_directory_leads_nowhere(
    proof: UploadProof, directory: Path, tmp_path: Path
) -> None:
    (directory / "link.parquet").symlink_to(parquet(tmp_path / "outside.parquet"))
    with pytest.raises(LoadError):
        proof.check(directory / "link.parquet", "link.parquet")


@pytest.mark.parametrize(
    ("number", "error"),
    [(signal.SIGSEGV, LoadError), (signal.SIGKILL, OutOfMemoryError), (signal.SIGPROF, LoadError)],
)
def test_a_file_that_ends_the_process_harms_nobody_else(
    proof: UploadProof, directory: Path, number: signal.Signals, error: type[Exception]
) -> None:
    proof.check(parquet(directory / "a.parquet"), "a.parquet")
    [reader] = readers()
    os.kill(reader, signal.SIGSTOP)
    raised: list[Exception] = []

    def check() -> None:
        try:
            proof.check(parquet(directory / "b.parquet"), "b.parquet")
        except Exception as caught:  # noqa: BLE001 - looked at below
            raised.append(caught)

    waiting = threading.Thread(target=check)
    waiting.start()
    until = time.monotonic() + PATIENCE_SECONDS
    while proof._idle and time.monotonic() < until:
        time.sleep(0.01)
    os.kill(reader, number)
    os.kill(reader, signal.SIGCONT)
    waiting.join()
    assert isinstance(raised[0], error)
    assert readers() == []
    proof.check(parquet(directory / "c.parquet"), "c.parquet")


def test_a_file_that_takes_too_long_is_left(directory: Path) -> None:
    path = directory / "long.parquet"
    pq.write_table(pa.table({"i": pa.array(range(1_000_000))}), path)
    impatient = UploadProof(directory, 256 << 20, 0.001)
    with pytest.raises(LoadError, match=r"not read to its end within 0\.001 s"):
        impatient.check(path, "long.parquet")
    impatient.close()
    assert readers() == []


def int96(path: Path, **columns: pa.Array) -> Path:
    """Write a file as Spark and Impala do."""
    pq.write_table(pa.table(columns), path, use_deprecated_int96_timestamps=True)
    return path


@pytest.mark.parametrize(
    ("type_", "wrap"),
    [
        (pa.timestamp("ns"), lambda time: time),
        (pa.list_(pa.timestamp("ns")), lambda time: [None, time]),
        (pa.struct([("at", pa.timestamp("ns"))]), lambda time: {"at": time}),
        (pa.map_(pa.string(), pa.timestamp("ns")), lambda time: [("k", time)]),
    ],
    ids=["a column", "a list", "a struct", "a map"],
)
def test_nanoseconds_that_the_engine_would_cut_are_refused(
    proof: UploadProof, directory: Path, type_: pa.DataType, wrap: Callable[[int], Any]
) -> None:
    whole = 1_700_000_000_123_456_000
    times = [wrap(whole)] * 70_000
    proof.check(int96(directory / "a.parquet", at=pa.array([*times, None], type_)), "a.parquet")
    times[66_000] = wrap(whole + 1)
    path = int96(directory / "b.parquet", id=pa.array(range(70_000)), at=pa.array(times, type_))
    with pytest.raises(LoadError, match="row 66001, column at: the time has nanoseconds") as caught:
        proof.check(path, "b.parquet")
    assert "INT64" in caught.value.hint
    assert len(readers()) == 1, "one is kept, for files without such times"


def test_times_beyond_what_64_bits_of_nanoseconds_hold_are_whole(
    proof: UploadProof, directory: Path
) -> None:
    days = (date(1, 1, 1), date(1600, 2, 29), date(9999, 12, 31))
    micros = [(day - date(1970, 1, 1)).days * 86_400_000_000 + 123_456 for day in days]
    path = int96(directory / "a.parquet", at=pa.array(micros, pa.timestamp("us")))
    proof.check(path, "a.parquet")
