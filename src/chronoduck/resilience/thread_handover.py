"""Things that a thread opens for the event loop: none stays open because somebody stopped waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

__all__ = ["closed_in_thread", "opened_in_thread"]

T = TypeVar("T")


async def opened_in_thread(open_: Callable[[], T], close: Callable[[T], object]) -> T:
    """Return what ``open_`` opens. A slow volume holds up only who needs it, not the event loop.

    Who is cancelled meanwhile waits for it and has it closed, so that it can remove the file afterwards;
    a second cancellation ends that wait, not the closing.
    """
    opening = asyncio.ensure_future(asyncio.to_thread(open_))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        await asyncio.shield(asyncio.ensure_future(_close_unwanted(opening, close)))
        raise


async def closed_in_thread(close: Callable[[], object]) -> None:
    """Close something; that happens also when the caller is cancelled, who waits for it.

    A second cancellation ends that wait, not the closing.
    """
    closing = asyncio.ensure_future(asyncio.to_thread(close))
    try:
        await asyncio.shield(closing)
    except asyncio.CancelledError:
        await asyncio.wait({closing})
        if not closing.cancelled():
            closing.exception()  # the cancellation is what counts
        raise


async def _close_unwanted(opening: asyncio.Future[T], close: Callable[[T], object]) -> None:
    await asyncio.wait({opening})
    if not opening.cancelled() and opening.exception() is None:
        await asyncio.to_thread(close, opening.result())
