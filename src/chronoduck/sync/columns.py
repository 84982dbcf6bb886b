"""Columns of PostgreSQL: how each is asked for, what it is in Arrow, what it becomes in DuckDB."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from chronoduck.sync.failures import SyncDriftError
from chronoduck.sync.source import PostgresConnection, quoted

__all__ = ["CURSOR_TYPES", "SourceColumn", "find_columns"]

_PLAIN = {
    "bool": "BOOLEAN",
    "int2": "SMALLINT",
    "int4": "INTEGER",
    "int8": "BIGINT",
    "float4": "FLOAT",
    "float8": "DOUBLE",
    "text": "VARCHAR",
    "varchar": "VARCHAR",
    "bpchar": "VARCHAR",
    "bytea": "BLOB",
    "date": "DATE",
    "time": "TIME",
    "timestamp": "TIMESTAMP",
    "timestamptz": "TIMESTAMP WITH TIME ZONE",
    "interval": "INTERVAL",
    "uuid": "UUID",
    "json": "JSON",
    "jsonb": "JSON",
}
"""Types that the driver takes over as they are."""
_INET = (
    "CASE WHEN masklen({0}) = CASE family({0}) WHEN 4 THEN 32 ELSE 128 END THEN host({0}) "
    "ELSE {0}::text END"
)
"""As PostgreSQL shows an address; its cast adds the length of the mask to each."""
_AS_TEXT_BY_NATURE = frozenset(["name", "char", "cidr", "macaddr", "macaddr8", "citext"])
CURSOR_TYPES = frozenset(["int2", "int4", "int8", "date", "timestamp", "timestamptz"])
"""Types of columns that can tell how far a sync is."""
_TYPES = """
WITH RECURSIVE base AS (
    SELECT t.oid AS asked, t.oid, t.typtype, t.typbasetype, t.typtypmod FROM pg_type t
    WHERE t.oid IN ({oids})
    UNION ALL
    SELECT b.asked, t.oid, t.typtype, t.typbasetype,
           CASE WHEN t.typtypmod >= 0 THEN t.typtypmod ELSE b.typtypmod END
    FROM base b JOIN pg_type t ON t.oid = b.typbasetype WHERE b.typtype = 'd'
)
SELECT b.asked::int8, t.typname::text, t.typtype::text, coalesce(e.typname::text, ''), b.typtypmod
FROM base b JOIN pg_type t ON t.oid = b.oid
LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
WHERE b.typtype <> 'd'
"""


@dataclass(frozen=True)
class SourceColumn:
    """``expression`` selects it; ``type`` is DuckDB's; ``note`` says what is not kept, if anything."""

    name: str
    source_type: str
    expression: str
    type: str
    note: str = ""
    is_decimal_text: bool = False
    """A number of any size and scale, which no type of DuckDB holds but text."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Self:
        """Return it from ``as_dict``."""
        return cls(**fields)


def find_columns(
    connection: PostgresConnection, relation: str, as_text: frozenset[str]
) -> list[SourceColumn]:
    """Return the columns of a table or of a query in brackets.

    Raises:
        SyncDriftError: two columns differ by nothing but case.
        SyncSourceError: there is no such table, or the query fails.
    """
    fields = list(connection.schema(f"SELECT * FROM {relation} LIMIT 0"))
    names = [field.name for field in fields]
    folded = [name.lower() for name in names]
    for name in names:
        if folded.count(name.lower()) > 1:
            raise SyncDriftError(
                f"the source has two columns {name}, and names do not tell case apart here",
                hint="Write a query that names them differently.",
            )
    asked = ", ".join(f"pg_typeof(q.{quoted(name)})::oid::int8" for name in names)
    oids = connection.rows(
        f"SELECT {asked} FROM (SELECT 1) AS one LEFT JOIN (SELECT * FROM {relation} LIMIT 0) AS q "
        "ON true"
    )[0]
    known = {
        row[0]: row[1:]
        for row in connection.rows(_TYPES.format(oids=", ".join(map(str, set(oids)))))
    }
    found = []
    for field, oid in zip(fields, oids, strict=True):
        name, kind, element, domain_modifier = known[oid]
        told = (field.metadata or {}).get(b"POSTGRESQL:typmod")
        modifier = int(told) if told is not None else -1
        if modifier < 0:
            modifier = domain_modifier
        found.append(_column(field.name, name, kind, element, modifier, field.name in as_text))
    return found


def _column(
    name: str, type_name: str, kind: str, element: str, modifier: int, as_text: bool
) -> SourceColumn:
    column = quoted(name)
    if as_text and type_name != "numeric":
        return SourceColumn(name, type_name, f"{column}::text", "VARCHAR")
    if element:
        return _array(name, type_name, element)
    if type_name == "numeric":
        return _numeric(name, modifier)
    if type_name in _PLAIN:
        return SourceColumn(name, type_name, column, _PLAIN[type_name])
    if type_name == "oid":
        return SourceColumn(name, type_name, f"{column}::int8", "BIGINT")
    if type_name == "inet":
        return SourceColumn(name, type_name, _INET.format(column), "VARCHAR")
    is_text = kind == "e" or type_name in _AS_TEXT_BY_NATURE
    note = "" if is_text else f"{name} ({type_name}) is kept as PostgreSQL writes it, as text"
    return SourceColumn(name, type_name, f"{column}::text", "VARCHAR", note)


def _numeric(name: str, modifier: int) -> SourceColumn:
    """Return a number: DECIMAL if its precision fits, else text, which loses no digit."""
    column = quoted(name)
    precision, scale = ((modifier - 4) >> 16) & 0xFFFF, (modifier - 4) & 0x7FF
    if modifier >= 4 and 0 < precision <= 38 and scale <= precision:
        return SourceColumn(name, "numeric", column, f"DECIMAL({precision},{scale})")
    note = (
        f"{name} (numeric of any size) is kept as text, digit for digit; "
        f'types = {{ {name} = "DECIMAL(18,4)" }} or "DOUBLE" makes it a number'
    )
    return SourceColumn(name, "numeric", column, "VARCHAR", note, is_decimal_text=True)


def _array(name: str, type_name: str, element: str) -> SourceColumn:
    column = quoted(name)
    value, inner, note = column, _PLAIN.get(element, "VARCHAR"), ""
    if element == "numeric":
        note = f"{name} ({element}[]) is kept as a list of texts, digit for digit"
    elif element not in _PLAIN:
        value = f"{column}::text[]"
    # The driver would flatten an array of arrays without a word: better an error with one.
    text = f"column {name} holds an array of more than one dimension".replace("'", "''")
    refused = f"(('{text}: ' || array_ndims({column}))::int)::text::text[]"
    cast = "text[]" if value != column else f"{_sql_name(element)}[]"
    expression = f"CASE WHEN array_ndims({column}) > 1 THEN {refused}::{cast} ELSE {value} END"
    return SourceColumn(
        name, type_name, expression, f"{inner}[]", note, is_decimal_text=element == "numeric"
    )


def _sql_name(element: str) -> str:
    """Return an element's type as SQL: quoted, ``char`` would be another than ``"char"``."""
    return f"pg_catalog.{quoted(element)}"
