"""A shell's patterns for names of files."""

from __future__ import annotations

import pytest

from chronoduck.patterns import fits
from chronoduck.transfer.globs import beginning, is_glob, pattern_of


@pytest.mark.parametrize(
    ("glob", "fitting", "others"),
    [
        ("a/*.csv", ["a/b.csv", "a/.csv"], ["a/b/c.csv", "a/b.csvx", "a/bxcsv"]),
        ("**/*.csv", ["b.csv", "a/b.csv", "a/b/c.csv"], ["a/b.tsv"]),
        ("a/**", ["a/", "a/b/c"], ["b/c"]),
        ("part-?.parquet", ["part-1.parquet"], ["part-10.parquet", "part-/.parquet"]),
        ("[a-c]x[!0-9]", ["axy", "cxz"], ["dxy", "ax1"]),
        ("[^a]", ["b"], ["a"]),
        ("[[]", ["["], ["]"]),
        (r"[\w]", ["\\", "w"], ["a"]),
        ("a+(b)|{2}.$^", ["a+(b)|{2}.$^"], ["aab"]),
        ("a[b", ["a[b"], ["ab"]),  # no set
        ("a[]b", ["a[]b"], ["ab"]),
    ],
)
def test_what_a_glob_means(glob: str, fitting: list[str], others: list[str]) -> None:
    pattern = pattern_of(glob)
    assert [name for name in fitting if not fits(pattern, name)] == []
    assert [name for name in others if fits(pattern, name)] == []


def test_a_set_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="range"):
        pattern_of("[z-a]")


def test_many_stars_cost_no_more_than_the_text_is_long() -> None:
    assert not fits(pattern_of("*a" * 200 + "b"), "a" * 5_000)


def test_where_a_glob_begins() -> None:
    for glob, begin in (("a/b*c?", "a/b"), ("[ab]", ""), ("plain", "plain")):
        assert beginning(glob) == begin
        assert is_glob(glob) == (begin != glob)
