"""How instances are opened."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from chronoduck.engine.opening_options import CLOSED_OPTIONS


def test_a_file_that_is_written_again_is_read_again(tmp_path: Path) -> None:
    """DuckDB 1.5.5 fails at a third of these when it remembers parts of files."""
    path = tmp_path / "a.parquet"
    with duckdb.connect(config=CLOSED_OPTIONS) as connection:
        for number in range(30):
            for values in (
                pa.array([number, number]),
                pa.array(["x", None, "x"]).dictionary_encode(),
                pa.array([2**64 - 1, number], pa.uint64()),
            ):
                pq.write_table(pa.table({"a": values}), path)
                connection.execute(f"SELECT * FROM parquet_schema('{path}')").fetchall()
                rows = connection.execute(f"SELECT a FROM read_parquet('{path}')").fetchall()
                assert rows == [(value,) for value in values.to_pylist()]
