"""How many blocks of the file a table takes, as DuckDB tells it."""

from __future__ import annotations

import duckdb

from chronoduck.engine.tables import quoted

__all__ = ["blocks_of"]

_IS_VERSION_1 = duckdb.__version__.startswith("1.")
# Segments share blocks, and long values have blocks of their own.
_BLOCKS = """
WITH segments AS (FROM pragma_storage_info(
    '"' || replace(current_database(), '"', '""') || '".{}'
))
SELECT count(DISTINCT block) FROM (
    SELECT block_id AS block FROM segments WHERE block_id >= 0
    UNION ALL SELECT unnest(additional_block_ids) FROM segments
)
"""


def blocks_of(schema: str, table: str) -> str | None:
    """Return the query that counts the blocks; None: the engine does not tell it of this table.

    DuckDB 1.5 cannot find a table by name in a pragma when the name has a double quote.
    """
    if _IS_VERSION_1 and '"' in schema + table:
        return None
    # With the database: a schema may be named like it.
    return _BLOCKS.format(quoted(schema, table).replace("'", "''"))
