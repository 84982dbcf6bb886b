"""Spreadsheets into tables: kinds of cells, sheets, titles, and files that would take all memory."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest

from chronoduck.engine.sheet_worker import written_rows
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


# --- as offices write them ----------------------------------------------------------------------


def edited(book: bytes, **changes: tuple[str, str]) -> bytes:
    """Return a workbook with one text replaced in parts that are called so."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(book)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            text = old.read(name).decode()
            before, after = changes.get(name.rpartition("/")[2].removesuffix(".xml"), ("", ""))
            assert before in text
            new.writestr(name, text.replace(before, after))
    return out.getvalue()


def cells(*rows: str) -> tuple[str, str]:
    """Return the change that makes these the rows of a sheet."""
    body = "".join(f'<row r="{n}">{row}</row>' for n, row in enumerate(rows, 1))
    return "<sheetData></sheetData>", f"<sheetData>{body}</sheetData>"


EMPTY = xlsx({"One": []})
HEAD = '<c r="A1" t="inlineStr"><is><t>a</t></is></c><c r="B1" t="inlineStr"><is><t>b</t></is></c>'


def test_days_of_old_macs_are_counted_from_1904(table: MemoryTable, tmp_path: Path) -> None:
    book = xlsx({"One": [["d"], [(45000 - 1462, DAY)]]})
    load(
        table,
        tmp_path / "x",
        edited(book, workbook=("<sheets>", '<workbookPr date1904="1"/><sheets>')),
    )
    assert (table.types, table.texts) == ({"d": "DATE"}, [("2023-03-15",)])


def test_percent_and_formats_of_days_that_somebody_made(table: MemoryTable, tmp_path: Path) -> None:
    formats = (
        '<numFmts count="1"><numFmt numFmtId="164" formatCode="yyyy\\-mm\\-dd"/></numFmts>'
        '<cellXfs count="7"><xf numFmtId="10"/><xf numFmtId="164"/><xf'
    )
    sheet = cells(HEAD, '<c r="A2" s="0"><v>0.125</v></c><c r="B2" s="1"><v>45000</v></c>')
    book = edited(EMPTY, s0=sheet, styles=('<cellXfs count="5"><xf', formats))
    load(table, tmp_path / "x", book)
    assert (table.types, table.texts) == ({"a": "DOUBLE", "b": "DATE"}, [("0.125", "2023-03-15")])


def test_formulas_are_their_last_result(table: MemoryTable, tmp_path: Path) -> None:
    sheet = cells(
        HEAD,
        '<c r="A2"><f>1+1</f><v>2</v></c><c r="B2" t="str"><f>"0"&amp;"07"</f><v>007</v></c>',
        '<c r="A3"><f>3+4</f><v>7</v></c><c r="B3" t="str"><f>""</f><v></v></c>',
    )
    load(table, tmp_path / "x", edited(EMPTY, s0=sheet))
    assert table.types == {"a": "BIGINT", "b": "VARCHAR"}
    assert table.texts[0] == ("2", "007")


def test_an_error_of_a_formula_is_no_value(table: MemoryTable, tmp_path: Path) -> None:
    error = '<c r="A2"><v>1</v></c><c r="B2" t="e"><v>#N/A</v></c>'
    sheet = cells(HEAD, error, '<c r="A3"><v>2</v></c><c r="B3"><v>5</v></c>')
    load(table, tmp_path / "x", edited(EMPTY, s0=sheet))
    assert (table.types, table.texts) == (
        {"a": "BIGINT", "b": "BIGINT"},
        [("1", None), ("2", "5")],
    )


def test_only_the_first_of_merged_cells_has_the_value(table: MemoryTable, tmp_path: Path) -> None:
    book = xlsx({"One": [["a", "b"], ["x", 1], [None, 2]]})
    merged = (
        "</sheetData>",
        '</sheetData><mergeCells count="1"><mergeCell ref="A2:A3"/></mergeCells>',
    )
    load(table, tmp_path / "x", edited(book, s0=merged))
    assert table.texts == [("x", "1"), (None, "2")]


def test_a_hidden_sheet_is_not_the_first(table: MemoryTable, tmp_path: Path) -> None:
    book = xlsx({"Lists": [["a"], ["x"]], "Data": [["b"], [1]]})
    hidden = edited(book, workbook=('name="Lists"', 'name="Lists" state="hidden"'))
    assert load(table, tmp_path / "x", hidden).guesses["sheet"] == "Data"
    assert (table.types, table.texts) == ({"b": "BIGINT"}, [("1",)])
    load(table, tmp_path / "y", xlsx({"Lists": [["b"], [2]]}))
    assert table.texts == [("1",), ("2",)]


def test_years_and_long_numbers(table: MemoryTable, tmp_path: Path) -> None:
    book = xlsx({"One": [["country", 2023, 2024], ["DE", 123456789012345, 1e20], ["FR", 1, 0.5]]})
    load(table, tmp_path / "x", book)
    assert list(table.types) == ["country", "2023", "2024"]
    assert table.texts == [("DE", "123456789012345", "1e+20"), ("FR", "1", "0.5")]


def test_a_spreadsheet_is_known_by_its_beginning() -> None:
    assert is_sheet(xlsx({"One": ROWS}), "upload")
    assert is_sheet(ods([["a"]]), "upload")
    assert not is_sheet(b"PK\x03\x04" + b"archive/data.warc.gz", "crawl.wacz")
    assert FileFormat("xlsx") is FileFormat.XLSX


def test_a_duration_of_thousands_of_digits_is_a_text() -> None:
    for text in (f"PT{'9' * 5_000}H00M00S", f"PT1H{'9' * 5_000}M0S", f"-PT1H1M{'9' * 5_000}.5S"):
        assert next(written_rows([[text]], has_iso_spans=True)) == f"{text}\n"
