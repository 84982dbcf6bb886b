"""The threads that run statements: as many as there are places, started with restraint."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue

__all__ = ["Workers"]

Work = Callable[[], None]

_YOUNG_SECONDS = 0.002


class _Step:
    """Work on its way through a thread."""

    __slots__ = ("started", "work")

    def __init__(self, work: Work) -> None:
        self.work = work
        self.started = time.monotonic()


class Workers:
    """Threads that take work from a queue until it is closed.

    Short statements spend much of their time in Python. More of them at once than there are
    processors only take the interpreter's lock from each other: with 2 processors, 4 threads did a
    fifth less than 2. So at most ``young`` steps run that began less than 2 ms ago; the next one
    begins when one of them ends or grows old. Whoever ends takes the next one itself.

    Submitting each step to an executor would cost 40 µs more, for a future that nobody awaits:
    a step reports to the event loop on its own. Work must not raise. The interpreter waits for none of
    these threads when it exits: a statement that hears no interrupt must not keep a process alive.
    """

    def __init__(self, count: int, *, young: int) -> None:
        self._count = count
        self._young_limit = young
        self._queue: SimpleQueue[_Step | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._backlog: deque[Work] = deque()
        self._young: set[_Step] = set()
        self._is_aging = False
        for number in range(count):
            name = f"chronoduck-worker_{number}"
            threading.Thread(target=self._run, name=name, daemon=True).start()

    def submit(self, work: Work) -> None:
        """Have the next free thread do the work; call it on the event loop."""
        with self._lock:
            if len(self._young) < self._young_limit:
                self._start(work)
                return
            self._backlog.append(work)
            if self._is_aging:
                return
            self._is_aging = True
        asyncio.get_running_loop().call_later(_YOUNG_SECONDS, self._age)

    def _start(self, work: Work) -> None:
        step = _Step(work)
        self._young.add(step)
        self._queue.put(step)

    def _run(self) -> None:
        while (step := self._queue.get()) is not None:
            current: _Step | None = step
            # An idle thread that held on to its last step would hold the engine's result with it,
            # and DuckDB closes no database of which a result is left.
            del step
            while current is not None:
                current.work()
                current = self._next_after(current)

    def _next_after(self, step: _Step) -> _Step | None:
        with self._lock:
            if step not in self._young:
                return None  # somebody else began in its place already
            self._young.remove(step)
            if not self._backlog:
                return None
            following = _Step(self._backlog.popleft())
            self._young.add(following)
            return following

    def _age(self) -> None:
        """Let others begin beside steps that take long."""
        with self._lock:
            grown = time.monotonic() - _YOUNG_SECONDS
            self._young = {step for step in self._young if step.started > grown}
            while self._backlog and len(self._young) < self._young_limit:
                self._start(self._backlog.popleft())
            self._is_aging = bool(self._backlog)
            if not self._is_aging:
                return
        asyncio.get_running_loop().call_later(_YOUNG_SECONDS, self._age)

    def close(self) -> None:
        """End the threads once they are free; does not wait for one that is stuck."""
        with self._lock:
            while self._backlog:
                self._start(self._backlog.popleft())
        for _ in range(self._count):
            self._queue.put(None)
