"""Every request of the client as a value: what is sent, and what its answer is read as.

Both clients, the one that waits and the one for asyncio, send the same ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import quote

import httpx2

from chronoduck.client.arrow import read_table
from chronoduck.client.bodies import LoadOptions, LoadSummary, Upload, read_summary
from chronoduck.client.problems import check
from chronoduck.client.result import Result, read_result
from chronoduck.client.retrying import Repeat, repeat_of
from chronoduck.client.values import json_value, parameters

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "EVERYTHING",
    "Call",
    "Params",
    "Statement",
    "answer",
    "batch",
    "changed_rows",
    "export",
    "export_file",
    "export_link",
    "insert",
    "job_path",
    "job_result",
    "job_stream",
    "job_table",
    "query",
    "running_path",
    "start_job",
    "stream",
    "table",
    "table_path",
    "template",
    "template_table",
]

T = TypeVar("T")
Params = Mapping[str, Any] | Sequence[Any] | None
Statement = str | tuple[str, Params]
_FILE_SECONDS = 3600.0
"""Lines come while a load goes on, but a whole file may be one long step."""
EVERYTHING = 2**53
"""More rows than any result has: without a number JSON is cut after a default one."""


def _read_json(response: httpx2.Response) -> Any:
    return json.loads(response.content)


def _read_nothing(response: httpx2.Response) -> None:
    """A stream's pieces are read by the one who asked for it."""


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request.

    ``deadline`` is the statement's in seconds, waiting included: silence is borne a little longer.
    """

    method: str
    path: str
    read: Callable[[httpx2.Response], T]
    repeat: Repeat = Repeat.READ
    params: Mapping[str, Any] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    upload: Upload | None = None
    content: Iterable[bytes] | None = None
    """A body that can be sent once; ``repeat`` is NEVER."""
    deadline: float | None = None
    is_statement: bool = False
    """Whether it takes a deadline, the client's where it has none of its own."""
    statements: Sequence[str] = ()
    is_checked: bool = True
    """False: an answer whatever its status, such as the health report of a sick service."""

    def answer(self, response: httpx2.Response) -> T:
        """Return what the response, which has been read, tells.

        Raises:
            DuckDBException: it tells of an error.
        """
        if self.is_checked or not response.headers.get("content-type", "").endswith("/json"):
            check(response, self.statements)
        return self.read(response)


def answer(path: str, method: str = "GET", *, is_checked: bool = True, **params: Any) -> Call[Any]:
    """Return the call of an endpoint that answers JSON; what is None is not sent."""
    given = {name: value for name, value in params.items() if value is not None}
    return Call(method, path, _read_json, params=given, is_checked=is_checked)


def _statement(
    sql: str, params: Params, timeout: float | None, max_rows: int | None
) -> dict[str, Any]:
    body = {
        "query": sql,
        "params": parameters(params),
        "timeout_seconds": timeout,
        "max_rows": max_rows,
    }
    return {name: value for name, value in body.items() if value is not None}


def query(sql: str, params: Params, timeout: float | None, max_rows: int | None) -> Call[Result]:
    """Return the call that runs a statement and reads its rows."""
    return Call(
        "POST",
        "/query",
        lambda response: read_result(response.content),
        repeat_of(sql),
        body=_statement(sql, params, timeout, max_rows or EVERYTHING),
        deadline=timeout,
        is_statement=True,
        statements=(sql,),
    )


def table(sql: str, params: Params, timeout: float | None, max_rows: int | None) -> Call[pa.Table]:
    """Return the call that runs a statement and reads its result as an Arrow table."""
    return Call(
        "POST",
        "/query",
        lambda response: read_table(response.content),
        repeat_of(sql),
        params={"format": "arrow"},
        body=_statement(sql, params, timeout, max_rows),
        deadline=timeout,
        is_statement=True,
        statements=(sql,),
    )


def stream(
    sql: str, params: Params, timeout: float | None, max_rows: int | None, wire: str
) -> Call[None]:
    """Return the call that runs a statement whose answer is read piece by piece."""
    return Call(
        "POST",
        "/query",
        _read_nothing,
        repeat_of(sql),
        params={"format": wire},
        body=_statement(sql, params, timeout, max_rows or (EVERYTHING if wire == "json" else None)),
        deadline=timeout,
        is_statement=True,
        statements=(sql,),
    )


def batch(
    statements: Sequence[Statement], *, use_transaction: bool, timeout: float | None
) -> Call[list[Result]]:
    """Return the call that runs statements in order."""
    pairs = [(each, None) if isinstance(each, str) else each for each in statements]
    repeats = {repeat_of(sql) for sql, _ in pairs}
    body: dict[str, Any] = {
        "queries": [{"query": sql, "params": parameters(params)} for sql, params in pairs],
        "use_transaction": use_transaction,
        "max_rows": EVERYTHING,
    }
    if timeout is not None:
        body["timeout_seconds"] = timeout
    return Call(
        "POST",
        "/batch",
        _read_batch,
        Repeat.READ if repeats == {Repeat.READ} else Repeat.WRITE,
        body=body,
        deadline=timeout,
        is_statement=True,
        statements=[sql for sql, _ in pairs],
    )


def _read_batch(response: httpx2.Response) -> list[Result]:
    # Each document is read as if it had come alone: its types say how its numbers are meant.
    text = response.text
    decoder = json.JSONDecoder()
    position = text.index("[") + 1
    results = []
    while text[position] != "]":
        if text[position] == ",":
            position += 1
        _, end = decoder.raw_decode(text, position)
        results.append(read_result(text[position:end].encode()))
        position = end
    return results


def template(name: str, given: Mapping[str, Any]) -> Call[Result]:
    """Return the call that runs a template and reads its rows."""
    return Call(
        "GET",
        f"/templates/{quote(name, safe='')}",
        lambda response: read_result(response.content),
        params={**_query_texts(given), "format": "json"},
    )


def template_table(name: str, given: Mapping[str, Any]) -> Call[pa.Table]:
    """Return the call that runs a template and reads its result as an Arrow table."""
    return Call(
        "GET",
        f"/templates/{quote(name, safe='')}",
        lambda response: read_table(response.content),
        params={**_query_texts(given), "format": "arrow"},
    )


def _query_texts(given: Mapping[str, Any]) -> dict[str, str]:
    return {name: _query_text(value) for name, value in given.items() if value is not None}


def _query_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(json_value(value))


def changed_rows(result: Result) -> int:
    """Return how many rows a statement changed, of its answer."""
    return int(result.scalar() or 0) if result.columns == ["Count"] else 0


def table_path(name: str) -> str:
    """Return the path of a table."""
    return f"/tables/{quote(name, safe='')}"


def running_path(query_id: str) -> str:
    """Return the path of a running statement."""
    return f"/queries/{quote(query_id, safe='')}"


def start_job(
    sql: str, params: Params, timeout: float | None, max_rows: int | None
) -> Call[dict[str, Any]]:
    """Return the call that begins a job."""
    body = _statement(sql, params, timeout, max_rows)
    return Call("POST", "/jobs", _read_json, Repeat.WRITE, body=body, statements=(sql,))


def export(
    sql: str, params: Params, wish: Mapping[str, Any], timeout: float | None
) -> Call[dict[str, Any]]:
    """Return the call that begins an export."""
    body = {**_statement(sql, params, timeout, None), **wish}
    return Call("POST", "/exports", _read_json, Repeat.WRITE, body=body, statements=(sql,))


def job_path(job_id: str, *parts: str) -> str:
    """Return the path of a job, or of something of it."""
    return "/".join(["/jobs", quote(job_id, safe=""), *parts])


def job_result(job_id: str, offset: int, limit: int | None) -> Call[Result]:
    """Return the call that reads rows of a job's result."""
    params = {"offset": offset, "limit": limit or EVERYTHING}
    path = job_path(job_id, "result")
    return Call("GET", path, lambda response: read_result(response.content), params=params)


def job_table(job_id: str) -> Call[pa.Table]:
    """Return the call that reads a job's result as an Arrow table."""
    path, params = job_path(job_id, "result"), {"format": "arrow"}
    return Call("GET", path, lambda response: read_table(response.content), params=params)


def job_stream(job_id: str, wire: str) -> Call[None]:
    """Return the call whose answer is a job's result, read piece by piece."""
    params: dict[str, Any] = {"format": wire}
    if wire == "json":
        params["limit"] = EVERYTHING
    return Call("GET", job_path(job_id, "result"), _read_nothing, params=params)


def export_file(job_id: str, name: str) -> Call[None]:
    """Return the call whose answer is a file of an export."""
    return Call("GET", f"/exports/{quote(job_id, safe='')}/files/{quote(name)}", _read_nothing)


def export_link(job_id: str, name: str, expires_in_seconds: int) -> Call[Any]:
    """Return the call that makes a link to a file of an export."""
    body = {"file": name, "expires_in_seconds": expires_in_seconds}
    return Call("POST", f"/exports/{quote(job_id, safe='')}/links", _read_json, body=body)


def insert(name: str, upload: Upload, key: str, options: LoadOptions) -> Call[LoadSummary]:
    """Return the call that puts rows into a table; ``key`` is what it is known by when repeated."""
    return Call(
        "POST",
        f"{table_path(name)}/rows",
        lambda response: read_summary(response.iter_lines()),
        Repeat.KEYED,
        params={**upload.params, **options.params},
        headers={"Idempotency-Key": key, "Content-Type": "application/octet-stream"},
        upload=upload,
        deadline=_FILE_SECONDS if isinstance(upload.content, Path) else None,
    )
