"""What a file is, by its first bytes: also by bytes that nobody should send."""

from __future__ import annotations

import gzip

import pyarrow as pa
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
        ('{"a":1}\n{"a":2}\n{"_chronoduck":{"complete":true}}\n', FileFormat.NDJSON),
        ('{"a":"\u2028"}\n{"a":', FileFormat.NDJSON),
        ('{"a":1}{"a":2}', FileFormat.JSON),
        ('{\n"a":1}\n{"a":\n2}', FileFormat.JSON),
        ('{"a":1}\n{\n"a":2}\n', FileFormat.JSON),
    ],
)
def test_the_first_line_says_what_it_is(line: str, expected: FileFormat) -> None:
    assert detect(line.encode(), "x").format is expected


@pytest.mark.parametrize("name", ["x.ndjson", "x.jsonl", "X.JSONL.gz"])
def test_a_name_says_that_bad_lines_are_lines(name: str) -> None:
    assert detect(b'{bad\n{"a":1}\n', name).format is FileFormat.NDJSON
    assert detect(b'{\n"a":1}\n{"a":\n2}\n', name).format is FileFormat.JSON


@pytest.mark.parametrize("wanted", [FileFormat.CSV, FileFormat.JSON, FileFormat.NDJSON])
@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"PAR1\x15\x04\x15", "is Parquet"),
        (b"ARROW1\x00\x00", "is Arrow IPC"),
        (b"\xff\xff\xff\xff\x88\x00", "is Arrow IPC"),
        (gzip.compress(b"a,b"), "is compressed by gzip, and twice"),
        (pa.compress(b"a,b", "zstd", asbytes=True), "is compressed by zstd, and twice"),
    ],
    ids=["parquet", "arrow file", "arrow stream", "gzip", "zstd"],
)
def test_what_is_no_text_is_not_read_as_one(head: bytes, said: str, wanted: FileFormat) -> None:
    with pytest.raises(LoadError, match=said):
        detect(head, "x", wanted)


def test_a_text_may_begin_as_another_format_does() -> None:
    assert detect(b"PAR1,PAR2\n1,2\n", "x", FileFormat.CSV).format is FileFormat.CSV


@pytest.mark.parametrize("wanted", [FileFormat.AUTO, FileFormat.JSON, FileFormat.NDJSON])
@pytest.mark.parametrize("rows", ["[]", '[[1,"x"]]'])
def test_the_document_of_a_result_is_no_row(rows: str, wanted: FileFormat) -> None:
    head = '{"columns":["a","b"],"types":["INTEGER","VARCHAR"],"query_hash":"0b",'
    with pytest.raises(LoadError, match="JSON document of a result"):
        detect(f'{head}"data":{rows},"row_count":0}}\n'.encode(), "x.json", wanted)
