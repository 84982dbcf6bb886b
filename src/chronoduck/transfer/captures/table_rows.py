"""Captures from files of rows (Parquet, CSV, JSON, Arrow): none twice, as from an index."""

from __future__ import annotations

from collections.abc import Sequence

from chronoduck.transfer.captures.adding import FILLED, add_rows_of_chunk, complete_keys
from chronoduck.transfer.captures.plain_keys import with_plain_keys
from chronoduck.transfer.schema import is_captures_table
from chronoduck.transfer.sql import SqlSession, quote_name
from chronoduck.transfer.table_columns import TableColumn

__all__ = ["add_captures", "holds_captures"]

_MADE = ("urlkey", "domain", "tld")
"""Columns that are made of the URL."""
_NEEDED = {"url", "captured_at", *_MADE, *FILLED}


def holds_captures(table: str, columns: Sequence[TableColumn], filled: Sequence[str]) -> bool:
    """Whether rows of these filled columns are captures, of which none is added twice."""
    has_columns = {column.name.lower() for column in columns} >= _NEEDED
    is_filled = {"url", "captured_at"} <= {name.lower() for name in filled}
    return is_captures_table(table) and has_columns and is_filled


def add_captures(
    session: SqlSession, rows: str, columns: Sequence[TableColumn], filled: Sequence[str]
) -> tuple[int, int]:
    """Add the rows that the table does not have; return how many, and how many it has.

    ``rows`` is a SELECT of the filled columns with the table's types. Keys are made of the URLs, and
    digests get their one form, as those of indexes do. Rows without a date are no captures: all are
    added.
    """
    given = {name.lower() for name in filled}
    missing = ", ".join(
        f"NULL::{column.type} AS {quote_name(column.name)}"
        for column in columns
        if column.name.lower() in _NEEDED and column.name.lower() not in given
    )
    relation = f"SELECT *, url AS given_url{', ' + missing if missing else ''} FROM ({rows})"
    session.execute(f"""
        CREATE OR REPLACE TEMP TABLE chunk AS
        SELECT * EXCLUDE (given_url, plain_host, plain_key, urlkey, domain, tld, digest),
            row_number() OVER () AS line_number,
            CASE WHEN captured_at IS NULL THEN 'no date' END AS reason,
            CASE WHEN plain_key IS NOT NULL THEN plain_key
                 WHEN given_url IS NULL OR captured_at IS NULL THEN urlkey END AS urlkey,
            coalesce(domain, CASE WHEN starts_with(plain_host, 'www.')
                AND contains(substr(plain_host, 5), '.') THEN substr(plain_host, 5)
                ELSE plain_host END) AS domain,
            coalesce(tld, CASE WHEN contains(plain_host, '.')
                THEN split_part(plain_host, '.', -1) END) AS tld,
            CASE WHEN lower(digest[:5]) = 'sha1:' THEN nullif(digest[6:], '') ELSE digest END
                AS digest
        FROM ({with_plain_keys(relation)})
    """)
    complete_keys(session)
    names = [*filled, *(name for name in _MADE if name not in given)]
    added = add_rows_of_chunk(session, names)
    return added.new, added.known
