"""Watches whether the store still holds what was shipped: by looks that are cheap, and a slow scrub."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection

from chronoduck.errors import DuckDBException
from chronoduck.replication.archive import Archive
from chronoduck.replication.generation import Generation

__all__ = ["StoreScrubber", "StoreWatch"]

_LOCAL_LOOK_SECONDS = 2.0
_REMOTE_LOOK_SECONDS = 10.0
_ROUND_SECONDS = 86_400.0
"""A round of the scrub begins so long after the one before it began, at the earliest."""
_SLICE_SECONDS = 0.25


class StoreWatch:
    """Decides when to look, and returns what is wrong. Use from the replicator's thread."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        is_remote = "://" in archive.url
        self._pause = _REMOTE_LOOK_SECONDS if is_remote else _LOCAL_LOOK_SECONDS
        self._next_look = 0.0
        self._compared = ""
        """The generation that was compared with the listing last."""
        self._versions: dict[str, str] = {}

    def look(self) -> str:
        """Look for what was shipped since the last look, when that is due; return what is wrong.

        The newest point is read back, and the names of every point in between are listed: a store
        that went back in time lacks some of them, even if it has taken new ones since. A name that
        the listing lacks is asked for: a listing may lag behind.

        Raises:
            StoreError: the store failed.
        """
        if time.monotonic() < self._next_look:
            return ""
        problem = self._archive.check_newest()
        recent = self._archive.recent()
        listed = {
            blob.name
            for prefix in {"/".join(name.split("/")[:2]) + "/" for name in recent}
            for blob in self._archive.store.list(prefix)
        }
        for name in recent:
            if not problem and name not in listed:
                problem = self._archive.check_blob(name)
                if name not in self._archive.recent():  # retention has deleted it meanwhile
                    problem = ""
        self._archive.forget_recent(listed if not problem else recent)
        self._next_look = time.monotonic() + self._pause
        return problem

    def is_compared(self, generation: Generation) -> bool:
        """Whether the listing was compared since this generation began."""
        return self._compared == generation.name

    def compare(self, generation: Generation, packs: Collection[str]) -> dict[str, str]:
        """Compare the store's listing with the packs that a generation refers to.

        Returns what is wrong, by the names of packs. Packs that were written again since the last
        look are read.

        Raises:
            StoreError: the store failed.
        """
        blobs = {blob.name: blob for blob in self._archive.store.list("packs/")}
        bad: dict[str, str] = {}
        seen: dict[str, str] = {}
        for name in packs:
            blob = blobs.get(name)
            if blob is None:
                failure = self._archive.check_blob(name)  # a listing may lag behind
                if failure:
                    bad[name] = failure
                continue
            seen[name] = blob.version
            if self._versions.get(name, blob.version) != blob.version:
                failure = self._archive.check_blob(name)
                if failure:
                    bad[name] = failure
        self._versions = seen
        self._compared = generation.name
        return bad


class StoreScrubber:
    """A thread that reads every blob of the replica, at a bounded rate, and remembers the bad ones."""

    def __init__(
        self, archive: Archive, *, bytes_per_second: float, is_ready: Callable[[], bool]
    ) -> None:
        self._archive = archive
        self._rate = bytes_per_second
        self._is_ready = is_ready
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="store-scrub", daemon=True)
        self._lock = threading.Lock()
        self._bad: dict[str, str] = {}
        self.share = 0.0
        self.ended_us = 0

    def start(self) -> None:
        """Begin."""
        if self._rate:
            self._thread.start()

    def stop(self) -> None:
        """End after the blob under way; it is not waited for."""
        self._stop.set()

    def take(self) -> dict[str, str]:
        """Return what was found since the last call: sentences by the names of blobs."""
        with self._lock:
            found, self._bad = self._bad, {}
        return found

    def _run(self) -> None:
        while not self._stop.wait(_SLICE_SECONDS):
            if not self._is_ready():
                continue
            started = time.monotonic()
            try:
                self._round()
            except DuckDBException:  # the store failed, or a record of it is damaged
                self._stop.wait(10.0)  # the replicator reports it; this begins again
                continue
            self._stop.wait(max(1.0, _ROUND_SECONDS - (time.monotonic() - started)))

    def _round(self) -> None:
        listing = self._archive.listing()
        blobs = [
            blob
            for name, blob in sorted(listing.blobs.items(), reverse=True)
            if name.startswith(("packs/", "generations/")) and "/proof/" not in name
        ]
        debt = 0.0
        for done, blob in enumerate(blobs):
            failure = self._archive.check_blob(blob.name)
            if failure:
                self._tell({blob.name: failure})
            self.share = (done + 1) / len(blobs)
            debt += blob.size / self._rate
            if debt > _SLICE_SECONDS or self._stop.is_set():
                if self._stop.wait(debt):
                    return
                debt = 0.0
        self.ended_us = time.time_ns() // 1000

    def _tell(self, found: dict[str, str]) -> None:
        """Remember what is bad, unless retention has deleted it meanwhile."""
        prefixes = {name.rpartition("/")[0] + "/" for name in found}
        there = {blob.name for prefix in prefixes for blob in self._archive.store.list(prefix)}
        with self._lock:
            self._bad |= {name: text for name, text in found.items() if name in there}
