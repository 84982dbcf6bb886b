"""The error tree as an API: codes, statuses and exit codes are stable and complete."""

from chronoduck import errors
from chronoduck.errors import BatchError, DuckDBException, DuckDBQueryError

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
