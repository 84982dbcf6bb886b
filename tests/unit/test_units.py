"""Sizes and durations as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronoduck.units import format_bytes, format_count, format_seconds, parse_bytes, parse_seconds


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("4GB", 4_000_000_000),
        ("512 MiB", 512 * 2**20),
        ("1.5kb", 1500),
        ("1048576", 1_048_576),
        ("2TB", 2_000_000_000_000),
    ],
)
def test_sizes_are_read_as_duckdb_reads_them(text: str, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize(
    ("text", "seconds"), [("30", 30), ("250ms", 0.25), ("5m", 300), ("1.5h", 5400), ("7d", 604800)]
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "4 bananas", "1e9", "4GB 2MB", "٣GB x"])
def test_nonsense_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="write it like"):
        parse_bytes(text)
    with pytest.raises(ValueError, match="write it like"):
        parse_seconds(text + "x" if text == "" else text)


@given(st.integers(min_value=0, max_value=10**15))
def test_a_formatted_size_is_within_rounding_of_the_size(count: int) -> None:
    assert parse_bytes(format_bytes(count)) == pytest.approx(count, rel=0.06, abs=1)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0123, "12 ms"), (3.21, "3.2 s"), (303, "5 min 03 s"), (7800, "2 h 10 min")],
)
def test_durations_are_written_for_people(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 points"), (1, "1 point"), (2, "2 points"), (2000, "2,000 points")]
)
def test_a_count_of_one_is_singular(count: int, text: str) -> None:
    assert format_count(count, "point") == text
