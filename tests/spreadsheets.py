"""Small spreadsheets, written by hand: XLSX and ODS."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from xml.sax.saxutils import escape

__all__ = ["DAY", "ERROR", "SPAN", "TIME", "WHEN", "cell_of", "ods", "since_midnight", "xlsx"]

DAY, WHEN, TIME, SPAN = 1, 2, 3, 4
"""Styles of a cell ``(number, style)``."""
ERROR = "#N/A"
"""A text that is written as an error, as a formula leaves it."""
Cell = str | int | float | bool | tuple[float, int] | None
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_TYPES = "http://schemas.openxmlformats.org/package/2006/content-types"


def since_midnight(moment: time) -> timedelta:
    """Return a time of day as the duration that sheets keep it as."""
    seconds = moment.hour * 3600 + moment.minute * 60 + moment.second
    return timedelta(seconds=seconds, microseconds=moment.microsecond)


def cell_of(value: object) -> Cell:
    """Return a value of Python as Excel keeps it: numbers, with a style for days and times."""
    if isinstance(value, datetime):
        return (value - datetime(1899, 12, 30)) / timedelta(days=1), WHEN  # noqa: DTZ001 - a sheet has no zones
    if isinstance(value, date):
        return (value - date(1899, 12, 30)) / timedelta(days=1), DAY
    if isinstance(value, time):
        return since_midnight(value) / timedelta(days=1), TIME
    if isinstance(value, timedelta):
        return value / timedelta(days=1), SPAN
    assert value is None or isinstance(value, str | int | float)
    return value


def xlsx(sheets: dict[str, Sequence[Sequence[Cell]]]) -> bytes:
    """Return a workbook."""
    out = io.BytesIO()
    names = list(sheets)
    listed = "".join(
        f'<sheet name="{escape(name)}" sheetId="{n}" r:id="r{n}"/>' for n, name in enumerate(names)
    )
    links = "".join(
        f'<Relationship Id="r{n}" Type="{_OFFICE}/worksheet" Target="worksheets/s{n}.xml"/>'
        for n in range(len(names))
    )
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(
            "[Content_Types].xml",
            f'<Types xmlns="{_TYPES}"><Default Extension="xml" ContentType="application/xml"/></Types>',
        )
        file.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{_RELATIONS}"><Relationship Id="r" '
            f'Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        )
        file.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets>{listed}</sheets></workbook>',
        )
        file.writestr(
            "xl/_rels/workbook.xml.rels",
            f'<Relationships xmlns="{_RELATIONS}">{links}'
            f'<Relationship Id="s" Type="{_OFFICE}/styles" Target="styles.xml"/></Relationships>',
        )
        file.writestr(
            "xl/styles.xml",
            f'<styleSheet xmlns="{_MAIN}"><cellXfs count="5"><xf numFmtId="0"/><xf numFmtId="14"/>'
            '<xf numFmtId="22"/><xf numFmtId="21"/><xf numFmtId="46"/></cellXfs></styleSheet>',
        )
        for number, rows in enumerate(sheets.values()):
            body = "".join(map(_row, range(1, len(rows) + 1), rows))
            file.writestr(
                f"xl/worksheets/s{number}.xml",
                f'<worksheet xmlns="{_MAIN}"><sheetData>{body}</sheetData></worksheet>',
            )
    return out.getvalue()


def _row(number: int, row: Sequence[Cell]) -> str:
    cells = "".join(_cell(f"{chr(65 + index)}{number}", cell) for index, cell in enumerate(row))
    return f'<row r="{number}">{cells}</row>'


def _cell(place: str, cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return f'<c r="{place}" t="b"><v>{int(cell)}</v></c>'
    if cell == ERROR:
        return f'<c r="{place}" t="e"><v>{cell}</v></c>'
    if isinstance(cell, str):
        return f'<c r="{place}" t="inlineStr"><is><t>{escape(cell)}</t></is></c>'
    value, style = cell if isinstance(cell, tuple) else (cell, 0)
    return f'<c r="{place}" s="{style}"><v>{value!r}</v></c>'


def ods(rows: Sequence[Sequence[object]]) -> bytes:
    """Return a document with one sheet."""
    office = "urn:oasis:names:tc:opendocument:xmlns"
    body = "".join(
        f"<table:table-row>{''.join(map(_ods_cell, row))}</table:table-row>" for row in rows
    )
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        file.writestr(
            "META-INF/manifest.xml",
            f'<manifest:manifest xmlns:manifest="{office}:manifest:1.0"/>',
        )
        file.writestr(
            "content.xml",
            f'<office:document-content xmlns:office="{office}:office:1.0" '
            f'xmlns:table="{office}:table:1.0" xmlns:text="{office}:text:1.0"><office:body>'
            f'<office:spreadsheet><table:table table:name="One">{body}</table:table>'
            "</office:spreadsheet></office:body></office:document-content>",
        )
    return out.getvalue()


def _ods_cell(cell: object) -> str:
    """Return a cell as LibreOffice writes it: a moment at midnight is a day, a time a duration."""
    if cell is None:
        return "<table:table-cell/>"
    kind, value = "float", repr(cell)
    if isinstance(cell, str):
        text = f"<text:p>{escape(cell)}</text:p>"
        return f'<table:table-cell office:value-type="string">{text}</table:table-cell>'
    if isinstance(cell, bool):
        kind, value = "boolean", str(cell).lower()
    elif isinstance(cell, datetime):
        kind, value = "date", cell.isoformat() if cell.time() != time() else f"{cell:%Y-%m-%d}"
    elif isinstance(cell, date):
        kind, value = "date", cell.isoformat()
    elif isinstance(cell, time | timedelta):
        whole = cell if isinstance(cell, timedelta) else since_midnight(cell)
        seconds, rest = divmod(abs(whole) // timedelta(microseconds=1), 10**6)
        clock = f"{seconds // 3600:02}H{seconds // 60 % 60:02}M{seconds % 60:02}.{rest:06}S"
        kind, value = "time", ("-PT" if whole < timedelta(0) else "PT") + clock
    name = {"boolean": "boolean-value", "date": "date-value", "time": "time-value"}.get(
        kind, "value"
    )
    return f'<table:table-cell office:value-type="{kind}" office:{name}="{value}"/>'
