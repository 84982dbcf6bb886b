"""The shadow's verdicts on a real database that is written meanwhile, with real and injected faults."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path

import duckdb
import pytest

from chronoduck.engine.proving import Absence, Verdict, WalPosition
from chronoduck.settings import Settings
from chronoduck.settings.groups import ShadowSettings
from chronoduck.shadow.link import ShadowLink
from chronoduck.shadow.messages import Orders
from tests.broken_index import broken_index_database
from tests.fault.volumes import small_volume
from tests.patience import PATIENCE_SECONDS
from tests.shadow.live import LiveDatabase, append_rejected_entry

SECONDS = PATIENCE_SECONDS
FAULTY = Path(__file__).with_name("faulty_shadow.py")
OLD = pytest.mark.skipif(
    not duckdb.__version__.startswith("1.5."), reason="DuckDB 1.5 has this bug"
)


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(shadow=ShadowSettings(enabled=True, cpu_percent=100), disk_floor=0)


@pytest.fixture
def live(settings: Settings) -> Iterator[LiveDatabase]:
    database = LiveDatabase(settings.database_path)
    database.run("CREATE TABLE t (a BIGINT PRIMARY KEY, v VARCHAR)", "CHECKPOINT")
    yield database
    database.close()


@asynccontextmanager
async def shadow(
    settings: Settings, fault: str = "", levels: list[tuple[str, WalPosition]] | None = None
) -> AsyncIterator[ShadowLink]:
    command = [sys.executable, str(FAULTY), fault] if fault else None
    link = ShadowLink(
        settings,
        on_level=lambda level, until: (levels if levels is not None else []).append((level, until)),
        **({"command": command} if command else {}),
    )
    link.begin()
    try:
        yield link
    finally:
        await link.stop()
        assert not settings.shadow_path.exists()


async def until(condition: Callable[[], bool], seconds: float = SECONDS) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


async def test_what_was_written_is_proven_and_both_levels_are_told(
    live: LiveDatabase, settings: Settings
) -> None:
    levels: list[tuple[str, WalPosition]] = []
    async with shadow(settings, levels=levels) as link:
        live.run("INSERT INTO t VALUES (1, 'x')", "ALTER TABLE t ADD COLUMN n INTEGER DEFAULT 7")
        wanted = live.position
        proof = await link.prove(wanted, SECONDS)
        assert (proof.verdict, proof.reason) == (Verdict.PROVEN, "")
        assert proof.until >= wanted
        assert {level for level, reached in levels if reached >= wanted} == {"replayed", "proven"}


async def test_the_copy_follows_checkpoints_bulk_rows_and_deletes(
    live: LiveDatabase, settings: Settings
) -> None:
    async with shadow(settings) as link:
        for step in range(4):
            live.run(
                f"INSERT INTO t SELECT i, md5(i::VARCHAR) FROM range({step * 150_000}, "
                f"{(step + 1) * 150_000}) r(i)",
                f"DELETE FROM t WHERE a % 7 = {step}",
                f"UPDATE t SET v = 'u' WHERE a % 1000 = {step}",
            )
            if step % 2:
                live.run("CHECKPOINT", f"INSERT INTO t VALUES (-{step}, 'after')")
            assert (await link.prove(live.position, SECONDS)).verdict is Verdict.PROVEN
        assert link.status.failures == 0


async def test_requests_that_wait_together_share_one_proof(
    live: LiveDatabase, settings: Settings
) -> None:
    async with shadow(settings) as link:
        await until(lambda: link.status.proven is not None)
        before = link.status.attempts
        positions = []
        for number in range(20):
            live.run(f"CREATE TABLE n{number} (a INTEGER DEFAULT 3)")
            positions.append(live.position)
        proofs = await asyncio.gather(*(link.prove(each, SECONDS) for each in positions))
        assert {proof.verdict for proof in proofs} == {Verdict.PROVEN}
        # One may have begun by itself after the first statement.
        assert link.status.attempts - before <= 3


async def test_a_checkpoint_made_meanwhile_counts_as_proof(
    live: LiveDatabase, settings: Settings
) -> None:
    async with shadow(settings) as link:
        live.run("INSERT INTO t VALUES (1, 'x')")
        old = live.position
        live.run("CHECKPOINT")
        assert (await link.prove(old, SECONDS)).verdict is Verdict.PROVEN


async def test_a_wal_entry_that_replay_rejects_is_refuted_until_a_checkpoint(
    live: LiveDatabase, settings: Settings, tmp_path: Path
) -> None:
    async with shadow(settings) as link:
        live.run("INSERT INTO t VALUES (1, 'x')")
        append_rejected_entry(live.wal, tmp_path)
        live.run("INSERT INTO t VALUES (2, 'x')")
        proof = await link.prove(live.position, SECONDS)
        assert proof.verdict is Verdict.REFUTED
        assert "failed while opening it" in proof.reason
        await until(lambda: link.status.verdict == "refuted")
        live.run("CHECKPOINT")
        await until(lambda: link.status.verdict == "proven")
        assert link.status.refuted is None


async def test_transactions_that_a_start_would_drop_without_a_word_are_refuted(
    live: LiveDatabase, settings: Settings
) -> None:
    async with shadow(settings) as link:
        live.run("INSERT INTO t VALUES (1, 'x')")
        assert (await link.prove(live.position, SECONDS)).verdict is Verdict.PROVEN
        flipped = live.position.offset
        live.run("INSERT INTO t VALUES (2, 'x')", "INSERT INTO t VALUES (3, 'x')")
        with live.wal.open("r+b") as file:
            file.seek(flipped)
            size = file.read(1)[0]
            file.seek(flipped)
            file.write(bytes([size ^ 0x40]))  # a length that leads nowhere: DuckDB stops there
        await until(lambda: link.status.verdict == "refuted")
        assert "would drop at least" in link.status.reason
        live.run("CHECKPOINT")
        await until(lambda: link.status.verdict == "proven")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("crash", "SIGSEGV"),
        pytest.param("spin", "did not end within", marks=pytest.mark.slow),
        pytest.param("sleep", "has waited for nothing", marks=pytest.mark.slow),
    ],
)
async def test_a_replay_that_crashes_or_hangs_is_refuted(
    live: LiveDatabase, settings: Settings, fault: str, words: str
) -> None:
    async with shadow(settings, fault) as link:
        proof = await link.prove(live.position, 120.0)
        assert proof.verdict is Verdict.REFUTED
        assert words in proof.reason


@pytest.mark.parametrize("fault", ["starve", "killed"])
async def test_a_replay_without_memory_says_nothing_about_the_wal(
    live: LiveDatabase, settings: Settings, fault: str
) -> None:
    async with shadow(settings, fault) as link:
        proof = await link.prove(live.position, SECONDS)
        assert proof.verdict is Verdict.NOT_JUDGED
        assert proof.reason


async def test_an_index_that_answers_wrongly_is_refuted(settings: Settings) -> None:
    settings.database_path.parent.mkdir(parents=True)
    broken_index_database(settings.database_path)
    live = LiveDatabase(settings.database_path)
    async with shadow(settings) as link:
        live.run("INSERT INTO t VALUES (100000)")
        proof = await link.prove(live.position, SECONDS)
        assert proof.verdict is Verdict.REFUTED
        assert "t_k" in proof.reason
    live.close()


@OLD
@pytest.mark.parametrize(
    "statements",
    [
        (
            "CREATE TABLE b (a INTEGER, made TIMESTAMP DEFAULT now())",
            "CHECKPOINT",
            "ALTER TABLE b ADD COLUMN n INTEGER",
        ),
        (
            "CREATE TABLE b (k BIGINT, v VARCHAR)",
            "INSERT INTO b SELECT i, 'x' FROM range(500) r(i)",
            "CREATE INDEX i ON b (k)",
            "CHECKPOINT",
            "INSERT INTO b VALUES (5500016500, 'x'), (5501016503, 'y')",
            "INSERT INTO b SELECT (i + 58000) * 1000003, 'y' FROM range(125000) r(i)",
        ),
        (
            "CREATE TABLE b (k BIGINT, v VARCHAR)",
            "CREATE INDEX i ON b (v)",
            "CHECKPOINT",
            "INSERT INTO b VALUES (1, 'a')",
            "INSERT INTO b SELECT i, 'x' || i FROM range(10, 125010) r(i)",
        ),
    ],
    ids=["rejects", "answers-wrongly", "crashes"],
)
async def test_bugs_of_the_engine_are_refuted(
    live: LiveDatabase, settings: Settings, statements: tuple[str, ...]
) -> None:
    async with shadow(settings) as link:
        live.run(*statements)
        assert (await link.prove(live.position, SECONDS)).verdict is Verdict.REFUTED
        live.run("CHECKPOINT")
        await until(lambda: link.status.verdict == "proven")


async def test_a_shadow_that_is_killed_is_started_again_and_answers_who_waited(
    live: LiveDatabase, settings: Settings
) -> None:
    async with shadow(settings) as link:
        await until(lambda: link.status.proven is not None)
        for _ in range(3):
            assert link.pid is not None
            os.kill(link.pid, signal.SIGKILL)
            live.run("CREATE OR REPLACE TABLE again (a INTEGER)")
            assert (await link.prove(live.position, SECONDS)).verdict is Verdict.PROVEN
        assert link.restarts == 3


@pytest.mark.slow
async def test_a_shadow_that_is_stopped_or_hangs_is_replaced(
    live: LiveDatabase, settings: Settings
) -> None:
    link = ShadowLink(settings, silent_seconds=12)
    link.begin()
    try:
        await until(lambda: link.status.proven is not None)
        stopped = link.pid
        assert stopped is not None
        os.kill(stopped, signal.SIGSTOP)
        live.run("CREATE OR REPLACE TABLE again (a INTEGER)")
        assert (await link.prove(live.position, SECONDS)).verdict is Verdict.PROVEN
        assert link.pid != stopped
        assert link.restarts == 1
    finally:
        await link.stop()


@pytest.mark.slow
def test_a_shadow_tells_that_it_lives_although_there_is_nothing_to_do(tmp_path: Path) -> None:
    orders = Orders(str(tmp_path / "none.db"), str(tmp_path / "shadow"), 10**8, 0.05, 0)
    with subprocess.Popen(
        [sys.executable, "-m", "chronoduck.shadow"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(asdict(orders)).encode() + b"\n")
        process.stdin.flush()
        end = threading.Timer(SECONDS, process.kill)
        end.start()
        told = [json.loads(process.stdout.readline()) for _ in range(2)]
        end.cancel()
        process.stdin.write(b'{"kind": "stop"}\n')
        process.stdin.flush()
    assert told == [{"kind": "alive"}] * 2
    assert process.returncode == 0


async def test_without_space_the_copy_goes_and_nothing_is_judged(
    live: LiveDatabase, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(shadow=ShadowSettings(enabled=True), disk_floor="900TB")
    async with shadow(settings) as link:
        await until(lambda: link.status.state == "no_space")
        proof = await link.prove(live.position, SECONDS)
        assert (proof.verdict, proof.absence) == (Verdict.NOT_JUDGED, Absence.OFF)
        assert not (settings.shadow_path / live.path.name).exists()


async def test_an_attempt_on_a_full_volume_says_nothing_about_the_wal(
    live: LiveDatabase, make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    live.run("INSERT INTO t SELECT range, md5(range::VARCHAR) FROM range(300000)", "CHECKPOINT")
    with small_volume(tmp_path / "small", 24) as volume:
        settings = make_settings(
            shadow=ShadowSettings(enabled=True, dir=volume, cpu_percent=100), disk_floor=0
        )
        async with shadow(settings) as link:
            for step in range(4):
                live.run(f"UPDATE t SET v = v || 'abcdefgh{step}'")
                proof = await link.prove(live.position, SECONDS)
                assert proof.verdict is not Verdict.REFUTED, proof.reason
            assert link.status.verdict == "not_judged", link.status


async def test_another_file_in_the_same_place_is_judged_anew(
    live: LiveDatabase, settings: Settings
) -> None:
    async with shadow(settings) as link:
        for number in range(5):
            live.run(f"INSERT INTO t VALUES ({number}, 'x')", "CHECKPOINT")
        await until(lambda: link.status.proven is not None and link.status.proven.iteration > 4)
        before = link.status.attempts
        live.close()
        for path in (live.path, live.wal):
            path.unlink(missing_ok=True)
        other = LiveDatabase(settings.database_path)
        other.run("CREATE TABLE b (a INTEGER)", "CHECKPOINT", "INSERT INTO b VALUES (1)")
        assert other.position.iteration < 4
        assert (await link.prove(other.position, SECONDS)).verdict is Verdict.PROVEN
        assert link.status.attempts > before, "the proof was one of the other file"
        other.close()


async def test_a_directory_that_no_shadow_made_is_left_alone(
    live: LiveDatabase, settings: Settings
) -> None:
    kept = settings.shadow_path / "mine.txt"
    kept.parent.mkdir()
    kept.write_text("mine")
    link = ShadowLink(settings)
    link.begin()
    await until(lambda: link.restarts > 1)
    assert link.status.state == "failing"
    await link.stop()
    assert kept.read_text() == "mine"


async def test_the_copy_is_for_nobody_else_and_goes_when_the_service_dies(
    live: LiveDatabase, settings: Settings
) -> None:
    link = ShadowLink(settings)
    link.begin()
    await until(lambda: link.status.proven is not None)
    assert settings.shadow_path.stat().st_mode & 0o777 == 0o700
    pid = link.pid
    assert Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "1000"
    assert link._process is not None
    assert link._process.stdin is not None
    link._is_stopping = True
    link._process.stdin.close()  # as the end of the service's process does
    await until(lambda: not settings.shadow_path.exists())
    await link.stop()


async def test_a_proof_that_takes_too_long_is_no_proof(
    live: LiveDatabase, settings: Settings
) -> None:
    async with shadow(settings, "sleep") as link:
        started = time.monotonic()
        proof = await link.prove(live.position, 0.3)
        assert (proof.verdict, proof.absence) == (Verdict.NOT_JUDGED, None)
        assert time.monotonic() - started < SECONDS


async def test_who_waits_while_the_service_stops_is_told_that_and_not_that_it_is_off(
    live: LiveDatabase, settings: Settings
) -> None:
    async with shadow(settings, "sleep") as link:
        waits = asyncio.create_task(link.prove(live.position, SECONDS))
        await asyncio.sleep(0.1)
        await link.stop()
        for proof in (await waits, await link.prove(live.position, SECONDS)):
            assert (proof.verdict, proof.absence) == (Verdict.NOT_JUDGED, Absence.STOPPING)


async def test_a_proof_that_nobody_waits_for_any_more_is_not_tried_for(
    live: LiveDatabase, settings: Settings
) -> None:
    """Its place may never come: DuckDB cuts a commit off that failed, and files are replaced."""
    async with shadow(settings) as link:
        live.run("INSERT INTO t VALUES (1, 'x')")
        await until(lambda: link.status.proven is not None)
        nowhere = WalPosition(live.position.iteration + 5, 10**9)
        assert (await link.prove(nowhere, 1.0)).verdict is Verdict.NOT_JUDGED
        # A shadow that tries it reports after each attempt; one that is idle reports the same again.
        reports = [link.status]

        def is_idle() -> bool:
            if link.status is not reports[-1]:
                reports.append(link.status)
            return len(reports) > 1 and reports[-2].attempts == reports[-1].attempts

        await until(is_idle, 30.0)


async def test_a_service_that_stops_does_not_wait_for_a_shadow_that_died(
    settings: Settings,
) -> None:
    link = ShadowLink(settings, command=["/bin/false"])
    link.begin()
    await until(lambda: link.restarts >= 3)  # the next pause is one of seconds
    await link.stop()
    assert link._task is not None
    assert not link._task.cancelled()  # it ended by itself, before stop() lost its patience
    assert link.restarts == 3
