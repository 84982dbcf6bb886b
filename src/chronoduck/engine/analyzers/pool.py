"""Analyzer processes, shared out: one text of each principal at a time, the cheapest principal first."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from chronoduck.engine.analyzers.analyzer import Analyzer
from chronoduck.engine.analyzers.messages import Answer, FilterQuestion, HandOver, Question
from chronoduck.engine.analyzers.nursery_link import Nursery
from chronoduck.errors import QueueFullError, ServiceUnavailableError
from chronoduck.logs import get_logger

__all__ = ["LEAST_ANALYZERS", "AnalyzerDiedError", "AnalyzerPool"]

LEAST_ANALYZERS = 2
_WAITING_EACH, _WAITING_IN_ALL = 1_000, 10_000
_CHARACTERS_EACH, _CHARACTERS_IN_ALL = 16_000_000, 64_000_000
"""Of the texts that wait, of one principal and of all."""
_WALL_PER_CPU = 10.0
"""How much longer than its CPU time a text may take on a busy machine, before it counts as hanging."""
_START_SECONDS = 30.0
_FAILED_STARTS = 3
_RETRY_SECONDS = 0.2
_ATTEMPTS = 5
_HALF_LIFE_SECONDS = 60.0
_FORGOTTEN_SECONDS = 1e-4


class AnalyzerDiedError(Exception):
    """The analyzer of a text died of it, or took too long and was ended; ``cpu_seconds``: its cost."""

    def __init__(self, message: str, cpu_seconds: float) -> None:
        super().__init__(message)
        self.cpu_seconds = cpu_seconds


@dataclass(eq=False)
class _Ticket:
    party: str
    question: Question | FilterQuestion
    handed: HandOver | None
    attempts: int = 0
    answer: asyncio.Future[Answer] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    @property
    def characters(self) -> int:
        """How long the text is."""
        question = self.question
        return len(question.sql if isinstance(question, Question) else question.text)


class _Costs:
    """CPU seconds that principals used lately: half as much counts after each minute."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._halved_at = time.monotonic()

    def add(self, party: str, seconds: float) -> None:
        self._seconds[party] = self.of(party) + seconds

    def of(self, party: str) -> float:
        now = time.monotonic()
        if now - self._halved_at >= _HALF_LIFE_SECONDS:
            share = 0.5 ** ((now - self._halved_at) / _HALF_LIFE_SECONDS)
            self._halved_at = now
            self._seconds = {
                each: left
                for each, seconds in self._seconds.items()
                if (left := seconds * share) > _FORGOTTEN_SECONDS
            }
        return self._seconds.get(party, 0.0)


class AnalyzerPool:
    """Starts analyzers when texts wait, and replaces those that die. For one event loop.

    A text of a principal that used much lately waits for those of others. A caller that leaves does
    not end its text: the principal's place stays taken until the analyzer is done with it.
    """

    def __init__(self, nursery: Nursery, most: int) -> None:
        """``most``: processes at a time, at least 2."""
        self._nursery = nursery
        self._most = max(LEAST_ANALYZERS, most)
        self._idle: list[Analyzer] = []
        self._starting = 0
        self._failed_starts = 0
        self._waiting: dict[str, deque[_Ticket]] = {}
        self._waiting_count = 0
        self._waiting_characters: Counter[str] = Counter()
        self._busy: dict[str, Analyzer] = {}
        self._costs = _Costs()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False
        self._log = get_logger("analyzers")
        self.deaths = 0
        self.total_questions = 0

    @property
    def count(self) -> int:
        """Analyzers that are ready or work."""
        return len(self._idle) + len(self._busy)

    @property
    def waiting(self) -> int:
        """Texts that wait for an analyzer."""
        return self._waiting_count

    def status(self) -> dict[str, int]:
        """Return counts for monitoring."""
        return {
            "running": self.count,
            "waiting": self.waiting,
            "total_questions": self.total_questions,
            "total_deaths": self.deaths,
        }

    async def ask(
        self, party: str, question: Question | FilterQuestion, handed: HandOver | None = None
    ) -> Answer:
        """Return the answer; ``party``: who has one analyzer at most.

        Raises:
            AnalyzerDiedError: the analyzer died of it, or was ended at its deadline.
            QueueFullError: too many texts wait, of this principal or of all.
            ServiceUnavailableError: no analyzer can be started, or the service stops.
        """
        if self._is_closed:
            raise ServiceUnavailableError("the service is shutting down")
        ticket = _Ticket(party, question, handed)
        self._check_room(ticket)
        self._put(ticket)
        self.total_questions += 1
        self._dispatch()
        try:
            return await ticket.answer
        finally:
            self._forget(ticket)

    def _check_room(self, ticket: _Ticket) -> None:
        count = len(self._waiting.get(ticket.party, ()))
        characters = self._waiting_characters[ticket.party] + ticket.characters
        if (
            count >= _WAITING_EACH
            or self._waiting_count >= _WAITING_IN_ALL
            or characters > _CHARACTERS_EACH
            or self._waiting_characters.total() + ticket.characters > _CHARACTERS_IN_ALL
        ):
            raise QueueFullError(
                f"{count} statements of this principal and {self._waiting_count} of all wait to be "
                "judged",
                hint="Send fewer at a time; statements that are known do not wait.",
            )

    def _put(self, ticket: _Ticket, *, is_first: bool = False) -> None:
        waiting = self._waiting.setdefault(ticket.party, deque())
        (waiting.appendleft if is_first else waiting.append)(ticket)
        self._waiting_count += 1
        self._waiting_characters[ticket.party] += ticket.characters

    def _note_taken(self, ticket: _Ticket) -> None:
        self._waiting_count -= 1
        self._waiting_characters[ticket.party] -= ticket.characters
        if not self._waiting_characters[ticket.party]:
            del self._waiting_characters[ticket.party]

    def warm(self) -> None:
        """Start as many as there always are."""
        self._grow(LEAST_ANALYZERS)

    def _forget(self, ticket: _Ticket) -> None:
        waiting = self._waiting.get(ticket.party)
        if waiting is not None:
            if ticket in waiting:
                waiting.remove(ticket)
                self._note_taken(ticket)
            if not waiting:
                del self._waiting[ticket.party]

    def _ready_parties(self) -> list[str]:
        return [
            each for each, tickets in self._waiting.items() if tickets and each not in self._busy
        ]

    def _dispatch(self) -> None:
        """Give texts to analyzers that have nothing to do, and start more if texts are left."""
        if self._is_closed:
            return
        ready = self._ready_parties()
        while ready and self._idle:
            party = min(ready, key=self._costs.of)
            ready.remove(party)
            ticket = self._waiting[party].popleft()
            self._note_taken(ticket)
            analyzer = self._busy[party] = self._idle.pop()
            self._spawn(self._serve(analyzer, ticket))
        if ready or self.count:
            self._grow(max(len(ready), LEAST_ANALYZERS - self.count))

    def _grow(self, wanted: int) -> None:
        if self._is_closed:
            return
        for _ in range(min(wanted, self._most - self.count) - self._starting):
            self._starting += 1
            self._spawn(self._start())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _start(self) -> None:
        analyzer = None
        try:
            async with asyncio.timeout(_START_SECONDS):
                await asyncio.to_thread(self._nursery.start)
                analyzer = Analyzer(self._nursery)
                await analyzer.greet()
        except Exception as error:  # noqa: BLE001 - texts wait: it is tried again
            self._failed_starts += 1
            self._log.warning("analyzer_not_started", error=repr(error))
            if self._failed_starts >= _FAILED_STARTS:
                self._refuse_all("no process that judges statements can be started")
            await asyncio.sleep(_RETRY_SECONDS)
        else:
            self._failed_starts = 0
            self._idle.append(analyzer)
            analyzer = None
        finally:
            self._starting -= 1
            if analyzer is not None:
                analyzer.end()
        self._dispatch()

    async def _serve(self, analyzer: Analyzer, ticket: _Ticket) -> None:
        most = ticket.question.cpu_seconds
        started = time.monotonic()
        left: Analyzer | None = analyzer
        try:
            async with asyncio.timeout(most * _WALL_PER_CPU):
                answer = await analyzer.ask(ticket.question, ticket.handed)
        except TimeoutError as error:  # an OSError, too
            cost = min(most, time.monotonic() - started)
            self._lose(ticket, error, cost)
        except OSError as error:
            cost = 0.0  # it was dead before: something else is to blame
            self._put_back(ticket, error)
        except Exception as error:  # noqa: BLE001 - or its caller waits for ever
            cost = min(most, time.monotonic() - started)
            self._lose(ticket, error, cost)
        else:
            # It is the analyzer's own word, and charged: no more than there was, and no credit.
            cost = min(max(0.0, answer.cpu_seconds), time.monotonic() - started)
            answer = replace(answer, cpu_seconds=cost)
            if not answer.is_tired:
                self._idle.append(analyzer)
                left = None
            if not ticket.answer.done():
                ticket.answer.set_result(answer)
        finally:
            del self._busy[ticket.party]
            if left is not None:
                left.end()
        self._costs.add(ticket.party, cost)
        self._dispatch()

    def _lose(self, ticket: _Ticket, error: Exception, cost: float) -> None:
        self.deaths += 1
        self._log.warning("analyzer_lost", party=ticket.party, error=repr(error))
        if not ticket.answer.done():
            ticket.answer.set_exception(AnalyzerDiedError(repr(error), cost))
            ticket.answer.exception()  # read: its caller may have left

    def _put_back(self, ticket: _Ticket, error: OSError) -> None:
        ticket.attempts += 1
        self._log.warning("analyzer_was_dead", error=repr(error))
        if ticket.answer.done():
            return
        if ticket.attempts >= _ATTEMPTS:
            ticket.answer.set_exception(_unavailable("processes that judge statements keep dying"))
            return
        self._put(ticket, is_first=True)

    def _refuse_all(self, reason: str) -> None:
        for tickets in self._waiting.values():
            for ticket in tickets:
                if not ticket.answer.done():
                    ticket.answer.set_exception(_unavailable(reason))

    async def close(self) -> None:
        """End all analyzers, refuse what waits. Idempotent."""
        self._is_closed = True
        self._refuse_all("the service is shutting down")
        tasks: Iterable[asyncio.Task[None]] = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # A task that was cancelled before its first step has ended nothing.
        for analyzer in (*self._idle, *self._busy.values()):
            analyzer.end()
        self._idle.clear()
        self._busy.clear()


def _unavailable(reason: str) -> ServiceUnavailableError:
    return ServiceUnavailableError(reason, hint="Try again; the server log says why.")
