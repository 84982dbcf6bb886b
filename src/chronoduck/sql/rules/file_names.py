"""Names in FROM that DuckDB would open as files, when there is no such table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["Table", "folded", "is_file_name", "tables_like_files"]

Table = tuple[str, str]
"""Schema and name of a table or view, folded."""

_PATH_CHARACTERS = frozenset("/\\.:*?[]~") | frozenset(map(chr, range(0x20)))
_FILE_ENDINGS = frozenset(
    "csv tsv txt parquet json jsonl ndjson geojson gz zst zstd bz2 xlsx xls db duckdb ddb sqlite "
    "avro arrow arrows ipc feather vortex lance orc xml shp gpkg".split()
)


def folded(name: str) -> str:
    """Return the name as DuckDB compares it: only the letters A-Z have two cases."""
    return name.encode(errors="surrogatepass").lower().decode(errors="surrogatepass")


def is_file_name(path: Sequence[str]) -> bool:
    """Whether a table's name (catalog, schema, name) could be taken for a file's.

    DuckDB joins the parts with points: ``FROM data.csv`` reads a file when there is no schema
    ``data``.
    """
    if not all(_PATH_CHARACTERS.isdisjoint(part) for part in path):
        return True
    return len(path) > 1 and path[-1].lower() in _FILE_ENDINGS


def tables_like_files(relations: Iterable[tuple[str, str]]) -> frozenset[Table]:
    """Return those of the tables and views (schema, name) whose names could be taken for files'."""
    return frozenset(
        (folded(schema), folded(name)) for schema, name in relations if is_file_name((schema, name))
    )
