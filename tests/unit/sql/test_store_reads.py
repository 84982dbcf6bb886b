"""Which literals of a statement name objects, and what the engine runs instead."""

from __future__ import annotations

import gc
import time
from pathlib import Path

import pytest

from chronoduck.sql.store_reads import (
    FetchedObjects,
    defines_what_stays,
    store_addresses,
    with_files,
)
from tests.patience import PATIENCE_SECONDS

A, B = "s3://lake/a.parquet", "s3://lake/b/*.csv"


@pytest.mark.parametrize(
    ("sql", "found", "run"),
    [
        ("SELECT 1", (), "SELECT 1"),
        (f"SELECT '{A}'", (), f"SELECT '{A}'"),
        (f"FROM read_parquet('{A}')", (A,), "FROM read_parquet(['/x/1'])"),
        (f"FROM READ_PARQUET ( '{A}' ) t", (A,), "FROM READ_PARQUET ( ['/x/1']) t"),
        (
            f"FROM read_csv('{B}') UNION ALL FROM read_parquet('{A}') -- read_csv('{A}')",
            (B, A),
            f"FROM read_csv(['/x/2', '/x/it''s']) UNION ALL FROM read_parquet(['/x/1']) -- read_csv('{A}')",  # noqa: E501
        ),
        (
            f"SELECT 'ü', n FROM read_parquet('{A}') a JOIN read_parquet('{A}') b USING (n)",
            (A,),
            "SELECT 'ü', n FROM read_parquet(['/x/1']) a JOIN read_parquet(['/x/1']) b USING (n)",
        ),
        (f"FROM read_parquet('{A}', union_by_name = true)", (), ""),
        (f"FROM read_parquet(['{A}'])", (), ""),
        (f"FROM read_text('{A}')", (), ""),
        ("FROM read_parquet('s3://lake/a?s3_endpoint=evil.example')", (), ""),
        ("FROM read_parquet(e's3://lake/a\\x3fs3_endpoint=evil')", (), ""),
        ("FROM read_parquet('/etc/passwd')", (), ""),
    ],
)
def test_addresses_become_files(sql: str, found: tuple[str, ...], run: str) -> None:
    assert store_addresses(sql) == found
    if run:
        files = {A: [Path("/x/1")], B: [Path("/x/2"), Path("/x/it's")]}
        assert with_files(sql, files) == run


@pytest.mark.parametrize(
    ("sql", "stays"),
    [
        (f"CREATE VIEW v AS FROM read_parquet('{A}')", True),
        (f"create or replace temp view v as from read_parquet('{A}')", True),
        (f"CREATE MACRO m() AS TABLE FROM read_parquet('{A}')", True),
        (f"CREATE TABLE t AS FROM read_parquet('{A}')", False),
        (f"INSERT INTO t FROM read_parquet('{A}')", False),
        (f"SELECT view FROM read_parquet('{A}')", False),
    ],
)
def test_views_and_macros_would_keep_the_address(sql: str, stays: bool) -> None:
    assert defines_what_stays(sql) == stays


def test_the_files_go_with_the_last_who_needs_them(tmp_path: Path) -> None:
    directory = tmp_path / "objects"
    (directory / "lake").mkdir(parents=True)
    objects = FetchedObjects(directory)
    assert directory.exists()
    del objects
    gc.collect()
    end = time.monotonic() + PATIENCE_SECONDS
    while directory.exists():
        assert time.monotonic() < end
        time.sleep(0.01)
