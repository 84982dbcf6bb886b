"""The error tree as an API: codes, statuses and exit codes are stable and complete."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import chronoduck
from chronoduck import errors
from chronoduck.cli.main import LocalFileError
from chronoduck.errors import BatchError, DuckDBException, DuckDBQueryError
from chronoduck.errors.system import reason_of

CLASSES = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, DuckDBException)
]


def test_every_error_is_exported_and_drawn_in_the_tree() -> None:
    for error in CLASSES:
        assert error.__name__ in errors.__all__
        assert error.__name__ in (errors.__doc__ or "")


def test_codes_are_unique_and_statuses_are_errors() -> None:
    codes = [error.code for error in CLASSES]
    assert len(codes) == len(set(codes))
    for error in CLASSES:
        assert 400 <= error.http_status < 600
        assert error.exit_code != 0
        assert error.__doc__


def test_a_batch_error_names_the_statement_by_index_and_text() -> None:
    error = BatchError(2, "SELEC 1", DuckDBQueryError("syntax error"), rolled_back=True)
    assert "statement 2" in error.detail
    assert "SELEC 1" in error.detail
    assert "rolled back" in error.detail


@pytest.mark.parametrize("shows_text", [True, False])
@given(
    number=st.one_of(st.none(), st.sampled_from(sorted(errno.errorcode)), st.integers(0, 10_000)),
    text=st.one_of(st.none(), st.text(max_size=20)),
    name=st.one_of(st.none(), st.just(""), st.just("/data/a.db")),
)
def test_no_failure_of_the_system_is_without_words(
    shows_text: bool, number: int | None, text: str | None, name: str | None
) -> None:
    for error in (OSError(number, text, name), OSError(text), OSError()):
        shown = LocalFileError.of(error).detail
        for words in (reason_of(error, shows_text=shows_text), shown.rpartition(": ")[2]):
            assert words.strip()
            assert words != "None"
        assert not shown.startswith(":")
        if error.filename and shows_text:
            assert error.filename in shown


def test_reasons_come_from_one_place() -> None:
    """``error.strerror`` is None for errors of libraries: no message shows it as it is."""
    source = Path(chronoduck.__file__).parent
    found = [
        path.relative_to(source).as_posix()
        for path in source.rglob("*.py")
        if ".strerror" in path.read_text().replace("os.strerror", "")
    ]
    # Those two know nothing of errors, and have a second word.
    assert sorted(found) == ["environment_file.py", "errors/system.py", "permissions.py"]
