"""Reads and writes a replica's records: the one place where store and envelope meet."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import Any

import orjson

from chronoduck.engine.disk_format import BLOCK_BYTES, is_block_intact
from chronoduck.errors import SettingsError
from chronoduck.replication.block_table import BlockTable
from chronoduck.replication.envelope import Envelope
from chronoduck.replication.failures import ReplicaDamagedError
from chronoduck.replication.history import GenerationListing, Listing
from chronoduck.replication.records import (
    FORMAT,
    PLAN_NAME,
    REMOVED_PREFIX,
    REPLICA_NAME,
    Base,
    Segment,
    SegmentName,
    base_name,
)
from chronoduck.replication.removals import Removals
from chronoduck.storage import BlobConflictError, BlobInfo, BlobNotFoundError, BlobStore

__all__ = ["Archive"]

_AHEAD = 16
_READS = 2


class Archive:
    """A replica: what is in the store, opened and checked. Safe from any thread."""

    def __init__(self, store: BlobStore, envelope: Envelope) -> None:
        self.store = store
        self._envelope = envelope
        self._newest: tuple[str, bytes] | None = None
        """The point written last, and the hash of its bytes."""
        self._recent: dict[str, None] = {}

    @property
    def url(self) -> str:
        """Where it is."""
        return self.store.url

    # --- identity -----------------------------------------------------------------------------

    def identity(self) -> str | None:
        """Return the replica's id, None when the store holds no replica.

        Raises:
            SettingsError: a newer chronoduck wrote it.
        """
        try:
            facts = orjson.loads(self.store.get(REPLICA_NAME))
            identity, written = str(facts["id"]), int(facts["format"])
        except BlobNotFoundError:
            return None
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise ReplicaDamagedError(
                f"the record {REPLICA_NAME} in {self.url}, which says whose it is, is damaged",
                hint=f"Its points can be restored all the same. Remove {REPLICA_NAME} there, and run "
                "`chronoduck replication adopt`.",
            ) from error
        if written > FORMAT:
            raise SettingsError(
                f"the replica in {self.url} is of format {written}; this version knows {FORMAT}",
                hint="Install the version of chronoduck that wrote it.",
            )
        return identity

    def create(self) -> str:
        """Return the replica's id, after making one if there is none."""
        known = self.identity()
        if known is not None:
            return known
        facts = {
            "format": FORMAT,
            "id": secrets.token_hex(16),
            "encrypted": self._envelope.is_encrypting,
        }
        try:
            self.store.replace(REPLICA_NAME, orjson.dumps(facts), None)
        except BlobConflictError:
            return self.create()
        return str(facts["id"])

    # --- records ------------------------------------------------------------------------------

    def listing(self) -> Listing:
        """Return what the store holds, and what it knows of generations that are gone.

        The store's own listing may lag behind by some seconds: points that this object wrote and has
        not seen listed yet are in it all the same, and bases that are missing are asked for by name.
        """
        listing = self._complete(Listing.read(self.store.list()))
        # Read after the names: a removal is recorded before its first blob is deleted.
        listing.removals = self.removals()
        if listing.headless():  # an older chronoduck wrote its plan only
            plan = self.read_note(PLAN_NAME)
            names = set(plan["names"]) if plan is not None else set()
            listing.fragments = [
                each for each in listing.fragments if not names.issuperset(each.blobs())
            ]
        return listing

    def _complete(self, listing: Listing) -> Listing:
        """Add what the store holds and does not list."""
        names = [name for name in self.recent() if name not in listing.blobs]
        names += [base_name(each.name) for each in listing.fragments if each.segments]
        found = [BlobInfo(name, size) for name in names if (size := self._size(name)) is not None]
        return Listing.read([*listing.blobs.values(), *found]) if found else listing

    def missing_before(self, listing: Listing, generation: str, previous: str | None) -> str:
        """Return the name of the generation before one, when the store lost it."""
        lost = listing.missing_before(generation, previous)
        return "" if lost and self._size(base_name(lost)) is not None else lost

    def _size(self, name: str) -> int | None:
        try:
            return len(self.store.get(name))
        except BlobNotFoundError:
            return None

    def unlisted(self, names: Iterable[str], listing: Listing) -> dict[str, str]:
        """Return what is wrong with packs that a listing lacks, by name: it may lag behind."""
        failures = {name: self.check_blob(name) for name in names if name not in listing.packs}
        return {name: failure for name, failure in failures.items() if failure}

    def removals(self) -> Removals:
        """Return which generations were deleted or lost. A record that is damaged tells nothing."""
        known = Removals()
        for blob in list(self.store.list(REMOVED_PREFIX)):
            with contextlib.suppress(BlobNotFoundError, ReplicaDamagedError, KeyError):
                known = known.union(Removals.from_json(self._get(blob.name)[0]))
        return known

    def note_removals(self, removals: Removals) -> None:
        """Add to the record of what is gone: a new blob that repeats the old ones, which then go."""
        before = [blob.name for blob in self.store.list(REMOVED_PREFIX)]
        known = self.removals()
        if known.union(removals) == known:
            return
        name = f"{REMOVED_PREFIX}{secrets.token_hex(8)}"
        self._put(name, known.union(removals).as_json())
        self.store.delete(before)

    def is_empty(self) -> bool:
        """Whether there is nothing to restore."""
        return next(iter(self.store.list("generations/")), None) is None

    def write_base(self, base: Base) -> int:
        """Make a generation visible; everything it names must be there. Returns bytes."""
        return self._put(base_name(base.generation), base.as_header(), is_newest=True)

    def read_base(self, generation: str) -> Base:
        """Return a generation's base."""
        header, _ = self._get(base_name(generation))
        return Base.from_header(header)

    def write_segment(self, segment: Segment, log: bytes) -> int:
        """Make a restore point visible; its blocks must be there. Returns bytes."""
        return self._put(segment.name, segment.as_header(), log, is_newest=True)

    def read_segment(self, name: SegmentName) -> tuple[Segment, memoryview]:
        """Return a segment and its piece of the log."""
        header, log = self._get(name.blob)
        segment = Segment.from_header(header)
        if len(log) != segment.end - segment.start:
            raise ReplicaDamagedError(f"{name.blob} in the replica does not hold what it says")
        return segment, log

    def read_segments(
        self, names: Iterable[SegmentName], executor: Executor
    ) -> Iterator[tuple[Segment, memoryview]]:
        """Yield segments in the order of their names, a few of them read ahead."""
        under_way: deque[Future[tuple[Segment, memoryview]]] = deque()
        for name in names:
            under_way.append(executor.submit(self.read_segment, name))
            if len(under_way) > _AHEAD:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()

    def write_pack(self, name: str, blocks: list[bytes]) -> int:
        """Write blocks. Returns bytes."""
        return self._put(name, {"kind": "pack", "blocks": len(blocks)}, b"".join(blocks))

    def read_pack(self, name: str) -> list[memoryview]:
        """Return the blocks of a pack, each checked against its own checksum too."""
        header, payload = self._get(name)
        blocks = [
            payload[start : start + BLOCK_BYTES] for start in range(0, len(payload), BLOCK_BYTES)
        ]
        if len(blocks) != header["blocks"] or not all(map(is_block_intact, blocks)):
            raise ReplicaDamagedError(f"{name} in the replica holds blocks that are not intact")
        return blocks

    def write_note(self, name: str, facts: dict[str, Any]) -> int:
        """Write a record of another kind. Returns bytes."""
        return self._put(name, facts)

    def read_note(self, name: str) -> dict[str, Any] | None:
        """Return a record of another kind, None when there is none."""
        try:
            return self._get(name)[0]
        except BlobNotFoundError:
            return None

    def blocks_at(self, generation: GenerationListing, executor: Executor) -> BlockTable:
        """Return the table of blocks at a generation's end."""
        table = self.read_base(generation.name).blocks
        for segment, _ in self.read_segments(generation.chain(), executor):
            table.apply(segment.changes)
        return table

    def check_newest(self) -> str:
        """Read the newest point back; return what is wrong with it, or nothing."""
        if self._newest is None:
            return ""
        name, digest = self._newest
        for _ in range(_READS):
            try:
                found = hashlib.sha256(self.store.get(name)).digest()
            except BlobNotFoundError:
                return f"{name}, which was shipped last, is not in {self.url} any more"
            if found == digest:
                return ""
        return f"{name} in {self.url} is not what was shipped last"

    def recent(self) -> list[str]:
        """Return the names of points written since ``forget_recent``."""
        return list(self._recent)

    def forget_recent(self, names: Iterable[str]) -> None:
        """Take note that the store was seen to hold these."""
        for name in names:
            self._recent.pop(name, None)

    def forget_newest(self) -> None:
        """Do not look for what was written: the store is known to have lost some of it."""
        self._newest = None
        self._recent.clear()

    def check_blob(self, name: str) -> str:
        """Return what is wrong with a base, segment or pack, nothing when it is whole.

        What looks damaged is read again: an answer may have been cut off on its way.
        """
        failure = ""
        for _ in range(_READS):
            try:
                if name.startswith("packs/"):
                    self.read_pack(name)
                else:
                    self._get(name)
            except BlobNotFoundError as error:
                return error.detail
            except ReplicaDamagedError as error:
                failure = error.detail
            else:
                return ""
        return failure

    def _put(
        self, name: str, header: dict[str, Any], payload: bytes = b"", *, is_newest: bool = False
    ) -> int:
        sealed = self._envelope.seal(name, header, payload)
        self.store.put(name, sealed)
        if is_newest:
            self._newest = name, hashlib.sha256(sealed).digest()
            self._recent[name] = None
        return len(sealed)

    def _get(self, name: str) -> tuple[dict[str, Any], memoryview]:
        return self._envelope.open(name, self.store.get(name))
