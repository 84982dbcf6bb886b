"""The log: one line per event, whole, in order, in the form that was asked for."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chronoduck import logs
from chronoduck.assembly import DuckDBService
from chronoduck.logs import configure_logging, get_logger, line_writer
from chronoduck.settings import Settings


@pytest.fixture(autouse=True)
def _restored_logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr(logs, "_json_lines", None)
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


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
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [list(line)[:3] for line in lines] == [["timestamp", "level", "event"]] * 3
    assert [line["event"] for line in lines] == ["opened", "statement", "from a library"]
    assert lines[0]["path"] == "/x"
    assert list(lines[1])[-1] == "execution_time"
    assert lines[2]["level"] == "warning"


def test_lines_from_many_threads_are_all_there_and_whole(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    file = tmp_path / "service.log"
    configure_logging(make_settings(log_file=file))
    write = line_writer("test")

    def work(worker: int) -> None:
        for number in range(500):
            level = logging.WARNING if number % 50 == 0 else logging.INFO
            write(level, "line", {"worker": worker, "number": number})

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    flush()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for worker in range(8):
        assert [x["number"] for x in lines if x["worker"] == worker] == list(range(500))


def test_a_full_file_is_rotated_and_old_ones_are_bounded(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    file = tmp_path / "service.log"
    configure_logging(make_settings(log_file=file, log_max_size="2KB", log_backups=2))
    log = get_logger("test")
    for number in range(100):
        log.warning("line", number=number)
    names = sorted(path.name for path in tmp_path.glob("service.log*"))
    assert names == ["service.log", "service.log.1", "service.log.2"]
    assert all(path.stat().st_size <= 2048 for path in tmp_path.glob("service.log*"))
    assert json.loads(file.read_text().splitlines()[-1])["number"] == 99


def test_the_form_for_people(
    make_settings: Callable[..., Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(make_settings(log_format="console"))
    line_writer("test")(logging.WARNING, "slow_statement", {"rows": 3, "code": None})
    logging.getLogger("uvicorn").warning("other")
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
    assert [json.loads(line)["event"] for line in file.read_text().splitlines()] == ["loud"]


async def test_a_program_with_its_own_logging_gets_records(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with DuckDBService(settings) as service:
        await service.execute_query("SELECT 'a secret'")
        await asyncio.sleep(0)
    lines: list[dict[str, Any]] = [
        json.loads(record.message)
        for record in caplog.records
        if record.name.endswith("statements")
    ]
    assert [line["kind"] for line in lines] == ["select"]
    assert lines[0]["outcome"] == "ok"
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
