"""Pools whose threads all run from the start, for whatever must go on when no thread can be started.

A thread needs 8 MB of address space for its stack. While a statement takes all that there is, Python's
own pool, which starts a thread when work comes, raises "can't start new thread" for everybody else.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

__all__ = ["standing_threads"]


def standing_threads(count: int, name: str) -> ThreadPoolExecutor:
    """Return a pool of ``count`` threads, all of them started.

    Raises:
        RuntimeError: they cannot be started.
    """
    pool = ThreadPoolExecutor(count, thread_name_prefix=name)
    # The pool starts a thread for work that finds none idle: so none may be idle until all are there.
    all_there = threading.Barrier(count + 1)
    try:
        for _ in range(count):
            pool.submit(all_there.wait)
    except RuntimeError:
        all_there.abort()
        pool.shutdown(wait=False)
        raise
    all_there.wait()
    return pool
