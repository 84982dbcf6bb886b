"""Quotas and penalties over restarts: what is in the file, and what a bad one does."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import pytest

from chronoduck.errors import PenaltyBoxError, QuotaExceededError
from chronoduck.principals import LOCAL, Limits, Principal, Role
from chronoduck.resilience.penalty_records import FaultKind
from chronoduck.service.penalties import Penalties
from chronoduck.service.quotas import Quotas
from chronoduck.service.records import Caller
from chronoduck.service.usage_file import UsageFile

LIMITS = Limits(requests_per_minute=3, engine_seconds_per_hour=10)
EVE = Principal("eve", Role.ANALYST, "key:eve", limits=LIMITS)


class Process:
    """What one process of the service knows, with clocks that the test moves."""

    def __init__(self, path: Path, wall: float, steady: float = 0.0) -> None:
        self.wall, self.steady = wall, steady
        self.quotas = Quotas(clock=lambda: self.steady)
        self.penalties = Penalties(clock=lambda: self.steady)
        self.file = UsageFile(
            path,
            self.quotas,
            self.penalties,
            clock=lambda: self.wall,
            steady=lambda: self.steady,
        )
        self.file.load()

    def pass_time(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "test.db.usage.json"


async def test_what_was_used_counts_on_after_a_restart(path: Path) -> None:
    before = Process(path, wall=1_000_000.0)
    account = before.quotas.account(EVE)
    account.count_request()
    before.pass_time(10)
    account.count_request()
    account.charge(7.0)
    await before.file.save()

    # 5 s later, with another steady clock.
    after = Process(path, wall=1_000_015.0, steady=77.0)
    account = after.quotas.account(EVE)
    account.count_request()
    with pytest.raises(QuotaExceededError) as caught:
        account.count_request()
    assert caught.value.retry_after_seconds == pytest.approx(45.0)  # the first one is 15 s old
    account.check_engine_time()
    account.charge(3.0)
    with pytest.raises(QuotaExceededError):
        account.check_engine_time()
    after.pass_time(3_600)
    account.check_engine_time()


async def test_what_runs_when_the_process_dies_is_charged_up_to_the_last_save(path: Path) -> None:
    class Statement:
        def interrupt(self, *_: object) -> None:
            raise AssertionError

    before = Process(path, wall=0.0)
    account = before.quotas.account(EVE)
    account.begin_step(Statement())
    before.pass_time(4)
    await before.file.save()
    before.pass_time(1)
    await before.file.save()  # nobody has asked for the account since: it grows by itself
    used = Process(path, wall=5.0).quotas.usage_of(EVE)["usage"]["engine_seconds"]["used"]
    assert used == pytest.approx(5.0)


async def test_who_waits_waits_on(path: Path) -> None:
    before = Process(path, wall=0.0)
    caller = Caller("eve", principal=EVE)
    before.penalties.note_fault(caller, "SELECT 1", FaultKind.FORCED_REPLACEMENT)
    await before.file.save()
    after = Process(path, wall=4.0, steady=500.0)
    with pytest.raises(PenaltyBoxError) as caught:
        after.penalties.check(caller, "SELECT 2")
    assert caught.value.retry_after_seconds == pytest.approx(11.0)
    assert after.penalties.describe()["waiting"][0]["name"] == "eve"
    after.pass_time(11.5)
    after.penalties.check(caller, "SELECT 2")


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: b"\x00" * len(data),
        lambda data: b"[1, 2]",
        lambda data: data.replace(b'"version":1', b'"version":9'),
        lambda data: data.replace(b'"parties"', b'"others"'),
        lambda data: data.replace(b"key:eve", b"\xff\xfe"),
        lambda data: data.replace(b"process_death", b"unknown_kind"),
    ],
)
async def test_a_damaged_file_forgets_and_stops_nothing(path: Path, damage: object) -> None:
    before = Process(path, wall=0.0)
    before.quotas.account(EVE).charge(10.0)
    before.penalties.note_fault(Caller("eve", principal=EVE), "SELECT 1", FaultKind.PROCESS_DEATH)
    await before.file.save()
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    after = Process(path, wall=1.0)
    after.penalties.check(Caller("eve", principal=EVE), "SELECT 1")
    after.quotas.account(EVE).count_request()
    await after.file.save()
    assert orjson.loads(path.read_bytes())["accounts"].keys() == {"key:eve"}


async def test_a_state_of_one_account_that_is_damaged_costs_that_one_alone(path: Path) -> None:
    before = Process(path, wall=0.0)
    for name in ("key:eve", "key:bob"):
        before.quotas.account(Principal(name, Role.ANALYST, name, limits=LIMITS)).charge(10.0)
    await before.file.save()
    told = orjson.loads(path.read_bytes())
    told["accounts"]["key:eve"][1] = ["x", 1]
    path.write_bytes(orjson.dumps(told))
    after = Process(path, wall=1.0)
    after.quotas.account(EVE).check_engine_time()
    bob = Principal("key:bob", Role.ANALYST, "key:bob", limits=LIMITS)
    with pytest.raises(QuotaExceededError):
        after.quotas.account(bob).check_engine_time()


async def test_nothing_is_written_while_nothing_changes_nor_for_this_process(path: Path) -> None:
    process = Process(path, wall=0.0)
    process.quotas.account(LOCAL).charge(1.0)
    await process.file.save()
    assert not path.exists()
    process.quotas.account(EVE).charge(1.0)
    await process.file.save()
    assert path.stat().st_mode & 0o777 == 0o600
    number = path.stat().st_ino
    await process.file.save()
    assert path.stat().st_ino == number


async def test_a_disk_that_takes_nothing_stops_nothing(tmp_path: Path) -> None:
    process = Process(tmp_path / "missing" / "usage.json", wall=0.0)
    process.quotas.account(EVE).charge(1.0)
    await process.file.save()
    process.quotas.account(EVE).charge(1.0)
    await process.file.save()


async def test_a_save_that_is_cancelled_anywhere_or_fails_is_made_up_for_by_the_next(
    path: Path,
) -> None:
    process = Process(path, wall=0.0)
    caller = Caller("eve", principal=EVE)

    async def one_round(step: int) -> None:
        process.quotas.account(EVE).charge(1.0)
        process.penalties.note_fault(caller, "SELECT 1", FaultKind.INTERNAL_ERROR)
        saving = asyncio.ensure_future(process.file.save())
        for _ in range(step):
            await asyncio.sleep(0)
        saving.cancel()
        await asyncio.wait([saving])

    for step in range(4):
        directory, moved = path.parent, path.parent.with_name(f"away-{step}")
        directory.rename(moved)  # nothing can be written
        await one_round(step)
        assert await process.file.save() is not None
        moved.rename(directory)
        await one_round(step)
        assert await process.file.save() is None
        after = Process(path, wall=0.0)
        engine = after.quotas.usage_of(EVE)["usage"]["engine_seconds"]["used"]
        assert engine == pytest.approx(2.0 * (step + 1))
        faults = {each["faults"] for each in after.penalties.describe()["waiting"]}
        assert max(faults) == 2 * (step + 1)


async def test_the_file_holds_the_principals_seen_last(path: Path) -> None:
    process = Process(path, wall=0.0)
    for number in range(1_200):
        name = f"key:{number}"
        process.quotas.account(Principal(name, Role.ANALYST, name, limits=LIMITS)).charge(1.0)
        if number % 100 == 0:
            await process.file.save()
    await process.file.save()
    accounts = orjson.loads(path.read_bytes())["accounts"]
    assert len(accounts) == 1_000
    assert "key:1199" in accounts
