"""Whatever is sent beside whom: crashers are boxed soon, and honest users never."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from chronoduck.resilience.penalty_box import PenaltyBox
from chronoduck.resilience.penalty_records import Suspect

SECONDS = 240
MOST_DEATHS = 9
"""Of one crasher within that time: 4 until it is alone, then one after each wait, which doubles."""


@dataclass
class Engine:
    """Statements in a process that dies of those of crashers, by the rules of the service."""

    dice: random.Random
    honest: int
    crashers: int
    has_fixed_texts: bool
    box: PenaltyBox = field(default_factory=PenaltyBox)
    now: float = 0.0
    deaths: dict[str, int] = field(default_factory=dict)
    texts: int = 0

    def text(self, party: str) -> str:
        """Return the shape of what a party sends next: one of a few, or one that nobody knows."""
        self.texts += 1
        if party.startswith("user") and self.has_fixed_texts:
            return f"shape{self.dice.randrange(3)}"
        return f"shape{self.texts}"

    def may_run(self, party: str, shape: str) -> bool:
        return self.box.penalty(self.now, party, lambda: shape) is None

    def is_alone(self, party: str, shape: str) -> bool:
        return self.box.must_run_alone(self.now, party, lambda: shape)

    def round(self) -> None:
        """Let everybody send something; some of it runs side by side, suspects one after the other."""
        self.now += 1.0
        parties = [f"user{n}" for n in range(self.honest)]
        parties += [f"crasher{n}" for n in range(self.crashers)]
        self.dice.shuffle(parties)
        sent = [(party, self.text(party)) for party in parties if self.dice.random() < 0.7]
        sent = [each for each in sent if self.may_run(*each)]
        alone = [each for each in sent if self.is_alone(*each)]
        for each in alone:
            if not self.run([each], set()):
                return
        # Long ones among those that were alone go on while others come in.
        proved = {each for each in alone if each[0].startswith("user") and self.dice.random() < 0.5}
        self.run([*proved, *(each for each in sent if each not in alone)], proved)

    def run(self, together: list[tuple[str, str]], proved: set[tuple[str, str]]) -> bool:
        """Run statements side by side; whether the process lives."""
        crashers = [party for party, _ in together if party.startswith("crasher")]
        if not crashers:
            for party, shape in together:
                self.box.note_survived(party, shape)
            return True
        for party in crashers:
            self.deaths[party] = self.deaths.get(party, 0) + 1
        suspects = [Suspect(*each, is_proved=each in proved) for each in together]
        for penalty in self.box.note_death(self.now, suspects):
            assert penalty.party.startswith("crasher"), penalty
        return False


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(1, 5),
    st.integers(1, 3),
    st.booleans(),
)
def test_crashers_are_boxed_and_honest_users_are_not(
    seed: int, honest: int, crashers: int, has_fixed_texts: bool
) -> None:
    engine = Engine(random.Random(seed), honest, crashers, has_fixed_texts)
    while engine.now < SECONDS:
        engine.round()
    assert all(count <= MOST_DEATHS for count in engine.deaths.values()), engine.deaths
