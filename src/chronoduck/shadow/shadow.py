"""The shadow itself: follows the files, and decides what is tried on the copy and when."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from chronoduck.engine.disk_format import WalDamage
from chronoduck.engine.file_damage import Damage, confirm
from chronoduck.engine.replay_check import FAILURES, Case, judge
from chronoduck.errors import DatabaseFormatError
from chronoduck.shadow.attempt import Attempt, Limits, Outcome, free_bytes, run_attempt
from chronoduck.shadow.budget import Budget
from chronoduck.shadow.commands import Commands
from chronoduck.shadow.generation import Generation, LiveFiles
from chronoduck.shadow.messages import Mark, Orders, ShadowState
from chronoduck.shadow.private_copy import PrivateCopy
from chronoduck.shadow.report import Emit, Report

__all__ = ["Shadow"]

Judge = Callable[[Case, Callable[[str], None]], dict[str, Any]]

_IDLE_SECONDS = 0.5
_BUSY_SECONDS = 0.02
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_NO_SPACE_SECONDS = 2.0
_FLOORS = 2
"""So many floors stay free on the volume of the database: below that, writers are stopped."""
_TAIL_OVERDRAFT = 1.0
"""CPU seconds that the last proof of a generation may borrow: there is no second chance for it."""
_CHEAP_PROOF_SECONDS = 8.0
"""When the budget allows a proof so often, every attempt is one; else most only replay."""
_LATEST_PROOF_SECONDS = 60.0
_LATE_SECONDS = 5.0
"""A verdict that is this old is tried at normal priority: a busy machine would starve the attempt."""
_AGAIN_SECONDS = 60.0
"""How often a state that was refuted, or could not be judged, is tried again by itself."""
_SHARE_OF_MEMORY = 0.7
"""Of the memory, for DuckDB in the child; the rest is Python, and what DuckDB does not count."""


class Shadow:
    """Runs in one thread, in a process of its own; ``run`` ends by ``StopRequestedError``."""

    def __init__(
        self, orders: Orders, commands: Commands, emit: Emit, judge: Judge = judge
    ) -> None:
        """``judge`` is what children do; tests put faults in its place that DuckDB is not known for."""
        self._orders = orders
        self._commands = commands
        self._judge_case = judge
        self._live = LiveFiles(Path(orders.database))
        self._copy = PrivateCopy(Path(orders.database), Path(orders.directory))
        self._can_clone = self._copy.can_clone_from(Path(orders.database))
        self._kept_bytes = orders.floor_bytes * (_FLOORS if self._shares_volume() else 1)
        self._budget = Budget(orders.cpu_share, time.monotonic(), _cpu_seconds())
        self._generation: Generation | None = None
        self._must_prove = True
        """Whether a proof is due although no transaction is new."""
        self._not_before = 0.0
        """No attempt without a request before this time, after one that did not pass."""
        self._proof_cpu = 0.0
        self._proved_at = -_LATEST_PROOF_SECONDS
        self._whole: tuple[bytes, int] = (b"", 0)
        """Headers and size of the file when it was seen to have all its blocks."""
        self._read_us = 0
        """When the WAL was read last."""
        self._report = Report(commands, emit, self._cpu_share)
        self.status = self._report.status

    def run(self) -> None:
        """Work until the service sends "stop" or dies; then delete the copy."""
        try:
            while True:
                self._commands.wait(None, self._step())
        finally:
            self._copy.remove()

    # --- one step -----------------------------------------------------------------------------

    def _step(self) -> float:
        """Do what is due; return the seconds until the next step."""
        self._note_cpu()
        if not self._live.reopen():
            self._begin_again()
        if self._live.file is None:
            return _IDLE_SECONDS
        if not self._has_space():
            self._give_up("the volume has no space for the copy", ShadowState.NO_SPACE)
            return _NO_SPACE_SECONDS
        try:
            return self._follow()
        except DatabaseFormatError as error:
            self._give_up(error.detail, ShadowState.FOLLOWING)
            return _IDLE_SECONDS
        except OSError as error:
            if error.errno not in _NO_SPACE:
                raise
            self._give_up("the volume of the copy is full", ShadowState.NO_SPACE)
            return _NO_SPACE_SECONDS

    def _follow(self) -> float:
        generation = self._current()
        if generation is None:
            return _BUSY_SECONDS
        if damage := self._missing(generation):
            self._report.note_damage(damage)
            return _NO_SPACE_SECONDS
        is_recent = self._not_before > time.monotonic()
        self._report.answer_settled(generation.iteration, is_refutation_recent=is_recent)
        if self._commands.requests:
            self._judge(generation, is_proof=True, is_background=False)
            return 0.0
        return self._work_by_itself(generation)

    def _begin_again(self) -> None:
        """Forget everything: the file is another one, whose checkpoints count from anywhere."""
        self._leave(None)
        self._copy.forget()
        status = self.status
        status.replayed = status.proven = status.refuted = None
        status.file_damage, status.damaged_blocks = "", 0
        self._must_prove, self._not_before = True, 0.0

    def _current(self) -> Generation | None:
        """Return the generation of the live files; None while a checkpoint is under way."""
        generation = self._generation
        if generation is not None and not self._live.is_same(generation):
            following = self._live.begin(generation)
            if following is None:
                return None
            self._prove_tail(generation)
            self._leave(following)
            self._must_prove = self._must_prove or self.status.refuted is not None
            self._not_before = 0.0
        elif generation is None:
            self._leave(self._live.begin(None))
        elif not self._live.follow_wal(generation):
            self._leave(None)  # a commit whose sync failed was cut off, or another WAL came
            self._copy.cut_wal()
            self.status.replayed = self.status.proven = None
        return self._generation

    def _leave(self, following: Generation | None) -> None:
        if self._generation is not None:
            self._generation.close()
        self._generation = following
        self._copy.cut_wal()

    def _shares_volume(self) -> bool:
        directory = Path(self._orders.database).parent
        return directory.stat().st_dev == self._copy.directory.stat().st_dev

    def _has_space(self) -> bool:
        assert self._live.file is not None  # noqa: S101 - the caller looked
        missing = 0 if self._can_clone else self._copy.missing_bytes(self._live.file)
        # A little more than it takes, so that the copy does not come and go.
        return free_bytes(self._copy.directory) >= self._kept_bytes + missing + missing // 10

    def _give_up(self, reason: str, state: ShadowState) -> None:
        if state is ShadowState.NO_SPACE:
            self._copy.drop()
        self._report.give_up(state, reason)

    def _missing(self, generation: Generation) -> Damage:
        """Return the damage of a file that ends before its last block in use."""
        file = self._live.file
        assert file is not None  # noqa: S101 - the caller looked
        seen = (generation.headers, file.size())
        if seen == self._whole:
            return Damage()
        damage = confirm("", file)
        if not damage:
            self._whole = seen
        return damage

    # --- what is tried ------------------------------------------------------------------------

    def _work_by_itself(self, generation: Generation) -> float:
        now = time.monotonic()
        seen = self.status.replayed
        is_new = (
            generation.has_more
            or seen is None
            or (seen.iteration, seen.offset) < (generation.iteration, generation.offset)
        )
        if not (self._must_prove or (is_new and (generation.has_more or generation.commits))):
            self._report.follow_time()
            return _IDLE_SECONDS
        wait = max(self._budget.seconds_until_free(), self._not_before - now)
        if wait > 0 and not (self.status.refuted and self._must_prove and self._not_before <= now):
            return min(wait, _IDLE_SECONDS)
        is_late = seen is not None and time.time() - seen.time_us / 1e6 > _LATE_SECONDS
        is_cheap = self._proof_cpu <= _CHEAP_PROOF_SECONDS * self._orders.cpu_share
        is_proof = (
            self._must_prove
            or (is_cheap and not is_late)
            or now - self._proved_at > _LATEST_PROOF_SECONDS
        )
        is_background = self.status.refuted is None and not is_late
        self._judge(generation, is_proof=is_proof, is_background=is_background)
        return 0.0

    def _judge(self, generation: Generation, *, is_proof: bool, is_background: bool) -> None:
        started, cpu = time.monotonic(), _cpu_seconds()
        found = self._try(generation, is_proof=is_proof, is_background=is_background)
        if found is None:
            return  # a checkpoint came first
        attempt, mark = found
        if attempt.outcome is Outcome.FAILED:
            # The budget does not delay the second try, and no block of the first copy is trusted.
            found = self._try(generation, is_proof=is_proof, is_background=False)
            if found is None:
                return
            attempt, mark = found
        if attempt.outcome is Outcome.FAILED and self._blames_file(attempt):
            return
        if is_proof and attempt.outcome is Outcome.PASSED:
            self._sync(generation, is_background=is_background)  # ready for the next
            self._proof_cpu = _cpu_seconds() - cpu
            self._proved_at = time.monotonic()
            self.status.proof_seconds = round(time.monotonic() - started, 3)
        self._conclude(attempt, mark, is_proof=is_proof)

    def _blames_file(self, attempt: Attempt) -> bool:
        """Whether the attempt failed because the database file itself is damaged, which is reported."""
        file = self._live.file
        damage = Damage() if file is None else confirm(attempt.reason, file)
        if damage:
            self._not_before = time.monotonic() + _AGAIN_SECONDS
            self._must_prove = True
            self._report.note_damage(damage)
        return bool(damage)

    def _try(
        self, generation: Generation, *, is_proof: bool, is_background: bool
    ) -> tuple[Attempt, Mark] | None:
        """Make one attempt; None when a checkpoint was made before the copy was whole."""
        if not self._sync(generation, is_background=is_background):
            return None
        mark = self._mark(generation)
        damage = generation.wal.damage() if generation.wal is not None else None
        if damage is not None:
            return Attempt(Outcome.FAILED, "reading the WAL", _describe(damage)), mark
        attempt = self._run_child(
            generation, is_proof=is_proof, is_background=is_background, mark=mark
        )
        if attempt.outcome is not Outcome.PASSED:
            self._copy.forget()
        elif is_proof:
            self._copy.note_written()
        return attempt, mark

    def _mark(self, generation: Generation) -> Mark:
        return Mark(
            generation.iteration,
            generation.offset,
            generation.commits,
            self._read_us,
        )

    def _run_child(
        self, generation: Generation, *, is_proof: bool, is_background: bool, mark: Mark
    ) -> Attempt:
        wal = generation.wal
        memory = self._orders.memory_bytes
        case = Case(
            self._copy.path,
            wal_bytes=mark.offset if mark.commits else 0,
            names=(wal.names if wal.names_are_complete else None) if wal is not None else (),
            is_proof=is_proof,
            memory_bytes=int(memory * _SHARE_OF_MEMORY),
        )
        seconds = _patience(mark, self._copy.size)
        limits = Limits(memory, seconds, 10 * seconds, is_background, self._kept_bytes)
        self.status.attempts += 1
        attempt = run_attempt(
            partial(self._judge_case, case),
            limits,
            self._commands.wait,
            FAILURES,
            self._copy.directory,
        )
        self._note_cpu()
        return attempt

    def _sync(self, generation: Generation, *, is_background: bool) -> bool:
        """Bring the copy up to date: WAL first, then blocks, then the headers; False: start again."""
        copy, wal, file = self._copy, generation.wal, self._live.file
        assert file is not None  # noqa: S101 - the caller looked
        if self.status.state != ShadowState.FOLLOWING or not copy.size:
            self.status.state = ShadowState.COPYING
            self._report.emit_status()
        self._read_us = time.time_ns() // 1000
        if wal is not None:
            if not copy.continue_wal(wal):
                return False
            if wal.needs_blocks:
                copy.look_again()
            wal.needs_blocks = False
        for _ in copy.copy_blocks(file):
            if not self._has_space():  # others write to the volume, too
                raise OSError(errno.ENOSPC, "the copy would take what must stay free")
            self._rest(is_background=is_background)
        if not self._live.is_same(generation):
            return False
        copy.write_headers(generation.headers)
        self.status.state = ShadowState.FOLLOWING
        self.status.copy_bytes = copy.size
        return True

    def _rest(self, *, is_background: bool) -> None:
        """Sleep between slices of the copy, for the budget; a request for a proof ends the sleep."""
        self._note_cpu()
        wait = self._budget.seconds_until_free() if is_background else 0.0
        end = time.monotonic() + wait
        self._commands.wait(None, 0.0)
        while not self._commands.requests and (left := end - time.monotonic()) > 0:
            self._commands.wait(None, left)

    def _prove_tail(self, generation: Generation) -> None:
        """Prove what was committed between the last look and the checkpoint, if it can still be."""
        wal, status = generation.wal, self.status
        if wal is None or not self._live.file:
            return
        self._read_us = time.time_ns() // 1000
        copied = self._copy.wal_offset
        while wal.advance():
            pass
        proven = status.proven
        position = (generation.iteration, wal.cursor.offset)
        if not wal.cursor.commits or (proven and (proven.iteration, proven.offset) >= position):
            return
        is_possible = (
            self._copy.is_pristine
            and self._copy.headers == generation.headers
            and copied > 0
            and not wal.needs_blocks
            and status.refuted is None
            and self._budget.seconds_until_free(_TAIL_OVERDRAFT) == 0
        )
        if not is_possible or not self._copy.continue_wal(wal):
            status.unproven_tails += 1
            return
        mark = self._mark(generation)
        attempt = self._run_child(generation, is_proof=True, is_background=True, mark=mark)
        if attempt.outcome is Outcome.PASSED:
            self._copy.note_written()
            self._proof_cpu, self._proved_at = attempt.cpu_seconds, time.monotonic()
            self._conclude(attempt, mark, is_proof=True)
        else:
            # The checkpoint has taken these transactions into the file: they are no danger any more.
            self._copy.forget()
            status.failures += 1
            status.unproven_tails += 1

    def _conclude(self, attempt: Attempt, mark: Mark, *, is_proof: bool) -> None:
        if attempt.outcome is Outcome.PASSED:
            self._must_prove = self._must_prove and not is_proof
        else:
            self._not_before = time.monotonic() + _AGAIN_SECONDS
            self._must_prove = self._must_prove or attempt.outcome is Outcome.FAILED
        self._report.conclude(attempt, mark, is_proof=is_proof)

    def _note_cpu(self) -> None:
        self._budget.note(time.monotonic(), _cpu_seconds())

    def _cpu_share(self) -> float:
        self._note_cpu()
        return round(self._budget.used_share, 4)


def _describe(damage: WalDamage) -> str:
    return (
        f"at byte {damage.offset:,} it is not what was written, and a start would drop at least "
        f"{damage.lost_commits:,} transactions behind it"
    )


def _cpu_seconds() -> float:
    """Return what this process and its children that ended have used."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _patience(mark: Mark, file_bytes: int) -> float:
    """Return CPU seconds after which an attempt has no end: five times what a slow replay takes."""
    replay = 75e-6 * mark.commits + 3e-7 * mark.offset
    return 5.0 + 5.0 * replay + 10.0 * file_bytes / 1e9
