"""The table of a cdc sync and its publication: whether its log tells enough, and what it is like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chronoduck.sync.declaration import SyncDeclaration
from chronoduck.sync.failures import SyncDriftError, SyncSourceError
from chronoduck.sync.selection import relation_of
from chronoduck.sync.source import PostgresConnection, literal, quoted

__all__ = ["TableShape", "default_publication", "find_ground", "find_shape", "prepare_publication"]

_COLUMN_LISTS = 150_000
"""The first version that can publish some columns, or a schema's tables; older ones send rows whole."""
_FORBIDDEN = "42501"
_OTHER_MODES = 'Use mode = "incremental" or "full".'
_MEMBERS = """
WITH RECURSIVE member AS (
    SELECT to_regclass({0})::oid AS oid UNION
    SELECT inhrelid FROM pg_inherits JOIN member ON inhparent = member.oid
)
"""
_TABLE = """
SELECT c.relkind::text, c.relpersistence::text, c.relreplident::text,
       current_setting('server_version_num')::int4
FROM pg_class c WHERE c.oid = to_regclass({0})
"""
_IDENTITY = """
SELECT a.attname::text FROM pg_class c JOIN pg_index i ON i.indrelid = c.oid
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
WHERE c.oid = to_regclass({0})
  AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident END
ORDER BY a.attnum
"""
_PUBLICATION = """
SELECT pubinsert AND pubupdate AND pubdelete AND pubtruncate FROM pg_publication WHERE pubname = {0}
"""
# What holds rows; a partition is told of where it, or a table that it is a partition of, is published.
_UNTOLD = (
    _MEMBERS
    + """
, told AS (
    SELECT c.oid FROM pg_publication_tables p JOIN pg_namespace n ON n.nspname = p.schemaname
    JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename
    WHERE p.pubname = {1} AND {2}
)
SELECT c.oid::regclass::text FROM member JOIN pg_class c USING (oid)
WHERE NOT (c.relkind = 'p' AND c.relhassubclass) AND NOT EXISTS (
    SELECT FROM told WHERE told.oid = c.oid
    OR told.oid IN (SELECT relid FROM pg_partition_ancestors(c.oid)))
ORDER BY 1
"""
)
_UNLOGGED = (
    _MEMBERS
    + """
SELECT c.oid::regclass::text FROM member JOIN pg_class c USING (oid)
WHERE c.relkind NOT IN ('r', 'p') OR (c.relkind = 'r' AND c.relpersistence <> 'p') ORDER BY 1
"""
)
# Rows of these catalogs have a new xmin whenever they were changed: what was altered and
# altered back is noticed, too.
_GROUND = (
    _MEMBERS
    + """
SELECT md5(concat_ws('/',
    substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8),
    (SELECT oid FROM pg_database WHERE datname = current_database()),
    (SELECT string_agg(format('%s.%s', c.oid, c.relpersistence), ',' ORDER BY c.oid)
     FROM member JOIN pg_class c USING (oid)),
    (SELECT format('%s.%s', oid, xmin) FROM pg_publication WHERE pubname = {1}),
    (SELECT string_agg(format('%s.%s', r.oid, r.xmin), ',' ORDER BY r.oid)
     FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
     WHERE p.pubname = {1} AND r.prrelid IN (SELECT oid FROM member)){2}))
"""
)
# Of a published schema, tables come and go by ALTER TABLE SET SCHEMA.
_GROUND_OF_SCHEMAS = """,
    (SELECT string_agg(format('%s.%s.%s.%s', s.oid, s.xmin, c.oid, c.xmin), ',' ORDER BY s.oid, c.oid)
     FROM pg_publication_namespace s JOIN pg_publication p ON p.oid = s.pnpubid
     JOIN pg_class c ON c.relnamespace = s.pnnspid JOIN member ON member.oid = c.oid
     WHERE p.pubname = {1})"""
_SHAPE = (
    _MEMBERS
    + """
, kept AS (
    SELECT * FROM pg_attribute WHERE attrelid = to_regclass({0}) AND attnum > 0 AND NOT attisdropped
    AND attname IN ({1})
)
SELECT (SELECT string_agg(oid::text, ',') FROM member),
    md5(concat_ws('/',
        (SELECT string_agg(concat_ws(' ', attnum, attname, atttypid, atttypmod,
                CASE WHEN attgenerated <> '' THEN pg_get_expr(adbin, adrelid) END), ',' ORDER BY attnum)
         FROM kept LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum),
        (SELECT string_agg(concat_ws(' ', enumtypid, oid, enumlabel), ',' ORDER BY enumtypid, oid)
         FROM pg_enum WHERE enumtypid IN (SELECT atttypid FROM kept)),
        (SELECT string_agg(concat_ws(' ', i.inhrelid, i.xmin), ',' ORDER BY i.inhrelid, i.inhparent)
         FROM pg_inherits i JOIN member ON oid = inhrelid),
        (SELECT string_agg(concat_ws(' ', oid, relfilenode), ',' ORDER BY oid)
         FROM pg_class JOIN member USING (oid)))),
    (SELECT sum(greatest(reltuples, 0))::int8 FROM pg_class JOIN member USING (oid)
     WHERE relkind = 'r')
"""
)
_TYPES = """
SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = to_regclass({0}) AND attnum > 0 AND NOT attisdropped
"""


@dataclass(frozen=True)
class TableShape:
    """``parts`` are the numbers of the table and of its partitions; ``rows`` is an estimate."""

    parts: frozenset[int]
    mark: str
    """Another one when rows may have changed without a word in the log: new files, new columns."""
    rows: int
    types: dict[str, str]
    """Types of all columns as SQL."""
    is_keyed: bool
    """PostgreSQL itself sees to it that the sync's key is unique."""


def default_publication(sync: str) -> str:
    """Return the publication's name of a sync that names none."""
    return f"chronoduck_{sync}"


def prepare_publication(
    connection: PostgresConnection, declared: SyncDeclaration, name: str
) -> None:
    """Make the publication if it is not there, and see that it tells all changes of the table.

    Raises:
        SyncDriftError: the log does not hold the key of rows that are deleted.
        SyncSourceError: the publication is not there or too narrow, and the user may not make it.
    """
    table, text = literal(relation_of(declared)), declared.table
    found = connection.rows(_TABLE.format(table))
    if not found:
        raise SyncSourceError(
            f"the source has no table {text}", hint="Check table and schema of the sync."
        )
    kind, persistence, identity, version = found[0]
    if kind not in "rp" or persistence != "p":
        raise SyncDriftError(
            f"{text} is no table whose changes are in the log (a view, or unlogged)",
            hint=_OTHER_MODES,
        )
    if unlogged := _names(connection, _UNLOGGED.format(table)):
        raise SyncDriftError(
            f"changes of {unlogged}, which {text} has as parts, are in no log: unlogged or foreign",
            hint=_OTHER_MODES,
        )
    columns = [row[0] for row in connection.rows(_IDENTITY.format(table))]
    if identity != "f" and set(declared.key) != set(columns):
        raise SyncDriftError(
            f"the log does not tell {', '.join(declared.key)} of rows that are deleted from {text}, "
            "or it is not unique",
            hint=f"Let key be the primary key ({', '.join(columns) or 'there is none'}), or "
            f"ALTER TABLE {relation_of(declared)} REPLICA IDENTITY FULL.",
        )
    published = relation_of(declared)
    if version >= _COLUMN_LISTS and identity != "f":
        published += f" ({', '.join(map(quoted, columns))})"
    options = "publish_via_partition_root = true"
    make = f"CREATE PUBLICATION {quoted(name)} FOR TABLE {published} WITH ({options})"
    change = f"ALTER PUBLICATION {quoted(name)} SET TABLE {published}"
    is_whole = connection.rows(_PUBLICATION.format(literal(name)))
    if not is_whole:
        _run(connection, make)
    elif untold := _untold(connection, table, name, declared.key, version):
        what = f"the publication {name} does not tell of {untold}, or not all of it"
        if name != default_publication(declared.name):
            raise SyncSourceError(
                what, hint=change.replace(" SET TABLE ", " ADD TABLE ") + " (without a row filter)."
            )
        _run(connection, change, what)
    if is_whole and not is_whole[0][0]:
        raise SyncSourceError(
            f"the publication {name} does not tell all kinds of changes",
            hint=f"ALTER PUBLICATION {quoted(name)} SET (publish = 'insert, update, delete, "
            "truncate').",
        )


def _names(connection: PostgresConnection, sql: str) -> str:
    return ", ".join(row[0] for row in connection.rows(sql))


def _untold(
    connection: PostgresConnection, table: str, name: str, key: Sequence[str], version: int
) -> str:
    """Return the tables that hold rows of which the publication does not tell, or no keys."""
    columns = "true"
    if version >= _COLUMN_LISTS:
        keys = ", ".join(map(literal, key))
        columns = f"p.rowfilter IS NULL AND p.attnames @> ARRAY[{keys}]::name[]"
    return _names(connection, _UNTOLD.format(table, literal(name), columns))


def _run(connection: PostgresConnection, sql: str, why: str | None = None) -> None:
    try:
        connection.run(sql)
    except SyncSourceError as error:
        if error.sqlstate != _FORBIDDEN:
            raise
        raise SyncSourceError(
            why or error.detail, hint=f"The owner of the table has to run, once: {sql};"
        ) from None


def find_ground(connection: PostgresConnection, declared: SyncDeclaration, name: str) -> str:
    """Return a mark of server, table and publication, without a gap in which it is the same."""
    table, publication = literal(relation_of(declared)), literal(name)
    version = connection.rows("SELECT current_setting('server_version_num')::int4")[0][0]
    schemas = ""
    if version >= _COLUMN_LISTS:
        schemas = _GROUND_OF_SCHEMAS.format(table, publication)
    return str(connection.rows(_GROUND.format(table, publication, schemas))[0][0])


def find_shape(
    connection: PostgresConnection, declared: SyncDeclaration, columns: Sequence[str]
) -> TableShape:
    """Return what the table is like in the snapshot of the connection."""
    table = literal(relation_of(declared))
    names = ", ".join(map(literal, columns))
    parts, mark, rows = connection.rows(_SHAPE.format(table, names))[0]
    types = dict(connection.rows(_TYPES.format(table)))
    identity = {row[0] for row in connection.rows(_IDENTITY.format(table))}
    return TableShape(
        frozenset(map(int, parts.split(","))),
        mark,
        int(rows or 0),
        types,
        identity == set(declared.key),
    )
