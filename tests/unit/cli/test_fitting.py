"""Tables on a terminal never break a word over lines, and never become wider than it."""

from __future__ import annotations

import io
from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from chronoduck.cli import output

WIDTH = 80
CELLS = st.none() | st.integers() | st.text("ab 日é\n", max_size=60)


def printed(
    columns: list[str],
    rows: list[list[object]],
    monkeypatch: pytest.MonkeyPatch,
    whole: Collection[str] = (),
) -> str:
    file = io.StringIO()
    for name in ("console", "errors"):
        console = Console(
            file=file, width=WIDTH, force_terminal=True, color_system=None, highlight=False
        )
        monkeypatch.setattr(output, name, console)
    output.print_table(columns, rows, whole=whole)
    return file.getvalue()


@given(data=st.data())
def test_no_line_is_wider_than_the_terminal(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 25))
    columns = data.draw(st.lists(st.text("abc_", min_size=1), min_size=count, max_size=count))
    row = st.lists(CELLS, min_size=count, max_size=count)
    rows = data.draw(st.lists(row, max_size=5)) * data.draw(st.sampled_from([1, 20]))
    with pytest.MonkeyPatch.context() as monkeypatch:
        lines = printed(columns, rows, monkeypatch).splitlines()
    assert max(map(cell_len, lines)) <= WIDTH


def test_what_fits_is_printed_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    text = printed(["name", "count"], [["a", 1], [None, 22]], monkeypatch)
    lines = text.splitlines()
    assert [line.split() for line in lines[:1] + lines[2:]] == [
        ["name", "┃", "count"],
        ["a", "│", "1"],
        ["NULL", "│", "22"],
    ]


def test_long_cells_are_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    text = printed(["url", "status"], [["http://" + "x" * 200, 200]], monkeypatch)
    assert len(text.splitlines()) == 3
    assert "…" in text
    assert "200" in text


def test_few_rows_of_many_columns_are_turned(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = [f"approx_unique_{number}" for number in range(12)]
    text = printed(columns, [list(range(100, 112)), list(range(200, 212))], monkeypatch)
    lines = [line.split() for line in text.splitlines()]
    assert ["approx_unique_11", "│", "111"] in lines
    assert ["approx_unique_11", "│", "211"] in lines
    assert "…" not in text


def test_many_rows_of_many_columns_lose_those_in_the_middle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    columns = [f"approx_unique_{number}" for number in range(12)]
    text = printed(columns, [list(range(100, 112))] * 100, monkeypatch)
    words = text.splitlines()[2].split()
    assert words[0] == "100"
    assert words[-1] == "111"
    assert "…" in words
    assert "of 12 columns" in text
    assert len(text.splitlines()) == 103


def test_a_whole_column_is_never_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    """An audit trail's rows, with what a file's name and a user may be."""
    rows: list[list[object]] = [
        [
            "2026-11-23 10:20:30",
            "日本語の利用者" * 3,
            "10.0.0.7",
            "load",
            "table " + "x" * 90,
            "ok",
        ],
        ["2026-11-23 10:20:31", "b", "2001:db8:85a3::8a2e:370:7334", "statement", "select", "ok"],
    ]
    columns = ["time", "who", "from", "event", "what", "verdict"]
    for repeated in (rows, rows * 40):  # one below the other, and without columns in the middle
        told = printed(columns, repeated, monkeypatch, whole=("time",))
        assert max(map(cell_len, told.splitlines())) <= WIDTH
        assert told.count("2026-11-23 10:20:30") == len(repeated) // 2
        assert "…" in told or "x" * 30 in told.replace("\n", "")
