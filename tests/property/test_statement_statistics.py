"""Percentiles stay near the exact ones, windows near a list of everything, rankings keep the heavy."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace

from hypothesis import given
from hypothesis import strategies as st

from chronoduck.monitoring.statements import LatencySketch, StatementRanking, StatementWindows
from chronoduck.monitoring.statements.windows import WINDOWS

SHARES = (0.01, 0.25, 0.5, 0.9, 0.99, 1.0)
durations = st.lists(st.floats(1e-6, 3_600), min_size=1, max_size=300)


@dataclass(frozen=True)
class Ended:
    ended_at: float = 1_700_000_000.0
    execution_time: float = 0.1
    outcome: str = "ok"
    error_code: str | None = None
    kind: str = "select"
    template: str | None = None
    engine_seconds: float = 0.0
    rows: int = 1
    bytes: int = 10
    memory_mb: float = 1.0


def exact(seconds: list[float], share: float) -> float:
    return sorted(seconds)[max(1, math.ceil(share * len(seconds))) - 1]


def sketch_of(seconds: list[float]) -> LatencySketch:
    sketch = LatencySketch()
    for each in seconds:
        sketch.add(each)
    return sketch


@given(durations)
def test_every_quantile_is_within_one_percent_of_the_exact_one(seconds: list[float]) -> None:
    sketch = sketch_of(seconds)
    for share in SHARES:
        assert math.isclose(sketch.quantile(share), exact(seconds, share), rel_tol=0.01)


@given(durations, durations)
def test_what_is_added_and_taken_away_again_leaves_nothing(a: list[float], b: list[float]) -> None:
    sketch, other = sketch_of(a), sketch_of(b)
    sketch.merge(other)
    assert sketch.bins == sketch_of(a + b).bins
    sketch.merge(other, -1)
    assert sketch.bins == sketch_of(a).bins
    assert sketch.count == len(a)


events = st.lists(
    st.tuples(
        st.integers(0, 40_000),  # seconds since the last one
        st.sampled_from([0.01, 0.5, 2.0, 7.0]),
        st.sampled_from(
            [("ok", None), ("user_error", None), ("failed", None), ("refused", "forbidden")]
        ),
    ),
    max_size=60,
)


@given(events, st.integers(0, 700_000), st.booleans())
def test_windows_count_what_a_list_of_everything_counts(
    events: list[tuple[int, float, tuple[str, str | None]]], silence: int, is_restarted: bool
) -> None:
    windows = StatementWindows()
    saved: dict[int, str] = {}
    now, everything = 1_700_000_123, []
    for passed, seconds, (outcome, code) in events:
        now += passed
        everything.append(Ended(float(now), seconds, outcome, code))
        windows.record(everything[-1])
        saved.update(windows.take_unsaved())
    now += silence
    if is_restarted:
        windows = StatementWindows()
        windows.load(saved.items(), now)
    report = windows.report(now)
    for name, width in WINDOWS.items():
        within = [each for each in everything if each.ended_at >= now // 300 * 300 - width]
        outcomes = Counter(each.outcome for each in within)
        good = [each.execution_time for each in within if each.outcome == "ok"]
        window = report[name]
        assert window["total_queries"] == len(within)
        assert window["successful_queries"] == len(good)
        assert window["user_errors"] == outcomes["user_error"] + outcomes["refused"]
        assert window["failed_queries"] == outcomes["failed"]
        assert window["queries_over_1s"] == sum(each > 1 for each in good)
        assert window["queries_over_5s"] == sum(each > 5 for each in good)
        assert window["rows"] == len(good)
        if good:
            assert math.isclose(window["p50"], exact(good, 0.5), rel_tol=0.01)
            assert math.isclose(window["max_time"], max(good), rel_tol=0.01)


def test_a_clock_that_is_set_back_loses_nothing() -> None:
    windows = StatementWindows()
    windows.record(Ended(1_700_000_000.0))
    windows.record(Ended(1_600_000_000.0))
    assert windows.report(1_600_000_000.0)["1h"]["total_queries"] == 2


def test_pieces_that_cannot_be_read_are_left_out() -> None:
    now = 1_700_000_100.0
    windows = StatementWindows()
    windows.record(Ended(now))
    (start, text), *_ = windows.take_unsaved()
    broken = [(start - 300, "{"), (start - 600, "[]"), (start + 300, text), (start - 901, text)]
    loaded = StatementWindows()
    loaded.load([*broken, (start, text)], now)
    assert loaded.report(now)["7d"]["total_queries"] == 1


def test_a_week_of_pieces_is_all_that_is_kept() -> None:
    windows = StatementWindows()
    for piece in range(5_000):
        windows.record(Ended(1_700_000_000.0 + 300 * piece))
    assert len(windows._pieces) <= 2_017
    assert windows.report(1_700_000_000.0 + 300 * 5_000)["7d"]["total_queries"] == 2_016


stream = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=400)


@given(stream)
def test_whatever_took_longer_than_what_was_forgotten_is_remembered(
    stream: list[tuple[int, int]],
) -> None:
    """And what is told of it is no more than the truth, nor less than the truth but the unseen."""
    ranking = StatementRanking(room=8)
    truth: Counter[str] = Counter()
    for text, seconds in stream:
        truth[str(text)] += seconds
        ranking.add(replace(Ended(), execution_time=float(seconds)), str(text), "")
        assert len(ranking) <= 16
    known = {each.statement: each for each in ranking.top("total_time", 100)}
    for text, total in truth.items():
        if total > ranking.forgotten_seconds:
            assert text in known
    for text, each in known.items():
        assert each.total_time <= truth[text] <= each.total_time + each.unseen_seconds


def test_heavy_statements_outlive_a_flood_of_texts_that_come_once() -> None:
    ranking = StatementRanking(room=100)
    for number in range(50_000):
        ranking.add(Ended(execution_time=0.001), f"once {number}", "")
        if number % 500 == 0:
            ranking.add(Ended(execution_time=0.5), f"heavy {number // 500 % 10}", "")
    top = ranking.top("total_time", 10)
    assert {each.statement for each in top} == {f"heavy {number}" for number in range(10)}
    assert all(each.count == 10 for each in top)
