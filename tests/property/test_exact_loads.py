"""Any texts into tables: what comes out means what went in, or the file is refused with its place.

CSV and NDJSON, new tables and those that exist. Examples: 60 here, more with CHRONODUCK_LOAD_EXAMPLES.
"""

# ruff: noqa: E501, RUF005 - strategies, one a line
from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal, InvalidOperation

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chronoduck.errors import LoadError
from chronoduck.transfer.detect import FileFormat
from tests.unit.transfer.memory_loads import MemoryTable

EXAMPLES = int(os.environ.get("CHRONODUCK_LOAD_EXAMPLES", "60"))
PROFILE = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize="CHRONODUCK_LOAD_EXAMPLES" not in os.environ,
)
DIGITS = st.text("0123456789", min_size=1, max_size=42)
NUMBERS = st.one_of(
    st.integers(-(2**130), 2**130).map(str),
    st.integers(-99, 99).map(str),
    st.floats().map(repr),
    st.decimals(allow_nan=False, places=4, min_value=-(10**6), max_value=10**6).map(str),
    st.tuples(st.sampled_from(["", "-", "+", "0", "-0"]), DIGITS, st.sampled_from([".", ".0", "e5", "E+3"]), DIGITS)
    .map("".join),
    st.tuples(DIGITS, DIGITS).map(".".join),
)  # fmt: skip
TIMES = st.one_of(
    st.dates().map(str),
    st.datetimes().map(str),
    st.datetimes().map(lambda each: each.isoformat() + "Z"),
    st.datetimes().map(lambda each: f"{each:%Y-%m-%dT%H:%M:%S}+02:00"),
    st.times().map(str),
    st.tuples(st.datetimes().map(lambda each: f"{each:%Y-%m-%d %H:%M:%S}."), DIGITS).map("".join),
)
WORDS = st.sampled_from(
    ["true", "False", "1", "0", "yes", "t", "nan", "NaN", "inf", "-infinity", "null", "NULL", "NA", "007"]
    + ["1_000", "1e3", "0x10", "1,5", "1.234", " 7 ", "", " ", "epoch", "infinity", "12:34", "2024-1-5"]
    + ["[1]", '{"a":1}', "a,b", 'q"q', "é", "\u2028", "25-11-2025", "-0", "-0.0", "1.", ".5", "١٢"]
)  # fmt: skip
VALUES = st.one_of(NUMBERS, TIMES, WORDS, st.text(max_size=6).filter(lambda each: "\r" not in each))
COLUMN = st.one_of(
    st.lists(NUMBERS, min_size=1, max_size=6),
    st.lists(TIMES, min_size=1, max_size=6),
    st.lists(VALUES, min_size=1, max_size=6),
)
TYPES = st.sampled_from(
    ["", "BOOLEAN", "TINYINT", "INTEGER", "UBIGINT", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE"]
    + ["DECIMAL(9,2)", "DECIMAL(38,10)", "DATE", "TIME", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_NS"]
    + ["TIMESTAMPTZ", "VARCHAR"]
)
TRUE, FALSE = {"true", "t", "1", "yes", "y"}, {"false", "f", "0", "no", "n"}


def means_the_same(given: str, kept: str | None, type_: str) -> bool:
    """Whether a value of a type is what its text says; judged without DuckDB."""
    bare = given.strip(" \t\n\r\v\f")
    if type_ == "VARCHAR":
        return kept == given
    if kept is None:
        return bare == ""
    if kept == bare:
        return True
    if type_ == "BOOLEAN":
        return bare.lower() in (TRUE if kept == "true" else FALSE)
    if type_.startswith(("DATE", "TIME")):
        return _moment(bare) == _moment(kept)
    try:
        ours, theirs = Decimal(kept), Decimal(bare.replace("_", "x"))
    except InvalidOperation:
        return False
    if type_ in ("DOUBLE", "FLOAT") and ("." in bare or "e" in bare.lower() or ours.is_nan()):
        return ours.is_nan() == theirs.is_nan() and (ours.is_nan() or _is_near(kept, bare, type_))
    return ours == theirs and not bare.lstrip("+-").startswith("00")


def _is_near(kept: str, given: str, type_: str) -> bool:
    """Whether a float is the nearest one to a number."""
    if type_ == "DOUBLE":
        return float(kept) == float(given)
    return abs(Decimal(kept) - Decimal(given)) <= abs(Decimal(given)) * Decimal("1e-6") + Decimal(
        "1e-40"
    )


def _moment(text: str) -> tuple[datetime | str, str]:
    """Return a time as seconds in UTC and the digits of the fraction."""
    plain = text.replace("T", " ").removesuffix("Z")
    head, _, tail = plain.partition(".")
    digits = tail.rstrip("0")
    zone = ""
    for sign in "+-":
        if sign in tail:
            digits, _, zone = tail.partition(sign)
            digits, zone = digits.rstrip("0"), sign + zone
    if not tail and len(head) > 19 and head[19] in "+-":
        head, zone = head[:19], head[19:]
    if zone in ("+00", "+00:00", "-00:00"):
        zone = ""
    try:
        day, _, clock = head.partition(" ")
        if "-" not in day:
            return (f"{day}:00" if day.count(":") == 1 else day), digits
        year, month, date = day.split("-")
        clock = clock or "00:00:00"
        clock = f"{clock}:00" if clock.count(":") == 1 else clock
        return (
            datetime.fromisoformat(f"{int(year):04}-{int(month):02}-{int(date):02} {clock}{zone or '+00:00'}"),
            digits,
        )  # fmt: skip
    except ValueError:
        return text, digits


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemoryTable]:
    made = MemoryTable(tmp_path_factory.mktemp("exact"))
    made.session.execute("SET TimeZone = 'UTC'")
    yield made
    made.session.connection.close()


def written(values: list[str], file_format: FileFormat) -> bytes:
    if file_format is FileFormat.NDJSON:
        return b"".join(orjson.dumps({"a": each, "n": n}) + b"\n" for n, each in enumerate(values))
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writerow(["a", "n"])
    writer.writerows([each, n] for n, each in enumerate(values))
    return text.getvalue().encode()


@pytest.mark.parametrize("file_format", [FileFormat.CSV, FileFormat.NDJSON])
@PROFILE
@given(values=COLUMN, type_=TYPES)
def test_what_comes_out_means_what_went_in(
    table: MemoryTable, file_format: FileFormat, values: list[str], type_: str
) -> None:
    table.session.execute("DROP TABLE IF EXISTS t")
    if type_:
        table.session.execute(f"CREATE TABLE t (a {type_}, n INTEGER)")
    options = (
        {}
        if file_format is FileFormat.NDJSON
        else {"header": "yes", "decimal": ".", "thousands": ""}
    )
    try:
        table.load(written(values, file_format), file_format, **options)
    except LoadError as refused:
        assert type_, (refused.detail, values)  # a new table can hold every text
        assert refused.detail.startswith("line "), (refused.detail, values)
        assert "column a: " in refused.detail
        return
    kept_type = table.types["a"]
    rows = table.session.execute("SELECT a::VARCHAR FROM t ORDER BY n")
    assert len(rows) == len(values)
    for given_text, (kept,) in zip(values, rows, strict=True):
        found = None if kept is None else str(kept)
        assert means_the_same(given_text, found, kept_type), (given_text, found, kept_type)


@PROFILE
@given(numbers=st.lists(st.one_of(st.integers(-(2**100), 2**100).map(str), st.floats(allow_nan=False, allow_infinity=False).map(repr), st.tuples(st.integers(0, 10**20).map(str), DIGITS).map(".".join)), min_size=1, max_size=5))  # fmt: skip
def test_numbers_of_json_keep_their_value(table: MemoryTable, numbers: list[str]) -> None:
    table.session.execute("DROP TABLE IF EXISTS t")
    lines = "".join(f'{{"a":{each},"n":{n}}}\n' for n, each in enumerate(numbers))
    try:
        table.load(lines, FileFormat.NDJSON)
    except LoadError as refused:
        assert "digits" in refused.detail, (refused.detail, numbers)
        return
    for given_text, (kept,) in zip(
        numbers, table.session.execute("SELECT a::VARCHAR FROM t ORDER BY n"), strict=True
    ):
        ours, theirs = Decimal(str(kept).strip('"')), Decimal(given_text)
        assert ours == theirs or (float(ours) == float(theirs) == float(given_text) and len(given_text) < 30), (given_text, kept)  # fmt: skip
