"""Counters and durations of ended statements."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from chronoduck.monitoring.history import QueryHistory
from chronoduck.monitoring.statements.windows import StatementWindows


@dataclass(frozen=True)
class Ended:
    outcome: str = "ok"
    error_code: str | None = None
    execution_time: float = 0.1
    memory_mb: float = 1.0
    ended_at: float = 1_700_000_000.0
    rows: int = 1
    bytes: int = 10


def test_before_the_first_statement_nothing_is_wrong() -> None:
    history = QueryHistory()
    assert history.metrics()["success_rate"] == 100.0
    assert history.metrics()["last_query_time"] is None
    assert history.analysis()["median_time"] == 0.0
    assert history.performance()["recent_query_times"] == []


def test_failed_statements_count_but_have_no_duration() -> None:
    history = QueryHistory()
    history.record(Ended())
    history.record(Ended(outcome="error", execution_time=99, ended_at=1_700_000_001.0))
    assert history.metrics() == {
        "total_queries": 2,
        "successful_queries": 1,
        "failed_queries": 1,
        "success_rate": 50.0,
        "avg_query_time": 0.1,
        "last_query_time": "2023-11-14T22:13:21.000+00:00",
    }
    assert history.analysis()["max_time"] == 0.1


def test_what_users_did_wrong_is_not_held_against_the_service() -> None:
    history = QueryHistory()
    for outcome, code in [
        ("ok", None),
        ("user_error", "query_error"),
        ("cancelled", "statement_cancelled"),
        ("aborted", None),
        ("refused", "quota_exceeded"),
        ("refused", "queue_full"),
        ("timeout", "statement_timeout"),
        ("ok", None),
    ]:
        history.record(Ended(outcome=outcome, error_code=code))
    performance = history.performance()
    assert performance["user_errors"] == 4
    assert performance["success_rate"] == 25.0
    assert performance["service_success_rate"] == 50.0


def test_the_performance_tells_what_memory_a_statement_took() -> None:
    history = QueryHistory()
    for memory_mb in (1.0, 3.0):
        history.record(Ended(memory_mb=memory_mb))
    assert history.performance()["avg_memory_per_query"] == 2.0


@given(st.lists(st.floats(0, 20, allow_nan=False), min_size=1, max_size=50))
def test_the_numbers_are_those_of_the_durations(seconds: list[float]) -> None:
    history = QueryHistory()
    for duration in seconds:
        history.record(Ended(execution_time=duration))
    analysis = history.analysis()
    assert analysis["min_time"] == round(min(seconds), 6)
    assert analysis["max_time"] == round(max(seconds), 6)
    assert analysis["queries_over_1s"] == sum(duration > 1 for duration in seconds)
    assert analysis["queries_over_5s"] == sum(duration > 5 for duration in seconds)
    assert history.recent_query_times() == [round(duration, 6) for duration in seconds[-10:]]
    assert abs(history.avg_query_time - sum(seconds) / len(seconds)) < 1e-5


def test_what_met_its_deadline_is_slow() -> None:
    history, windows = QueryHistory(), StatementWindows()
    for outcome, seconds in (("ok", 0.016), ("timeout", 30.2), ("user_error", 9.0)):
        ended = Ended(outcome=outcome, execution_time=seconds)
        history.record(ended)
        windows.record(ended)
    analysis, window = history.analysis(), windows.report(Ended().ended_at)["1h"]
    for each in (analysis, window):
        assert (each["queries_over_1s"], each["queries_over_5s"]) == (1, 1)
    assert (analysis["max_time"], analysis["median_time"]) == (30.2, 0.016)


def test_memory_is_bounded() -> None:
    history = QueryHistory()
    for _ in range(10_050):
        history.record(Ended())
    assert history.total == 10_050
    assert len(history._durations) == 10_000
