"""Finds the blocks of the database file that changed and puts them into packs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future

from chronoduck.engine.disk_format import BLOCK_BYTES, DatabaseFile, is_block_intact
from chronoduck.errors import DuckDBException
from chronoduck.replication.archive import Archive
from chronoduck.replication.block_table import BlockChange, BlockTable
from chronoduck.replication.records import PACK_BLOCKS, pack_name

__all__ = ["BlockShipper"]

_IN_FLIGHT = 3
"""Packs being written at the same time; each takes about 40 MB of memory."""
_TIME_GRAIN_NS = 20_000_000
_EMPTY = bytes(BLOCK_BYTES)


class BlockShipper:
    """Keeps the table of what the replica holds in step with the file.

    A block is taken when its content agrees with its checksum. One that does not is being written at
    this moment, and no transaction that is complete refers to it; or it was torn by a crash, or has
    rotted, and the replica keeps what it has of it.
    """

    def __init__(
        self, archive: Archive, executor: Executor, on_progress: Callable[[int, int], None]
    ) -> None:
        self._archive = archive
        self._executor = executor
        self._on_progress = on_progress
        self._next_pack = 0
        self._generation = ""
        self._scanned_at: tuple[int, int] | None = None
        self.table = BlockTable()
        self.pending: dict[int, BlockChange] = {}
        """Shipped since the last restore point that tells of them."""
        self.unsettled = 0
        """Blocks that did not agree with their checksum when they were looked at last."""
        self.shipped_bytes = 0

    def reset(self) -> None:
        """Forget what the replica holds."""
        self.table = BlockTable()
        self.pending.clear()
        self._scanned_at = None

    def name_packs(self, generation: str, first: int) -> None:
        """Give new packs this generation's name, counting from ``first``."""
        self._generation, self._next_pack = generation, first
        self._scanned_at = None

    def ship_changes(self, file: DatabaseFile, again: frozenset[int] = frozenset()) -> None:
        """Ship every block that the replica does not hold as it is, and those of ``again``.

        Raises:
            StoreError: some were not shipped; those that were are not shipped again.
        """
        state = file.stat()
        scan = (state.st_mtime_ns, state.st_size)
        # The file's time has a grain of some milliseconds: what is as old as that may change unseen.
        if scan == self._scanned_at and not self.unsettled and not again:
            return
        self._scanned_at = None
        count = file.block_count
        changed = [
            block
            for block, stored in enumerate(file.checksums(count))
            if block in again or not self.table.holds(block, stored)
        ]
        self._ship(file, changed)
        self.table.resize(max(count, len(self.table)))
        later = file.stat()
        if (later.st_mtime_ns, later.st_size) == scan and _is_old(later.st_mtime_ns):
            self._scanned_at = scan

    def _ship(self, file: DatabaseFile, changed: list[int]) -> None:
        under_way: list[Future[tuple[list[BlockChange], int]]] = []
        self.unsettled = 0
        done = 0
        try:
            for numbers, blocks in self._batches(file, changed):
                if len(under_way) >= _IN_FLIGHT:
                    self._settle(under_way.pop(0))
                name = pack_name(self._generation, self._next_pack)
                self._next_pack += 1
                under_way.append(self._executor.submit(self._write, name, numbers, blocks))
                done += len(numbers)
                self._on_progress(done, len(changed))
        finally:
            failure: DuckDBException | None = None
            for future in under_way:
                try:
                    self._settle(future)
                except DuckDBException as error:  # raised below, after the others
                    failure = error
            if failure is not None:
                raise failure

    def _batches(
        self, file: DatabaseFile, changed: list[int]
    ) -> Iterator[tuple[list[int], list[bytes]]]:
        numbers: list[int] = []
        blocks: list[bytes] = []
        for number in changed:
            block = file.block(number)
            if not is_block_intact(block):
                self.unsettled += block != _EMPTY
                continue
            numbers.append(number)
            blocks.append(block)
            if len(blocks) == PACK_BLOCKS:
                yield numbers, blocks
                numbers, blocks = [], []
        if blocks:
            yield numbers, blocks

    def _write(
        self, name: str, numbers: list[int], blocks: list[bytes]
    ) -> tuple[list[BlockChange], int]:
        """Write a pack, in a thread of the store's; return what is in it and its bytes."""
        size = self._archive.write_pack(name, blocks)
        changes = [
            BlockChange(number, int.from_bytes(block[:8], "little"), name, slot)
            for slot, (number, block) in enumerate(zip(numbers, blocks, strict=True))
        ]
        return changes, size

    def _settle(self, future: Future[tuple[list[BlockChange], int]]) -> None:
        changes, size = future.result()
        self.shipped_bytes += size
        self.table.apply(changes)
        self.pending.update((change.block, change) for change in changes)

    def forget_pending(self, told: Iterable[BlockChange]) -> None:
        """Take note that a restore point tells of these changes."""
        for change in told:
            if self.pending.get(change.block) == change:
                del self.pending[change.block]

    def reset_scan(self) -> None:
        """Look at every block next time, whatever the file's time says.

        A write sets the time before it copies its data: on a busy machine the blocks of a transaction may
        arrive long after that. They are there when its end is in the WAL.
        """
        self._scanned_at = None


def _is_old(mtime_ns: int) -> bool:
    return time.time_ns() - mtime_ns > _TIME_GRAIN_NS
