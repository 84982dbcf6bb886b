"""JSON and NDJSON: objects whose members are read as texts, and become values that are the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

import orjson

from chronoduck.errors import LoadError
from chronoduck.transfer.bad_lines import SHOWN_CHARACTERS, BadRow
from chronoduck.transfer.exact_text import TextForms
from chronoduck.transfer.exact_values import Conversion, text_conversion, text_type, tree_of
from chronoduck.transfer.guess_types import Part, first_rows, guess_leaves
from chronoduck.transfer.json_depth import check_depth, check_depth_of_lines
from chronoduck.transfer.json_members import find_members, find_names
from chronoduck.transfer.json_numbers import keep_long_numbers
from chronoduck.transfer.json_structure import (
    Structure,
    part_of,
    pointer,
    structural_flaw,
    unknown_key,
)
from chronoduck.transfer.options import ReadOptions
from chronoduck.transfer.row_checks import Cell
from chronoduck.transfer.sql import SqlSession, quote_name, quote_text
from chronoduck.transfer.table_columns import Filled, TableColumn
from chronoduck.transfer.table_source import Rows, TableSource
from chronoduck.transfer.text_encoding import make_utf8
from chronoduck.transfer.text_lines import drop_trailer, numbered_lines

__all__ = ["JsonSource", "NdJsonSource"]

BODY = "_chronoduck_body"
_NOTHING = "Nothing was loaded."
_BOM = b"\xef\xbb\xbf"


class JsonSource(TableSource):
    """An array of objects, or objects one after the other."""

    is_guessed = True
    hint = "Set `date_format`, or change the type of the column."

    def __init__(self, path: Path, name: str, head: bytes, read: ReadOptions) -> None:
        super().__init__(path, name, head, read)
        self._values_path = path
        self._long_number = 0
        """The line of the first number that needs more digits than JSON readers keep."""
        self._structures: dict[str, Structure] | None = None
        self._parts: dict[str, Part] = {}
        self._guessed: set[str] = set()
        self._unproven: set[str] = set()

    @property
    def layout(self) -> str:
        """How the engine's reader is told to split the file."""
        with self.path.open("rb") as file:
            start = file.read(4096).lstrip(_BOM + b" \t\r\n")
        return "array" if start.startswith(b"[") else "auto"

    def prepare(self) -> None:
        self._make_plain()
        check_depth(self.path, self.name)
        self._keep_numbers()

    def _make_plain(self) -> None:
        found = make_utf8(self.path, self.read.encoding, self.name, fallback="")
        if found.is_guessed:
            self.guesses["encoding"] = found.encoding
        with self.path.open("r+b") as file:
            if file.read(3) == _BOM:
                file.seek(0)
                file.write(b"   ")

    def _keep_numbers(self) -> None:
        other = self.path.with_suffix(".values")
        self._long_number = keep_long_numbers(self.path, other)
        if self._long_number:
            self._values_path = other

    # --- columns ------------------------------------------------------------------------------

    def _objects(self, *, lenient: bool) -> str:
        more = ", ignore_errors = true" if lenient else ""
        return f"read_json_objects({self.quoted_path}, format = '{self.layout}'{more})"

    def _members(self, session: SqlSession, *, lenient: bool) -> dict[str, Structure]:
        if self._structures is None:
            self._structures = find_members(session, self._objects(lenient=lenient), self.name)
        return self._structures

    def names(self, session: SqlSession) -> list[str]:
        if self._structures is not None:
            return list(self._structures)
        return find_names(session, self._objects(lenient=self.can_skip), self.name)

    def columns(
        self, session: SqlSession, *, lenient: bool = False, whole: bool = False
    ) -> list[TableColumn]:
        given = {name.lower(): type_ for name, type_ in self.read.types.items()}
        members = self._members(session, lenient=lenient)
        open_ = {name: each for name, each in members.items() if name.lower() not in given}
        if self.read.all_text:
            types = dict.fromkeys(open_, "VARCHAR")
        else:
            types = self._guess(session, open_, lenient=lenient, whole=whole)
            self._guessed = set(open_)
        return [TableColumn(name, given.get(name.lower()) or types[name]) for name in members]

    def _guess(
        self, session: SqlSession, members: Mapping[str, Structure], *, lenient: bool, whole: bool
    ) -> dict[str, str]:
        self._parts = {name: part_of(each) for name, each in members.items()}
        texts = {name: part.type(_as_text) for name, part in self._parts.items()}
        columns = [(quote_name(name), part) for name, part in self._parts.items()]
        if columns:
            reader = self._reader(texts, lenient=lenient)
            forms = TextForms(date_format=self.read.date_format)
            with nullcontext(reader) if whole else first_rows(session, reader) as rows:
                guess_leaves(session, rows, columns, forms)
        return {name: part.type() for name, part in self._parts.items()}

    def _reader(self, types: Mapping[str, str], *, lenient: bool = False) -> str:
        columns = ", ".join(
            f"{quote_text(name)}: {quote_text(type_)}" for name, type_ in types.items()
        )
        more = ", ignore_errors = true" if lenient else ""
        return (
            f"read_json({quote_text(str(self._values_path))}, format = '{self.layout}', "
            f"records = true, columns = {{{columns}}}{more})"
        )

    # --- rows ---------------------------------------------------------------------------------

    def misfits(self, session: SqlSession, filled: Sequence[Filled]) -> bool:
        nested = [each for each in filled if tree_of(each.column.type).parts]
        if not nested:
            return False
        members = self._members(session, lenient=self.can_skip)
        doubted = [
            each
            for each in nested
            if each.source in members and unknown_key(members[each.source], each.column.type)
        ]
        # What all values have together says that of an empty object, too: each is looked at.
        flaws = [
            structural_flaw(tree_of(each.column.type), f"(json -> {pointer(each.source)})")
            for each in doubted
        ]
        objects = self._objects(lenient=self.can_skip)
        where = " OR ".join(f"({flaw}) IS NOT NULL" for flaw in flaws)
        return bool(flaws) and bool(
            session.execute(f"SELECT 1 FROM {objects} WHERE {where} LIMIT 1")
        )

    def relation(self, session: SqlSession, filled: Sequence[Filled]) -> str:
        if self._long_number:
            self._check_long_numbers(filled)
        return self._reader({each.source: text_type(each.column.type) for each in filled})

    def _check_long_numbers(self, filled: Sequence[Filled]) -> None:
        for each in filled:
            if "JSON" in tree_of(each.column.type).leaves:
                raise LoadError(
                    f"line {self._long_number} of {self.name} has a number of more than 15 digits, "
                    f"which the column {each.column.name} of type {each.column.type[:60]} may not keep",
                    hint=f"{_NOTHING} Write such numbers as strings, or make the column VARCHAR.",
                )

    def conversion(self, filled: Filled) -> Conversion:
        return text_conversion(
            filled.column.type,
            quote_name(filled.source),
            TextForms(date_format=self.read.date_format),
            is_guess=filled.source in self._guessed,
        )

    def rows(self, session: SqlSession, filled: Sequence[Filled], known: Sequence[str]) -> Rows:
        objects = (
            f"read_json_objects({quote_text(str(self._values_path))}, format = '{self.layout}')"
        )
        sql = (
            f"SELECT row_number() OVER () AS _row_n, '' AS _row_text, "
            f"{_json_flaw(known, filled)} AS _row_flaw, document "
            f"FROM (SELECT json AS document FROM {objects})"
        )
        return Rows(sql, self._cells(filled))

    def _cells(self, filled: Sequence[Filled]) -> list[Cell]:
        cells = []
        for each in filled:
            place = pointer(each.source)
            read_as = text_type(each.column.type)
            if read_as == "VARCHAR":
                given = f"(document ->> {place})"
            elif read_as == "JSON":
                given = f"(document -> {place})"
            else:
                structure = quote_text(orjson.dumps(read_as).decode())
                given = f"from_json((document -> {place}), {structure})"
            is_null = f"json_type(document, {place}) = 'NULL'"
            conversion = text_conversion(
                each.column.type,
                given,
                TextForms(date_format=self.read.date_format),
                is_guess=each.source in self._guessed,
            )
            shown = f"(document -> {place})"
            cells.append(Cell(each, shown, f"NOT coalesce({is_null}, true)", conversion.value()))
        return cells


class NdJsonSource(JsonSource):
    """One object a line."""

    place = "line"
    flaw_hint = "Set `on_error=skip` to leave such lines out."
    can_skip = True
    layout = "newline_delimited"

    def prepare(self) -> None:
        self._make_plain()
        drop_trailer(self.path, self.name)
        check_depth_of_lines(self.path, self.name)
        self._keep_numbers()

    def first_flaw(self, session: SqlSession) -> BadRow | None:
        session.scan(BODY, numbered_lines(self.path, self.name))
        found = session.execute(
            f"SELECT n, is_utf8, left(text, {SHOWN_CHARACTERS}) FROM {BODY} "
            "WHERE NOT is_utf8 OR TRY_CAST(text AS JSON) IS NULL ORDER BY n LIMIT 1"
        )
        if not found:
            return None
        number, is_utf8, text = found[0]
        reason = "not JSON" if is_utf8 else "not UTF-8; set encoding"
        return BadRow(int(str(number)), reason, str(text))

    def rows(self, session: SqlSession, filled: Sequence[Filled], known: Sequence[str]) -> Rows:
        session.scan(BODY, numbered_lines(self._values_path, self.name))
        sql = (
            f"SELECT n AS _row_n, text AS _row_text, CASE WHEN NOT is_utf8 THEN 'not UTF-8' "
            f"WHEN document IS NULL THEN 'not JSON' ELSE {_json_flaw(known, filled)} END "
            f"AS _row_flaw, document "
            f"FROM (SELECT *, TRY_CAST(text AS JSON) AS document FROM {BODY})"
        )
        return Rows(sql, self._cells(filled))


def _as_text(leaf: object) -> str:
    return "JSON" if getattr(leaf, "type", "") == "JSON" else "VARCHAR"


def _json_flaw(known: Sequence[str], filled: Sequence[Filled]) -> str:
    listed = ", ".join(quote_text(name.lower()) for name in known)
    unknown = f"list_filter(json_keys(document), lambda x: lower(x) NOT IN ({listed}))"
    cases = []
    for each in filled:
        tree = tree_of(each.column.type)
        if tree.parts and tree.name not in ("UNION", "TUPLE"):
            flaw = structural_flaw(tree, f"(document -> {pointer(each.source)})")
            label = quote_text(f"column {each.column.name} ")
            cases.append(f"WHEN ({flaw}) IS NOT NULL THEN {label} || ({flaw})")
    return (
        "CASE WHEN json_type(document) <> 'OBJECT' THEN 'not a JSON object' "
        f"WHEN len({unknown}) > 0 THEN 'there is no column ' || {unknown}[1] "
        f"{' '.join(cases)} END"
    )
