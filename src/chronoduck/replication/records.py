"""What a replica holds, as values: generations, segments, packs; and their names in the store.

::

    replica                                 who this is: format, id
    lease                                   who writes
    generations/00000012-9f3ac1/base        the database at a checkpoint: headers, table of blocks
    generations/00000012-9f3ac1/wal/A-B     the log from byte A to byte B of that generation
    generations/00000012-9f3ac1/proof/L-B   that the log was replayed up to byte B on a copy, and how far
    packs/00000012-9f3ac1-000003            up to 64 blocks
    retention-plan                          what is being deleted
    removed/5d0c1f0e9a3b4c2d                which generations were deleted, and which were lost

Each base names the generation before it. A name that is not there and was not deleted is a loss.
Bases of the first chronoduck name none: nothing is concluded from gaps before them.

A restore point is a base, or a base with the log up to the end of one of its segments. A blob never
changes, and its name is never used again: the six random digits tell apart two writers that count alike.
"""

from __future__ import annotations

import base64
import re
import secrets
from dataclasses import dataclass
from typing import Any

from chronoduck.replication.block_table import BlockChange, BlockTable

__all__ = [
    "FORMAT",
    "LEASE_NAME",
    "PACK_BLOCKS",
    "PLAN_NAME",
    "REMOVED_PREFIX",
    "REPLICA_NAME",
    "Base",
    "ProofName",
    "Segment",
    "SegmentName",
    "base_name",
    "generation_number",
    "new_generation",
    "pack_generation",
    "pack_name",
    "segment_name",
]

FORMAT = 1
REPLICA_NAME = "replica"
LEASE_NAME = "lease"
PLAN_NAME = "retention-plan"
REMOVED_PREFIX = "removed/"
PACK_BLOCKS = 64
"""16 MiB before compression."""
_SEGMENT = re.compile(r"generations/([0-9a-f-]+)/wal/([0-9a-f]{12})-([0-9a-f]{12})")
_PROOF = re.compile(r"generations/([0-9a-f-]+)/proof/([a-z]+)-([0-9a-f]{12})")


def new_generation(number: int) -> str:
    """Return a name that sorts by number and is nobody else's."""
    return f"{number:08d}-{secrets.token_hex(3)}"


def generation_number(generation: str) -> int:
    """Return the number in a generation's name."""
    return int(generation.partition("-")[0])


def base_name(generation: str) -> str:
    """Return the blob's name."""
    return f"generations/{generation}/base"


def segment_name(generation: str, start: int, end: int) -> str:
    """Return the blob's name."""
    return f"generations/{generation}/wal/{start:012x}-{end:012x}"


def pack_name(generation: str, number: int) -> str:
    """Return the blob's name."""
    return f"packs/{generation}-{number:06d}"


def pack_generation(pack: str) -> int:
    """Return the number of the generation that made a pack."""
    return generation_number(pack.removeprefix("packs/"))


@dataclass(frozen=True, order=True)
class SegmentName:
    """What a segment's name tells: bytes ``start`` to ``end`` of a generation's log."""

    generation: str
    start: int
    end: int

    @classmethod
    def parse(cls, name: str) -> SegmentName | None:
        """Return what the name tells, None when it is not a segment's."""
        match = _SEGMENT.fullmatch(name)
        return match and cls(match[1], int(match[2], 16), int(match[3], 16))

    @property
    def blob(self) -> str:
        """The blob's name."""
        return segment_name(self.generation, self.start, self.end)


@dataclass(frozen=True)
class ProofName:
    """What a proof mark's name tells: ``level`` holds up to byte ``offset`` of a generation's log."""

    generation: str
    level: str
    offset: int

    @classmethod
    def parse(cls, name: str) -> ProofName | None:
        """Return what the name tells, None when it is not a proof mark's."""
        match = _PROOF.fullmatch(name)
        return match and cls(match[1], match[2], int(match[3], 16))

    @property
    def blob(self) -> str:
        """The blob's name."""
        return f"generations/{self.generation}/proof/{self.level}-{self.offset:012x}"


@dataclass(frozen=True)
class Base:
    """The database as a checkpoint left it."""

    generation: str
    time_us: int
    """Microseconds since 1970; grows with every base and segment of a replica, whatever clocks do."""
    commits: int
    """Transactions shipped before this generation, since the replica began."""
    headers: bytes
    blocks: BlockTable
    previous: str | None = None
    """The generation before it; empty: there was none. None: the first chronoduck did not write it."""
    clock_us: int = 0
    """What the clock said, where that is not ``time_us``."""

    def as_header(self) -> dict[str, Any]:
        """Return the JSON that is stored."""
        return {
            "kind": "base",
            "generation": self.generation,
            "time_us": self.time_us,
            "commits": self.commits,
            "headers": base64.b64encode(self.headers.rstrip(b"\0")).decode(),
            "headers_bytes": len(self.headers),
            "blocks": self.blocks.as_json(),
            "previous": self.previous,
            "clock_us": self.clock_us,
        }

    @classmethod
    def from_header(cls, header: dict[str, Any]) -> Base:
        """Return what was stored."""
        headers = base64.b64decode(header["headers"]).ljust(header["headers_bytes"], b"\0")
        return cls(
            header["generation"],
            header["time_us"],
            header["commits"],
            headers,
            BlockTable.from_json(header["blocks"]),
            header.get("previous"),
            header.get("clock_us", 0),
        )


@dataclass(frozen=True)
class Segment:
    """A piece of the log, and the blocks that its transactions put into the file."""

    generation: str
    start: int
    end: int
    time_us: int
    commits: int
    """Transactions of the generation up to ``end``."""
    log_sha256: str
    """Of the generation's whole log up to ``end``."""
    changes: tuple[BlockChange, ...]
    block_count: int
    """How long the file was."""
    clock_us: int = 0
    """What the clock said, where that is not ``time_us``."""
    clock_step_us: int = 0
    """By how much the clock was set since the segment before, as far as it was noticed."""

    @property
    def name(self) -> str:
        """The blob's name."""
        return segment_name(self.generation, self.start, self.end)

    def as_header(self) -> dict[str, Any]:
        """Return the JSON that is stored."""
        return {
            "kind": "segment",
            "generation": self.generation,
            "start": self.start,
            "end": self.end,
            "time_us": self.time_us,
            "commits": self.commits,
            "log_sha256": self.log_sha256,
            "changes": [[c.block, c.checksum, c.pack, c.slot] for c in self.changes],
            "block_count": self.block_count,
            "clock_us": self.clock_us,
            "clock_step_us": self.clock_step_us,
        }

    @classmethod
    def from_header(cls, header: dict[str, Any]) -> Segment:
        """Return what was stored."""
        return cls(
            header["generation"],
            header["start"],
            header["end"],
            header["time_us"],
            header["commits"],
            header["log_sha256"],
            tuple(BlockChange(*change) for change in header["changes"]),
            header["block_count"],
            header.get("clock_us", 0),
            header.get("clock_step_us", 0),
        )
