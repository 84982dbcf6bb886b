"""Cells of spreadsheets come out as the values that were put in, in columns of one type.

Columns of every kind of cell and of pairs of them, as XLSX and as ODS, with a title and empty rows.
Examples: 4 sheets of each, more with CHRONODUCK_SHEET_EXAMPLES.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from chronoduck.engine.sheets import SheetReader
from chronoduck.transfer.options import LoadOptions
from chronoduck.transfer.sheet_source import SheetSource
from chronoduck.transfer.table_load import load_table
from tests.spreadsheets import cell_of, ods, since_midnight, xlsx
from tests.unit.transfer.memory_loads import MemoryTable

pytest.importorskip("python_calamine")
PROFILE = settings(
    max_examples=int(os.environ.get("CHRONODUCK_SHEET_EXAMPLES", "4")),
    deadline=None,
    phases=[Phase.explicit, Phase.generate],  # a process for each sheet: to shrink takes long
    suppress_health_check=list(HealthCheck),
    derandomize="CHRONODUCK_SHEET_EXAMPLES" not in os.environ,
)
MIDNIGHT = time()
# Excel's days before March 1900 are off by one, and it shows milliseconds at most.
DAYS = st.dates(date(1900, 3, 1), date(9999, 12, 30))
TIMES = st.times().map(lambda each: each.replace(microsecond=each.microsecond // 1000 * 1000))
MOMENTS = st.tuples(DAYS, TIMES.filter(lambda each: each != MIDNIGHT)).map(
    lambda pair: datetime.combine(*pair)
)
MIDNIGHTS = DAYS.map(lambda each: datetime.combine(each, MIDNIGHT))
SHORT_SPANS = TIMES.map(lambda each: since_midnight(each))
LONG_SPANS = st.timedeltas(timedelta(days=1), timedelta(days=30_000)).map(
    lambda each: each - timedelta(microseconds=each.microseconds % 1000)
)
WHOLE = st.integers(-(2**53) + 1, 2**53 - 1)
WHOLE_FLOATS = st.integers(-(10**6), 10**6).map(float)
LARGE = st.integers(2**53, 2**200).map(float)
REAL = st.floats(allow_nan=False, allow_infinity=False).filter(lambda each: not each.is_integer())
TEXTS = st.sampled_from(
    [
        "007",
        "1.5",
        "true",
        "nan",
        "inf",
        "2024-01-01",
        "12:00:00",
        "a,b",
        'q"q',
        "x\ny",
        "PT36H",
        "é",
        "-",
    ]
)
COLUMNS: list[tuple[str, Sequence[st.SearchStrategy[Any]]]] = [
    ("BOOLEAN", [st.booleans()]),
    ("BIGINT", [WHOLE, WHOLE_FLOATS]),
    ("DOUBLE", [WHOLE, REAL, LARGE]),
    ("DOUBLE", [LARGE]),
    ("DATE", [DAYS]),
    ("TIMESTAMP", [MOMENTS, MIDNIGHTS]),
    ("TIMESTAMP", [MOMENTS, DAYS]),
    ("TIME", [TIMES]),
    ("INTERVAL", [SHORT_SPANS, LONG_SPANS]),
    ("INTERVAL", [TIMES, LONG_SPANS]),
    ("INTERVAL", [LONG_SPANS, LONG_SPANS.map(lambda each: -each)]),
    ("VARCHAR", [TEXTS]),
    ("VARCHAR", [WHOLE, TEXTS]),
    ("VARCHAR", [MOMENTS, TEXTS]),
    ("VARCHAR", [st.booleans(), WHOLE]),
    ("VARCHAR", [DAYS, WHOLE]),
    ("VARCHAR", [DAYS, TIMES]),
]
HEADER = [f"c{number}" for number in range(len(COLUMNS))]


@st.composite
def sheets(draw: st.DrawFn) -> list[list[object]]:
    """Return rows of which every column has a value of each of its kinds, and some no value."""
    columns = []
    for _, kinds in COLUMNS:
        must = [draw(kind) for kind in kinds]
        more = draw(st.lists(st.one_of(*kinds, st.none()), min_size=5 - len(must), max_size=5))
        columns.append(draw(st.permutations([*must, *more][:7])))
    longest = max(map(len, columns))
    rows = [[column[n] if n < len(column) else None for column in columns] for n in range(longest)]
    return [row for row in rows if any(cell is not None for cell in row)]


def in_type(value: object, type_: str) -> object:
    """Return what a cell must be in a column of a type, as DuckDB gives it to Python."""
    if value is None or type_ in ("BOOLEAN", "DATE", "TIME"):
        return value
    if type_ == "VARCHAR":
        return shown(value)
    if type_ == "TIMESTAMP" and not isinstance(value, datetime):
        assert isinstance(value, date)
        return datetime.combine(value, MIDNIGHT)
    if type_ == "INTERVAL" and isinstance(value, time):
        return since_midnight(value)
    return value


def shown(value: object) -> str:
    """Return what a cell is among texts."""
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat(" ") if isinstance(value, datetime) else str(value)


@pytest.mark.parametrize("kind", ["xlsx", "ods"])
@given(rows=sheets())
@PROFILE
def test_cells_come_out_as_they_went_in(
    tmp_path_factory: pytest.TempPathFactory, kind: str, rows: list[list[object]]
) -> None:
    given = [["Report 7 of 2024"], [], HEADER, *rows[:1], [], *rows[1:]]
    if kind == "ods":
        content = ods(given)
    else:
        content = xlsx({"One": [[cell_of(cell) for cell in row] for row in given]})
    table = load(tmp_path_factory.mktemp("sheet"), content)
    types = {name: type_ for name, (type_, _) in zip(HEADER, COLUMNS, strict=True)}
    if kind == "ods":  # a time of day and a duration are the same in it
        assert table.types.pop("c8") in ("INTERVAL", "TIME")
    kept = table.session.execute("FROM t")
    assert {**table.types, "c8": types["c8"]} == types
    expected = [
        tuple(in_type(cell, type_) for cell, type_ in zip(row, types.values(), strict=True))
        for row in rows
    ]
    assert kept == expected


def load(directory: Path, content: bytes) -> MemoryTable:
    table = MemoryTable(directory)
    path = directory / "book"
    path.write_bytes(content)
    options = LoadOptions()
    source = SheetSource(path, "book", content[:4_000], options.read)
    source.convert(SheetReader(300_000_000, 60), 10_000_000)
    table.session.execute("BEGIN TRANSACTION")
    load_table(table.session, source, "t", options)
    table.session.execute("COMMIT")
    return table
