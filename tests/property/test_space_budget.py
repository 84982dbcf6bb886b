"""Budgets of disk space under random work: what is claimed is what is on the disk, never too much."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chronoduck.errors import DuckDBException, StatementCancelledError
from chronoduck.resilience.space_budget import SpaceBudget, SpaceClaim
from chronoduck.storage.counted_file import CountedFile

TOTAL, SHARE = 1000, 0.6
OWNERS = ("ann", "bob", "eve")
picks = st.integers(0, 30)


class _FullError(DuckDBException):
    """The budget has no more."""


class BudgetMachine(RuleBasedStateMachine):
    """The model is the directory itself: files of each owner, written and removed by real calls."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.limit = TOTAL * 10
        self.count = 0
        self.begin()

    def begin(self) -> None:
        """Start as a process does: count what the one before left."""
        self.budget = SpaceBudget(
            TOTAL, lambda of_owner: _FullError(str(of_owner)), share=SHARE, check_volume=self.check
        )
        self.writing: list[tuple[Path, CountedFile, SpaceClaim]] = []
        self.kept: list[tuple[Path, SpaceClaim]] = []
        self.stale: list[SpaceClaim] = []
        for path in sorted(self.directory.iterdir()):
            claim = self.budget.claim(path.name.split("-")[0])
            claim.hold(path.stat().st_size)
            self.kept.append((path, claim))

    def on_disk(self, owner: str = "") -> int:
        return sum(each.stat().st_size for each in self.directory.glob(f"{owner}*"))

    def check(self, count: int) -> None:
        if self.on_disk() + count > self.limit:
            raise _FullError("the volume's floor")

    @rule(owner=st.sampled_from(OWNERS))
    def start(self, owner: str) -> None:
        self.count += 1
        path = self.directory / f"{owner}-{self.count}"
        claim = self.budget.claim(owner)
        self.writing.append((path, CountedFile(path, claim), claim))

    @precondition(lambda self: self.writing)
    @rule(pick=picks, size=st.integers(1, 700))
    def write(self, pick: int, size: int) -> None:
        path, file, claim = self.writing[pick % len(self.writing)]
        before = path.stat().st_size
        fits = (
            self.on_disk() + size <= min(TOTAL, self.limit)
            and self.on_disk(claim.owner) + size <= TOTAL * SHARE
        )
        try:
            file.write(b"x" * size)
        except _FullError:
            assert not fits
            assert path.stat().st_size == before
        else:
            assert fits
            assert path.stat().st_size == before + size

    @precondition(lambda self: self.writing)
    @rule(pick=picks)
    def finish(self, pick: int) -> None:
        path, file, claim = self.writing.pop(pick % len(self.writing))
        with file:
            pass
        self.kept.append((path, claim))

    @precondition(lambda self: self.writing)
    @rule(pick=picks, again=st.booleans())
    def cancel(self, pick: int, again: bool) -> None:
        """The caller leaves; the thread that writes for it may come once more."""
        path, file, claim = self.writing.pop(pick % len(self.writing))
        path.unlink()
        claim.release()
        with file, pytest.raises((StatementCancelledError, _FullError)):
            file.write(b"x")
        if again:
            claim.release()

    @precondition(lambda self: self.kept)
    @rule(pick=picks)
    def remove(self, pick: int) -> None:
        path, claim = self.kept.pop(pick % len(self.kept))
        path.unlink()
        claim.release()

    @rule(limit=st.integers(0, TOTAL * 2))
    def fill_the_volume(self, limit: int) -> None:
        """Others take space, or give it back."""
        self.limit = limit

    @rule()
    def crash(self) -> None:
        for _, file, _ in self.writing:
            with file:
                pass
        self.begin()

    @invariant()
    def what_is_claimed_is_on_the_disk(self) -> None:
        assert self.budget.used_bytes == self.on_disk() <= TOTAL
        for owner in OWNERS:
            assert self.budget.used_by(owner) == self.on_disk(owner) <= TOTAL * SHARE

    def teardown(self) -> None:
        for _, file, _ in self.writing:
            with file:
                pass
        shutil.rmtree(self.directory)


TestBudgets = BudgetMachine.TestCase
TestBudgets.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
