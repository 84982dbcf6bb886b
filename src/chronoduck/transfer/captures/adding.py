"""Captures of a chunk into the table: no capture twice, and what a known one lacked is filled in."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from chronoduck.transfer.captures.deriving import derived_chunk
from chronoduck.transfer.captures.parsing import fields_of
from chronoduck.transfer.captures.surt import domain_of, surt_key
from chronoduck.transfer.chunks import Chunk
from chronoduck.transfer.detect import Detected, FileFormat
from chronoduck.transfer.events import RejectedLine
from chronoduck.transfer.sql import SqlSession, quote_name

__all__ = ["FILLED", "Added", "add_chunk", "add_new", "add_rows_of_chunk", "complete_keys"]

_ODD_URLS = (
    "SELECT DISTINCT url FROM chunk WHERE urlkey IS NULL AND url IS NOT NULL AND reason IS NULL"
)
_HEX_DIGESTS = """
SELECT DISTINCT digest FROM chunk
WHERE length(digest) = 40 AND regexp_full_match(digest, '[0-9A-Fa-f]{40}') AND reason IS NULL
"""
_SET_KEYS = """
UPDATE chunk SET urlkey = made.urlkey, domain = coalesce(chunk.domain, made.domain),
    tld = coalesce(chunk.tld, made.tld)
FROM _chronoduck_keys AS made WHERE chunk.url = made.url AND chunk.urlkey IS NULL
"""
_SET_DIGESTS = """
UPDATE chunk SET digest = made.base32
FROM _chronoduck_digests AS made WHERE chunk.digest = made.digest
"""

_REJECTS = """
SELECT line_number, reason, line FROM chunk
WHERE reason IS NOT NULL AND resume_key IS NULL ORDER BY 1
"""
_REPAIRED = derived_chunk(fields_of(Detected(FileFormat.CDXJ, is_archive=True)))
_RESUME_KEY = "SELECT max(resume_key) FROM chunk"

_MOMENT = "coalesce(urlkey, url), captured_at"
_IDENTITY = f"""{_MOMENT}, digest, CASE WHEN digest IS NULL THEN status_code END,
    CASE WHEN digest IS NULL THEN content_length END"""
_FACTS = ("status_code", "content_length")
"""What tells captures of one URL and moment apart where a digest is missing."""


def _count_of(condition: str) -> str:
    return " + ".join(f"coalesce({condition.format(name)}, false)::INT" for name in _FACTS)


# A digest that is missing on one side hides no duplicate, if status and length contradict nothing.
# The more ``nearness``, the likelier the pair is one capture.
_PAIR = f"""
    coalesce(old.digest = new.digest, false) AS is_sure, new.digest IS NOT NULL AS has_digest,
    16 * (old.digest IS NOT NULL)::INT + 4 * ({_count_of("old.{0} = new.{0}")})
        + {_count_of("old.{0} IS NOT NULL")} AS nearness,
    (old.digest IS NULL AND new.digest IS NOT NULL)
        OR {" OR ".join(f"(old.{name} IS NULL AND new.{name} IS NOT NULL)" for name in _FACTS)}
        AS informs
"""
_MAY_BE_ONE = f"""(old.digest = new.digest OR ((old.digest IS NULL OR new.digest IS NULL)
    AND {" AND ".join(f"coalesce(old.{name} = new.{name}, true)" for name in _FACTS)}))"""
# The chunk is the small side of the join.
_KNOWN = f"""
CREATE OR REPLACE TEMP TABLE chunk_known AS
SELECT new.line_number, old.rowid AS old_id, {_PAIR}
FROM pages_analytics old JOIN (
    SELECT line_number, coalesce(urlkey, url) AS same, captured_at, digest, {", ".join(_FACTS)}
    FROM chunk WHERE reason IS NULL
) new ON coalesce(old.urlkey, old.url) = new.same AND old.captured_at = new.captured_at
WHERE {_MAY_BE_ONE}
"""
# Of two captures without a digest, the one with fewer facts is in the other.
_WITHOUT_DIGEST = f"""
CREATE OR REPLACE TEMP TABLE chunk_twice AS
SELECT new.line_number, old.line_number AS old_id, {_PAIR}
FROM chunk old JOIN chunk new
    ON coalesce(old.urlkey, old.url) = coalesce(new.urlkey, new.url)
    AND old.captured_at = new.captured_at
WHERE old.reason IS NULL AND new.reason IS NULL AND old.line_number <> new.line_number
    AND new.digest IS NULL AND {_MAY_BE_ONE} AND (old.digest IS NOT NULL OR NOT informs)
"""


def _best(pairs: str) -> str:
    """Return the statement that leaves each new capture its likeliest old one.

    Of several that would tell an old one something, one does: the others are captures of their own.
    """
    return f"""
    CREATE OR REPLACE TEMP TABLE {pairs} AS
    SELECT * FROM (
        SELECT * FROM {pairs} QUALIFY rank() OVER (
            PARTITION BY line_number
            ORDER BY is_sure DESC, CASE WHEN NOT is_sure THEN -nearness END,
                CASE WHEN NOT is_sure THEN old_id END
        ) = 1
    )
    QUALIFY is_sure OR NOT informs OR row_number() OVER (
        PARTITION BY old_id, informs ORDER BY is_sure DESC, has_digest DESC, nearness DESC, line_number
    ) = 1
    """


_COLUMNS = (
    *(
        "url",
        "urlkey",
        "domain",
        "tld",
        "captured_at",
        "status_code",
        "mime_type",
        "content_length",
    ),
    *("digest", "title", "language", "filename", "offset", "repaired"),
)
_NEW = """
FROM chunk new WHERE reason IS NULL AND NOT EXISTS (
    SELECT 1 FROM chunk_known known WHERE known.line_number = new.line_number
)
"""

# Comparing hashes costs a fifth of what grouping whole rows does, and nearly no file has a capture
# twice. The first place in the archive counts, so that the order of an index is of no importance.
_TWICE = f"""
CREATE OR REPLACE TEMP TABLE chunk_twice AS
SELECT line_number, old_id FROM (
    SELECT line_number, first_value(line_number) OVER (
        PARTITION BY {_IDENTITY} ORDER BY "offset" NULLS LAST, line_number
    ) AS old_id
    FROM chunk WHERE reason IS NULL AND hash({_IDENTITY}) IN (
        SELECT hash({_IDENTITY}) AS same
        FROM chunk WHERE reason IS NULL GROUP BY same HAVING count(*) > 1
    )
)
WHERE line_number <> old_id
"""
FILLED = (
    "status_code",
    "mime_type",
    "content_length",
    "digest",
    "title",
    "language",
    "filename",
    "offset",
)


_LATER = "new.line_number + CASE WHEN new.mime_type = 'unk' THEN 1_000_000_000_000 ELSE 0 END"
"""Of several lines the first one tells what is missing, if it knows its media type."""


def _gets(name: str) -> str:
    """Return as SQL whether ``old`` gets a value of ``new``; places in two files are not mixed."""
    old, new = f'old."{name}"', f'new."{name}"'
    if name == "mime_type":  # pywb and cdxj-indexer write unk where the record has no type
        return f"(({old} IS NULL AND {new} IS NOT NULL) OR ({old} = 'unk' AND {new} <> 'unk'))"
    other = {"filename": "offset", "offset": "filename"}.get(name)
    fits = "" if other is None else f' AND coalesce(old."{other}" = new."{other}", true)'
    return f"({old} IS NULL AND {new} IS NOT NULL{fits})"


def _fill(key: str, target: str, pairs: str) -> tuple[str, str]:
    """Return how what captures lack is found, and how it is set.

    ``key``: what ``target`` knows a capture by; ``pairs``: the table of its captures and of the chunk's
    lines that may have what they lack.
    """
    values = ", ".join(
        f'coalesce(arg_min(new."{name}", {_LATER}) FILTER (WHERE {_gets(name)}), '
        f'any_value(old."{name}")) AS "{name}"'
        for name in FILLED
    )
    select = f"""
    CREATE OR REPLACE TEMP TABLE chunk_filled AS
    SELECT old.{key} AS old_id, {values}
    FROM {target} old JOIN {pairs} pair ON pair.old_id = old.{key}
    JOIN chunk new ON new.line_number = pair.line_number AND new.reason IS NULL
    WHERE {" OR ".join(map(_gets, FILLED))} GROUP BY old.{key}
    """
    sets = ", ".join(f'"{name}" = new."{name}"' for name in FILLED)
    return select, (
        f"UPDATE {target} SET {sets} FROM chunk_filled AS new WHERE {target}.{key} = new.old_id"
    )


_FILL_KNOWN = _fill("rowid", "pages_analytics", "chunk_known")
# Before they are inserted: the table, which may be large, is not looked through for them again.
_FILL_FIRST = _fill("line_number", "chunk", "chunk_twice")


@dataclass(frozen=True)
class Added:
    """What became of a chunk's captures."""

    new: int
    known: int
    filled: int
    """Known ones that lacked something the chunk has."""
    rejects: tuple[RejectedLine, ...] = ()
    repaired: int = 0
    """Malformed lines that were repaired, whether they are new or known."""
    resume_key: str | None = None
    """What a CDX server is asked with for the rest of its answer."""


def complete_keys(session: SqlSession) -> None:
    """Give the captures of ``chunk`` the keys and digests that SQL does not make."""
    urls = [str(row[0]) for row in session.execute(_ODD_URLS)]
    if urls:
        keys = [surt_key(url) for url in urls]
        domains = [domain_of(key.host) for key in keys]
        made: dict[str, Sequence[str | None]] = {
            "url": urls,
            "urlkey": [key.key for key in keys],
            "domain": domains,
            "tld": [_top_level(domain) for domain in domains],
        }
        _update(session, "_chronoduck_keys", made, _SET_KEYS)
    digests = [str(row[0]) for row in session.execute(_HEX_DIGESTS)]
    if digests:
        base32 = [base64.b32encode(bytes.fromhex(digest)).decode() for digest in digests]
        _update(
            session,
            "_chronoduck_digests",
            {"digest": digests, "base32": base32},
            _SET_DIGESTS,
        )


def _update(
    session: SqlSession, name: str, columns: Mapping[str, Sequence[str | None]], statement: str
) -> None:
    schema = pa.schema([(column, pa.string()) for column in columns])
    session.scan(name, pa.table(columns, schema=schema).to_reader())
    session.execute(statement)


def _top_level(domain: str | None) -> str | None:
    if domain is None or "." not in domain or domain.startswith("["):
        return None
    last = domain.rpartition(".")[2]
    return None if all(part.isdigit() for part in domain.split(".")) else last


def add_new(session: SqlSession, source: str) -> Added:
    """Add the captures of ``chunk`` that the table does not have."""
    names = ", ".join(map(quote_name, _COLUMNS))
    return _add(
        session,
        f"INSERT INTO pages_analytics ({names}, source) SELECT {names}, $source {_NEW}",
        {"source": source},
    )


def add_rows_of_chunk(session: SqlSession, columns: Sequence[str]) -> Added:
    """Add the rows of ``chunk`` that the table does not have, and those that are no captures."""
    names = ", ".join(map(quote_name, columns))
    insert = f"INSERT INTO pages_analytics ({names}) SELECT {names}"
    others = _count(session, f"{insert} FROM chunk WHERE reason IS NOT NULL")
    added = _add(session, f"{insert} {_NEW}", None)
    session.execute("DROP TABLE chunk")
    return replace(added, new=added.new + others)


def _add(session: SqlSession, insert: str, params: dict[str, object] | None) -> Added:
    good = _count(session, "SELECT count(*) FROM chunk WHERE reason IS NULL")
    session.execute(_TWICE)
    completed = _joined_twice(session)
    if _count(session, "SELECT count(*) FROM chunk WHERE reason IS NULL AND digest IS NULL"):
        session.execute(_WITHOUT_DIGEST)
        session.execute(_best("chunk_twice"))
        completed |= _joined_twice(session)
    session.execute(_KNOWN)
    if _count(session, "SELECT count(*) FROM chunk_known WHERE NOT is_sure"):
        session.execute(_best("chunk_known"))
    new = _count(session, insert, params)
    known = (
        {row[0] for row in session.execute("SELECT line_number FROM chunk_known")}
        if completed
        else set()
    )
    filled = len(completed - known)
    if new < good:
        filled += len(_filled(session, _FILL_KNOWN))
    session.execute("DROP TABLE chunk_known")
    session.execute("DROP TABLE chunk_twice")
    return Added(new, good - new, filled)


def _joined_twice(session: SqlSession) -> set[object]:
    """Give the first of equal captures what the others have; return the lines that it changed."""
    if not _count(session, "SELECT count(*) FROM chunk_twice"):
        return set()
    completed = _filled(session, _FILL_FIRST)
    session.execute("DELETE FROM chunk WHERE line_number IN (SELECT line_number FROM chunk_twice)")
    return completed


def _filled(session: SqlSession, fill: tuple[str, str]) -> set[object]:
    """Give captures what they lack and others have; return those that lacked something."""
    select, update = fill
    session.execute(select)
    found = {row[0] for row in session.execute("SELECT old_id FROM chunk_filled")}
    if found:
        session.execute(update)
    session.execute("DROP TABLE chunk_filled")
    return found


def _count(session: SqlSession, sql: str, params: dict[str, object] | None = None) -> int:
    return int(str(session.execute(sql, params)[0][0]))


def add_chunk(
    session: SqlSession,
    statement: str,
    chunk: Chunk,
    source: str,
    repair: Callable[[str, int], bytes | None] | None = None,
) -> Added:
    """Read a chunk by ``statement`` and add what is new of it.

    ``repair`` gets each malformed line with its number, and returns it as JSON, or None.
    """
    session.execute(statement, {"path": str(chunk.path), "first_line": chunk.first_line})
    rejects = [RejectedLine(int(str(n)), str(r), str(t)) for n, r, t in session.execute(_REJECTS)]
    resume_key = session.execute(_RESUME_KEY)[0][0]
    complete_keys(session)
    added = add_new(session, source)
    if repair is not None and rejects:
        lines = [repair(each.text, each.line_number) for each in rejects]
        good = [line for line in lines if line is not None]
        chunk.path.write_bytes(b"".join(good))
        session.execute(_REPAIRED, {"path": str(chunk.path), "first_line": 1})
        still_bad = {int(str(row[0])) for row in session.execute(_REJECTS)}
        complete_keys(session)
        more = add_new(session, source)
        added = replace(
            added,
            new=added.new + more.new,
            known=added.known + more.known,
            filled=added.filled + more.filled,
            repaired=len(good) - len(still_bad),
        )
        rejects = [
            each
            for each, line in zip(rejects, lines, strict=True)
            if line is None or each.line_number in still_bad
        ]
    session.execute("DROP TABLE chunk")
    return replace(
        added,
        rejects=tuple(rejects),
        resume_key=None if resume_key is None else str(resume_key),
    )
