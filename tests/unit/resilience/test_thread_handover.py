"""Files that threads open for the event loop: none stays open when who wanted it has left."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from pathlib import Path

import pytest

from chronoduck.errors import DiskFullError
from chronoduck.resilience.thread_handover import closed_in_thread, opened_in_thread
from chronoduck.storage.counted_file import CountedFile, counted_file
from tests.patience import PATIENCE_SECONDS


class Claim:
    def take(self, count: int) -> None: ...
    def release(self) -> None: ...


async def test_a_file_whose_opener_was_cancelled_is_there_and_closed_before_the_cancellation_ends(
    tmp_path: Path,
) -> None:
    begun, may_open = threading.Event(), threading.Event()
    closed: list[CountedFile] = []

    def open_() -> CountedFile:
        begun.set()
        assert may_open.wait(PATIENCE_SECONDS)
        return CountedFile(tmp_path / "result", Claim())

    def close(file: CountedFile) -> None:
        file.close()
        closed.append(file)

    opening = asyncio.create_task(opened_in_thread(open_, close))
    assert await asyncio.to_thread(begun.wait, PATIENCE_SECONDS)
    opening.cancel()
    asyncio.get_running_loop().call_later(0.05, may_open.set)
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert len(closed) == 1
    (tmp_path / "result").unlink()  # who removes it finds it


async def test_a_file_that_cannot_be_made_is_an_error_of_the_service(tmp_path: Path) -> None:
    with pytest.raises(DiskFullError, match="cannot be written"):
        async with counted_file(tmp_path / "missing" / "result", Claim()):
            pass
    with pytest.raises(DiskFullError):
        await opened_in_thread(
            partial(CountedFile, tmp_path / "missing" / "result", Claim()), CountedFile.close
        )


async def test_who_is_cancelled_while_it_closes_waits_for_the_close() -> None:
    begun, may_close, closed = threading.Event(), threading.Event(), threading.Event()

    def close() -> None:
        begun.set()
        assert may_close.wait(PATIENCE_SECONDS)
        closed.set()

    closing = asyncio.create_task(closed_in_thread(close))
    assert await asyncio.to_thread(begun.wait, PATIENCE_SECONDS)
    closing.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not closing.done()
    may_close.set()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert closed.is_set()
