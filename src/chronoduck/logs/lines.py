"""The lines of the log, collected and written together.

A program that only uses the library decides itself where lines go, by the standard ``logging``
module; ``configure_logging`` is for our own commands.
"""

from __future__ import annotations

import atexit
import logging
import os
import queue
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog

from chronoduck.logs.rotation import LogFile
from chronoduck.settings import Settings

__all__ = ["configure_logging", "get_logger", "line_writer", "reopen_log"]

_LEADING = ("timestamp", "level", "event")
_OURS = "chronoduck"
_WRITE_EVERY_SECONDS = 0.1
_FLUSH_SECONDS = 1.0
_MOST_WAITING = 100_000
_MOST_WAITING_CHARACTERS = 50_000_000
"""Of all lines that wait; a line with a long statement has a hundred times as many as others."""
_json_lines: _BatchingHandler | None = None
"""Our own handler, when it writes lines as they are."""


def get_logger(name: str) -> Any:
    """Return a logger whose methods take an event and its fields: ``log.info("x", rows=3)``."""
    return structlog.wrap_logger(
        logging.getLogger(f"{_OURS}.{name}"),
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _render_json,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,  # its exception() adds the traceback
        cache_logger_on_first_use=True,
    )


def line_writer(name: str) -> Callable[[int, str, dict[str, Any]], None]:
    """Return a function that writes ``(level, event, fields)`` as one line, for every statement.

    A tenth of the cost of a logger's method: our own handler takes the line as it is; only the form
    for people, and a program that configured logging itself, get a record.
    """
    logger = logging.getLogger(f"{_OURS}.{name}")

    def write(level: int, event: str, fields: dict[str, Any]) -> None:
        if logger.isEnabledFor(level):
            head = {
                "timestamp": datetime.now(UTC),
                "level": logging.getLevelName(level).lower(),
                "event": event,
            }
            line = orjson.dumps(head | fields, option=orjson.OPT_UTC_Z).decode()
            if _json_lines is not None:
                _json_lines.add(line, level)
            else:
                logger.handle(logging.LogRecord(logger.name, level, "", 0, line, None, None))

    return write


def _render_json(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
    # Timestamp, level and event first, for people who read the raw file.
    line = {key: event.pop(key) for key in _LEADING if key in event}
    return orjson.dumps(line | dict(event), default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def configure_logging(settings: Settings) -> None:
    """Send our lines and those of libraries (uvicorn's) to one place in one form."""
    global _json_lines
    if settings.log_file is None:
        target: logging.StreamHandler[Any] = logging.StreamHandler(sys.stderr)
    else:
        settings.log_file.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        target = LogFile(settings.log_file, settings.log_max_size, settings.log_backups)
    handler = _BatchingHandler(target)
    is_for_people = settings.log_format == "console" or (
        settings.log_format == "auto" and settings.log_file is None and sys.stderr.isatty()
    )
    handler.setFormatter(_ConsoleLines() if is_for_people else _JsonLines())
    _json_lines = None if is_for_people else handler
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    atexit.register(handler.finish)


def reopen_log() -> bool:
    """Write to a new file if another program has moved the old one; whether there is a file."""
    handlers = [
        handler
        for handler in logging.getLogger().handlers
        if isinstance(handler, _BatchingHandler) and isinstance(handler.target, LogFile)
    ]
    for handler in handlers:
        handler.reopen()
    return bool(handlers)


class _BatchingHandler(logging.Handler):
    """Collects lines, and has a thread write them: at once from a warning on, else ten times a second.

    Whoever logs never waits for a file or for whoever reads a pipe. A write to a full volume can take
    seconds, and one to a pipe that nobody reads takes for ever: the event loop would be silent as long.
    """

    def __init__(self, target: logging.StreamHandler[Any]) -> None:
        super().__init__()
        self.target = target
        self._lines: deque[str] = deque()
        self._lost = 0
        """Lines that found no room, and are not yet told of."""
        self._characters = 0
        """Of the lines that wait."""
        self._in_writing = 0
        """Lines that are being written."""
        self._is_over = False
        # Both may be entered again by the thread that is inside: where it allocates, a garbage
        # collection may run a finalizer, and that may log. An Event would wait for itself there.
        self._counting = threading.RLock()
        self._wake: queue.SimpleQueue[bool] = queue.SimpleQueue()
        """Something waits to be written; true: at once."""
        self._is_due = False
        """Whether that was said since the last look."""
        self._is_moved = False
        self._turn = threading.Condition()
        self._is_writing = False
        threading.Thread(target=self._write_when_due, name="log-writer", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line."""
        self.add(self.format(record), record.levelno)

    def add(self, line: str, level: int) -> None:
        """Take a line that is formatted already."""
        size = len(line)
        with self._counting:
            is_full = self._characters + size > _MOST_WAITING_CHARACTERS
            if is_full or len(self._lines) >= _MOST_WAITING:
                self._lost += 1
                return
            self._characters += size
            self._lines.append(line)
        if level >= logging.WARNING:
            self._wake.put(True)
        elif not self._is_due:
            self._is_due = True
            self._wake.put(False)

    def reopen(self) -> None:
        """Have all lines that are not written yet go to a new file."""
        self._is_moved = True
        self._wake.put(True)

    def flush(self) -> None:
        """Wait until all is written, for a second at most; after ``finish`` not at all."""
        if self._is_over:
            return
        self._wake.put(True)
        with self._turn:
            self._turn.wait_for(lambda: not (self._lines or self._is_writing), _FLUSH_SECONDS)

    def finish(self) -> None:
        """Wait the last time, at the end of the process; say how many lines are lost if there is room."""
        self.flush()
        self._is_over = True
        with self._counting:
            lost = self._lost + len(self._lines) + self._in_writing
        if lost and not isinstance(self.target, LogFile):
            with suppress(OSError, ValueError):
                descriptor = self.target.stream.fileno()
                if select.select([], [descriptor], [], 0)[1]:
                    os.write(descriptor, f"{_lost_line(lost)}\n".encode())

    def _write_when_due(self) -> None:
        while True:
            self._wait()
            try:
                self._write()
            except (OSError, ValueError) as error:  # without this thread nothing is written again
                with suppress(OSError, ValueError):
                    os.write(2, f"the log cannot be written: {error}\n".encode())
                time.sleep(_WRITE_EVERY_SECONDS)
            finally:
                with self._turn:
                    self._is_writing = False
                    self._turn.notify_all()

    def _wait(self) -> None:
        is_urgent, end = self._wake.get(), time.monotonic() + _WRITE_EVERY_SECONDS
        while not is_urgent and (left := end - time.monotonic()) > 0:
            with suppress(queue.Empty):
                is_urgent = self._wake.get(timeout=left)
        self._is_writing = True
        self._is_due = False  # a line from here on wakes again; those before are taken now
        while not self._wake.empty():
            self._wake.get()

    def _write(self) -> None:
        """Write what waits, rotating the file when it is full."""
        if self._is_moved and isinstance(self.target, LogFile):
            self.target.reopen()
        self._is_moved = False
        with self._counting:
            lost, self._lost = self._lost, 0
            lines = list(self._lines)
            for _ in lines:
                self._lines.popleft()
            taken = sum(map(len, lines))
            self._characters -= taken
            self._in_writing = len(lines) + lost
        if lost:  # they came before those that wait by now, or between them
            lines.append(_lost_line(lost))
        if lines:
            self.target.emit(logging.makeLogRecord({"msg": "\n".join(lines)}))
        self._in_writing = 0


def _lost_line(number: int) -> str:
    head = {"timestamp": datetime.now(UTC), "level": "warning", "event": "log_lines_lost"}
    return orjson.dumps(head | {"lines": number}, option=orjson.OPT_UTC_Z).decode()


class _JsonLines(logging.Formatter):
    """Gives our lines as they are and other libraries' as JSON."""

    def format(self, record: logging.LogRecord) -> str:
        if record.name.startswith(_OURS):
            return str(record.msg)
        fields = {
            "timestamp": self.formatTime(record, "%Y-%m-%dT%H:%M:%S"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(fields).decode()


class _ConsoleLines(logging.Formatter):
    """Lines for people: time, level, event, then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        if not record.name.startswith(_OURS):
            at = datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z")
            return f"{at} {record.levelname:8} {record.getMessage()}"
        fields = orjson.loads(record.msg)
        time, level, event = (fields.pop(key, "") for key in _LEADING)
        rest = " ".join(f"{key}={value}" for key, value in fields.items() if value is not None)
        return f"{time} {level.upper():8} {event} {rest}"
