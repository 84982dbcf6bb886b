"""What a file is to the engine: its columns, its rows as SQL, and its rows one by one."""

from __future__ import annotations

import csv
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chronoduck.errors import LoadError
from chronoduck.transfer.arrow_file import open_arrow
from chronoduck.transfer.detect import FileFormat
from chronoduck.transfer.json_depth import check_depth, check_depth_of_lines
from chronoduck.transfer.row_checks import Cell, csv_cells, json_cells, plain_cells
from chronoduck.transfer.sql import SqlSession, quote_name, quote_text
from chronoduck.transfer.table_columns import Filled, TableColumn
from chronoduck.transfer.text_lines import drop_trailer, numbered_lines
from chronoduck.transfer.text_values import csv_type, csv_value, json_type, json_value
from chronoduck.transfer.value_checks import check_file_values, check_width

__all__ = ["Rows", "TableSource", "open_source"]

BODY = "_chronoduck_body"
"""Name of what is registered with the connection."""


@dataclass(frozen=True)
class Rows:
    """A file's rows one by one, whether they are good or bad.

    ``sql`` has the columns ``_row_n`` (from 1), ``_row_text`` and ``_row_flaw`` (why the row is none),
    and what the cells are made of.
    """

    sql: str
    cells: list[Cell]


class TableSource(ABC):
    """A file of rows in the spool directory; every call reads it from its beginning."""

    place = "row"
    """What the numbers of its rows count."""
    can_skip = False
    """Whether single rows can be bad."""
    keeps_rejects = False
    """Whether the engine's reader leaves out lines, and keeps them in a table of its own."""

    def __init__(self, path: Path, name: str, head: bytes) -> None:
        self.path = path
        self.name = name
        self.head = head

    def prepare(self) -> None:  # noqa: B027 - nothing, for most
        """Take away from the copy what is none of its rows; may block.

        Raises:
            LoadError: the file says that it is not complete.
        """

    def check(self, session: SqlSession) -> None:  # noqa: B027 - nothing, where the engine checks all
        """Look at what the engine's reader takes as it is.

        Raises:
            LoadError: a column has a type, or values, that are not loaded.
        """

    @property
    def quoted_path(self) -> str:
        """The path as SQL."""
        return quote_text(str(self.path))

    def line_of(self, number: int, unreadable: Sequence[int]) -> int:
        """Return where a row is in the file, by its number among those that could be read."""
        return number

    @abstractmethod
    def inferred(self, session: SqlSession, *, lenient: bool) -> str:
        """Return the rows as SQL with the types that their values look like."""

    def columns(self, session: SqlSession, *, lenient: bool = False) -> list[TableColumn]:
        """Return names and types as they look; ``lenient``: bad rows do not matter."""
        rows = session.execute(f"DESCRIBE SELECT * FROM {self.inferred(session, lenient=lenient)}")
        # A column of NULLs becomes what CREATE TABLE AS makes of it.
        return [TableColumn(str(row[0]), str(row[1]).replace('"NULL"', "INTEGER")) for row in rows]

    def names(self, session: SqlSession) -> list[str]:
        """Return the names of all columns, also of those that only late rows have."""
        return [column.name for column in self.columns(session)]

    def value(self, filled: Filled) -> str:
        """Return the SQL of a column's value in a row of ``typed``."""
        return f"CAST({quote_name(filled.source)} AS {filled.column.type})"

    @abstractmethod
    def typed(self, session: SqlSession, filled: Sequence[Filled]) -> str:
        """Return the rows as SQL, with values that the table's columns take."""

    @abstractmethod
    def rows(self, session: SqlSession, filled: Sequence[Filled], known: Sequence[str]) -> Rows:
        """Return the rows one by one; ``known``: all columns that they may have."""


class _Plain(TableSource):
    """A format whose columns have types of their own."""

    def typed(self, session: SqlSession, filled: Sequence[Filled]) -> str:
        return self.inferred(session, lenient=False)

    def rows(self, session: SqlSession, filled: Sequence[Filled], known: Sequence[str]) -> Rows:
        relation = self.inferred(session, lenient=False)
        sql = (
            "SELECT row_number() OVER () AS _row_n, '' AS _row_text, NULL AS _row_flaw, * "
            f"FROM {relation}"
        )
        return Rows(sql, plain_cells(filled))


class _Parquet(_Plain):
    def check(self, session: SqlSession) -> None:
        relation = self.inferred(session, lenient=False)
        check_file_values(session, relation, self.columns(session), self.name)

    def inferred(self, session: SqlSession, *, lenient: bool) -> str:
        return f"read_parquet({self.quoted_path})"


class _Arrow(_Plain):
    def inferred(self, session: SqlSession, *, lenient: bool) -> str:
        session.scan(BODY, open_arrow(self.path, self.name))
        return BODY


class _Json(TableSource):
    """An array of objects, or objects one after the other."""

    def prepare(self) -> None:
        check_depth(self.path, self.name)

    @property
    def layout(self) -> str:
        return "array" if self.head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[") else "auto"

    def inferred(self, session: SqlSession, *, lenient: bool) -> str:
        more = ", ignore_errors = true" if lenient else ""
        keys = set(self._keys(session, lenient=lenient))
        known = session.execute(
            f"DESCRIBE SELECT * FROM read_json({self.quoted_path}, format = '{self.layout}'{more})"
        )
        late = keys - {row[0] for row in known}
        sample = ", sample_size = -1" if late else ""
        return f"read_json({self.quoted_path}, format = '{self.layout}'{more}{sample})"

    def _keys(self, session: SqlSession, *, lenient: bool) -> list[str]:
        more = ", ignore_errors = true" if lenient else ""
        objects = f"read_json_objects({self.quoted_path}, format = '{self.layout}'{more})"
        rows = session.execute(f"SELECT DISTINCT unnest(json_keys(json)) FROM {objects}")
        check_width(len(rows), self.name)
        return sorted(str(row[0]) for row in rows)

    def names(self, session: SqlSession) -> list[str]:
        return self._keys(session, lenient=False)

    def value(self, filled: Filled) -> str:
        return json_value(filled.column, quote_name(filled.source))

    def typed(self, session: SqlSession, filled: Sequence[Filled]) -> str:
        columns = _struct({each.source: json_type(each.column) for each in filled})
        return (
            f"read_json({self.quoted_path}, format = '{self.layout}', records = true, "
            f"columns = {columns})"
        )

    def rows(self, session: SqlSession, filled: Sequence[Filled], known: Sequence[str]) -> Rows:
        objects = f"read_json_objects({self.quoted_path}, format = '{self.layout}')"
        sql = (
            f"SELECT row_number() OVER () AS _row_n, '' AS _row_text, "
            f"{_json_flaw(known)} AS _row_flaw, document "
            f"FROM (SELECT json AS document FROM {objects})"
        )
        return Rows(sql, json_cells("document", filled))


class _NdJson(_Json):
    place = "line"
    can_skip = True
    layout = "newline_delimited"

    def prepare(self) -> None:
        drop_trailer(self.path, self.name)
        check_depth_of_lines(self.path, self.name)

    def rows(self, session: SqlSession, filled: Sequence[Filled], known: Sequence[str]) -> Rows:
        session.scan(BODY, numbered_lines(self.path, self.name))
        sql = (
            f"SELECT n AS _row_n, text AS _row_text, CASE WHEN NOT is_utf8 THEN 'not UTF-8' "
            f"WHEN document IS NULL THEN 'not JSON' ELSE {_json_flaw(known)} END AS _row_flaw, "
            f"document "
            f"FROM (SELECT *, TRY_CAST(text AS JSON) AS document FROM {BODY})"
        )
        return Rows(sql, json_cells("document", filled))

    def names(self, session: SqlSession) -> list[str]:
        return self._keys(session, lenient=True)


def _json_flaw(known: Sequence[str]) -> str:
    listed = ", ".join(quote_text(name.lower()) for name in known)
    unknown = f"list_filter(json_keys(document), lambda x: lower(x) NOT IN ({listed}))"
    return (
        "CASE WHEN json_type(document) <> 'OBJECT' THEN 'not a JSON object' "
        f"WHEN len({unknown}) > 0 THEN 'there is no column ' || {unknown}[1] END"
    )


class _Csv(TableSource):
    """CSV with a header line, which decides on delimiter and names."""

    # Left to itself the engine takes another dialect when a line is broken, and loads nonsense or
    # nothing: the header decides, and a line that does not fit it is an error with its number.
    place = "line"
    can_skip = True
    keeps_rejects = True

    def __init__(self, path: Path, name: str, head: bytes) -> None:
        super().__init__(path, name, head)
        header = next(iter(head.decode("utf-8-sig", "replace").splitlines()), "")
        self.delimiter = max(",\t;|", key=header.count)
        try:
            self._names = next(csv.reader([header], delimiter=self.delimiter), [])
        except csv.Error as error:  # a name of more than 131,072 characters, for one
            raise LoadError(
                f"the header of {name} cannot be read: {error}",
                hint="Its first line names the columns, separated by commas.",
            ) from error
        check_width(len(self._names), name)

    def names(self, session: SqlSession) -> list[str]:
        return self._names

    def line_of(self, number: int, unreadable: Sequence[int]) -> int:
        line = number + 1  # the header
        for other in unreadable:
            if other <= line:
                line += 1
        return line

    def inferred(self, session: SqlSession, *, lenient: bool) -> str:
        return self._reader(", ignore_errors = true" if lenient else "")

    def _reader(self, more: str) -> str:
        names = ", ".join(quote_text(name) for name in self._names)
        return (
            f"read_csv({self.quoted_path}, delim = '{self.delimiter}', names = [{names}], "
            f"header = false, skip = 1, strict_mode = true, null_padding = false{more})"
        )

    def value(self, filled: Filled) -> str:
        return csv_value(filled.column, quote_name(filled.source))

    def typed(self, session: SqlSession, filled: Sequence[Filled]) -> str:
        return self._reader(
            f", types = {_struct({each.source: csv_type(each.column) for each in filled})}"
        )

    def rows(self, session: SqlSession, filled: Sequence[Filled], known: Sequence[str]) -> Rows:
        columns = ", ".join(f"{quote_text(name)}: 'VARCHAR'" for name in self._names)
        shown = ", ".join(quote_name(name) for name in self._names)
        reader = (
            f"read_csv({self.quoted_path}, delim = '{self.delimiter}', columns = {{{columns}}}, "
            "header = false, skip = 1, quote = '\"', escape = '\"', auto_detect = false, "
            "strict_mode = true, null_padding = false, store_rejects = true, rejects_limit = 0)"
        )
        sql = (
            "SELECT row_number() OVER () AS _row_n, NULL AS _row_flaw, "
            f"concat_ws('{self.delimiter}', {shown}) AS _row_text, * FROM {reader}"
        )
        return Rows(sql, csv_cells(filled))


_SOURCES: dict[FileFormat, type[TableSource]] = {
    FileFormat.PARQUET: _Parquet,
    FileFormat.ARROW: _Arrow,
    FileFormat.CSV: _Csv,
    FileFormat.JSON: _Json,
    FileFormat.NDJSON: _NdJson,
}


def open_source(file_format: FileFormat, path: Path, name: str, head: bytes) -> TableSource:
    """Return the source for a copy of a file; ``head`` is its beginning.

    Raises:
        LoadError: files of that format are no rows of any table.
    """
    if file_format not in _SOURCES:
        raise LoadError(f"{file_format.value} holds no rows of a table")
    return _SOURCES[file_format](path, name, head)


def _struct(types: Mapping[str, str]) -> str:
    fields = ", ".join(f"{quote_text(name)}: {quote_text(type_)}" for name, type_ in types.items())
    return f"{{{fields}}}"
