"""What a replica's listing shows: generations, the chain of their segments, packs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from chronoduck.replication.records import (
    ProofName,
    SegmentName,
    base_name,
    generation_number,
)
from chronoduck.replication.removals import Removals
from chronoduck.storage import BlobInfo

__all__ = ["GenerationListing", "Listing"]

_BASE = re.compile(r"generations/([0-9a-f-]+)/base")


@dataclass
class GenerationListing:
    """The names that a generation has in the store."""

    name: str
    has_base: bool = False
    segments: list[SegmentName] = field(default_factory=list)
    proofs: list[ProofName] = field(default_factory=list)
    size: int = 0
    """Bytes of base and segments."""

    @property
    def number(self) -> int:
        """Its place in the order."""
        return generation_number(self.name)

    def chain(self) -> list[SegmentName]:
        """Return the segments that follow each other from the log's beginning.

        A segment whose writing failed may be there all the same, beside a longer one that was written
        instead: the longest goes on.
        """
        longest: dict[int, SegmentName] = {}
        for segment in self.segments:
            if segment.start not in longest or segment.end > longest[segment.start].end:
                longest[segment.start] = segment
        chain = []
        position = 0
        while (following := longest.get(position)) is not None and following.end > position:
            chain.append(following)
            position = following.end
        return chain

    def after_gap(self) -> SegmentName | None:
        """Return the first segment that the chain does not reach, because one before it is missing."""
        chain = self.chain()
        end = chain[-1].end if chain else 0
        beyond = [segment for segment in self.segments if segment.start > end]
        return min(beyond, key=lambda segment: segment.start, default=None)

    def blobs(self) -> list[str]:
        """Return every name, the base first: without it the rest is invisible."""
        names = [base_name(self.name)] if self.has_base else []
        names += [segment.blob for segment in self.segments]
        return names + [proof.blob for proof in self.proofs]

    def proved_until(self, level: str) -> int | None:
        """Return the byte of the log up to which a level holds, None when nothing was proved."""
        return max((each.offset for each in self.proofs if each.level == level), default=None)


@dataclass
class Listing:
    """A replica's blobs, sorted out. Only what has its base counts as a generation."""

    generations: list[GenerationListing]
    """Oldest first."""
    fragments: list[GenerationListing]
    """Segments whose base is gone: what a deletion that was broken off left."""
    packs: dict[str, int]
    """Bytes by name."""
    size: int
    """Bytes of everything."""
    removals: Removals = field(default_factory=Removals)
    """What is known of generations that are not there."""
    blobs: dict[str, BlobInfo] = field(default_factory=dict, repr=False)
    """Everything by name."""

    @classmethod
    def read(cls, blobs: Iterable[BlobInfo]) -> Listing:
        """Sort out a store's listing."""
        names: dict[str, BlobInfo] = {}
        found: dict[str, GenerationListing] = {}
        packs: dict[str, int] = {}
        total = 0
        for blob in blobs:
            total += blob.size
            names[blob.name] = blob
            if blob.name.startswith("packs/"):
                packs[blob.name] = blob.size
                continue
            segment = SegmentName.parse(blob.name)
            proof = ProofName.parse(blob.name)
            base = _BASE.fullmatch(blob.name)
            part = segment or proof
            if part is None and base is None:
                continue
            name = part.generation if part else base[1] if base else ""
            generation = found.setdefault(name, GenerationListing(name))
            generation.size += blob.size
            if segment is not None:
                generation.segments.append(segment)
            elif proof is not None:
                generation.proofs.append(proof)
            else:
                generation.has_base = True
        ordered = sorted(
            found.values(), key=lambda generation: (generation.number, generation.name)
        )
        return cls(
            [generation for generation in ordered if generation.has_base],
            [generation for generation in ordered if not generation.has_base],
            packs,
            total,
            blobs=names,
        )

    def headless(self) -> list[GenerationListing]:
        """Return generations whose base is missing, and not because retention deletes them.

        Before the first record of a removal, what is older than every whole generation was left by a
        chronoduck that kept no such records.
        """
        oldest = self.generations[0].number if self.generations else 0
        is_old_format = self.removals == Removals()
        return [
            each
            for each in self.fragments
            if each.segments
            and not self.removals.explains(each.number)
            and not (is_old_format and each.number < oldest)
        ]

    def missing_before(self, generation: str, previous: str | None) -> str:
        """Return the name of the generation before one, when it is missing without a reason."""
        if not previous or self.find(previous) is not None:
            return ""
        return "" if generation_number(previous) in self.removals.retention else previous

    def find(self, generation: str) -> GenerationListing | None:
        """Return the generation of that name."""
        return next((each for each in self.generations if each.name == generation), None)
