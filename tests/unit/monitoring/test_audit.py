"""The audit trail: what is written, rotated, read page by page, verified."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from chronoduck.errors import (
    InvalidRequestError,
    QueueFullError,
    QuotaExceededError,
    SettingsError,
)
from chronoduck.monitoring.audit import AuditFilter, AuditReader, AuditTrail, verify_chain
from chronoduck.monitoring.audit.event import Act, act_fields
from chronoduck.monitoring.audit.files import compress, rotated_files
from chronoduck.monitoring.audit.folding import FailureFolding
from chronoduck.monitoring.audit.reading import moment
from chronoduck.principals import LOCAL, Principal, Role
from chronoduck.service.records import Caller, StatementRecord
from chronoduck.settings import AuditSettings
from chronoduck.sql.masking import mask_message

MakeTrail = Callable[..., AuditTrail]


def statement(sql: str = "SELECT 1", **changes: Any) -> StatementRecord:
    facts: dict[str, Any] = {
        "id": "1",
        "sql": sql,
        "kind": "select",
        "query_hash": "abc",
        "caller": Caller("python", "r-1", LOCAL, "10.0.0.7"),
        "outcome": "ok",
        "error_code": None,
        "ended_at": 1_790_000_000.1234,
        "execution_time": 0.0123456,
        "queue_time": 0.001,
        "rows": 3,
        "memory_mb": 0.0,
        "bytes": 40,
    }
    return StatementRecord(**{**facts, **changes})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trail" / "audit.jsonl"


@pytest.fixture
def make(path: Path) -> Iterator[MakeTrail]:
    opened: list[AuditTrail] = []

    def make_trail(**settings: Any) -> AuditTrail:
        trail = AuditTrail(
            path,
            AuditSettings(**settings),
            mask_statement=lambda sql: sql.replace("hunter2", "***"),
            mask_message=lambda text: text.replace("hunter2", "***"),
        )
        trail.open()
        opened.append(trail)
        return trail

    yield make_trail
    for trail in opened:
        trail.close()


def write(make: MakeTrail, count: int, **settings: Any) -> AuditTrail:
    trail = make(**settings)
    for number in range(count):
        trail.record("test", LOCAL, number=number)
    trail.close()
    return trail


def events(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(text) for text in path.read_bytes().splitlines()]


def all_lines(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(text) for text in AuditReader(path).export(AuditFilter())]


def test_a_statement_is_one_line_without_its_text(make: MakeTrail, path: Path) -> None:
    trail = make()
    trail.statement(statement("SELECT 'hunter2'"))
    trail.close()
    (event,) = events(path)
    assert len(event.pop("prev")) == 64
    assert event == {
        "v": 1,
        "seq": 1,
        "time": "2026-09-21T14:13:20.123Z",
        "event": "statement",
        "principal": "local",
        "name": "python",
        "role": "admin",
        "address": "10.0.0.7",
        "request_id": "r-1",
        "kind": "select",
        "query_hash": "abc",
        "verdict": "ok",
        "rows": 3,
        "bytes": 40,
        "duration_ms": 12.346,
        "queue_ms": 1.0,
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_text_is_written_masked_when_it_is_asked_for(make: MakeTrail, path: Path) -> None:
    trail = make(text=True)
    trail.statement(statement("SELECT 'hunter2'"))
    trail.statement(statement("SELECT '\udc80" + "x" * 20_000))
    trail.record("test", None, reason="not hunter2")
    trail.close()
    first, second, third = events(path)
    assert first["text"] == "SELECT '***'"
    assert second["text"].startswith("SELECT '?xxx")
    assert len(second["text"]) == 10_001
    assert third["reason"] == "not ***"


@pytest.mark.parametrize(
    ("outcome", "code", "verdict"),
    [
        ("ok", None, "ok"),
        ("user_error", "query_error", "error"),
        ("user_error", "statement_refused", "refused"),
        ("refused", "forbidden", "refused"),
        ("refused", "quota_exceeded", "quota"),
        ("refused", "queue_full", "unavailable"),
        ("timeout", "statement_timeout", "timeout"),
        ("cancelled", "statement_cancelled", "cancelled"),
        ("failed", "database_failed", "failed"),
    ],
)
def test_the_verdict_tells_how_it_ended(
    make: MakeTrail, path: Path, outcome: str, code: str | None, verdict: str
) -> None:
    trail = make()
    trail.statement(statement(outcome=outcome, error_code=code, rule="some-rule"))
    trail.close()
    (event,) = events(path)
    assert (event["verdict"], event.get("code"), event["rule"]) == (verdict, code, "some-rule")


def test_a_trail_that_is_off_writes_nothing(make: MakeTrail, path: Path) -> None:
    trail = make(enabled=False)
    trail.statement(statement())
    trail.close()
    assert not path.exists()


def test_the_chain_goes_on_over_restarts_and_files(make: MakeTrail, path: Path) -> None:
    for _ in range(3):
        write(make, 100, max_size=5_000)
    assert len(rotated_files(path)) > 3
    assert not [file for file in rotated_files(path) if file.paths[0].exists()]
    assert [event["number"] for event in all_lines(path)] == [*range(100)] * 3
    report = verify_chain(path)
    assert report.problems == []
    assert (report.events, report.first_seq, report.last_seq) == (300, 1, 300)


def test_a_torn_last_line_is_skipped_and_counted(make: MakeTrail, path: Path) -> None:
    write(make, 3)
    path.write_bytes(path.read_bytes() + b'{"v":1,"seq":4,"time":"20')
    write(make, 2)
    assert [event["seq"] for event in all_lines(path)] == [1, 2, 3, 4, 5]
    report = verify_chain(path)
    assert (report.problems, report.torn_lines, report.events) == ([], 1, 5)


def test_every_change_of_the_file_breaks_the_chain(make: MakeTrail, path: Path) -> None:
    write(make, 10)
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    changed = {
        "edited": [*lines[:4], lines[4].replace(b'"number":4', b'"number":5'), *lines[5:]],
        "removed": lines[:4] + lines[5:],
        "swapped": [*lines[:3], lines[4], lines[3], *lines[5:]],
        "doubled": [*lines[:5], *lines[4:]],
        "first removed": lines[1:],
        "torn in the middle": [*lines[:4], lines[4][:20] + b"\n", *lines[5:]],
    }
    for name, new in changed.items():
        path.write_bytes(b"".join(new))
        assert verify_chain(path).problems, name
    path.write_bytes(b"".join(lines[:-1]))
    assert verify_chain(path).problems == []  # by the chain alone this cannot be known
    path.write_bytes(whole)
    head = verify_chain(path).head
    path.write_bytes(b"".join(lines[:-1]))
    assert verify_chain(path, head).problems == [f"no event has the hash {head}"]
    path.write_bytes(whole)
    assert verify_chain(path, head).problems == []


def test_the_head_that_is_told_is_in_the_file(make: MakeTrail, path: Path) -> None:
    trail = write(make, 300, max_size=5_000)
    head = trail.get_status()["head"]
    report = verify_chain(path, head["hash"])
    assert (report.problems, report.head, report.last_seq) == ([], head["hash"], head["seq"])
    assert make().get_status()["head"] == head


def test_a_rotated_file_that_somebody_deleted_is_missed(make: MakeTrail, path: Path) -> None:
    write(make, 100, max_size=5_000)
    first, second, *_ = rotated_files(path)
    second.delete()
    assert "are missing" in verify_chain(path).problems[0]
    first.delete()
    assert "deleted for their age" in verify_chain(path).problems[0]


def test_old_files_are_deleted_and_that_is_an_event(make: MakeTrail, path: Path) -> None:
    write(make, 300, max_size=5_000, keep_files=3)
    write(make, 1, max_size=5_000, keep_files=3)
    assert len(rotated_files(path)) == 3
    pruned = [event for event in all_lines(path) if event["event"] == "audit_pruned"]
    assert pruned[-1]["through_seq"] == rotated_files(path)[0].first_seq - 1
    assert verify_chain(path).problems == []
    for file in rotated_files(path):
        for each in file.paths:
            if each.exists():
                os.utime(each, (1, 1))
    write(make, 1, max_size=100_000, keep_days=1)
    assert rotated_files(path) == []
    assert verify_chain(path).problems == []


def test_a_file_moved_away_by_logrotate_is_left_and_a_new_one_begun(
    make: MakeTrail, path: Path
) -> None:
    trail = make()
    trail.record("test", LOCAL, number=1)
    wait(lambda: path.exists() and len(events(path)) == 1)
    moved = path.with_name("moved")
    path.rename(moved)
    trail.record("test", LOCAL, number=2)
    trail.close()
    assert [event["number"] for event in events(moved)] == [1]
    assert [event["number"] for event in events(path)] == [2]
    moved.write_bytes(moved.read_bytes() + path.read_bytes())
    assert verify_chain(moved).problems == []


def wait(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(200):
        if condition():
            return
        pause.wait(0.05)
    raise AssertionError("it did not come about")


def test_two_services_cannot_write_one_trail(make: MakeTrail) -> None:
    make()
    with pytest.raises(SettingsError, match="audit trail"):
        make()


def test_a_place_that_cannot_be_written_is_refused_at_start(path: Path, make: MakeTrail) -> None:
    path.mkdir(parents=True)
    with pytest.raises(SettingsError) as refused:
        make()
    assert str(path) not in refused.value.detail


def test_what_does_not_fit_into_the_queue_is_counted_and_the_gap_recorded(
    path: Path, make: MakeTrail
) -> None:
    trail = AuditTrail(path, AuditSettings(queue_size=50_000), mask_statement=str, mask_message=str)
    for number in range(1000):  # nobody writes yet
        trail.record("test", LOCAL, number=number)
    status = trail.get_status()
    assert status["dropped"] == 900
    assert status["waiting_bytes"] <= 50_000
    trail.open()
    trail.close()
    written = events(path)
    assert [event.get("number") for event in written[:100]] == [*range(100)]
    (gap,) = written[100:]
    assert (gap["event"], gap["count"]) == ("events_dropped", 900)
    assert gap["since"] <= gap["until"]
    report = verify_chain(path)
    assert (report.problems, report.dropped_events) == ([], 900)


def test_pages_are_stable_while_events_arrive_and_files_are_rotated(
    make: MakeTrail, path: Path
) -> None:
    trail = write(make, 200, max_size=5_000)
    reader = AuditReader(path)
    found: list[int] = []
    cursor = None
    trail.open()
    for page_number in range(100):
        page = reader.page(AuditFilter(), 7, cursor)
        found += [event["seq"] for event in page.events]
        cursor = page.next_cursor
        for _ in range(5):
            trail.record("test", LOCAL, number=-1)
        if page_number == 5:
            for file in rotated_files(path):
                compress(file)
        if cursor is None:
            break
    assert found == [*range(200, 0, -1)]


def test_a_reader_filters(make: MakeTrail, path: Path) -> None:
    trail = make(max_size=3_000)
    for number in range(60):
        trail.statement(
            statement(
                outcome="ok" if number % 2 else "timeout",
                error_code=None if number % 2 else "statement_timeout",
                ended_at=1_790_000_000.0 + number,
            )
        )
    trail.record("breaker_reset", LOCAL)
    trail.close()
    reader = AuditReader(path)

    def count(**wanted: Any) -> int:
        page = reader.page(AuditFilter(**wanted), 1000)
        exported = list(reader.export(AuditFilter(**wanted)))
        assert page.next_cursor is None
        assert len(page.events) == len(exported)
        return len(exported)

    assert count() == 61
    assert count(verdict="timeout") == count(code="statement_timeout") == 30
    assert count(event="breaker_reset") == 1
    assert count(principal="local") == count(principal="python") == 61
    assert count(principal="other") == 0
    assert count(since=1_790_000_010.0, until=1_790_000_020.0) == 10


def test_cursors_and_times_of_others_are_refused() -> None:
    reader = AuditReader(Path("nowhere"))
    for cursor in ("!", "AAAA", "é"):
        with pytest.raises(InvalidRequestError):
            reader.page(AuditFilter(), 1, cursor)
    with pytest.raises(InvalidRequestError):
        moment("yesterday")
    assert moment("2026-11-24T00:00:00Z") == moment("2026-11-24T01:00:00+01:00")


def test_a_flood_of_failures_is_told_by_its_count() -> None:
    folding = FailureFolding()
    admitted = sum(folding.admits("10.0.0.7", 1000.0 + n / 100) for n in range(500))
    assert admitted == 20
    assert folding.admits("10.0.0.8", 1001.0)
    assert list(folding.due(1030.0)) == []
    ((address, facts),) = folding.due(1061.0)
    assert (address, facts["count"]) == ("10.0.0.7", 480)
    assert folding.admits("10.0.0.7", 1062.0)
    for number in range(5000):
        folding.admits(f"address {number}", 1063.0)
    told = {address: facts["count"] for address, facts in folding.due(1063.0, everything=True)}
    assert set(told) == {"others"}
    assert told["others"] > 3900


def test_a_principal_that_fills_the_trail_is_refused_and_its_lines_never_are(
    path: Path, make: MakeTrail, monkeypatch: pytest.MonkeyPatch
) -> None:
    trail = make(hourly=10_000)
    eve = Principal("eve", Role.ANALYST, "key:eve")
    bob = Principal("bob", Role.ANALYST, "key:bob")
    done = 0
    with pytest.raises(QuotaExceededError) as refused:
        while True:
            trail.check(eve)
            trail.record("test", eve)
            done += 1
    assert done == 20
    assert refused.value.is_recorded
    assert 0 < (refused.value.retry_after_seconds or 0) <= 3600
    for _ in range(100):  # a flood of refusals is one line
        with pytest.raises(QuotaExceededError):
            trail.check(eve)
    trail.record("test", eve)  # what ran already
    trail.check(bob)
    trail.check(Principal("admin", Role.ADMIN, "admin"))
    later = time.monotonic() + 3600
    monkeypatch.setattr(time, "monotonic", lambda: later)
    trail.check(eve)
    monkeypatch.undo()
    trail.close()
    kinds = Counter(event["event"] for event in events(path))
    assert kinds["test"] == 21
    assert kinds["audit_budget_used"] == 1


def test_requests_are_refused_before_events_are_dropped(path: Path) -> None:
    trail = AuditTrail(path, AuditSettings(queue_size=50_000), mask_statement=str, mask_message=str)
    eve = Principal("eve", Role.ANALYST, "key:eve")
    with pytest.raises(QueueFullError):  # nobody writes yet
        while True:
            trail.check(eve)
            trail.record("test", eve)
    for _ in range(40):  # each request that runs has its line
        trail.record("test", eve)
    assert trail.get_status()["dropped"] == 0
    trail.open()
    trail.close()
    assert len(events(path)) == 91


def test_ids_of_principals_among_the_facts_are_not_taken_for_secrets() -> None:
    facts = {
        "owner": "key:5f0c2a91b3de",
        "party": "key:5f0c2a91b3de/amy",
        "reason": "key:5f0c2a91b3de",
    }
    fields = act_fields(Act("penalty_boxed", 0.0, facts=facts), mask_message)
    assert fields["owner"] == facts["owner"]
    assert fields["party"] == facts["party"]
    assert "5f0c2a91b3de" not in fields["reason"]
