"""Pools whose threads run before there is work."""

from __future__ import annotations

import threading

from chronoduck.resilience.standing_threads import standing_threads


def test_all_threads_run_before_there_is_work() -> None:
    pool = standing_threads(3, "standing")
    try:
        names = [each.name for each in threading.enumerate() if each.name.startswith("standing")]
        assert len(names) == 3
        assert pool.submit(threading.current_thread).result().name in names
    finally:
        pool.shutdown()
