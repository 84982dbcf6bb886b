"""What a file is, by its first bytes: also by bytes that nobody should send."""

from __future__ import annotations

import pytest

from chronoduck.errors import LoadError
from chronoduck.transfer.detect import FileFormat, detect


@pytest.mark.parametrize(
    "row",
    [
        "[" * 50_000 + "]",
        "[" + "1" * 5_000 + "]",
        '[{"a": 1}, "timestamp", "urlkey"]',
        "[1]",
        '["a"',
    ],
    ids=["deep", "a long number", "an object", "a number", "no end"],
)
def test_a_first_row_that_is_none_of_strings_is_refused(row: str) -> None:
    with pytest.raises(LoadError, match="does not name its fields"):
        detect(f"[{row},".encode(), "x.json", FileFormat.CDX_JSON)


def test_a_first_row_names_the_fields() -> None:
    head = b' [ ["urlkey", "timestamp", "original", "other"],\n["a", "2024", "b", "c"]]'
    found = detect(head, "x.json")
    assert found.format is FileFormat.CDX_JSON
    assert found.fields == ("urlkey", "timestamp", "original", "")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("com,example)/ 20240101000000 https://example.com text/html 200 A 1", FileFormat.CDX),
        ('com,example)/ 20240101000000 {"url": "https://example.com"}', FileFormat.CDXJ),
        ("[[]]", FileFormat.CDX_JSON),
        ("[ ]", FileFormat.CDX_JSON),
        ("[1]", FileFormat.JSON),
    ],
)
def test_the_first_line_says_what_it_is(line: str, expected: FileFormat) -> None:
    assert detect(line.encode(), "x").format is expected
