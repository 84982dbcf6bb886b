"""What a load says of a file that it refuses: place, reason, and options that a caller can set."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from chronoduck.errors import DuckDBException
from chronoduck.transfer.detect import FileFormat
from chronoduck.transfer.options import LoadOptions, OnError
from tests.unit.transfer.memory_loads import CASES, MemoryTable

FORMATS = {
    ".csv": FileFormat.CSV,
    ".ndjson": FileFormat.NDJSON,
    ".json": FileFormat.JSON,
    ".arrows": FileFormat.ARROW,
}
FILES = sorted(path for path in CASES.iterdir() if path.suffix in FORMATS)
NEVER_SAID = (
    *("read_csv", "read_json", "sniff", "auto_detect", "Possible", "CREATE TABLE", "SELECT "),
    *("null_padding", "strict_mode", "ignore_errors", "store_rejects", "all_varchar"),
    *("sample_size", "maximum_object", "max_line_size", "union_by_name", "_chronoduck", "_row_"),
    *("TRY_CAST", "Conversion Error", "Invalid Input Error", "LINE 1"),
)
PIECES = [
    *(
        b'"',
        b",",
        b"\n",
        b"\0",
        b"\xff",
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b"1e999",
        b"'",
        b"\\",
        b"\r",
    ),
    *(b'"a"', b"null", b"9" * 45, b";", b"\t", b"2024-13-40", b"NaN", b"\\u0000", b"#", b'""'),
]
TABLE = "CREATE TABLE t (id INT, price DECIMAL(5,2), a DATE, b BOOL, s STRUCT(a INT), name VARCHAR)"


def mutated(body: bytes, dice: random.Random) -> bytes:
    for _ in range(dice.randint(1, 4)):
        at = dice.randint(0, len(body))
        kind = dice.random()
        if kind < 0.6:
            body = body[:at] + dice.choice(PIECES) + body[at:]
        elif kind < 0.8:
            body = body[:at] + body[at + dice.randint(1, 6) :]
        else:
            body = body[:at] + body[at : at + 20] * 3 + body[at:]
    return body


def test_no_error_shows_the_products_own_sql_or_options_of_the_engine(tmp_path: Path) -> None:
    refused = 0
    for seed in range(int(os.environ.get("CHRONODUCK_SOAK_LOADS", "40"))):
        dice = random.Random(seed)
        path = FILES[seed % len(FILES)]
        table = MemoryTable(tmp_path)
        if dice.random() < 0.5:
            table.session.execute(TABLE)
        options = LoadOptions(on_error=dice.choice([OnError.ABORT, OnError.SKIP]))
        try:
            table.load(mutated(path.read_bytes(), dice), FORMATS[path.suffix], options)
        except DuckDBException as error:
            refused += 1
            text = f"{error} {error.hint}"
            assert not [word for word in (*NEVER_SAID, str(tmp_path)) if word in text], seed
        finally:
            table.session.connection.close()
    assert refused > 5


@pytest.mark.parametrize(
    ("body", "reason", "hint"),
    [
        ('{"a":1}\n{"a":\n', "line 2: not JSON", "on_error=skip"),
        ('{"a":1}\n{"a":"x"}\n', "line 2: column a: .x. is not", "change the type"),
    ],
)
def test_the_hint_fits_the_fault(tmp_path: Path, body: str, reason: str, hint: str) -> None:
    table = MemoryTable(tmp_path)
    table.session.execute("CREATE TABLE t (a INT)")
    with pytest.raises(DuckDBException, match=reason) as caught:
        table.load(body, FileFormat.NDJSON)
    assert hint in caught.value.hint
