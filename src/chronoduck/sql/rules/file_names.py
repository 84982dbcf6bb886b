"""Names in FROM that DuckDB would open as files, when there is no such table."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["is_file_name"]

_PATH_CHARACTERS = frozenset("/\\.:*?[]~") | frozenset(map(chr, range(0x20)))
_FILE_ENDINGS = frozenset(
    "csv tsv txt parquet json jsonl ndjson geojson gz zst zstd bz2 xlsx xls db duckdb ddb sqlite "
    "avro arrow arrows ipc feather vortex lance orc xml shp gpkg".split()
)


def is_file_name(path: Sequence[str]) -> bool:
    """Whether a table's name (catalog, schema, name) could be taken for a file's.

    DuckDB joins the parts with points: ``FROM data.csv`` reads a file when there is no schema
    ``data``.
    """
    if not all(_PATH_CHARACTERS.isdisjoint(part) for part in path):
        return True
    return len(path) > 1 and path[-1].lower() in _FILE_ENDINGS
