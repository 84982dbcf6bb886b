"""A connection to PostgreSQL that can do no harm: read-only, bounded, named, its password unsaid."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pyarrow as pa

from chronoduck.errors.system import reason_of
from chronoduck.sync.declaration import SourceDeclaration
from chronoduck.sync.failures import SyncDriverError, SyncSourceError

__all__ = ["Dsn", "PostgresConnection", "literal", "open_source", "quoted"]

_CONNECT_SECONDS = "10"
_KEEPALIVE = {"keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "3"}
_PAIR = re.compile(r"\s*(\w+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|(\S*))\s*")
_TIMED_OUT = "57014"
_NEARLY = 0.95
"""PostgreSQL's clock of a statement begins a little later than ours."""
_HINTS = {
    _TIMED_OUT: "PostgreSQL ended the statement: raise the source's statement_timeout, or read less.",
    "42501": "GRANT SELECT on it to the user of the connection string.",
    "42P01": "Check table and schema of the sync.",
    "42703": "Check the columns of the sync.",
    "42601": "Check the query of the sync.",
    "22P02": 'The message names the column; types = {column = "VARCHAR"} takes it as text.',
}


def quoted(name: str) -> str:
    """Return the name as SQL, for PostgreSQL as for DuckDB."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a text as SQL of PostgreSQL."""
    return "'" + text.replace("'", "''") + "'"


@dataclass(frozen=True)
class Dsn:
    """A connection string; ``place`` may be shown, ``text`` never."""

    text: str
    place: str
    secrets: tuple[str, ...]

    @classmethod
    def of(cls, source: SourceDeclaration, name: str) -> Dsn:
        """Read it from where the declaration says.

        Raises:
            SyncSourceError: it is not there, or not one.
        """
        where = source.dsn_env or str(source.dsn_file)
        try:
            if source.dsn_file is not None:
                text = source.dsn_file.read_text().strip()
            else:
                text = os.environ.get(source.dsn_env, "").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = reason_of(error) if isinstance(error, OSError) else "it is no text"
            raise SyncSourceError(
                f"the connection string of source {name} cannot be read from {where}: {reason}",
                hint="The service's user must be able to read it.",
            ) from None
        if not text:
            raise SyncSourceError(
                f"the connection string of source {name} is not in {where}",
                hint="Put postgresql://USER:PASSWORD@HOST:PORT/DATABASE there.",
            )
        try:
            return _parse(text)
        except ValueError:
            raise SyncSourceError(
                f"{where} of source {name} is not a connection string of PostgreSQL",
                hint="Write postgresql://USER:PASSWORD@HOST:PORT/DATABASE; special characters of "
                "the password as %XX.",
            ) from None

    def clean(self, message: str) -> str:
        """Return a message of the driver without what must not be said."""
        message = message.split("Query was:")[0].replace(self.text, "...")
        _, told, rest = message.partition("ERROR:")
        message = rest if told else message
        for secret in self.secrets:
            message = message.replace(secret, "...")
        return " ".join(message.split())


def _parse(text: str) -> Dsn:
    if text.startswith(("postgresql://", "postgres://")):
        parts = urlsplit(text)
        asked = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        host = asked.get("host") or parts.hostname or "local socket"
        port = asked.get("port") or parts.port or 5432
        database = unquote(parts.path.lstrip("/")) or asked.get("dbname", "") or parts.username
        found = [parts.password or "", unquote(parts.password or ""), asked.get("password", "")]
        extra = "&".join(f"{key}={value}" for key, value in _KEEPALIVE.items() if key not in asked)
        text += ("&" if parts.query else "?") + extra
    else:
        pairs = {}
        position = 0
        while position < len(text):
            match = _PAIR.match(text, position)
            if match is None:
                raise ValueError("not pairs")
            pairs[match[1]] = match[2] if match[2] is not None else match[3]
            position = match.end()
        host, port = pairs.get("host", "local socket"), pairs.get("port", 5432)
        database = pairs.get("dbname") or pairs.get("user")
        found = [pairs.get("password", "")]
        text += "".join(f" {key}={value}" for key, value in _KEEPALIVE.items() if key not in pairs)
    told = {each for each in found if each}
    secrets = tuple(sorted(told | {quote(each, safe="") for each in told}, key=len, reverse=True))
    return Dsn(text, f"{host}:{port}/{database}", secrets)


class PostgresConnection:
    """Runs statements and streams of one read-only snapshot. Blocks; for one thread."""

    def __init__(self, dsn: Dsn, source: SourceDeclaration) -> None:
        try:
            # The driver is an optional package.
            from adbc_driver_manager import Error  # noqa: PLC0415
            from adbc_driver_postgresql import dbapi  # noqa: PLC0415
        except ImportError as error:
            raise SyncDriverError(f"PostgreSQL cannot be read: {error}") from error
        self._error: type[Exception] = Error
        self._dsn = dsn
        self._fetch_bytes = source.fetch_bytes
        self._statement_seconds = source.statement_timeout
        self._began: float | None = None
        """``time.monotonic()`` when the stream that is read began."""
        self._connection: Any = None
        os.environ.setdefault("PGCONNECT_TIMEOUT", _CONNECT_SECONDS)
        os.environ.setdefault("PGAPPNAME", "chronoduck")
        with self._translated():
            self._connection = dbapi.connect(dsn.text, autocommit=True)
            timeout = round(source.statement_timeout * 1000)
            for name, value in (
                ("statement_timeout", timeout),
                ("lock_timeout", 10_000),
                # A snapshot waits while another connection runs a statement: it reads the log.
                ("idle_in_transaction_session_timeout", timeout + 600_000),
                ("client_connection_check_interval", 5_000),
                ("TimeZone", "'UTC'"),
                ("IntervalStyle", "'postgres'"),
                ("DateStyle", "'ISO'"),
                ("bytea_output", "'hex'"),
                ("extra_float_digits", 3),
                ("standard_conforming_strings", "on"),
            ):
                # Older servers do not know all of them.
                with suppress(self._error):
                    self._run(f"SET {name} = {value}")

    def _has_used_its_time(self) -> bool:
        """Whether a stream ran for as long as PostgreSQL lets it: the driver then tells no SQLSTATE."""
        return (
            self._began is not None
            and time.monotonic() - self._began >= self._statement_seconds * _NEARLY
        )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except pa.ArrowInvalid as error:
            raise SyncSourceError(
                f"PostgreSQL at {self._dsn.place}: {self._dsn.clean(str(error))}",
                hint='The driver cannot hold a value: types = { column = "VARCHAR" } takes it as text.',
            ) from None
        except (self._error, OSError) as error:
            state = str(getattr(error, "sqlstate", "") or "")
            if not state and self._has_used_its_time():
                state = _TIMED_OUT
            hint = _HINTS.get(state, "Nothing was lost: the next run goes on from the watermark.")
            if state.startswith("28") or (not state and self._connection is None):
                hint = "Check user and password of the connection string, and its address."
            told = SyncSourceError(
                f"PostgreSQL at {self._dsn.place}: {self._dsn.clean(str(error))}", hint=hint
            )
            told.sqlstate = state
            raise told from None  # the driver's error holds the connection string's parts

    @contextmanager
    def _cursor(self, **options: str) -> Iterator[Any]:
        cursor = self._connection.cursor()
        try:
            named = {f"adbc.postgresql.{name}": value for name, value in options.items()}
            cursor.adbc_statement.set_options(**named)
            yield cursor
        finally:
            cursor.close()

    def _run(self, sql: str) -> None:
        with self._cursor(use_copy="false") as cursor:
            cursor.execute(sql)

    def run(self, sql: str) -> None:
        """Run a statement without a result."""
        with self._translated():
            self._run(sql)

    def begin(self) -> None:
        """Begin what is read in one snapshot: that of the next query."""
        self.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a small result."""
        with self._translated(), self._cursor(use_copy="false") as cursor:
            cursor.execute(sql)
            found: list[tuple[Any, ...]] = cursor.fetchall()
            return found

    def schema(self, sql: str) -> pa.Schema:
        """Return the columns of a statement with the driver's notes of their types."""
        with self._translated(), self._cursor() as cursor:
            found: pa.Schema = cursor.adbc_execute_schema(sql)
            return found

    def batches(self, sql: str) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a statement as they come; memory stays flat."""
        with self._cursor(batch_size_hint_bytes=str(self._fetch_bytes)) as cursor:
            self._began = time.monotonic()
            with self._translated():
                cursor.execute(sql)
                reader = cursor.fetch_record_batch()
            while True:
                with self._translated():
                    try:
                        batch = reader.read_next_batch()
                    except StopIteration:
                        self._began = None
                        return
                yield batch

    def close(self) -> None:
        """End the snapshot and the connection."""
        with suppress(self._error, OSError):
            self._connection.close()


@contextmanager
def open_source(source: SourceDeclaration, name: str) -> Iterator[PostgresConnection]:
    """Enter a connection to a declared source.

    Raises:
        SyncSourceError: it cannot be reached.
        SyncDriverError: the driver is missing.
    """
    connection = PostgresConnection(Dsn.of(source, name), source)
    try:
        yield connection
    finally:
        connection.close()
