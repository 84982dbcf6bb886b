"""Carries a restore plan out: into a new file, never over an old one."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from concurrent.futures import Executor, as_completed
from pathlib import Path

from chronoduck.engine.disk_format import BLOCK_BYTES, HEADER_BYTES
from chronoduck.engine.replacing import refuse_existing, wal_path
from chronoduck.replication.archive import Archive
from chronoduck.replication.block_table import BlockChange
from chronoduck.replication.failures import ReplicaDamagedError
from chronoduck.replication.restore_plan import RestorePlan
from chronoduck.storage.durable_write import fsync_directory

__all__ = ["estimate_seconds", "restore_files"]

Progress = Callable[[int, int], None]
_SAMPLE_PACKS = 16


def restore_files(
    archive: Archive,
    plan: RestorePlan,
    target: Path,
    executor: Executor,
    on_progress: Progress = lambda done, total: None,
) -> None:
    """Write the database file and its log beside it; ``on_progress`` gets packs done and in all.

    What is read is checked three times: each blob by its hash, each block by DuckDB's checksum and by
    the table that names it, the log by the hash of all of it.

    Raises:
        RestoreRefusedError: the target is there already.
        ReplicaDamagedError: something is not what was shipped; the target is removed.
        StoreError: the store failed; the target is removed.
    """
    log = wal_path(target)
    refuse_existing(target)
    try:
        _write_blocks(archive, plan, target, executor, on_progress)
        if plan.segments:
            _write_log(archive, plan, log, executor)
        fsync_directory(target.parent)
    except BaseException:
        target.unlink(missing_ok=True)
        log.unlink(missing_ok=True)
        raise


def estimate_seconds(archive: Archive, plan: RestorePlan, executor: Executor) -> float:
    """Return how long fetching the blocks will take, from reading a few of them."""
    sample = list(plan.packs)[:_SAMPLE_PACKS]
    if not sample:
        return 0.0
    started = time.monotonic()
    for _ in executor.map(archive.read_pack, sample):
        pass
    return (time.monotonic() - started) * len(plan.packs) / len(sample)


def _write_blocks(
    archive: Archive, plan: RestorePlan, target: Path, executor: Executor, on_progress: Progress
) -> None:
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
    try:
        os.ftruncate(descriptor, plan.file_bytes)
        os.pwrite(descriptor, plan.headers, 0)
        tasks = [
            executor.submit(_write_pack, archive, descriptor, name, changes)
            for name, changes in plan.packs.items()
        ]
        try:
            for done, task in enumerate(as_completed(tasks), start=1):
                task.result()
                on_progress(done, len(tasks))
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                if not task.cancelled():
                    task.exception()  # none may write after the descriptor is closed
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_pack(
    archive: Archive, descriptor: int, name: str, changes: tuple[BlockChange, ...]
) -> None:
    blocks = archive.read_pack(name)
    for change in changes:
        block = blocks[change.slot]
        if int.from_bytes(block[:8], "little") != change.checksum:
            raise ReplicaDamagedError(f"{name} does not hold the block that was shipped in it")
        os.pwrite(descriptor, block, HEADER_BYTES + change.block * BLOCK_BYTES)


def _write_log(archive: Archive, plan: RestorePlan, log: Path, executor: Executor) -> None:
    digest = hashlib.sha256()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
    with os.fdopen(descriptor, "wb") as file:
        for _, piece in archive.read_segments(plan.segments, executor):
            digest.update(piece)
            file.write(piece)
        if digest.hexdigest() != plan.log_sha256:
            raise ReplicaDamagedError("the log in the replica is not the one that was shipped")
        file.flush()
        os.fsync(file.fileno())
