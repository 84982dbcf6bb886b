"""Spreadsheets into tables: kinds of cells, sheets, titles, and files that would take all memory."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest

from chronoduck.engine.sheets import SheetReader
from chronoduck.errors import LoadError
from chronoduck.transfer.detect import FileFormat
from chronoduck.transfer.options import LoadOptions, ReadOptions
from chronoduck.transfer.sheet_source import SheetSource, is_sheet
from chronoduck.transfer.table_load import load_table
from tests.spreadsheets import DAY, ERROR, TIME, WHEN, ods, xlsx
from tests.unit.transfer.memory_loads import MemoryTable

pytest.importorskip("python_calamine")
ROWS = [
    ["id", "zip", "price", "day", "at", "ok", "t", "mixed"],
    [1, "007", 1.5, (45000, DAY), (45000.5, WHEN), True, (0.25, TIME), "a"],
    [None],
    [2, "12", 2.25, (45001, DAY), (45001.5, WHEN), False, (0.5, TIME), 3],
]


@pytest.fixture
def table(tmp_path: Path) -> MemoryTable:
    return MemoryTable(tmp_path)


def load(table: MemoryTable, path: Path, content: bytes, **read: Any) -> SheetSource:
    path.write_bytes(content)
    options = LoadOptions(read=ReadOptions(**read))
    source = SheetSource(path, "book.xlsx", content[:4_000], options.read)
    source.convert(SheetReader(300_000_000, 60), 10_000_000)
    table.session.execute("BEGIN TRANSACTION")
    try:
        load_table(table.session, source, "t", options)
    except BaseException:
        table.session.execute("ROLLBACK")
        raise
    table.session.execute("COMMIT")
    return source


def test_cells_keep_their_kinds(table: MemoryTable, tmp_path: Path) -> None:
    source = load(
        table, tmp_path / "x", xlsx({"One": [["Report 2024"], [], *ROWS], "Two": [["a"], [1]]})
    )
    assert table.types == {
        "id": "BIGINT", "zip": "VARCHAR", "price": "DOUBLE", "day": "DATE", "at": "TIMESTAMP",
        "ok": "BOOLEAN", "t": "TIME", "mixed": "VARCHAR",
    }  # fmt: skip
    assert table.texts == [
        ("1", "007", "1.5", "2023-03-15", "2023-03-15 12:00:00", "true", "06:00:00", "a"),
        ("2", "12", "2.25", "2023-03-16", "2023-03-16 12:00:00", "false", "12:00:00", "3"),
    ]
    assert source.guesses["sheet"] == "One"


def test_what_is_no_value_of_a_column_does_not_decide_its_type(
    table: MemoryTable, tmp_path: Path
) -> None:
    header = ["at", "n", "word"]
    rows = [
        ["A list of 2024"],
        header,
        [(45000, WHEN), 1, "true"],
        header,
        [(45000.5, WHEN), "-", "x"],
    ]
    load(table, tmp_path / "x", xlsx({"One": rows}), null=("-",))
    assert table.types == {"at": "TIMESTAMP", "n": "BIGINT", "word": "VARCHAR"}
    assert table.texts == [
        ("2023-03-15 00:00:00", "1", "true"),
        ("2023-03-15 12:00:00", None, "x"),
    ]


@pytest.mark.parametrize("word", ["true", "nan", "inf", "007", "2024-01-01", "12:00:00"])
def test_a_text_that_looks_like_a_value_stays_a_text(
    table: MemoryTable, tmp_path: Path, word: str
) -> None:
    others = {"true": True, "2024-01-01": (45000, DAY), "12:00:00": (0.25, TIME)}
    load(
        table,
        tmp_path / "x",
        xlsx({"One": [["a", "b"], [word, word], [word, others.get(word, 1.5)]]}),
    )
    assert set(table.types.values()) == {"VARCHAR"}
    assert table.texts[0] == (word, word)


def test_cells_with_an_error_are_counted(table: MemoryTable, tmp_path: Path) -> None:
    source = load(table, tmp_path / "x", xlsx({"One": [["a"], [1], [ERROR], [2], [ERROR], [3]]}))
    assert source.guesses["error_cells"] == "NULL (2)"
    assert table.types == {"a": "BIGINT"}


def test_a_sheet_is_chosen_by_its_name(table: MemoryTable, tmp_path: Path) -> None:
    book = xlsx({"One": ROWS, "Two": [["a"], [1]]})
    with pytest.raises(LoadError, match="no sheet 'Three'; it has 'One', 'Two'"):
        load(table, tmp_path / "x", book, sheet="Three")
    load(table, tmp_path / "x", book, sheet="Two")
    assert table.texts == [("1",)]


def test_a_bad_cell_is_named_by_its_row(table: MemoryTable, tmp_path: Path) -> None:
    table.session.execute("CREATE TABLE t (a INTEGER, b INTEGER)")
    book = xlsx({"One": [["a", "b"], [1, 2], [], [3, "x"]]})
    with pytest.raises(LoadError, match=r"^row 4: column b: x is not INTEGER"):
        load(table, tmp_path / "x", book)


def test_ods_is_read(table: MemoryTable, tmp_path: Path) -> None:
    load(table, tmp_path / "x", ods([["name", "n"], ["A", 1.5], ["B", 2.0]]))
    assert table.texts == [("A", "1.5"), ("B", "2.0")]


def test_a_cell_far_away_takes_no_memory_of_the_service(table: MemoryTable, tmp_path: Path) -> None:
    book = zipfile.ZipFile(io.BytesIO(xlsx({"One": [["a"], [1]]})))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name in book.namelist():
            far = b'<row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData>'
            file.writestr(name, book.read(name).replace(b"</sheetData>", far))
    with pytest.raises(LoadError, match="damaged, or too large"):
        load(table, tmp_path / "x", out.getvalue())
    with pytest.raises(LoadError, match="cannot be read as a spreadsheet"):
        load(table, tmp_path / "x", b"PK\x03\x04 and nothing else")


def test_a_spreadsheet_is_known_by_its_beginning() -> None:
    assert is_sheet(xlsx({"One": ROWS}), "upload")
    assert is_sheet(ods([["a"]]), "upload")
    assert not is_sheet(b"PK\x03\x04" + b"archive/data.warc.gz", "crawl.wacz")
    assert FileFormat("xlsx") is FileFormat.XLSX
