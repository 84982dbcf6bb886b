"""Which block of the database lies where in the replica."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["BlockChange", "BlockTable"]

_ABSENT = -1


@dataclass(frozen=True)
class BlockChange:
    """One block's new content: its checksum, and its place in a pack."""

    block: int
    checksum: int
    pack: str
    slot: int


class BlockTable:
    """For each block of the file: its checksum, and the pack and slot that hold it; or nothing.

    13 bytes a block: 40,000 blocks for 10 GB.
    """

    def __init__(self) -> None:
        self._checksums = array("Q")
        self._packs = array("l")
        self._slots = array("H")
        self._names: list[str] = []
        self._index: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._packs)

    def resize(self, count: int) -> None:
        """Make the file ``count`` blocks long; new ones are in no pack."""
        grow = count - len(self)
        if grow > 0:
            self._checksums.extend([0] * grow)
            self._packs.extend([_ABSENT] * grow)
            self._slots.extend([0] * grow)
        else:
            del self._checksums[count:], self._packs[count:], self._slots[count:]

    def holds(self, block: int, checksum: int) -> bool:
        """Whether the block with that checksum is in the replica."""
        return (
            block < len(self)
            and self._packs[block] != _ABSENT
            and self._checksums[block] == checksum
        )

    def apply(self, changes: Iterable[BlockChange]) -> None:
        """Take changes in; the file grows to hold them."""
        for change in changes:
            if change.block >= len(self):
                self.resize(change.block + 1)
            self._checksums[change.block] = change.checksum
            self._packs[change.block] = self._pack_index(change.pack)
            self._slots[change.block] = change.slot

    def forget_packs(self, packs: Iterable[str]) -> None:
        """Take blocks of lost packs for not shipped, so that they are shipped again."""
        lost = {self._index[pack] for pack in packs if pack in self._index}
        for block, pack in enumerate(self._packs):
            if pack in lost:
                self._packs[block] = _ABSENT

    def _pack_index(self, name: str) -> int:
        if name not in self._index:
            self._index[name] = len(self._names)
            self._names.append(name)
        return self._index[name]

    def blocks_by_pack(self) -> dict[str, list[BlockChange]]:
        """Return what is in use of each pack."""
        found: dict[str, list[BlockChange]] = {}
        for change in self:
            found.setdefault(change.pack, []).append(change)
        return found

    def __iter__(self) -> Iterator[BlockChange]:
        for block, pack in enumerate(self._packs):
            if pack != _ABSENT:
                yield BlockChange(
                    block, self._checksums[block], self._names[pack], self._slots[block]
                )

    def copy(self) -> BlockTable:
        """Return a table that changes on its own."""
        table = BlockTable()
        table._checksums, table._packs = self._checksums[:], self._packs[:]
        table._slots, table._names = self._slots[:], self._names[:]
        table._index = dict(self._index)
        return table

    def as_json(self) -> dict[str, Any]:
        """Return columns of equal length, and the names of the packs that are in use."""
        used = sorted({pack for pack in self._packs if pack != _ABSENT})
        place = {pack: number for number, pack in enumerate(used)} | {_ABSENT: _ABSENT}
        return {
            "packs": [self._names[pack] for pack in used],
            "checksum": self._checksums.tolist(),
            "pack": [place[pack] for pack in self._packs],
            "slot": self._slots.tolist(),
        }

    @classmethod
    def from_json(cls, columns: dict[str, Any]) -> BlockTable:
        """Return the table that ``as_json`` described."""
        table = cls()
        table._checksums.extend(columns["checksum"])
        table._packs.extend(columns["pack"])
        table._slots.extend(columns["slot"])
        for name in columns["packs"]:
            table._pack_index(name)
        return table
