"""The log: one line per event, whole, in order, in the form that was asked for."""

from __future__ import annotations

import asyncio
import gc
import gzip
import io
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.logs import configure_logging, get_logger, line_writer, lines, reopen_log
from chronoduck.logs.rotation import LogFile
from chronoduck.settings import Settings
from tests.patience import PATIENCE_SECONDS


@pytest.fixture(autouse=True)
def _restored_logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr(lines, "_json_lines", None)
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_FLUSH_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(lines, "_MOST_WAITING", 1_000_000)


def flush() -> None:
    for handler in logging.getLogger().handlers:
        handler.flush()


def test_lines_are_json_with_time_level_and_event_first(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    file = tmp_path / "logs" / "service.log"
    configure_logging(make_settings(log_file=file))
    get_logger("test").info("opened", path=Path("/x"), rows=3)
    line_writer("test")(logging.INFO, "statement", {"rows": 1, "execution_time": 0.5})
    logging.getLogger("uvicorn").warning("from a %s", "library")
    flush()
    written = [json.loads(line) for line in file.read_text().splitlines()]
    assert [list(line)[:3] for line in written] == [["timestamp", "level", "event"]] * 3
    assert [line["event"] for line in written] == ["opened", "statement", "from a library"]
    assert written[0]["path"] == "/x"
    assert list(written[1])[-1] == "execution_time"
    assert written[2]["level"] == "warning"


def test_lines_from_many_threads_are_all_there_and_whole(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    file = tmp_path / "service.log"
    configure_logging(make_settings(log_file=file))
    write = line_writer("test")

    def work(worker: int) -> None:
        for number in range(20_000):
            level = logging.WARNING if number % 50 == 0 else logging.INFO
            write(level, "line", {"worker": worker, "number": number})

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    flush()
    written = [json.loads(line) for line in file.read_text().splitlines()]
    for worker in range(8):
        assert [x["number"] for x in written if x["worker"] == worker] == list(range(20_000))


@pytest.mark.parametrize("compressing_seconds", [0.0, 0.02])
def test_a_full_file_is_rotated_and_old_ones_are_bounded(
    make_settings: Callable[..., Settings],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    compressing_seconds: float,
) -> None:
    compress = LogFile._compress

    def slowly(file: LogFile) -> None:
        time.sleep(compressing_seconds)
        compress(file)

    monkeypatch.setattr(LogFile, "_compress", slowly)
    file = tmp_path / "service.log"
    configure_logging(make_settings(log_file=file, log_max_size="2KB", log_backups=2))
    log = get_logger("test")
    for number in range(100):
        log.warning("line", number=number)
        flush()
    names = until_compressed(tmp_path)
    assert names == ["service.log", "service.log.1.gz", "service.log.2.gz"]
    text = "".join(unpacked(tmp_path / name) for name in reversed(names[1:]))
    numbers = [json.loads(line)["number"] for line in (text + file.read_text()).splitlines()]
    assert numbers == list(range(numbers[0], 100))
    assert all(path.stat().st_size <= 2048 for path in tmp_path.glob("service.log*"))


def unpacked(file: Path) -> str:
    return gzip.decompress(file.read_bytes()).decode()


def until_compressed(directory: Path) -> list[str]:
    for _ in range(20_000):
        names = sorted(path.name for path in directory.glob("service.log*"))
        if "service.log.1" not in names and "service.log.1.gz.part" not in names:
            return names
        time.sleep(0.01)
    raise AssertionError(names)


def test_what_a_killed_process_did_not_compress_is_compressed_at_the_start(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    (tmp_path / "service.log.1").write_text("old lines\n")
    configure_logging(make_settings(log_file=tmp_path / "service.log"))
    assert until_compressed(tmp_path) == ["service.log", "service.log.1.gz"]
    assert unpacked(tmp_path / "service.log.1.gz") == "old lines\n"


def test_a_file_that_was_moved_away_is_opened_anew(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    file = tmp_path / "service.log"
    configure_logging(make_settings(log_file=file))
    log = get_logger("test")
    log.warning("before")
    flush()
    file.rename(tmp_path / "moved")
    assert reopen_log()
    log.warning("after")
    flush()
    assert json.loads(file.read_text())["event"] == "after"
    assert json.loads((tmp_path / "moved").read_text())["event"] == "before"


def test_there_is_nothing_to_reopen_without_a_file(make_settings: Callable[..., Settings]) -> None:
    configure_logging(make_settings())
    assert not reopen_log()


def test_the_form_for_people(
    make_settings: Callable[..., Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(make_settings(log_format="console"))
    line_writer("test")(logging.WARNING, "slow_statement", {"rows": 3, "code": None})
    logging.getLogger("uvicorn").warning("other")
    flush()
    first, second = capsys.readouterr().err.splitlines()
    assert first.split(" ", 1)[1] == "WARNING  slow_statement rows=3"
    assert second.endswith("WARNING  other")


def test_lines_below_the_level_are_left_out(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    file = tmp_path / "service.log"
    configure_logging(make_settings(log_file=file, log_level="WARNING"))
    write = line_writer("test")
    write(logging.INFO, "quiet", {})
    write(logging.WARNING, "loud", {})
    flush()
    assert [json.loads(line)["event"] for line in file.read_text().splitlines()] == ["loud"]


async def test_a_program_with_its_own_logging_gets_records(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with DuckDBService(settings) as service:
        await service.execute_query("SELECT 'a secret'")
        await asyncio.sleep(0)
    written: list[dict[str, Any]] = [
        json.loads(record.message)
        for record in caplog.records
        if record.name.endswith("statements")
    ]
    assert [line["kind"] for line in written] == ["select"]
    assert written[0]["outcome"] == "ok"
    assert "a secret" not in caplog.text


def test_an_exception_is_one_line(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    configure_logging(make_settings())
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        get_logger("test").exception("failed")
        logging.getLogger("library").exception("also")
    flush()
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert "RuntimeError: broken" in first["exception"]
    assert "RuntimeError: broken" in second["exception"]


def test_who_logs_never_waits_for_who_reads(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe holds 64 KB: what is beyond that waits, a bounded number of lines, and is counted then."""
    monkeypatch.setattr(lines, "_MOST_WAITING", 500)
    reads, writes = os.pipe()
    counted: list[dict[str, Any]] = []

    def read() -> None:
        with os.fdopen(reads) as reader:
            counted.extend(map(json.loads, reader))

    with os.fdopen(writes, "w") as pipe, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", pipe)
        configure_logging(make_settings())
        log = get_logger("test")
        for number in range(2_000):  # nobody reads yet
            log.warning("line", number=number, text="x" * 1_000)
        patch.setattr(lines, "_FLUSH_SECONDS", 0.05)
        flush()  # gives up
        reader = threading.Thread(target=read)
        reader.start()
        patch.setattr(lines, "_FLUSH_SECONDS", PATIENCE_SECONDS)
        flush()
        log.warning("last")
        flush()
    reader.join(PATIENCE_SECONDS)
    numbers = [each["number"] for each in counted if each["event"] == "line"]
    lost = sum(each["lines"] for each in counted if each["event"] == "log_lines_lost")
    assert numbers == sorted(set(numbers))
    assert 0 < lost < 2_000
    assert len(numbers) + lost == 2_000
    assert counted[-1]["event"] in ("last", "log_lines_lost")


def test_lines_that_wait_are_bounded_by_what_they_hold_too(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "_MOST_WAITING_CHARACTERS", 1_000_000)
    reads, writes = os.pipe()
    with os.fdopen(reads) as reader, os.fdopen(writes, "w") as pipe:
        monkeypatch.setattr(sys, "stderr", pipe)
        configure_logging(make_settings())
        log = get_logger("test")
        for _ in range(100):  # nobody reads: the first few may be on their way
            log.warning("line", text="x" * 100_000)
        (handler,) = logging.getLogger().handlers
        assert sum(map(len, handler._lines)) <= 1_000_000
        monkeypatch.setattr(lines, "_FLUSH_SECONDS", 0.01)
        handler.finish()
        handler.flush()  # nobody waits after that
        told = threading.Thread(target=reader.read)
        told.start()
        monkeypatch.setattr(lines, "_FLUSH_SECONDS", PATIENCE_SECONDS)
        handler._is_over = False
        handler.flush()
        pipe.close()
        told.join(PATIENCE_SECONDS)
    assert handler._lost == 0


def test_what_cannot_be_written_or_opened_ends_nothing(
    make_settings: Callable[..., Settings], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "logs" / "service.log"
    configure_logging(make_settings(log_file=file))
    log = get_logger("test")
    file.unlink()
    file.parent.rmdir()
    assert reopen_log()
    log.warning("lost")
    end = time.monotonic() + PATIENCE_SECONDS
    while "cannot be written" not in capfd.readouterr().err:
        assert time.monotonic() < end
        time.sleep(0.01)
    file.parent.mkdir()
    assert reopen_log()
    while not (file.exists() and "found" in file.read_text()):
        assert time.monotonic() < end
        log.warning("found")
        flush()


class _Dying:
    """Logs when the garbage collector finds it, as asyncio does with a task nobody asked."""

    def __init__(self, log: logging.Logger) -> None:
        self.log, self.me = log, self

    def __del__(self) -> None:
        self.log.error("never retrieved")


def test_a_finalizer_that_logs_while_lines_are_written_waits_for_nobody() -> None:
    class Handler(lines._BatchingHandler):
        def _write_when_due(self) -> None:
            """The test writes itself: in the thread whose garbage is collected."""

    text = io.StringIO()
    handler = Handler(logging.StreamHandler(text))
    log = logging.getLogger("finalizers")
    log.addHandler(handler)
    log.propagate = False
    log.setLevel(logging.INFO)

    def work() -> None:
        gc.collect()
        gc.freeze()
        before = gc.get_threshold()
        try:
            for threshold in range(1, 60):  # the collection falls into every place of it
                log.info("line")
                gc.collect()
                gc.disable()
                _Dying(log)
                gc.set_threshold(threshold)
                gc.enable()
                handler._wait()
                handler._write()
        finally:
            gc.set_threshold(*before)
            gc.unfreeze()
        gc.collect()
        handler._write()

    # A thread, so that a wait for ever is a failure and not the end of the run.
    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    worker.join(PATIENCE_SECONDS / 4)
    is_stuck = worker.is_alive()
    log.removeHandler(handler)
    assert not is_stuck
    assert text.getvalue().count("line") == 59
    assert handler._characters == 0
