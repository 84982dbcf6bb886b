"""Captures of earlier builds get the keys, domains and digests that they would have today, online."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from chronoduck.errors import TransactionConflictError
from chronoduck.transfer.captures.adding import FILLED, complete_keys
from chronoduck.transfer.captures.plain_keys import ADDRESS, with_plain_keys
from chronoduck.transfer.schema import create_schema
from chronoduck.transfer.sql import SqlSession, TransactInTurn, quote_name

__all__ = [
    "BATCH_ROWS",
    "Merged",
    "last_row",
    "merge_doubles",
    "rekey_all",
    "rekey_batch",
    "row_count",
]

T = TypeVar("T")
_PASSES, _ATTEMPTS = 4, 5

BATCH_ROWS = 200_000
"""Rows of one transaction: readers and writers go on between two."""
_LAST = "SELECT coalesce(max(rowid), -1) FROM pages_analytics"
_BATCH = f"""
CREATE OR REPLACE TEMP TABLE chunk AS
SELECT rowid_ AS line_number, NULL::VARCHAR AS reason, url,
    CASE WHEN plain_key IS NOT NULL THEN plain_key
         -- A key without a URL, or with something else in its place, is all that there is.
         WHEN url IS NULL OR (contains(old_key, ')') AND NOT contains(url, ':')) THEN old_key
    END AS urlkey,
    CASE WHEN plain_host IS NULL THEN NULL
         WHEN starts_with(plain_host, 'www.') AND contains(substr(plain_host, 5), '.')
         THEN substr(plain_host, 5) ELSE plain_host END AS domain,
    NULL::VARCHAR AS tld,
    CASE WHEN lower(old_digest[:5]) = 'sha1:' THEN nullif(old_digest[6:], '') ELSE old_digest END
        AS digest,
    old_key, old_domain, old_tld, old_digest
FROM ({
    with_plain_keys('''
    SELECT rowid AS rowid_, url, url AS given_url, urlkey AS old_key, domain AS old_domain,
        tld AS old_tld, digest AS old_digest
    FROM pages_analytics WHERE rowid >= $begin AND rowid < $end
''')
})
"""
_DOMAINS = f"""
UPDATE chunk SET domain = coalesce(domain, old_domain),
    tld = coalesce(tld, CASE WHEN domain IS NULL THEN old_tld
        WHEN contains(domain, '.') AND NOT regexp_full_match(domain, '{ADDRESS}')
        THEN split_part(domain, '.', -1) END)
"""
_CHANGE = """
UPDATE pages_analytics SET urlkey = new.urlkey, domain = new.domain, tld = new.tld,
    digest = new.digest
FROM (
    FROM chunk WHERE urlkey IS DISTINCT FROM old_key OR domain IS DISTINCT FROM old_domain
        OR tld IS DISTINCT FROM old_tld OR digest IS DISTINCT FROM old_digest
) AS new
WHERE pages_analytics.rowid = new.line_number
"""


@dataclass(frozen=True)
class Merged:
    """What became of captures that were there twice."""

    removed: int
    left: int
    """Doubles that differ in a value, and so stay."""


def last_row(session: SqlSession) -> int:
    """Return the number of the table's last row; -1 when it has none."""
    return int(str(session.execute(_LAST)[0][0]))


def row_count(session: SqlSession) -> int:
    """Return how many rows the table has; numbers of rows that are gone are not used again."""
    return int(str(session.execute("SELECT count(*) FROM pages_analytics")[0][0]))


def rekey_batch(session: SqlSession, begin: int) -> int:
    """Give the rows from ``begin`` on their keys; return how many changed."""
    session.execute(_BATCH, {"begin": begin, "end": begin + BATCH_ROWS})
    complete_keys(session)
    session.execute(_DOMAINS)
    changed = int(str(session.execute(_CHANGE)[0][0]))
    session.execute("DROP TABLE chunk")
    return changed


# --- doubles ----------------------------------------------------------------------------------

_SAME = "coalesce(urlkey, url)"
_OTHERS = ("word_count", "quality_score", "project_id")
"""Columns that the platform fills; NULL in captures as they were loaded."""
_DOUBLES = f"""
CREATE OR REPLACE TEMP TABLE doubles AS
SELECT rowid AS row_id, min(rowid) OVER same AS kept
FROM pages_analytics SEMI JOIN (
    SELECT {_SAME} AS same, captured_at, digest FROM pages_analytics
    WHERE captured_at IS NOT NULL GROUP BY ALL HAVING count(*) > 1
) twice ON {_SAME} = twice.same AND pages_analytics.captured_at = twice.captured_at
    AND pages_analytics.digest IS NOT DISTINCT FROM twice.digest
WINDOW same AS (PARTITION BY {_SAME}, captured_at, digest)
"""
_FILL = f"""
UPDATE pages_analytics SET {
    ", ".join(
        f"{quote_name(name)} = coalesce(pages_analytics.{quote_name(name)}, found.{quote_name(name)})"
        for name in (*FILLED, *_OTHERS)
    )
}
FROM (
    SELECT kept, {
    ", ".join(f"min({quote_name(name)}) AS {quote_name(name)}" for name in (*FILLED, *_OTHERS))
}
    FROM doubles JOIN pages_analytics ON pages_analytics.rowid = doubles.row_id
    GROUP BY kept
) AS found
WHERE pages_analytics.rowid = found.kept
"""
_OF_ONE_LOAD = frozenset(
    {"url", "urlkey", "domain", "tld", "captured_at", "source", "created_at", "repaired"}
)
"""What makes two rows doubles, and what a load says of itself."""
_REMOVE = """
DELETE FROM pages_analytics WHERE rowid IN (
    SELECT doubles.row_id FROM doubles
    JOIN pages_analytics one ON one.rowid = doubles.row_id
    JOIN pages_analytics kept ON kept.rowid = doubles.kept
    WHERE doubles.row_id <> doubles.kept AND {}
)
"""


def merge_doubles(session: SqlSession) -> Merged:
    """Make one row of captures that are there twice, unless a value would be lost with a row.

    The row that was loaded first stays and gets what it lacks.
    """
    session.execute(_DOUBLES)
    twice = int(str(session.execute("SELECT count(*) FROM doubles WHERE row_id <> kept")[0][0]))
    removed = 0
    if twice:
        session.execute(_FILL)
        # Columns that somebody added to the table are values, too.
        columns = [str(row[0]) for row in session.execute("DESCRIBE pages_analytics")]
        is_kept = " AND ".join(
            f"(one.{name} IS NULL OR one.{name} = kept.{name})"
            for name in (quote_name(each) for each in columns if each not in _OF_ONE_LOAD)
        )
        removed = int(str(session.execute(_REMOVE.format(is_kept))[0][0]))
    session.execute("DROP TABLE doubles")
    return Merged(removed, twice - removed)


# --- all of it, online ------------------------------------------------------------------------


async def rekey_all(
    transact: TransactInTurn, adding: threading.Lock, show: Callable[[str, int, int], None]
) -> dict[str, int]:
    """Rekey the table batch by batch, then merge doubles; return the counts.

    ``adding`` is what loads of captures hold: they go on between two batches. A checkpoint may move
    rows meanwhile, so that the table is gone through until nothing is left to change.

    Raises:
        TransactionConflictError: others change the same rows all the time.
    """
    await transact(create_schema)
    rows = await transact(row_count)
    changed, last = 0, -1
    for _ in range(_PASSES):
        last = await transact(last_row)
        before = changed
        for begin in range(0, last + 1, BATCH_ROWS):
            show("rekeying", begin, last + 1)
            changed += await _retried(transact, adding, partial(rekey_batch, begin=begin))
        if changed == before:
            break
    show("merging doubles", last + 1, last + 1)
    merged = await _retried(transact, adding, merge_doubles)
    return {
        "rows": rows,
        "changed": changed,
        "merged": merged.removed,
        "doubles_left": merged.left,
    }


async def _retried(
    transact: TransactInTurn, adding: threading.Lock, work: Callable[[SqlSession], T]
) -> T:
    for attempt in range(_ATTEMPTS):
        try:
            return await transact(work, adding)
        except TransactionConflictError:
            if attempt == _ATTEMPTS - 1:
                raise
        await asyncio.sleep(0.1 * 2**attempt)
    raise AssertionError("the last attempt returns or raises")
