"""Idempotency keys: what a request did is kept with its rows, so that it is never done twice.

Key, fingerprint and answer are written in the transaction of the rows: after a crash both are there or
neither is. See draft-ietf-httpapi-idempotency-key-header-07. How keys age: ``key_ages``.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import orjson

from chronoduck.errors import DatabaseFailedError, DuckDBException, WriteOutcomeUnknownError
from chronoduck.logs import get_logger
from chronoduck.own_schema import OWN_SCHEMA
from chronoduck.resilience.service_time import TICK_SECONDS, ServiceTime
from chronoduck.transfer.key_ages import KEYS_TABLE, KeyAges
from chronoduck.transfer.sql import SqlSession, Transact

__all__ = [
    "IdempotencyKeys",
    "KeyClaim",
    "KeyInUseError",
    "KeyReusedError",
    "RequestKey",
]

_PRUNE_EVERY_US = 600_000_000
_SAVE_SECONDS = 2.0
"""A service that ends does not wait longer for this: the keys then live ten minutes longer."""
_TABLE = KEYS_TABLE
_CREATE = (
    f"CREATE SCHEMA IF NOT EXISTS {OWN_SCHEMA}",
    # The key's constraint is the last resort: a request whose client has left may still be on its
    # way to its COMMIT when the next one with its key begins.
    f"""
CREATE TABLE IF NOT EXISTS {_TABLE} (
    id UUID PRIMARY KEY,
    principal VARCHAR NOT NULL,
    key VARCHAR NOT NULL,
    fingerprint VARCHAR NOT NULL,
    answer VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL
)
""",
)
_INSERT = f"""
INSERT INTO {_TABLE} (id, principal, key, fingerprint, answer, created_at)
SELECT kept.id, kept.principal, kept.key, kept.fingerprint, kept.answer, make_timestamp(kept.stamp)
FROM (SELECT unnest(CAST($kept::JSON AS STRUCT(
    id UUID, principal VARCHAR, key VARCHAR, fingerprint VARCHAR, answer VARCHAR, stamp BIGINT
)[])) AS kept)
"""
_FIND = f"SELECT fingerprint, answer FROM {_TABLE} WHERE id = $id::UUID"


class KeyReusedError(DuckDBException):
    """The key came with another payload before."""

    code = "idempotency_key_reused"
    title = "Idempotency key used for another request"
    http_status = 422
    exit_code = 65
    default_hint = (
        "Nothing was loaded. Make a new key for each request, and keep it for its retries."
    )


class KeyInUseError(DuckDBException):
    """A request with the key is being worked on."""

    code = "idempotency_key_in_use"
    title = "A request with this idempotency key is under way"
    http_status = 409
    exit_code = 75
    retryable = True
    default_hint = "Wait a moment and send it again: its answer is given again."


@dataclass(frozen=True)
class RequestKey:
    """A principal's key, and the fingerprint of all that makes its request another one."""

    principal_id: str
    key: str
    fingerprint: str

    @property
    def id(self) -> UUID:
        """Principal and key as one value."""
        text = f"{self.principal_id}\0{self.key}".encode()
        return UUID(bytes=hashlib.blake2b(text, digest_size=16).digest())


@dataclass(frozen=True)
class KeyClaim:
    """The right to do the request of a key, or the answer that it got already."""

    request: RequestKey
    answer: str | None


class IdempotencyKeys:
    """The keys of the last 24 hours that the service ran. Use from one event loop.

    At most ``limit`` are kept: beyond that the oldest are given up, which is logged.
    """

    def __init__(
        self, transact: Transact, limit: int, *, service_time: ServiceTime | None = None
    ) -> None:
        self._transact = transact
        self._limit = limit
        self._time = service_time or ServiceTime()
        self._ages = KeyAges(self._time)
        self._busy: dict[UUID, str] = {}
        """Fingerprints of the requests under way."""
        self._seen: set[int] | None = None
        """Holds every key that is kept, and some that are not: most requests need no look-up."""
        self._newer: set[int] = set()
        """Those claimed since the kept ones were read last."""
        self._opening = asyncio.Lock()
        self._pruned_at = self._time.now_us
        self._since_pruned = 0
        self._removing = asyncio.Lock()
        self._pruning: asyncio.Task[None] | None = None
        self._ticking: asyncio.Task[None] | None = None
        self._log = get_logger("ingest")

    def start(self) -> None:
        """Begin to count time."""
        self._ticking = asyncio.get_running_loop().create_task(self._tick())

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self._time.tick()
            if self._seen:  # else there is nothing that could grow old
                self._prune_sometimes()

    def keep(self, session: SqlSession, answers: Sequence[tuple[RequestKey, str]]) -> None:
        """Keep answers in the transaction of the rows that they tell of.

        Raises:
            DuckDBQueryError: the request of one of the keys was done meanwhile.
        """
        stamps = self._ages.stamps(len(answers))
        kept = [
            {
                "id": str(request.id),
                "principal": request.principal_id,
                "key": request.key,
                "fingerprint": request.fingerprint,
                "answer": answer,
                "stamp": stamp,
            }
            for (request, answer), stamp in zip(answers, stamps, strict=True)
        ]
        session.execute(_INSERT, {"kept": orjson.dumps(kept).decode()})

    @asynccontextmanager
    async def claim(self, request: RequestKey) -> AsyncIterator[KeyClaim]:
        """Enter the block with the right to do the request, or with its answer.

        Raises:
            KeyInUseError: it is being done.
            KeyReusedError: another one was, or is being, done with the key.
        """
        seen = await self._open()
        id_ = request.id
        if id_ in self._busy:
            _check(request, self._busy[id_])
            raise KeyInUseError(f"a request with the key {request.key!r} is being worked on")
        self._busy[id_] = request.fingerprint
        try:
            short = _short(id_)
            is_new = short not in seen
            # Before anything of it can be on the disk.
            seen.add(short)
            self._newer.add(short)
            self._since_pruned += 1
            answer = None if is_new else await self.find(request)
            self._prune_sometimes()
            yield KeyClaim(request, answer)
        finally:
            del self._busy[id_]

    async def find(self, request: RequestKey) -> str | None:
        """Return the answer that the request got, None when it was not done.

        Raises:
            KeyReusedError: another one was done with the key.
        """
        rows = await self._transact(lambda session: session.execute(_FIND, {"id": str(request.id)}))
        if not rows:
            return None
        _check(request, str(rows[0][0]))
        return str(rows[0][1])

    async def resolve(self, request: RequestKey, unknown: WriteOutcomeUnknownError) -> str:
        """Return the answer of a request whose outcome was unknown: its record is in its transaction.

        Raises:
            DatabaseFailedError: the record is not there, so nothing of the request was kept.
            WriteOutcomeUnknownError: the record cannot be read either.
        """
        try:
            answer = await self.find(request)
        except DuckDBException:
            raise unknown from None
        if answer is None:
            raise DatabaseFailedError(
                "the database engine failed before the rows were committed; nothing was loaded",
                hint="Send it again with the same key.",
                operator_detail=unknown.operator_detail,
            ) from unknown
        return answer

    async def _open(self) -> set[int]:
        if self._seen is None:
            async with self._opening:
                if self._seen is None:
                    for statement in _CREATE:
                        await self._transact(partial(_execute, statement))
                    reached = await self._transact(self._ages.read)
                    seen = await self._transact(_read_all)
                    self._ages.resume(reached)
                    self._seen = seen
        return self._seen

    # --- forgetting ---------------------------------------------------------------------------

    def _prune_sometimes(self) -> None:
        is_due = self._time.now_us - self._pruned_at > _PRUNE_EVERY_US
        if not is_due and self._since_pruned <= self._limit // 10:
            return
        if self._pruning is None or self._pruning.done():
            self._pruned_at, self._since_pruned = self._time.now_us, 0
            self._pruning = asyncio.create_task(self._prune_quietly())

    async def _prune_quietly(self) -> None:
        try:
            await self.prune()
        except DuckDBException as error:
            self._log.warning("idempotency_keys_not_pruned", error=error.detail)

    async def prune(self) -> None:
        """Remove what is older than a day of service, and the oldest beyond the limit."""
        async with self._removing:
            self._newer.clear()
            removed, early = await self._transact(
                lambda session: self._ages.remove_old(session, self._limit)
            )
        if early:
            self._log.warning("idempotency_keys_given_up_early", limit=self._limit)
        if self._seen is not None and (removed or len(self._seen) > 2 * self._limit):
            self._newer = {_short(id_) for id_ in self._busy}
            kept = await self._transact(_read_all)
            self._seen = kept | self._newer

    async def stop(self) -> None:
        """End what goes on in the background, and note how old the keys are."""
        for task in (self._ticking, self._pruning):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        if self._seen:
            try:
                async with asyncio.timeout(_SAVE_SECONDS):
                    await self._transact(self._ages.save)
            except (DuckDBException, TimeoutError) as error:
                self._log.warning("idempotency_ages_not_saved", error=str(error))


def _execute(statement: str, session: SqlSession) -> None:
    session.execute(statement)


def _check(request: RequestKey, fingerprint: str) -> None:
    if request.fingerprint != fingerprint:
        raise KeyReusedError(f"the key {request.key!r} came with another request before")


def _short(id_: UUID) -> int:
    return id_.int >> 64


def _read_all(session: SqlSession) -> set[int]:
    rows = session.execute(f"SELECT left(replace(id::VARCHAR, '-', ''), 16) FROM {_TABLE}")
    return {int(str(row[0]), 16) for row in rows}
