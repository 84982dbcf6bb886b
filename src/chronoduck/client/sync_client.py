"""The client that waits for its answers."""

from __future__ import annotations

import ssl
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import httpx2

from chronoduck.client import calls
from chronoduck.client.bodies import LoadOptions, LoadSummary, blocks, upload_of
from chronoduck.client.calls import Call, Params, Statement
from chronoduck.client.connection import Connection
from chronoduck.client.jobs import Job
from chronoduck.client.problems import check, connection_errors, is_answer, worded_for_python
from chronoduck.client.result import Result
from chronoduck.client.retrying import Retries
from chronoduck.client.streams import BatchStream, RowStream
from chronoduck.client.transaction import Transaction
from chronoduck.errors import DuckDBException

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Client"]

T = TypeVar("T")


class Client:
    """A service by HTTP; a context manager, usable by many threads at once.

    Every method raises the errors of ``chronoduck.errors``, those that the service itself raises, with
    ``detail``, ``hint``, ``code`` and ``request_id``. What may be sent again is sent again, see
    ``Retries``.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        token_file: Path | str | None = None,
        timeout: float | None = None,
        retries: Retries | None = None,
        verify: ssl.SSLContext | str | bool = True,
        trust_env: bool = False,
    ) -> None:
        """``url`` such as ``http://127.0.0.1:8000``; else ``CHRONODUCK_URL``.

        ``token``, or what ``token_file`` holds, else ``CHRONODUCK_TOKEN``; none: only what is public.
        ``timeout`` is the deadline of each statement in seconds, waiting included; else the service's.
        ``verify``: a file of certificates to trust. ``trust_env``: the environment's proxies are used.
        """
        self._connection = Connection.of(url, token, token_file, timeout, retries)
        self.url = self._connection.url
        self._was_reached = False
        """Before that a refused connection is a wrong address, and not a service that restarts."""
        self._http = httpx2.Client(**self._connection.http_options(verify, trust_env))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- statements -----------------------------------------------------------------------------

    def query(
        self,
        sql: str,
        params: Params = None,
        *,
        timeout: float | None = None,
        max_rows: int | None = None,
    ) -> Result:
        """Return the rows of a statement: all of them, or the first ``max_rows``."""
        return self.send(calls.query(sql, params, timeout, max_rows))

    def arrow(
        self,
        sql: str,
        params: Params = None,
        *,
        timeout: float | None = None,
        max_rows: int | None = None,
    ) -> pa.Table:
        """Return the result of a statement as a ``pyarrow.Table``."""
        return self.send(calls.table(sql, params, timeout, max_rows))

    @contextmanager
    def stream(
        self,
        sql: str,
        params: Params = None,
        *,
        timeout: float | None = None,
        max_rows: int | None = None,
    ) -> Iterator[RowStream]:
        """Enter the rows of a statement, read while they are computed.

        Leaving the block interrupts the statement if it is not at its end.
        """
        with self.open(calls.stream(sql, params, timeout, max_rows, "json")) as response:
            yield RowStream(self.pieces(response))

    @contextmanager
    def stream_arrow(
        self,
        sql: str,
        params: Params = None,
        *,
        timeout: float | None = None,
        max_rows: int | None = None,
    ) -> Iterator[BatchStream]:
        """Enter the result of a statement as Arrow record batches, read while they are computed.

        Leaving the block interrupts the statement if it is not at its end.
        """
        with self.open(calls.stream(sql, params, timeout, max_rows, "arrow")) as response:
            yield BatchStream(self.pieces(response))

    def execute(self, sql: str, params: Params = None, *, timeout: float | None = None) -> int:
        """Run a statement and return how many rows it changed."""
        return calls.changed_rows(self.send(calls.query(sql, params, timeout, None)))

    def batch(
        self,
        statements: Sequence[Statement],
        *,
        use_transaction: bool = True,
        timeout: float | None = None,
    ) -> list[Result]:
        """Run statements, each a text or a pair with its parameters, in order: all or nothing.

        Raises:
            BatchError: one failed: ``index``, ``sql``, ``cause``, ``rolled_back``.
        """
        return self.send(calls.batch(statements, use_transaction=use_transaction, timeout=timeout))

    @contextmanager
    def transaction(self, *, timeout: float | None = None) -> Iterator[Transaction]:
        """Enter a block whose statements are sent together at its end, all or nothing.

        They see each other's changes; ``results`` has what they answered after the block. Nothing is
        sent when the block raises.
        """
        transaction = Transaction()
        yield transaction
        if transaction.statements:
            transaction.results = self.batch(transaction.statements, timeout=timeout)

    def template(self, name: str, /, **params: Any) -> Result:
        """Return the result of a template."""
        return self.send(calls.template(name, params))

    def template_arrow(self, name: str, /, **params: Any) -> pa.Table:
        """Return the result of a template as a ``pyarrow.Table``."""
        return self.send(calls.template_table(name, params))

    # --- tables ---------------------------------------------------------------------------------

    def tables(self) -> list[dict[str, Any]]:
        """Return the tables and views, each with ``schema``, ``name``, ``kind``, ``row_estimate``."""
        return self._list("/tables")

    def table(self, name: str) -> dict[str, Any]:
        """Return a table's columns, size and a sample of its rows."""
        return self._dict(calls.answer(calls.table_path(name)))

    def insert(
        self,
        table: str,
        data: Any,
        *,
        columns: Sequence[str] | None = None,
        format: str = "auto",  # noqa: A002 - the word of the API
        mode: str = "append",
        key: Sequence[str] = (),
        create: bool = True,
        on_error: str = "abort",
        dry_run: bool = False,
        read: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> LoadSummary:
        """Put rows into a table, in one transaction.

        ``data``: rows (dicts, or tuples and ``columns``), a table of pyarrow, pandas or polars, a
        file's path, or a file's bytes. ``mode``: ``append``, ``upsert`` (rows with the same ``key``, a
        list of columns, are replaced) or ``replace`` (all are). ``create``: a missing table is made.
        ``on_error``: ``skip`` leaves bad rows of NDJSON and CSV out. ``read``: how the file is written,
        such as ``{"delimiter": ";", "decimal": ",", "types": {"zip": "VARCHAR"}}``. ``idempotency_key``
        is what the service knows a repeated insert by; every insert has one of its own otherwise.

        Raises:
            LoadError: the rows do not fit; nothing was inserted.
        """
        upload = upload_of(data, columns, format)
        options = LoadOptions(mode, key, create, on_error, dry_run, read or {})
        known_by = idempotency_key or uuid.uuid4().hex
        with worded_for_python():
            return self.send(calls.insert(table, upload, known_by, options))

    def load(
        self,
        path: Path | str,
        *,
        table: str = "pages_analytics",
        format: str = "auto",  # noqa: A002 - the word of the API
        read: Mapping[str, Any] | None = None,
    ) -> LoadSummary:
        """Load a file: captures (CDX, CDXJ), or Parquet, CSV and JSON into another ``table``."""
        return self.insert(table, Path(path), format=format, read=read)

    # --- jobs -----------------------------------------------------------------------------------

    def start_job(
        self,
        sql: str,
        params: Params = None,
        *,
        timeout: float | None = None,
        max_rows: int | None = None,
    ) -> Job:
        """Begin a statement that may take longer than a request."""
        return Job(self, self.send(calls.start_job(sql, params, timeout, max_rows)))

    def export(
        self,
        sql: str,
        params: Params = None,
        *,
        format: str = "parquet",  # noqa: A002 - the word of the API
        partition_by: Sequence[str] = (),
        name: str = "export",
        timeout: float | None = None,
    ) -> Job:
        """Begin to write a result into files, which ``Job.download`` fetches when it has ended."""
        wish = {"format": format, "partition_by": list(partition_by), "name": name}
        return Job(self, self.send(calls.export(sql, params, wish, timeout)))

    def jobs(self) -> list[Job]:
        """Return the jobs that run, and those that ended a while ago, newest first."""
        return [Job(self, fields) for fields in self._list("/jobs")]

    def job(self, job_id: str) -> Job:
        """Return one of them."""
        return Job(self, self.send(calls.answer(calls.job_path(job_id))))

    # --- the service ----------------------------------------------------------------------------

    def health(self) -> dict[str, Any]:
        """Return the health report, also of a service that is not healthy."""
        return self._dict(calls.answer("/health", is_checked=False))

    def statistics(self) -> dict[str, Any]:
        """Return counters, durations, pool, breaker and memory."""
        return self._dict(calls.answer("/statistics"))

    def me(self) -> dict[str, Any]:
        """Return who you are, your limits, and what you use of them."""
        return self._dict(calls.answer("/me"))

    def templates(self) -> list[dict[str, Any]]:
        """Return the templates with their parameters."""
        return self._list("/templates")

    def running(self) -> list[dict[str, Any]]:
        """Return the statements that wait or run now: your own, an admin's are all."""
        return self._list("/queries")

    def cancel(self, query_id: str) -> None:
        """End a running statement; its caller gets a ``StatementCancelledError``."""
        self.send(calls.answer(calls.running_path(query_id), "DELETE"))

    # --- requests -------------------------------------------------------------------------------

    def _dict(self, call: Call[Any]) -> dict[str, Any]:
        fields: dict[str, Any] = self.send(call)
        return fields

    def _list(self, path: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.send(calls.answer(path))
        return items

    def send(self, call: Call[T]) -> T:
        """Send a request, again where that is right, and return what its answer tells."""
        attempts = self._connection.retries.begin(call.repeat)
        while True:
            try:
                with connection_errors(self.url):
                    response = self._http.send(self._request(call))
                self._was_reached = True
                return call.answer(response)
            except DuckDBException as failure:
                wait = attempts.wait_after(failure, was_reached=self._was_reached)
            time.sleep(wait)

    @contextmanager
    def open(self, call: Call[Any]) -> Iterator[httpx2.Response]:
        """Enter the answer of a request, not read yet; only its beginning is tried again."""
        attempts = self._connection.retries.begin(call.repeat)
        while True:
            try:
                response = self._opened(call)
                break
            except DuckDBException as failure:
                wait = attempts.wait_after(failure, was_reached=self._was_reached)
            time.sleep(wait)
        try:
            yield response
        finally:
            response.close()

    def _opened(self, call: Call[Any]) -> httpx2.Response:
        with connection_errors(self.url):
            response = self._http.send(self._request(call), stream=True)
            self._was_reached = True
            if is_answer(response):
                return response
            response.read()
        check(response, call.statements)
        return response

    def pieces(self, response: httpx2.Response) -> Iterator[bytes]:
        """Yield an answer's body piece by piece."""
        with connection_errors(self.url):
            yield from response.iter_bytes()

    def _request(self, call: Call[Any]) -> httpx2.Request:
        options = self._connection.request_options(call)
        if call.upload is not None:
            content = call.upload.content
            options["content"] = content if isinstance(content, bytes) else blocks(content)
        return self._http.build_request(**options)
