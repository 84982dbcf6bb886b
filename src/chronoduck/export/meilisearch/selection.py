"""The SQL around a declared query that makes documents of its rows: ids, values, which rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from chronoduck.export.declaration import IndexDeclaration
from chronoduck.export.failures import ExportDataError

__all__ = ["BOOKKEEPING", "CURSOR", "DELETED", "ID", "Selection"]

ID, CURSOR, DELETED = "chronoduck_id", "chronoduck_cursor", "chronoduck_deleted"
BOOKKEEPING = (ID, CURSOR, DELETED)
"""The first columns of every selection; the rest is the document."""
_TIMES = ("TIMESTAMP", "DATE")
_DECIMAL = "DECIMAL("
_ZONED = "TIMESTAMP WITH TIME ZONE"
_INTEGERS = frozenset(
    f"{sign}{size}INT" for sign in ("", "U") for size in ("TINY", "SMALL", "BIG", "HUGE")
) | {"INTEGER", "UINTEGER"}
_NO_KEYS = ("[]", "STRUCT", "MAP", "UNION", "BLOB", "DOUBLE", "FLOAT")
"""Types whose text is not one of a key."""


@dataclass(frozen=True)
class Selection:
    """Which rows of the query are wanted, and how much of them.

    ``since``: the cursor's value from which on, before the overlap; None: all rows. ``ids_only``: no
    documents. ``among``: only rows whose ids are in the parameter ``$ids``. ``now``: a cursor that is
    later counts as this: what comes then must not hide what comes before.
    """

    declared: IndexDeclaration
    now: datetime
    since: str | None = None
    ids_only: bool = False
    among: bool = False

    def sql(self, columns: Sequence[tuple[str, str]]) -> tuple[str, str]:
        """Return what stands before and behind the query, for its columns' names and DuckDB's types.

        Raises:
            ExportDataError: a declared column is not there, or cannot be what it is declared as.
        """
        declared = self.declared
        types = {name.lower(): kind for name, kind in columns}
        wanted = [*declared.key, *filter(None, (declared.cursor, declared.deleted))]
        missing = [name for name in wanted if name.lower() not in types]
        if missing:
            raise ExportDataError(
                f"export {declared.name}: the query has no column {', '.join(missing)}",
                hint="key, cursor and deleted name columns of the query.",
            )
        key_id = self._id(types)
        items = [f"{key_id} AS {ID}"]
        if not self.ids_only:
            items += [
                f"{self._cursor(types)} AS {CURSOR}",
                f"CAST({self._deleted(types)} AS TINYINT) AS {DELETED}",
                *self._document(columns, key_id),
            ]
        conditions = []
        if self.since is not None:
            conditions.append(self._since(types))
        if self.ids_only and declared.deleted is not None:
            conditions.append(f"NOT {self._deleted(types)}")
        if self.among:
            conditions.append(f"{key_id} IN (SELECT unnest($ids))")
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        return f"SELECT {', '.join(items)} FROM", f"AS q{where}"

    def _id(self, types: dict[str, str]) -> str:
        declared = self.declared
        for name in declared.key:
            kind = types[name.lower()]
            if any(kind.startswith(each) or kind.endswith(each) for each in _NO_KEYS):
                raise ExportDataError(
                    f"export {declared.name}: {name} is {kind}, which is no key",
                    hint="Cast it in the query to a text, an integer, a UUID or a time.",
                )
        texts = [f"CAST({_quoted(name)} AS VARCHAR)" for name in declared.key]
        if len(texts) == 1:
            text = texts[0]
        else:
            empty = " OR ".join(f"{each} IS NULL" for each in texts)
            text = f"CASE WHEN {empty} THEN NULL ELSE CAST(to_json([{', '.join(texts)}]) AS VARCHAR) END"
        if declared.id == "hash":
            return f"sha256({text})"
        if declared.id == "base64":
            return f"replace(replace(rtrim(to_base64(encode({text})), '='), '+', '-'), '/', '_')"
        return text

    def _cursor(self, types: dict[str, str]) -> str:
        """Return the cursor as BIGINT: microseconds since 1970, or the number itself."""
        name = self.declared.cursor
        if name is None:
            return "CAST(NULL AS BIGINT)"
        kind, column = types[name.lower()], _quoted(name)
        if kind in _INTEGERS:
            return f"CAST({column} AS BIGINT)"
        if kind.startswith(_TIMES):
            moment = column if kind == _ZONED else f"CAST({column} AS TIMESTAMP)"
            now = round(self.now.timestamp() * 1e6)
            return f"CASE WHEN isfinite({moment}) THEN least(epoch_us({moment}), {now}) END"
        raise ExportDataError(
            f"export {self.declared.name}: {name} ({kind}) cannot tell how far an export is",
            hint="A cursor is a timestamp, a date or an integer that grows with every change.",
        )

    def _deleted(self, types: dict[str, str]) -> str:
        name = self.declared.deleted
        if name is None:
            return "false"
        if types[name.lower()] != "BOOLEAN":
            raise ExportDataError(
                f"export {self.declared.name}: {name} ({types[name.lower()]}) is no BOOLEAN",
                hint="Make it one in the query: deleted_at IS NOT NULL AS is_deleted.",
            )
        return f"coalesce({_quoted(name)}, false)"

    def _since(self, types: dict[str, str]) -> str:
        cursor = self._cursor(types)
        assert self.since is not None  # noqa: S101 - the caller looked
        is_time = types[(self.declared.cursor or "").lower()].startswith(_TIMES)
        start = int(self.since) - (round(self.declared.overlap * 1e6) if is_time else 0)
        # A row without a time cannot be told from a new one: such rows are read every time.
        return f"coalesce({cursor} >= {start}, true)"

    def _document(self, columns: Sequence[tuple[str, str]], key_id: str) -> list[str]:
        declared = self.declared
        identity, keys = declared.primary_key, {name.lower() for name in declared.key}
        items, is_there = [], False
        for name, kind in columns:
            if declared.deleted is not None and name.lower() == declared.deleted.lower():
                continue
            if name == identity:
                if name.lower() not in keys:
                    raise ExportDataError(
                        f"export {declared.name}: the query has a column {name}, and the attribute "
                        "of that name is to hold the id",
                        hint="Name another primary_key, or the column as the key.",
                    )
                is_there = True
                # As text: what a key of another type is in JSON need not be an id.
                if declared.id != "plain" or kind not in _INTEGERS:
                    items.append(f"{key_id} AS {_quoted(name)}")
                    continue
            items.append(f"{self._value(name, kind)} AS {_quoted(name)}")
        return items if is_there else [f"{key_id} AS {_quoted(identity)}", *items]

    def _value(self, name: str, kind: str) -> str:
        column = _quoted(name)
        if _DECIMAL in kind:  # also inside: numbers, which Meilisearch can compare
            return f"CAST({column} AS {_with_doubles(kind)})"
        if self.declared.times == "epoch" and kind.startswith(_TIMES) and not kind.endswith("]"):
            whole = column if kind == _ZONED else f"CAST({column} AS TIMESTAMP)"
            return f"CASE WHEN isfinite({whole}) THEN epoch({whole}) END"
        return column


def _with_doubles(kind: str) -> str:
    """Return the type with DOUBLE for each DECIMAL; names of fields and labels in quotes stay."""
    parts: list[str] = []
    at = 0
    while at < len(kind):
        quote = kind[at] if kind[at] in "'\"" else ""
        if quote:
            end = kind.find(quote, at + 1) + 1 or len(kind)
            parts.append(kind[at:end])
        elif kind.startswith(_DECIMAL, at):
            end = kind.find(")", at) + 1 or len(kind)  # its width and scale
            parts.append("DOUBLE")
        else:
            end = at + 1
            parts.append(kind[at])
        at = end
    return "".join(parts)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
