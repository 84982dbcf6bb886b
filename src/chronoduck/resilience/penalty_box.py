"""Who must wait because its statements keep ending or breaking things; and what must run alone.

The rules, for a *party* (a principal, or one sub-user of a key that serves many) and a *shape* (the hash
of a statement's normalized text):

1. A fault whose author is certain boxes the shape of that party at once. It boxes the party, too, if
   others were hurt by it (the process died or had to be replaced); a smaller fault (an internal error, a
   killed analyzer, an interrupt that was ignored) does so from the third one within an hour on. When
   several parties meet internal errors at the same time, it is the engine, or the data, and boxes none.
2. When the process dies, everybody who was in the engine is a suspect. With one party among them the
   author is certain. Otherwise nobody is boxed: each suspect's shape runs *alone* from then on, so
   that the next death has one suspect. A shape that ends without a death is cleared.
3. A statement that had run alone for a while before others were let in beside it is no suspect of what
   comes then: a long report must not be boxed for two crashers beside it.
4. A party that is an uncleared suspect of two deaths is *watched*: all that it sends runs alone. So is
   one that comes out of the box. An innocent one survives that, a guilty one is alone when it happens.
   Only one that is a suspect of three deaths, more than any other, or of five, is boxed without having
   been alone.
5. A certain author explains the earlier deaths at which the same shape ran: their other suspects are
   cleared. A shape that ran at three deaths and never ended in between is boxed whoever ran beside
   it; its party is not.
6. The shape comes before the party: one that ended the process, or may have, runs alone for everybody
   (`DeadlyShapes`), and waits for everybody once it did so for two parties. The same text from a
   hundred keys costs a few processes, not a hundred.

Times are seconds on a clock of the caller that never goes back.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from chronoduck.resilience.deadly_shapes import EVERYBODY, DeadlyShapes
from chronoduck.resilience.penalty_records import (
    FORGET_SECONDS,
    HURTS_OTHERS,
    MAY_BE_THE_ENGINE,
    Death,
    FaultKind,
    HeldParty,
    HeldRecord,
    Penalty,
    Suspect,
)

__all__ = ["NO_TEXT", "PenaltyBox"]

NO_TEXT = "load"
"""The shape of all that has no text of its own: it is nobody else's."""

_SMALL_FAULTS = 3
"""So many smaller faults within ``FORGET_SECONDS`` box a party."""
_SAME_TIME_SECONDS = 60.0
_MANY_PARTIES = 3
_ALONE_SECONDS = 900.0
"""So long a suspect's shape is run alone if it never ends."""
_WATCH_SECONDS = 60.0
_WATCHED_DEATHS, _BOXED_DEATHS, _MOST_DEATHS = 2, 3, 5
_REMEMBERED_PARTIES, _REMEMBERED_SHAPES, _REMEMBERED_DEATHS = 5_000, 100, 50


class PenaltyBox:
    """Keeps the records; memory is bounded whatever comes. For one thread."""

    def __init__(self, first_seconds: float = 15.0, longest_seconds: float = 900.0) -> None:
        """Each further boxing within an hour doubles the wait, up to ``longest_seconds``."""
        self._first_seconds = first_seconds
        self._longest_seconds = longest_seconds
        self._parties: OrderedDict[str, HeldParty] = OrderedDict()
        self._deaths: list[Death] = []
        self._deadly = DeadlyShapes(
            first_seconds,
            longest_seconds,
            alone_seconds=_ALONE_SECONDS,
            forget_seconds=FORGET_SECONDS,
        )
        self.total_faults: dict[FaultKind, int] = dict.fromkeys(FaultKind, 0)
        self.total_boxings = 0
        self.changes = 0
        """Grows with everything that is to survive a restart."""

    def __len__(self) -> int:
        """How many parties, and shapes of everybody, something is held against."""
        return len(self._parties) + len(self._deadly)

    # --- faults -------------------------------------------------------------------------------

    def note_fault(self, now: float, party: str, shape: str, kind: FaultKind) -> list[Penalty]:
        """Count a fault whose author is certain; return what is boxed for it."""
        self.total_faults[kind] += 1
        self.changes += 1
        entry = self._entry(party)
        found = [self._box(now, party, shape, kind)] if shape else []
        entry.own.count(now, kind)
        if kind in HURTS_OTHERS:
            self._explain(party, shape)
            found += self._note_author(now, party, shape, kind)
        elif entry.own.faults < _SMALL_FAULTS or self._is_excused(now, kind):
            return found
        penalty = self._box(now, party, "", kind, is_counted=True)
        if kind is not FaultKind.IGNORED_INTERRUPT:  # to run alone would only make others wait
            until = now + penalty.seconds * 2 + _WATCH_SECONDS
            entry.watched_until = max(entry.watched_until, until)
        return [*found, penalty]

    def _note_author(self, now: float, party: str, shape: str, kind: FaultKind) -> list[Penalty]:
        """Have a shape run alone for everybody, or wait, that has an author."""
        if shape in ("", NO_TEXT):
            return []
        wait = self._deadly.note_author(now, party, shape)
        if not wait:
            return []
        self.total_boxings += 1
        return [Penalty(EVERYBODY, shape, kind, wait, self._deadly.wait_of(now, "", shape)[1])]

    def note_death(
        self, now: float, suspects: Sequence[Suspect], *, is_complete: bool = True
    ) -> list[Penalty]:
        """Take in the death of the process; return what is boxed for it.

        ``is_complete``: false when there may have been more suspects than these.
        """
        kind = FaultKind.PROCESS_DEATH
        if not suspects:
            return []
        self.changes += 1
        boxable = [each for each in suspects if not each.is_exempt]
        if is_complete and len({each.party for each in suspects}) == 1 and boxable:
            shapes = {each.shape for each in suspects}
            if len(shapes) == 1:
                return self.note_fault(now, suspects[0].party, shapes.pop(), kind)
            # Of several statements of one party nobody knows which it was: each runs alone.
            self._remember(now, boxable)
            return self.note_fault(now, suspects[0].party, "", kind)
        self.total_faults[kind] += 1
        self._remember(now, boxable)
        found = [
            self._box(now, each.party, each.shape, kind)
            for each in boxable
            if self._deaths_of_shape(each.party, each.shape) >= _BOXED_DEATHS
        ]
        return found + self._judge(now, {each.party for each in boxable})

    def _judge(self, now: float, parties: set[str]) -> list[Penalty]:
        """Watch who was near two deaths, box who was near more deaths than anybody else."""
        marks = {party: self._marks(party) for party in parties}
        for party, count in marks.items():
            if count >= _WATCHED_DEATHS:
                entry, seconds = self._entry(party), _WATCH_SECONDS * 2.0 ** min(count - 2, 4)
                entry.watched_until = max(entry.watched_until, now + seconds)
        worst = max(marks.values(), default=0)
        guilty = [party for party, count in marks.items() if count == worst]
        if worst < _BOXED_DEATHS or (len(guilty) > 1 and worst < _MOST_DEATHS):
            return []
        return [self._box(now, party, "", FaultKind.PROCESS_DEATH) for party in guilty]

    def _remember(self, now: float, suspects: Sequence[Suspect]) -> None:
        everyone = {(each.party, each.shape) for each in suspects}
        proved = {(each.party, each.shape) for each in suspects if each.is_proved}
        for party, shape in everyone:
            if shape not in ("", NO_TEXT) and (party, shape) not in proved:
                self._deadly.suspect(now, party, shape)
            _put(self._entry(party).alone, shape, now + _ALONE_SECONDS, _REMEMBERED_SHAPES)
        recent = [old for old in self._deaths if now - old.at < FORGET_SECONDS]
        self._deaths = [*recent, Death(now, everyone - proved, everyone)][-_REMEMBERED_DEATHS:]

    def _marks(self, party: str) -> int:
        return sum(any(name == party for name, _ in each.uncleared) for each in self._deaths)

    def _deaths_of_shape(self, party: str, shape: str) -> int:
        return sum((party, shape) in each.everyone for each in self._deaths)

    def _explain(self, party: str, shape: str) -> None:
        """Clear the other suspects of deaths that now have an author."""
        if shape:
            self._deaths = [each for each in self._deaths if (party, shape) not in each.everyone]

    def _is_excused(self, now: float, kind: FaultKind) -> bool:
        """Whether so many parties meet such faults now that none of them is the cause."""
        if kind not in MAY_BE_THE_ENGINE:
            return False
        recent = sum(
            entry.own.faults > 0
            and entry.own.kind is not FaultKind.IGNORED_INTERRUPT
            and now - entry.own.last_fault < _SAME_TIME_SECONDS
            for entry in self._parties.values()
        )
        return recent >= _MANY_PARTIES

    def _entry(self, party: str) -> HeldParty:
        entry = self._parties.get(party) or HeldParty()
        _put(self._parties, party, entry, _REMEMBERED_PARTIES)
        return entry

    def _box(
        self, now: float, party: str, shape: str, kind: FaultKind, *, is_counted: bool = False
    ) -> Penalty:
        entry = self._entry(party)
        record = entry.shapes.get(shape) or HeldRecord() if shape else entry.own
        if shape:
            _put(entry.shapes, shape, record, _REMEMBERED_SHAPES)
        if not is_counted:
            record.count(now, kind)
        wait = min(self._longest_seconds, self._first_seconds * 2.0 ** min(record.boxings, 30))
        record.boxings += 1
        record.until = max(record.until, now + wait)
        self.total_boxings += 1
        return Penalty(party, shape, kind, record.until - now, record.faults)

    # --- what may run -------------------------------------------------------------------------

    def penalty(self, now: float, party: str, shape: Callable[[], str]) -> Penalty | None:
        """Return why a statement must wait now; ``shape`` is asked only if it matters."""
        entry = self._parties.get(party) or _NOTHING
        name, record = "", entry.own
        if record.until <= now and (entry.shapes or len(self._deadly)):
            name = shape()
            record = entry.shapes.get(name, record)
        if record.until > now:
            return Penalty(party, name, record.kind, record.until - now, record.faults)
        wait, authors = self._deadly.wait_of(now, party, name)
        return Penalty(EVERYBODY, name, FaultKind.PROCESS_DEATH, wait, authors) if wait else None

    def must_run_alone(self, now: float, party: str, shape: Callable[[], str]) -> bool:
        """Whether nothing else may be in the engine when it begins."""
        entry = self._parties.get(party) or _NOTHING
        if entry.watched_until > now:
            return True
        if not (entry.alone or len(self._deadly)):
            return False
        name = shape()
        return entry.alone.get(name, 0.0) > now or self._deadly.must_run_alone(now, party, name)

    def note_survived(self, party: str, shape: str, *, has_ended: bool = True) -> None:
        """Clear a shape: it ended, or ran alone for its while, and nothing happened."""
        if has_ended:
            self.changes += self._deadly.note_survived(party, shape)
        entry = self._parties.get(party)
        if entry is None:
            return
        was_suspect = entry.alone.pop(shape, None) is not None
        for death in self._deaths:
            was_suspect |= (party, shape) in death.everyone
            death.uncleared.discard((party, shape))
            if has_ended:
                death.everyone.discard((party, shape))
        self.changes += was_suspect

    # --- operators ----------------------------------------------------------------------------

    def penalties(self, now: float) -> list[Penalty]:
        """Return who must wait now, the longest wait first."""
        found = [
            Penalty(party, shape, record.kind, record.until - now, record.faults)
            for party, entry in self._parties.items()
            for shape, record in (("", entry.own), *entry.shapes.items())
            if record.until > now
        ]
        found += [
            Penalty(EVERYBODY, shape, FaultKind.PROCESS_DEATH, seconds, authors)
            for shape, seconds, authors in self._deadly.waiting(now)
        ]
        return sorted(found, key=lambda each: -each.seconds)

    def watched(self, now: float) -> list[Penalty]:
        """Return what runs alone now, as penalties that let it run."""
        return [
            Penalty(party, shape, entry.own.kind, until - now, entry.own.faults)
            for party, entry in self._parties.items()
            for shape, until in (("", entry.watched_until), *entry.alone.items())
            if until > now
        ] + [
            Penalty(EVERYBODY, shape, FaultKind.PROCESS_DEATH, seconds, authors)
            for shape, seconds, authors in self._deadly.alone(now)
        ]

    def parties(self) -> set[str]:
        """Return the parties against which anything is held; `EVERYBODY` for shapes of all."""
        return {*self._parties, *self._deadly.parties()}

    def release(self, party: str) -> bool:
        """Forget all that is held against a party, or the shapes of `EVERYBODY`.

        Returns whether there was anything.
        """
        self.changes += 1
        for death in self._deaths:
            death.uncleared = {each for each in death.uncleared if each[0] != party}
            death.everyone = {each for each in death.everyone if each[0] != party}
        had_shapes = self._deadly.release(party)
        return self._parties.pop(party, None) is not None or had_shapes

    def tidy(self, now: float) -> None:
        """Forget what is over; call it now and then."""
        for party in [name for name, entry in self._parties.items() if entry.is_over(now)]:
            del self._parties[party]
        self._deadly.tidy(now)

    # --- over restarts ------------------------------------------------------------------------

    def state(self, now: float) -> dict[str, Any]:
        """Return all that is known as JSON values, with times as seconds from ``now``."""
        return {
            "parties": {
                party: {
                    "records": [
                        [
                            shape,
                            old.kind,
                            old.faults,
                            old.boxings,
                            old.last_fault - now,
                            old.until - now,
                        ]
                        for shape, old in (("", entry.own), *entry.shapes.items())
                    ],
                    "alone": {shape: until - now for shape, until in entry.alone.items()},
                    "watched": entry.watched_until - now,
                }
                for party, entry in self._parties.items()
            },
            "deaths": [
                [old.at - now, sorted(old.uncleared), sorted(old.everyone)] for old in self._deaths
            ],
            "shapes": self._deadly.state(now),
        }

    def restore(self, then: float, state: dict[str, Any]) -> None:
        """Take in what an earlier process knew at ``then``, which is a time of this clock.

        Raises:
            ValueError, TypeError, KeyError, AttributeError: it is not of that form; nothing is taken.
        """
        parties: OrderedDict[str, HeldParty] = OrderedDict()
        for party, told in state["parties"].items():
            entry = parties[str(party)] = HeldParty(watched_until=then + float(told["watched"]))
            for shape, until in told["alone"].items():
                entry.alone[str(shape)] = then + float(until)
            for shape, kind, faults, boxings, last, until in told["records"]:
                wait = min(self._longest_seconds, float(until))
                old = HeldRecord(
                    FaultKind(kind), int(faults), int(boxings), then + float(last), then + wait
                )
                if shape:
                    entry.shapes[str(shape)] = old
                else:
                    entry.own = old
        deaths = [Death(then + float(at), _pairs(a), _pairs(b)) for at, a, b in state["deaths"]]
        deadly = self._deadly.restored(then, state.get("shapes", {}))
        self._parties, self._deaths, self._deadly = parties, deaths, deadly


_NOTHING = HeldParty()
"""What is held against a party that nobody knows; never changed."""


def _put(table: OrderedDict[str, Any], key: str, value: Any, most: int) -> None:
    table[key] = value
    table.move_to_end(key)
    if len(table) > most:
        table.popitem(last=False)


def _pairs(told: Any) -> set[tuple[str, str]]:
    return {(str(party), str(shape)) for party, shape in told}
