"""Statements that DuckDB does not interrupt, and the table with the values that they work on."""

from __future__ import annotations

from pathlib import Path

import duckdb

__all__ = ["ONE_DEADLINE_SECONDS", "STATEMENTS", "make_database"]

ONE_DEADLINE_SECONDS = 1.0

STATEMENTS = {
    "string_split of 60 MB": "SELECT len(string_split(t, ' ')) FROM big, range(5)",
    "list_sort of 30 M": "SELECT len(list_sort(list_transform(l, x -> hash(x)))) FROM big",
    "array_to_string of 30 M": "SELECT length(array_to_string(l, ',')) FROM big",
    "sum over repeat": "SELECT sum(length(repeat(t, 30))) FROM big, range(20)",
    "repeat to 4 GB": "SELECT length(repeat(t, 66)) FROM big",
    "list_distinct of 30 M": "SELECT len(list_distinct(l)) FROM big",
    "regexp_extract_all on 60 MB": "SELECT len(regexp_extract_all(t, 'a|b')) FROM big",
    "levenshtein": "SELECT levenshtein(a, b) FROM txt",
    "damerau_levenshtein": "SELECT damerau_levenshtein(left(a, 30000), left(b, 30000)) FROM txt",
    "lpad to 2 GB": "SELECT length(lpad(t, 2000000000, 'x')) FROM big",
    "window quantile": (
        "SELECT max(q) FROM (SELECT quantile_cont(i, 0.5) OVER (ORDER BY i "
        "ROWS BETWEEN 200000 PRECEDING AND CURRENT ROW) AS q FROM range(3000000) r(i))"
    ),
    "-> chain of 30": "SELECT '{}'::JSON" + "->'a'" * 30,
    "AND of 10,000 terms": "SELECT count(*) FROM range(10) r(i) WHERE "
    + " AND ".join(f"i<>{number}" for number in range(10_000)),
    "UNION ALL of 8,000": " UNION ALL ".join(["SELECT 1"] * 8_000),
}


def make_database(path: Path) -> None:
    """Write the table of big values, and a small one for everybody else."""
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "CREATE TABLE big AS SELECT repeat('ab ', 20000000) AS t, range(30000000) AS l"
        )
        connection.execute(
            "CREATE TABLE txt AS SELECT repeat('ab', 100000) AS a, repeat('ba', 100000) AS b"
        )
        connection.execute(
            "CREATE TABLE small AS SELECT range AS a, range % 7 AS b FROM range(10000)"
        )
        connection.execute("CREATE TABLE counted (a INTEGER)")
    path.chmod(0o640)
