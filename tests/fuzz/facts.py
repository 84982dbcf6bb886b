"""What replica and healing rest on, measured on the engine that is installed.

``python -m tests.fuzz.facts --rounds 50`` prints a table.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb

from chronoduck.engine.disk_format import BLOCK_BYTES, HEADER_BYTES, WalCursor, read_wal
from tests.fuzz.child import IS_NEW_ENGINE, Tell
from tests.fuzz.replay import fast_directory, in_child

__all__ = ["FACTS", "STORAGES", "measure"]

STORAGES = ("v1.0.0", "v1.5.0", "v2.0.0") if IS_NEW_ENGINE else ("v1.0.0", "v1.5.0")
_COUNTS = "SELECT a, count(*) FROM t GROUP BY a ORDER BY a"
Figures = dict[str, Any]


def _open(path: Path, storage: str) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(
        str(path),
        config={
            "wal_autocheckpoint": "1TB",
            "storage_compatibility_version": storage,
            "threads": "2",
        },
    )


def _base(path: Path, storage: str, columns: str = "a BIGINT, b VARCHAR") -> None:
    """Write a checkpointed database with an empty table."""

    def work(tell: Tell) -> None:
        with _open(path, storage) as connection:
            connection.execute(f"CREATE TABLE t ({columns})")
            connection.execute("CHECKPOINT")

    assert in_child(work, 60).how == "ended"


def _read(path: Path, storage: str) -> list[Any] | str:
    """Return the rows of each number, or the error; in a process of its own."""

    def work(tell: Tell) -> None:
        try:
            with _open(path, storage) as connection:
                tell("rows", connection.execute(_COUNTS).fetchall())
        except duckdb.Error as error:
            tell("error", str(error).splitlines()[0])

    told = in_child(work, 60)
    rows: list[Any] | str = told.last("rows")
    return rows if rows is not None else str(told.last("error") or told.how)


def _small_commits(path: Path, storage: str, count: int) -> None:
    def work(tell: Tell) -> None:
        connection = _open(path, storage)
        for number in range(count):
            connection.execute("INSERT INTO t VALUES (?, repeat('x', 50))", [number])
        os._exit(0)

    in_child(work, 120)


@contextmanager
def _directory() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="engine-facts-", dir=fast_directory()))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def small_commits_leave_the_file(storage: str, rounds: int) -> Figures:
    """The file's bytes do not change between checkpoints, whatever small transactions commit."""
    with _directory() as directory:
        path = directory / "a.db"
        _base(path, storage)
        before = path.read_bytes()
        _small_commits(path, storage, 20 * rounds)
        return {"commits": 20 * rounds, "changed files": int(path.read_bytes() != before)}


def any_prefix_opens(storage: str, rounds: int) -> Figures:
    """Base plus any prefix of the WAL holds exactly the commits that are complete in it."""
    choice = random.Random(1)
    with _directory() as directory:
        path, copy = directory / "a.db", directory / "copy.db"
        _base(path, storage)
        shutil.copy(path, directory / "base")
        _small_commits(path, storage, 40)
        wal = Path(f"{path}.wal").read_bytes()
        wrong = 0
        cuts = [choice.randrange(len(wal) + 1) for _ in range(rounds)]
        cuts += [read_wal(wal[:cut], WalCursor()).offset for cut in cuts[: rounds // 2]]
        for cut in cuts:
            shutil.copy(directory / "base", copy)
            Path(f"{copy}.wal").write_bytes(wal[:cut])
            complete = read_wal(wal[:cut], WalCursor()).commits
            wrong += _read(copy, storage) != [[number, 1] for number in range(complete)]
            Path(f"{copy}.wal").unlink(missing_ok=True)
        return {"prefixes": len(cuts), "wrong": wrong}


def bulk_copies_match(storage: str, rounds: int) -> Figures:
    """WAL prefix first, then the file's blocks, beside a writer of bulks: each copy is a prefix of its
    commits, the WAL only grows, the headers stay."""
    with _directory() as directory:
        path, copy = directory / "a.db", directory / "copy.db"
        wal_path, figures = Path(f"{path}.wal"), Counter[str]()
        _base(path, storage)
        headers = path.read_bytes()[:HEADER_BYTES]

        def work(tell: Tell) -> None:
            connection = _open(path, storage)
            for number in range(100_000):
                rows = 125_000 if number % 5 == 0 else 1
                connection.execute(
                    f"INSERT INTO t SELECT {number}, md5(i::VARCHAR) FROM range({rows}) r(i)"
                )
                if number % 7 == 3:
                    connection.execute("BEGIN")
                    connection.execute("INSERT INTO t SELECT -1, 'gone' FROM range(125000)")
                    connection.execute("ROLLBACK")

        pid = os.fork()
        if pid == 0:
            try:
                work(lambda what, fact: None)
            finally:
                os._exit(0)
        try:
            earlier = b""
            for _ in range(rounds):
                time.sleep(0.2)
                wal = wal_path.read_bytes() if wal_path.exists() else b""
                data = path.read_bytes()
                figures["moved headers"] += data[:HEADER_BYTES] != headers
                figures["rewritten WAL"] += not wal.startswith(earlier)
                earlier = wal
                copy.write_bytes(
                    data[: HEADER_BYTES + (len(data) - HEADER_BYTES) // BLOCK_BYTES * BLOCK_BYTES]
                )
                Path(f"{copy}.wal").write_bytes(wal)
                complete = read_wal(wal, WalCursor()).commits
                expected = [[n, 125_000 if n % 5 == 0 else 1] for n in range(complete)]
                figures["wrong"] += _read(copy, storage) != expected
                figures["copies"] += 1
                figures["commits"] = complete
                Path(f"{copy}.wal").unlink(missing_ok=True)
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        return {"copies": 0, "wrong": 0, "moved headers": 0, "rewritten WAL": 0, **figures}


def fatal_and_failed_writes(storage: str, rounds: int) -> Figures:
    """A WAL that cannot be written is an error and no more; a checkpoint that cannot be is fatal, and
    the same process opens the database again. A file size limit takes the place of a full disk."""

    def limit(size: int) -> None:
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard if size < 0 else size, hard))

    def work(tell: Tell) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        connection = _open(path, storage)
        for number in range(20):
            connection.execute("INSERT INTO t VALUES (?, 'x')", [number])
        limit(Path(f"{path}.wal").stat().st_size)
        for _ in range(3):
            try:
                connection.execute("INSERT INTO t VALUES (-1, repeat('y', 5000))")
                tell("unlimited", 1)
            except duckdb.FatalException:
                tell("fatal commits", 1)
            except duckdb.Error:
                tell("failed commits", 1)
        limit(-1)
        with suppress(duckdb.Error):
            connection.execute("INSERT INTO t VALUES (20, 'z')")
            tell("goes on", 1)
        connection.execute("INSERT INTO t SELECT 21, md5(i::VARCHAR) FROM range(100000) r(i)")
        limit(path.stat().st_size + 1)
        try:
            connection.execute("CHECKPOINT")
            tell("unlimited", 1)
        except duckdb.FatalException:
            tell("fatal checkpoints", 1)
        except duckdb.Error:
            tell("failed checkpoints", 1)
        limit(-1)
        connection.close()
        with _open(path, storage) as again:
            rows = again.execute(_COUNTS).fetchall()
            right = [(n, 1) for n in range(21)] + [(21, 100_000)]
            tell("wrong after reopening" if rows != right else "right after reopening", 1)

    figures = Counter[str]()
    for _ in range(max(1, rounds // 10)):
        with _directory() as directory:
            path = directory / "a.db"
            _base(path, storage)
            told = in_child(work, 60)
            figures.update(name for name, _ in told.facts)
            figures["ended otherwise"] += told.how != "ended"
    return dict(figures)


def bits_in_the_wal(storage: str, rounds: int) -> Figures:
    """One bit flipped in the WAL: noticed at the open, or commits are dropped without a word."""
    choice = random.Random(2)
    with _directory() as directory:
        path, copy = directory / "a.db", directory / "copy.db"
        _base(path, storage)
        shutil.copy(path, directory / "base")
        _small_commits(path, storage, 40)
        wal = Path(f"{path}.wal").read_bytes()
        figures = Counter[str]()
        for _ in range(rounds):
            data = bytearray(wal)
            data[choice.randrange(len(data))] ^= 1 << choice.randrange(8)
            shutil.copy(directory / "base", copy)
            Path(f"{copy}.wal").write_bytes(data)
            rows = _read(copy, storage)
            whole = [[number, 1] for number in range(40)]
            if isinstance(rows, str):
                figures["noticed"] += 1
            elif rows == whole:
                figures["changed nothing"] += 1
            else:
                figures["dropped silently" if rows == whole[: len(rows)] else "other rows"] += 1
            Path(f"{copy}.wal").unlink(missing_ok=True)
        return {"other rows": 0, **figures}


def bits_in_the_file(storage: str, rounds: int) -> Figures:
    """One bit flipped in the file: noticed when the block is read, or it changed nothing."""
    choice = random.Random(3)
    with _directory() as directory:
        path, copy = directory / "a.db", directory / "copy.db"
        _base(path, storage)

        def fill(tell: Tell) -> None:
            with _open(path, storage) as connection:
                connection.execute(
                    "INSERT INTO t SELECT i % 50, md5(i::VARCHAR) FROM range(50000) r(i)"
                )

        in_child(fill, 60)
        whole, data = _read(path, storage), path.read_bytes()
        figures = Counter[str]()
        for _ in range(rounds):
            place = choice.randrange(len(data))
            changed = bytes([data[place] ^ (1 << choice.randrange(8))])
            copy.write_bytes(data[:place] + changed + data[place + 1 :])
            rows = _read(copy, storage)
            figures[
                "noticed"
                if isinstance(rows, str)
                else "changed nothing"
                if rows == whole
                else "other rows"
            ] += 1
        return {"other rows": 0, **figures}


def kills(storage: str, rounds: int) -> Figures:
    """kill -9 at random moments of a writer that also checkpoints: nothing acknowledged is lost."""
    choice = random.Random(4)
    figures = Counter[str](lost=0, doubled=0)
    with _directory() as directory:
        path = directory / "a.db"
        _base(path, storage)
        first, acknowledged = 0, set[int]()
        for _ in range(rounds):

            def work(tell: Tell, first: int = first) -> None:
                connection = _open(path, storage)
                for number in range(first, first + 100_000):
                    rows = 125_000 if number % 40 == 39 else 1
                    connection.execute(f"INSERT INTO t SELECT {number}, 'x' FROM range({rows})")
                    tell("acknowledged", number)
                    if number % 25 == 24:
                        connection.execute("CHECKPOINT")

            told = in_child(work, choice.uniform(0.1, 0.8))
            numbers = [fact for name, fact in told.facts if name == "acknowledged"]
            acknowledged.update(numbers)
            first = max([first, *numbers]) + 2
            figures["kills"] += told.how == "hung"
            rows = _read(path, storage)
            if isinstance(rows, str):
                figures["did not open"] += 1
                break
            found = dict(rows)
            figures["lost"] = len(acknowledged - set(found))
            figures["doubled"] = sum(
                count != (125_000 if number % 40 == 39 else 1) for number, count in found.items()
            )
        figures["acknowledged"] = len(acknowledged)
    return dict(figures)


FACTS: dict[str, Callable[[str, int], Figures]] = {
    "Small commits leave the file unchanged": small_commits_leave_the_file,
    "File + any WAL prefix = the complete commits": any_prefix_opens,
    "WAL prefix, then blocks, beside bulk writes": bulk_copies_match,
    "Failed WAL write, fatal checkpoint, reopen": fatal_and_failed_writes,
    "A bit flipped in the WAL": bits_in_the_wal,
    "A bit flipped in the file": bits_in_the_file,
    "kill -9": kills,
}


def measure(rounds: int) -> dict[str, dict[str, Figures]]:
    """Return the figures of each fact by storage version."""
    return {
        title: {storage: fact(storage, rounds) for storage in STORAGES}
        for title, fact in FACTS.items()
    }


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options.rounds)
    if options.json:
        print(json.dumps({"engine": duckdb.__version__, **found}))
        return
    print(f"| DuckDB {duckdb.__version__} | {' | '.join(STORAGES)} |")
    print("|---" * (len(STORAGES) + 1) + "|")
    for title, by_storage in found.items():
        cells = (
            ", ".join(f"{value:,} {name}" for name, value in figures.items())
            for figures in by_storage.values()
        )
        print(f"| {title} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
