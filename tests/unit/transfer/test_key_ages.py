"""Ages of idempotency keys against a model: restarts, kills, downtime, clocks that jump."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chronoduck.resilience.service_time import TICK_SECONDS, ServiceTime
from chronoduck.transfer.key_ages import KEPT_SECONDS, KEYS_TABLE, KeyAges

LIMIT = 12
HOUR = 3600.0
SAVED_EVERY = 600.0


class Session:
    """Statements on a real database, without a service around it."""

    def __init__(self) -> None:
        self.connection = duckdb.connect(":memory:")
        self.execute("CREATE SCHEMA _chronoduck")
        self.execute(
            f"CREATE TABLE {KEYS_TABLE} (id UUID PRIMARY KEY, key VARCHAR, created_at TIMESTAMP)"
        )

    def execute(
        self, sql: str, params: Sequence[object] | Mapping[str, object] | None = None
    ) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql, params or None).fetchall()

    def scan(self, name: str, reader: object) -> None:
        raise NotImplementedError

    def add(self, key: str, us: int) -> None:
        self.execute(
            f"INSERT INTO {KEYS_TABLE} VALUES ($id, $key, make_timestamp($us))",
            {"id": uuid.uuid4(), "key": key, "us": us},
        )

    def keys(self) -> list[str]:
        """Return the keys, oldest first."""
        return [row[0] for row in self.execute(f"SELECT key FROM {KEYS_TABLE} ORDER BY created_at")]


@dataclass
class Machine:
    """A machine with two clocks, and a service that starts, runs, stops and dies on it."""

    session: Session = field(default_factory=Session)
    steady: float = 1000.0
    wall: float = 1_800_000_000.0
    added: int = 0

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        self.time = ServiceTime(steady=lambda: self.steady)
        self.ages = KeyAges(self.time)
        with self.clock():
            self.ages.resume(self.ages.read(self.session))
        self.unsaved = 0.0

    @contextlib.contextmanager
    def clock(self) -> Iterator[None]:
        with mock.patch.object(time, "time", return_value=self.wall):
            yield

    def run(self, hours: float) -> None:
        left = hours * HOUR
        while left > 0:
            step = min(left, 2 * TICK_SECONDS)
            self.steady += step
            self.wall += step
            left -= step
            self.unsaved += step
            self.time.tick()
            if self.unsaved >= SAVED_EVERY:
                self.prune()

    def prune(self) -> None:
        with self.clock():
            self.ages.remove_old(self.session, LIMIT)
        self.unsaved = 0.0

    def add(self) -> str:
        key = f"key {self.added}"
        self.added += 1
        [stamp] = self.ages.stamps(1)
        self.session.add(key, stamp)
        return key

    def restart(self, *, killed: bool, down_hours: float) -> None:
        if not killed:
            self.ages.save(self.session)
        self.steady += down_hours * HOUR
        self.wall += down_hours * HOUR
        self.start()


steps = st.one_of(
    st.tuples(st.just("run"), st.floats(0.1, 9)),
    st.tuples(st.just("stop"), st.floats(0, 400)),
    st.tuples(st.just("kill"), st.floats(0, 400)),
    st.tuples(st.just("jump"), st.floats(-40_000, 40_000)),
    st.tuples(st.just("add"), st.integers(1, 4)),
    st.tuples(st.just("prune"), st.none()),
)


@settings(max_examples=int(os.environ.get("CHRONODUCK_SOAK_EXAMPLES", "25")), deadline=None)
@given(st.lists(steps, min_size=3, max_size=25))
def test_a_key_lives_for_a_day_of_service_whatever_the_clocks_do(
    history: list[tuple[str, Any]],
) -> None:
    machine = Machine()
    ran: dict[str, float] = {}
    """Hours of service since each key was added, and how much of it kills may have hidden."""
    hidden: dict[str, float] = {}
    for what, amount in history:
        if what == "run":
            machine.run(amount)
            ran = {key: hours + amount for key, hours in ran.items()}
        elif what == "jump":
            machine.wall += amount * HOUR
        elif what == "add":
            for _ in range(amount):
                key = machine.add()
                ran[key] = hidden[key] = 0.0
        elif what == "prune":
            machine.prune()
        else:
            if what == "kill":
                hidden = {key: hours + machine.unsaved / HOUR for key, hours in hidden.items()}
            machine.restart(killed=what == "kill", down_hours=amount)
    machine.prune()
    day, slack = KEPT_SECONDS / HOUR, 0.05
    there = machine.session.keys()
    newest = list(ran)[-LIMIT:]
    must = [key for key in newest if ran[key] < day - slack]
    may = [key for key in newest if ran[key] - hidden[key] < day + slack]
    assert [key for key in there if key in must] == must, "a key is gone before its day is over"
    assert set(there) <= set(may), "a key is kept for longer than a day of service"


def test_a_machine_that_sleeps_for_days_ages_nothing() -> None:
    machine = Machine()
    key = machine.add()
    machine.steady += 30 * 24 * HOUR
    machine.time.tick()
    machine.prune()
    assert machine.session.keys() == [key]


def test_keys_of_a_version_that_believed_the_clock_start_their_day_in_their_order() -> None:
    """Some of them may be stamped by a clock that jumped, and nobody knows which."""
    machine = Machine()
    machine.session.execute("DROP TABLE _chronoduck.service_time")
    day = 86_400_000_000
    for name, at in (("a", 5 * day), ("b", 1 * day), ("c", 900_000 * day // 1000)):
        machine.session.add(name, at)
    machine.start()
    machine.run(23)
    assert machine.session.keys() == ["b", "a", "c"]
    machine.run(2)
    assert machine.session.keys() == []


def test_a_step_back_to_such_a_version_and_forth_forgets_nothing() -> None:
    machine = Machine()
    ours = machine.add()
    machine.restart(killed=False, down_hours=1)
    machine.session.add("of the older version", int((machine.wall + 90 * 86_400) * 1e6))
    machine.restart(killed=False, down_hours=1)
    machine.prune()
    assert machine.session.keys() == [ours, "of the older version"]
    newest = machine.add()
    assert machine.session.keys()[-1] == newest


def test_a_kill_right_after_a_key_gives_no_two_keys_one_age() -> None:
    """The limit would then remove both for one."""
    machine = Machine()
    for _ in range(LIMIT + 1):
        machine.add()
        machine.restart(killed=True, down_hours=0)
    machine.prune()
    assert machine.session.keys() == [f"key {number}" for number in range(1, LIMIT + 1)]


@pytest.mark.parametrize("count", [LIMIT, LIMIT + 1, 5 * LIMIT])
def test_of_keys_that_came_together_the_last_ones_stay(count: int) -> None:
    machine = Machine()
    for number, stamp in enumerate(machine.ages.stamps(count)):
        machine.session.add(str(number), stamp)
    _, early = machine.ages.remove_old(machine.session, LIMIT)
    assert machine.session.keys() == [str(number) for number in range(count)][-LIMIT:]
    assert early is (count > LIMIT)
