"""A script, a test run or a thread that leaves the service open ends, and leaves a closed file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chronoduck.engine.ownership import current_owner
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.slow
_START = """
import asyncio, sys, threading
from chronoduck import get_duckdb_service

async def main():
    service = await get_duckdb_service()
    await service.execute_query("CREATE TABLE IF NOT EXISTS t (i INTEGER)")
    await service.execute_query("INSERT INTO t VALUES (42)")
    print("inserted", flush=True)
    return service
"""

_CLOSED_ALONE = """
loop = asyncio.new_event_loop()
loop.run_until_complete(main())
loop.close()
"""
_IN_A_THREAD = """
loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()
asyncio.run_coroutine_threadsafe(main(), loop).result()
"""
_RUNNING = """
async def leave():
    service = await main()
    long = "SELECT sum(a.range * b.range) FROM range(10000000) a, range(1000000) b"
    task = asyncio.create_task(service.execute_query(long, timeout=200))
    runner = (await service.parts()).runner
    while not any(each.is_in_engine for each in runner.list_running()):
        await asyncio.sleep(0.01)

asyncio.run(leave())
"""

_ENDINGS = {
    "the loop is run": ("asyncio.run(main())", 0),
    "the loop is run twice": ("asyncio.run(main()); asyncio.run(main())", 0),
    "the program ends itself": ("asyncio.run(main()); sys.exit(3)", 3),
    "the program fails": ("asyncio.run(main()); 1 / 0", 1),
    "the loop stays open": ("asyncio.new_event_loop().run_until_complete(main())", 0),
    "the loop is closed alone": (_CLOSED_ALONE, 0),
    "the loop runs in another thread": (_IN_A_THREAD, 0),
    "a statement runs": (_RUNNING, 0),
}


@pytest.mark.parametrize("ending", _ENDINGS)
def test_a_service_that_is_left_open_is_closed(tmp_path: Path, ending: str) -> None:
    code, exit_code = _ENDINGS[ending]
    ended = _run(tmp_path, [sys.executable, "-c", _START + code])
    assert ended.returncode == exit_code, ended.stderr
    assert "service_left_open" in ended.stderr or ending == "the loop is closed alone"
    if ending != "the loop is closed alone":  # which takes the pipes of its processes along
        # The program's own failure is the only one: nothing is found behind its loop.
        assert ended.stderr.count("Traceback") == ending.count("fails"), ended.stderr
    _check_closed(tmp_path)


def test_an_interrupted_program_closes_it(tmp_path: Path) -> None:
    code = _START + "async def wait():\n    await main()\n    await asyncio.sleep(900)\n"
    program = subprocess.Popen(
        [sys.executable, "-c", code + "asyncio.run(wait())"],
        env=_environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "inserted\n"
    program.send_signal(signal.SIGINT)
    _, told = program.communicate(timeout=PATIENCE_SECONDS)
    assert "KeyboardInterrupt" in told
    _check_closed(tmp_path)


def test_each_test_of_a_test_run_has_it_on_its_own_loop(tmp_path: Path) -> None:
    test = _START.replace("async def main():", "async def test_one():").replace(
        "    return service\n", ""
    )
    (tmp_path / "test_user.py").write_text(
        test + test.split("async def test_one")[1].join(["async def test_two", ""])
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o"]
    ended = _run(tmp_path, [*command, "asyncio_mode=auto", "--rootdir=.", "test_user.py"])
    assert "2 passed" in ended.stdout, ended.stdout + ended.stderr
    assert ended.returncode == 0
    _check_closed(tmp_path)


def test_a_service_that_was_shut_down_is_left_alone(tmp_path: Path) -> None:
    code = "async def both():\n    await (await main()).shutdown()\nasyncio.run(both())"
    ended = _run(tmp_path, [sys.executable, "-c", _START + code])
    assert ended.returncode == 0, ended.stderr
    assert "service_left_open" not in ended.stderr
    _check_closed(tmp_path)


def _run(directory: Path, command: list[str]) -> subprocess.CompletedProcess[str]:
    started = time.monotonic()
    ended = subprocess.run(
        command,
        cwd=directory,
        env=_environment(directory),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert "inserted" in ended.stdout or "passed" in ended.stdout, ended.stderr
    assert time.monotonic() - started < PATIENCE_SECONDS
    return ended


def _environment(directory: Path) -> dict[str, str]:
    return {
        **os.environ,
        "DUCKDB_DATABASE_PATH": str(directory / "data" / "mine.db"),
        "DUCKDB_REPLICA_URL": str(directory / "replica"),
        "DUCKDB_SHUTDOWN_GRACE": "0.5s",
    }


def _check_closed(directory: Path) -> None:
    """Nobody owns the file, and its log is empty: it was closed, not abandoned."""
    import duckdb

    database = directory / "data" / "mine.db"
    assert current_owner(database) is None
    wal = Path(f"{database}.wal")
    assert not wal.exists() or wal.stat().st_size == 0
    with duckdb.connect(str(database), read_only=True) as connection:
        row = connection.execute("SELECT count(*) FROM t").fetchone()
    assert row is not None
    assert row[0] >= 1
