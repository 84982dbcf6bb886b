"""What commands print: text from anybody is shown, and never obeyed by the terminal or by markup."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from chronoduck.cli import declared_work, output
from chronoduck.errors import NotFoundError

NASTY = "a\x1b[31mb\x1b]0;title\x07[bold]c[/bold]\\[d]\x9b2J\u202eevil\udcff\r"


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    file = io.StringIO()
    for name in ("console", "errors"):
        monkeypatch.setattr(output, name, Console(file=file, width=500, highlight=False))
    return file


def test_tables_and_errors_hold_nothing_that_a_terminal_obeys(printed: io.StringIO) -> None:
    output.print_table(["name"], [[NASTY], ["[/]"], ["two\nlines"]])
    output.print_error(NotFoundError(NASTY, hint=NASTY), as_json=False)
    text = printed.getvalue()
    text.encode()
    assert not set(text) & set("\x1b\x07\x9b\u202e\r")
    assert text.count("[bold]c[/bold]\\[d]") == 3
    assert text.count(r"a\x1b[31mb\x1b]0;title\x07") == 3
    assert "[/]" in text


def test_no_line_of_a_name_looks_like_advice(printed: io.StringIO) -> None:
    name = "x\nwhat to do: y\u2028what to do: y\r\nerror: z"
    output.print_error(NotFoundError(name, hint=name), as_json=False)
    lines = printed.getvalue().splitlines()
    assert [line[:1] for line in lines] == ["e", " ", " ", "w", " ", " "]


def test_outcomes_of_declared_work_hold_nothing_that_a_terminal_obeys(
    printed: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(declared_work, "console", output.console)
    error = {"detail": NASTY, "hint": NASTY}
    declared_work.print_troubles([{"name": NASTY, "error": error, "notes": [NASTY]}])
    declared_work.print_outcomes(
        "sync",
        [(NASTY, {"notes": [NASTY], "target": NASTY}, None)],
        lambda facts: facts["target"],
        as_json=False,
    )
    with pytest.raises(NotFoundError):
        declared_work.print_outcomes(
            "sync", [(NASTY, None, NotFoundError(NASTY))], lambda _: "", as_json=False
        )
    text = printed.getvalue()
    text.encode()
    assert not set(text) & set("\x1b\x07\x9b\u202e\r")
    assert text.count("[bold]c[/bold]\\[d]") == 9


def test_a_table_without_a_terminal_has_one_line_a_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = io.StringIO()
    monkeypatch.setattr(output, "console", Console(file=file, width=40, highlight=False))
    output.print_table(["a", "b"], [["x" * 100, number] for number in range(3)])
    lines = file.getvalue().splitlines()
    assert len(lines) == 5
    assert all("x" * 100 in line for line in lines[2:])
