"""A server of Meilisearch: calls that wait while it is away, tasks followed to their end."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from chronoduck.export.declaration import MeilisearchDeclaration
from chronoduck.export.failures import ExportDriverError, ExportServerError, ExportTaskError
from chronoduck.export.meilisearch.key import read_key
from chronoduck.resilience.backoff import Backoff

__all__ = ["PayloadTooLargeError", "SearchServer", "open_server"]

T = TypeVar("T")
_RETRIED = frozenset({408, 429, 500, 502, 503, 504})
_BACKOFF = Backoff(0.2, 15.0, 0.3, random.random)
_FIRST_LOOK_SECONDS, _LAST_LOOK_SECONDS = 0.02, 1.0
_PAGE = 10_000
_SWAP_ATTEMPTS = 8
_HINTS = {
    "invalid_api_key": "Give the server's key_env or key_file a key with the rights that "
    "`chronoduck help meilisearch` lists.",
    "missing_authorization_header": "Meilisearch wants a key: name key_env or key_file.",
    "invalid_document_id": 'id = "hash" or "base64" makes ids of such keys.',
    "missing_document_id": "primary_key names the attribute that holds the id.",
    "index_primary_key_already_exists": "The index has another primary key: run with --rebuild.",
    # Also what a full database of tasks is called.
    "no_space_left_on_device": "Free space on Meilisearch's disk, or delete its ended tasks "
    "(DELETE /tasks?statuses=succeeded,failed,canceled); then run the export again.",
    "task_not_found": "Somebody deleted Meilisearch's tasks meanwhile: run the export again.",
    "database_size_limit_reached": "Give Meilisearch more space; then run the export again.",
    "invalid_document_geo_field": "_geo is a STRUCT(lat DOUBLE, lng DOUBLE), or NULL.",
    "max_fields_limit_exceeded": "Select fewer columns: a document has 65,535 attributes at most.",
}


class PayloadTooLargeError(ExportServerError):
    """Meilisearch, or a proxy before it, takes no request of this size."""


class SearchServer:
    """Calls of the client. Each is tried again as long as the declaration's patience."""

    def __init__(
        self, client: Any, declared: MeilisearchDeclaration, say: Callable[[str], None]
    ) -> None:
        """``client`` is the SDK's; ``say`` is told what is waited for."""
        # The client is an optional package.
        from httpx2 import ConnectError, ConnectTimeout, HTTPError  # noqa: PLC0415
        from meilisearch_python_sdk.errors import (  # noqa: PLC0415
            MeilisearchError,
            MeilisearchTimeoutError,
        )

        self._client = client
        self.declared = declared
        self._say = say
        self._errors: tuple[type[Exception], ...] = (MeilisearchError, HTTPError)
        self._nothing_sent = (ConnectError, ConnectTimeout)
        self._took_too_long = MeilisearchTimeoutError

    async def _call(
        self, call: Callable[[], Awaitable[T]], *, is_repeatable: bool = True
    ) -> T | None:
        """Return the answer; None: 404 of an index, or, of what is not repeatable, it is not known.

        Raises:
            ExportServerError: it refuses, or it is away for too long.
            PayloadTooLargeError: it says 413.
        """
        end = time.monotonic() + self.declared.patience
        for attempt in range(1_000_000):
            try:
                return await call()
            except self._took_too_long:
                raise self._slow("a task") from None
            except (ValueError, TypeError, AttributeError, LookupError):
                # What the client makes of JSON that is no answer of Meilisearch's.
                raise self._error(
                    "answers what Meilisearch does not say", "Is the address that of a Meilisearch?"
                ) from None
            except self._errors as error:
                status, wait_seconds = self._judge(error, attempt)
                is_lost = status is None and not isinstance(error.__cause__, self._nothing_sent)
                if (is_lost or (status or 0) >= 500) and not is_repeatable:
                    return None
                if status == 404:
                    return None
                reason = self._reason(error, status)
                if time.monotonic() + wait_seconds > end:
                    raise self._error(
                        f"does not answer for {self.declared.patience:g} s: {reason}",
                        "Nothing was lost: the next run goes on. Is it running, and is the address "
                        "right?",
                    ) from None
                self._say(f"waiting for Meilisearch: {reason}")
                await asyncio.sleep(wait_seconds)
        raise AssertionError("unreachable")

    def _judge(self, error: Exception, attempt: int) -> tuple[int | None, float]:
        """Return the status, None without an answer, and how long to wait before the next trial.

        Raises:
            ExportServerError: another trial would end the same way.
            PayloadTooLargeError: the request is too large.
        """
        cause = error if error.__cause__ is None else error.__cause__
        response = getattr(cause, "response", None)
        status: int | None = getattr(response, "status_code", None)
        wait_seconds = _BACKOFF.wait_seconds(attempt)
        if status == 413:
            raise PayloadTooLargeError(
                f"Meilisearch at {self.declared.url} takes no request of this size: "
                f"{self._words(error, status)}",
                hint="Raise MEILI_HTTP_PAYLOAD_SIZE_LIMIT there, or the limit of the proxy before it.",
            ) from None
        code = str(getattr(error, "code", "") or "")
        if (
            status is not None
            and status not in _RETRIED
            and (status, code)
            != (
                404,
                "index_not_found",
            )
        ):
            told = self._words(error, status)
            raise self._error(f"refuses: {told}", _hint(code, status)) from None
        if response is not None and response.headers.get("retry-after", "").isdigit():
            wait_seconds = max(wait_seconds, min(60.0, float(response.headers["retry-after"])))
        return status, wait_seconds

    def _words(self, error: Exception, status: int) -> str:
        """Return what Meilisearch says, with its code and its link."""
        message = str(getattr(error, "message", "")).removeprefix("Error message: ")
        code = str(getattr(error, "code", "") or f"HTTP {status}")
        link = str(getattr(error, "link", "")).removeprefix("Error documentation: ")
        return " ".join(each for each in (message[:500], f"[{code}]", link) if each)

    def _reason(self, error: Exception, status: int | None) -> str:
        if status is not None:
            return self._words(error, status)
        cause = error if error.__cause__ is None else error.__cause__
        return f"{str(cause)[:200] or type(cause).__name__}"

    def _error(self, what: str, hint: str) -> ExportServerError:
        return ExportServerError(f"Meilisearch at {self.declared.url} {what}", hint=hint)

    # --- tasks --------------------------------------------------------------------------------

    async def wait(self, uid: int) -> None:
        """Return once a task has succeeded.

        Raises:
            ExportTaskError: it failed, or takes longer than ``task_timeout``.
        """
        task = await self._end_of(uid)
        if task.status != "succeeded":
            raise self._failure(task)

    async def _end_of(self, uid: int) -> Any:
        """Return a task that has ended, well or not."""
        end = time.monotonic() + self.declared.task_timeout
        pause = _FIRST_LOOK_SECONDS
        while True:
            task: Any = await self._call(lambda: self._client.get_task(uid))
            if task.status in ("succeeded", "failed", "canceled"):
                return task
            if time.monotonic() > end:
                raise self._slow(f"task {uid} ({task.task_type}, {task.status})")
            await asyncio.sleep(pause)
            pause = min(_LAST_LOOK_SECONDS, pause * 1.5)

    def _slow(self, task: str) -> ExportTaskError:
        return ExportTaskError(
            f"Meilisearch at {self.declared.url}: {task} is not done after "
            f"{self.declared.task_timeout:g} s",
            hint="Nothing is lost: run the export again, with a longer task_timeout or a smaller "
            "batch_size.",
        )

    def _failure(self, task: Any) -> ExportTaskError:
        error = task.error or {}
        code, link = str(error.get("code") or task.status), str(error.get("link") or "")
        hint = _HINTS.get(code, "The next run sends everything of this one again.")
        return ExportTaskError(
            f"Meilisearch at {self.declared.url}: task {task.uid} ({task.task_type} of "
            f"{task.index_uid or 'indexes'}) {task.status}: {str(error.get('message', ''))[:500]} "
            f"[{code}]",
            hint=f"{hint} {link}".strip(),
        )

    async def settle(self, indexes: Sequence[str]) -> None:
        """Wait until nothing that was asked for before is still to be done, swaps among it.

        Raises:
            ExportTaskError: that takes longer than ``task_timeout``.
        """
        of_indexes = {"index_ids": list(indexes)} if indexes else None
        for filters in filter(None, (of_indexes, {"types": ["indexSwap"]})):
            while found := await self._pending(filters):
                self._say("waiting for earlier tasks of Meilisearch")
                await self._end_of(found[-1].uid)

    async def _pending(self, filters: dict[str, list[str]]) -> list[Any]:
        statuses = ["enqueued", "processing"]
        found: Any = await self._call(lambda: self._client.get_tasks(statuses=statuses, **filters))
        return list(found.results)

    # --- indexes ------------------------------------------------------------------------------

    async def made_at(self, index: str) -> str | None:
        """Return when the index was made, None when there is none: tells it from another."""
        found: Any = await self._call(lambda: self._client.index(index).fetch_info())
        return None if found is None else str(found.created_at.isoformat())

    async def create(self, index: str, primary_key: str) -> str:
        """Make an empty index and return when it was made."""
        timeout_ms = round(self.declared.task_timeout * 1000)
        await self._call(
            lambda: self._client.create_index(index, primary_key, timeout_in_ms=timeout_ms)
        )
        made_at = await self.made_at(index)
        if made_at is None:
            raise self._error(f"did not make index {index}", "GET /tasks of Meilisearch tells why.")
        return made_at

    async def set_settings(self, index: str, settings: dict[str, Any]) -> None:
        """Set settings, which are in Meilisearch's own names.

        Raises:
            ExportServerError: one is unknown or invalid.
        """
        from meilisearch_python_sdk.models.settings import MeilisearchSettings  # noqa: PLC0415

        known = {
            name
            for field, told in MeilisearchSettings.model_fields.items()
            for name in (field, told.alias)
        }
        unknown = [name for name in settings if name not in known]
        if unknown:
            raise self._error(
                f"has no setting {', '.join(unknown)}",
                "Settings have Meilisearch's names: searchableAttributes, filterableAttributes, ...",
            )
        try:
            body = MeilisearchSettings(**settings)
        except ValueError as error:
            lines = " ".join(str(error).split())[:300]
            raise self._error(f"takes no such settings: {lines}", "Mend the settings.") from None
        await self._done(lambda: self._client.index(index).update_settings(body))

    async def delete(self, index: str) -> None:
        """Delete an index; one that is not there, or not any more, is fine."""
        if await self.made_at(index) is None:
            return
        asked = await self._call(lambda: self._client.index(index).delete())
        if asked is not None:
            task = await self._end_of(asked.task_uid)
            if task.status != "succeeded" and (task.error or {}).get("code") != "index_not_found":
                raise self._failure(task)

    async def _done(self, call: Callable[[], Awaitable[Any]]) -> None:
        task = await self._call(call)
        if task is not None:
            await self.wait(task.task_uid)

    async def count(self, index: str) -> int:
        """Return how many documents an index holds."""
        stats = await self._call(lambda: self._client.index(index).get_stats())
        return 0 if stats is None else int(stats.number_of_documents)

    async def swap(self, index: str, built: str, made_at: str, *, is_there: bool) -> None:
        """Put what was built (at ``made_at``) in the place of the index, exactly once.

        A swap that was sent twice would undo itself: without an answer it is looked what happened.

        Raises:
            ExportServerError: somebody else swaps or deletes these indexes.
        """
        for attempt in range(_SWAP_ATTEMPTS):
            task: Any = await self._call(
                lambda: self._client.swap_indexes([(built, index)], rename=not is_there),
                is_repeatable=False,
            )
            if task is not None:
                await self.wait(task.task_uid)
            await self.settle([])
            if await self.made_at(index) == made_at:
                return
            if task is not None or await self.made_at(built) != made_at:
                break
            self._say("Meilisearch did not get the swap: once more")
            await asyncio.sleep(_BACKOFF.wait_seconds(attempt))
        raise self._error(
            f"did not put {built} in the place of {index}", "Does somebody else change them?"
        )

    # --- documents ----------------------------------------------------------------------------

    async def send(self, index: str, file: Path, primary_key: str) -> int:
        """Send a file of documents and return the task.

        Raises:
            PayloadTooLargeError: it is too large.
        """
        task = await self._call(
            lambda: self._client.index(index).add_documents_from_raw_file(file, primary_key)
        )
        return int(self._found(task, index).task_uid)

    async def delete_documents(self, index: str, ids: Sequence[str]) -> int:
        """Ask for documents to be deleted and return the task."""
        task = await self._call(lambda: self._client.index(index).delete_documents(list(ids)))
        return int(self._found(task, index).task_uid)

    async def ids(self, index: str, primary_key: str) -> AsyncIterator[list[str]]:
        """Yield the ids of all documents; nobody may change the index meanwhile."""
        offset = 0
        while True:
            page = await self._call(
                lambda start=offset: self._client.index(index).get_documents(  # type: ignore[misc]
                    offset=start, limit=_PAGE, fields=[primary_key]
                )
            )
            found = self._found(page, index).results
            if any(primary_key not in each for each in found):
                raise self._error(
                    f"tells documents of {index} without their {primary_key}",
                    "The index has another primary key: run with --rebuild.",
                )
            if found:
                yield [str(each[primary_key]) for each in found]
            if len(found) < _PAGE:
                return
            offset += _PAGE

    def _found(self, answer: Any, index: str) -> Any:
        if answer is None:
            raise self._error(
                f"has no index {index} any more", "Somebody deleted it: run the export again."
            )
        return answer


def _hint(code: str, status: int) -> str:
    if code in _HINTS:
        return _HINTS[code]
    if status in (401, 403):
        return _HINTS["invalid_api_key"]
    return "Mend what it says, and run the export again."


@asynccontextmanager
async def open_server(
    declared: MeilisearchDeclaration, say: Callable[[str], None]
) -> AsyncIterator[SearchServer]:
    """Enter a connection to a declared server; ``say`` is told what is waited for.

    Raises:
        ExportDriverError: the client is not installed.
        ExportServerError: there is no key where one is declared to be.
    """
    try:
        # The client is an optional package.
        from meilisearch_python_sdk import AsyncClient  # noqa: PLC0415
    except ImportError as error:
        raise ExportDriverError(f"Meilisearch cannot be used: {error}") from error
    key = await asyncio.to_thread(read_key, declared)
    async with AsyncClient(
        declared.url, key, timeout=max(1, round(declared.request_timeout))
    ) as client:
        yield SearchServer(client, declared, say)
