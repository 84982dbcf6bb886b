"""A store whose calls end in time, whatever the store behind it does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

from chronoduck.storage.blob_store import BlobInfo, BlobStore, StoreError, VersionedBlob

__all__ = ["TimedBlobStore"]

T = TypeVar("T")
_MOST_HANGING = 8


class TimedBlobStore:
    """Runs each call in a thread of its own and gives up waiting for it after some seconds.

    A server that accepts connections and never answers, or a network file system that hangs, holds
    threads, never the caller. A write that timed out may still happen later. While ``_MOST_HANGING``
    calls hang, further calls fail at once. The threads are daemons: none keeps the process alive.
    """

    def __init__(self, store: BlobStore, timeout_seconds: float) -> None:
        self._store = store
        self.url = store.url
        self._timeout = timeout_seconds
        self._deadline: float | None = None
        self._lock = threading.Lock()
        self._hanging: list[_Call] = []

    @contextmanager
    def limited(
        self, call_seconds: float | None = None, total_seconds: float | None = None
    ) -> Iterator[None]:
        """Wait less inside the block: for one call, and for all of them together."""
        before = self._timeout, self._deadline
        if call_seconds is not None:
            self._timeout = min(call_seconds, self._timeout)
        if total_seconds is not None:
            self._deadline = time.monotonic() + total_seconds
        try:
            yield
        finally:
            self._timeout, self._deadline = before

    def _run(self, work: Callable[[_Call], T]) -> T:
        with self._lock:
            self._hanging = [call for call in self._hanging if not call.done.is_set()]
            if len(self._hanging) >= _MOST_HANGING:
                raise StoreError(
                    f"{self.url} does not answer: {len(self._hanging)} earlier calls still wait"
                )
        call = _Call(work)
        threading.Thread(target=call.run, name="store-call", daemon=True).start()
        while (left := self._left(call)) > 0:
            if call.done.wait(left):
                return cast(T, call.outcome())
        with self._lock:
            self._hanging.append(call)
        waited = time.monotonic() - call.started
        raise StoreError(
            f"{self.url} did not answer within {waited:.0f} s",
            hint="Check the store and the network to it. The replica catches up once it answers.",
        )

    def _left(self, call: _Call) -> float:
        """Return for how many seconds the call may still go without progress."""
        limit = call.touched + self._timeout
        if self._deadline is not None:
            limit = min(limit, self._deadline)
        return limit - time.monotonic()

    def put(self, name: str, data: bytes) -> None:
        """Write a blob."""
        self._run(lambda call: self._store.put(name, data))

    def get(self, name: str) -> bytes:
        """Return a blob."""
        return self._run(lambda call: self._store.get(name))

    def list(self, prefix: str = "") -> Iterator[BlobInfo]:
        """Yield a listing; only a pause without a new line counts as no answer."""

        def read(call: _Call) -> list[BlobInfo]:
            found = []
            for info in self._store.list(prefix):
                call.touched = time.monotonic()
                found.append(info)
            return found

        yield from self._run(read)

    def delete(self, names: Iterable[str]) -> None:
        """Remove blobs."""
        given = list(names)
        self._run(lambda call: self._store.delete(given))

    def get_versioned(self, name: str) -> VersionedBlob | None:
        """Return a blob with its version."""
        return self._run(lambda call: self._store.get_versioned(name))

    def replace(self, name: str, data: bytes, expected: str | None) -> str:
        """Write a blob of a known version."""
        return self._run(lambda call: self._store.replace(name, data, expected))


class _Call:
    """One call, its result, and when it last made progress."""

    def __init__(self, work: Callable[[_Call], Any]) -> None:
        self._work = work
        self._result: Any = None
        self._error: BaseException | None = None
        self.started = self.touched = time.monotonic()
        self.done = threading.Event()

    def run(self) -> None:
        try:
            self._result = self._work(self)
        except BaseException as error:  # noqa: BLE001 - raised to the caller
            self._error = error
        finally:
            self.done.set()

    def outcome(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._result
