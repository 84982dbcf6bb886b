"""Patterns that an operator wrote, over users' texts: the whole text, in linear time."""

from __future__ import annotations

import pytest

from chronoduck.patterns import check_pattern, fits, quoted


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("[a-z]{2,3}", "abc", True),
        ("[a-z]{2,3}", "abc\n", False),
        ("[a-z]{2,3}", "xabcd", False),
        ("a|ab", "ab", True),
        ("", "", True),
        (".", "\n", False),
        (r"\pL+", "Müller", True),
        (r"\w+", "Müller", False),
        ("a", "\ud800", False),
    ],
)
def test_the_whole_text_must_fit(pattern: str, text: str, expected: bool) -> None:
    check_pattern(pattern)
    assert fits(pattern, text) is expected


def test_a_pattern_that_stops_others_does_not_stop_this_one() -> None:
    check_pattern("(a+)+b")
    assert not fits("(a+)+b", "a" * 10_000)  # Python's own would need longer than there is time


@pytest.mark.parametrize(
    "pattern", ["[", "a)|(b", "(?=a)", r"(a)\1", "a{2000}", "\ud800", "(((a{100}){100}){100})"]
)
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        check_pattern(pattern)


def test_any_text_can_be_quoted() -> None:
    for text in (*map(chr, range(128)), "a.b*c", "é\u2028名", r"\Q[a]\E"):
        check_pattern(quoted(text))
        assert fits(quoted(text), text)
        assert not fits(quoted(text), text + "x")
