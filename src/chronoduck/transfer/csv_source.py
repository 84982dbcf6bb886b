"""CSV: read as texts once, by one dialect; a line that does not fit it is an error with its number."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from chronoduck.errors import LoadError
from chronoduck.transfer.bad_lines import BadRow, unreadable_lines
from chronoduck.transfer.csv_dialect import Dialect, find_dialect
from chronoduck.transfer.csv_lines import lines_of_records, make_line_ends_alike
from chronoduck.transfer.exact_values import (
    Conversion,
    nested_conversion,
    text_conversion,
    tree_of,
)
from chronoduck.transfer.guess_types import Leaf, Part, first_rows, guess_leaves, text_ladder
from chronoduck.transfer.options import ReadOptions
from chronoduck.transfer.row_checks import cells_of
from chronoduck.transfer.sql import SqlSession, quote_name, quote_text
from chronoduck.transfer.table_columns import Filled, TableColumn
from chronoduck.transfer.table_source import Rows, TableSource
from chronoduck.transfer.text_encoding import make_utf8
from chronoduck.transfer.value_checks import check_width

__all__ = ["CsvSource"]

_HEAD_BYTES = 500_000
_BLOCK_BYTES = 1_000_000
_SHOWN_ROWS = 1_000
_NOTHING = "Nothing was loaded."
_REJECTS = ", store_rejects = true, rejects_limit = 0"


class CsvSource(TableSource):
    """CSV with or without a header line."""

    place = "line"
    can_skip = True
    keeps_rejects = True
    is_guessed = True
    hint = "Set `date_format`, `decimal`, `thousands` or `null`, or change the type of the column."

    flaw_hint = (
        "Set `delimiter`, `quote`, `header` or `skip`, or `on_error=skip` to leave such lines out."
    )

    def __init__(self, path: Path, name: str, head: bytes, read: ReadOptions) -> None:
        super().__init__(path, name, head, read)
        self._dialect: Dialect | None = None
        self._names: list[str] = []
        self._unproven: set[str] = set()
        """Columns of which the rows that were looked at have no value."""
        self._guessed: set[str] = set()
        self._skips_header = False

    def prepare(self) -> None:
        found = make_utf8(self.path, self.read.encoding, self.name)
        if found.is_guessed:
            self.guesses["encoding"] = found.encoding

    # --- dialect ------------------------------------------------------------------------------

    def settle(self, session: SqlSession, known: Sequence[str]) -> None:
        if self._dialect is not None:
            return
        with self.path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            is_whole = not file.read(1)
        dialect = find_dialect(head, self.name, self.read, known, is_whole=is_whole)
        check_width(len(dialect.names), self.name)
        self.guesses.update(dialect.guessed)
        self._names = dialect.names
        self._dialect = dialect
        self._make_line_ends_alike(dialect)
        self._drop_head(dialect)
        if dialect.has_header and len(dialect.header) > 1:
            line = head.split(b"\n")[dialect.header_line - 1]
            self._skips_header = bool(line.strip()) and self._has_repeated_header(line)
            if self._skips_header:
                self.guesses["repeated_headers"] = "left out"

    @property
    def dialect(self) -> Dialect:
        """How the file is written; ``settle`` was called."""
        assert self._dialect is not None  # noqa: S101 - the order of calls
        return self._dialect

    def _make_line_ends_alike(self, dialect: Dialect) -> None:
        """The engine takes one kind of line end for the whole file."""
        with self.path.open("rb") as file:
            # To look for one byte costs a tenth of counting two.
            if not any(b"\r" in block for block in iter(partial(file.read, _BLOCK_BYTES), b"")):
                return
            file.seek(0)
            breaks, pairs, last = 0, 0, b""
            while block := file.read(_BLOCK_BYTES):
                breaks += block.count(b"\n")
                pairs += block.count(b"\r\n") + (last == b"\r" and block.startswith(b"\n"))
                last = block[-1:]
        if pairs and breaks != pairs:
            other = self.path.with_suffix(".lines")
            make_line_ends_alike(self.path, other, dialect.delimiter, dialect.quote)
            other.replace(self.path)

    def _drop_head(self, dialect: Dialect) -> None:
        """Make one line of all that is before the first record, which the engine then skips."""
        if dialect.data_line == 1:
            return
        with self.path.open("r+b") as file:
            size = self._head_bytes(file.read(_HEAD_BYTES), dialect.data_line - 1)
            file.seek(max(0, size - 2))
            ends = file.read(min(size, 2))
            end = b"\r\n" if ends == b"\r\n" else b"\n"
            file.seek(0)
            file.write(b" " * (size - len(end)) + end)

    def _head_bytes(self, head: bytes, lines: int) -> int:
        position = 0
        for _ in range(lines):
            position = head.find(b"\n", position) + 1
            if not position:
                return len(head)
        return position

    def _has_repeated_header(self, line: bytes) -> bool:
        """Whether the header's line comes again, as in files that were put one behind the other."""
        needle = b"\n" + line.rstrip(b"\r\n")
        rest = b""
        with self.path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                if needle in rest + block:
                    return True
                rest = block[-len(needle) :]
        return False

    def lines_of(self, numbers: Sequence[int], unreadable: Collection[int] = ()) -> dict[int, int]:
        skipped = min(1, self.dialect.data_line - 1)
        more = self.dialect.data_line - 1 - skipped
        found = lines_of_records(
            self.path,
            numbers,
            skipped,
            self.dialect.delimiter,
            self.dialect.quote,
            {line - more for line in unreadable},
        )
        return {number: line + more for number, line in found.items()}

    def lines_at(self, places: Sequence[tuple[int, int]]) -> list[int]:
        skipped = min(1, self.dialect.data_line - 1)
        first = self.dialect.data_line - skipped
        found: dict[int, int] = {}
        at = breaks = 0
        with self.path.open("rb") as file:
            for position in sorted({position for position, _ in places}):
                while at < position and (block := file.read(min(position - at, _BLOCK_BYTES))):
                    breaks += block.count(b"\n")
                    at += len(block)
                found[position] = breaks + first
        return [found[position] for position, _ in places]

    # --- columns ------------------------------------------------------------------------------

    def names(self, session: SqlSession) -> list[str]:
        return self._names

    def columns(
        self, session: SqlSession, *, lenient: bool = False, whole: bool = False
    ) -> list[TableColumn]:
        given = {name.lower(): type_ for name, type_ in self.read.types.items()}
        unknown = sorted(given.keys() - {name.lower() for name in self._names})
        if unknown:
            raise LoadError(
                f"`types` names the column {unknown[0]}, which {self.name} does not have",
                hint=f"{_NOTHING} It has {', '.join(self._names[:10])}.",
            )
        open_ = [name for name in self._names if name.lower() not in given]
        guessed = dict.fromkeys(open_, "VARCHAR")
        if not self.read.all_text:
            said = self.said_types()
            unknown_types = [name for name in open_ if name not in said]
            guessed |= said | self._guess(session, unknown_types, lenient=lenient, whole=whole)
            self._guessed = set(unknown_types)
        return [TableColumn(name, given.get(name.lower()) or guessed[name]) for name in self._names]

    def said_types(self) -> dict[str, str]:
        """Return the types of the columns of which the file itself says what they hold."""
        return {}

    def _guess(
        self, session: SqlSession, names: Sequence[str], *, lenient: bool, whole: bool
    ) -> dict[str, str]:
        more = ", ignore_errors = true" if lenient else ""
        reader = self._without_headers(f"({self._reader(more)})")
        with nullcontext(reader) if whole else first_rows(session, reader) as rows:
            parts = self._guess_by(session, rows, names, whole=whole)
        return {name: part.type() for name, part in parts.items()}

    def _guess_by(
        self, session: SqlSession, rows: str, names: Sequence[str], *, whole: bool
    ) -> dict[str, Part]:
        shown = session.execute(f"FROM {rows} LIMIT {_SHOWN_ROWS}")
        places = {name: index for index, name in enumerate(self._names)}
        seen: dict[str, list[str]] = {}
        for name in names:
            cells = [row[places[name]] for row in shown]
            seen[name] = [str(cell) for cell in cells if cell is not None and str(cell).strip()]
        if whole and names:
            outer = ", ".join(f"min({quote_name(n)}), max({quote_name(n)})" for n in names)
            row = session.execute(f"SELECT {outer} FROM {rows}")[0]
            for index, name in enumerate(names):
                ends = [str(each) for each in row[2 * index : 2 * index + 2] if each is not None]
                seen[name] += [each for each in ends if each.strip()]
        parts = {
            name: Part(
                "leaf", Leaf(text_ladder(seen[name], self.read.date_format) if seen[name] else [])
            )
            for name in names
        }
        columns = [(quote_name(name), part) for name, part in parts.items() if seen[name]]
        guess_leaves(session, rows, columns, self.dialect.forms)
        self._unproven = set() if whole else {name for name in names if not seen[name]}
        return parts

    # --- rows ---------------------------------------------------------------------------------

    def _reader(self, more: str = "") -> str:
        dialect = self.dialect
        columns = ", ".join(f"{quote_text(name)}: 'VARCHAR'" for name in self._names)
        nulls = ", ".join(quote_text(each) for each in ("", *self.read.null))
        quote = quote_text(dialect.quote)
        skip = min(1, dialect.data_line - 1)
        return (
            f"SELECT * FROM read_csv({self.quoted_path}, delim = {quote_text(dialect.delimiter)}, "
            f"columns = {{{columns}}}, header = false, skip = {skip}, quote = {quote}, "
            f"escape = {quote}, nullstr = [{nulls}], allow_quoted_nulls = false, "
            f"auto_detect = false, strict_mode = true, null_padding = false{more})"
        )

    def _without_headers(self, relation: str) -> str:
        if not self._skips_header:
            return relation
        same = " AND ".join(
            f"{quote_name(name)} IS NOT DISTINCT FROM {quote_text(each) if each else 'NULL'}"
            for name, each in zip(self._names, self.dialect.header, strict=True)
        )
        return f"(SELECT * FROM {relation} WHERE NOT ({same}))"

    def relation(self, session: SqlSession, filled: Sequence[Filled]) -> str:
        return self._without_headers(f"({self._reader()})")

    def conversion(self, filled: Filled) -> Conversion:
        name, given = filled.source, quote_name(filled.source)
        if name in self._unproven and name in self._guessed:
            never = "CAST(NULL AS VARCHAR)"
            return Conversion(
                given, never, lambda text, value: "false", lambda text, value: "false"
            )
        if tree_of(filled.column.type).parts:
            return nested_conversion(filled.column.type, given)
        return text_conversion(
            filled.column.type,
            given,
            self.dialect.forms,
            is_guess=name in self._guessed,
            empty_is_null=True,
        )

    def first_flaw(self, session: SqlSession) -> BadRow | None:
        session.execute(f"SELECT min(hash(COLUMNS(*))) FROM ({self._reader(_REJECTS)})")
        found = unreadable_lines(session, self)
        return found[0] if found else None

    def rows(self, session: SqlSession, filled: Sequence[Filled], known: Sequence[str]) -> Rows:
        shown = ", ".join(quote_name(name) for name in self._names)
        reader = self._reader(_REJECTS)
        sql = (
            "SELECT row_number() OVER () AS _row_n, NULL AS _row_flaw, "
            f"concat_ws({quote_text(self.dialect.delimiter)}, {shown}) AS _row_text, * "
            f"FROM ({reader})"
        )
        return Rows(self._without_headers(f"({sql})"), cells_of(filled, self.conversion))
