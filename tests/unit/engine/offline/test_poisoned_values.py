"""Stored values that DuckDB does not survive: found by verify, and kept from statements."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from chronoduck.engine.offline import find_poisoned
from chronoduck.engine.poisoned_values import dependents_of
from chronoduck.engine.quarantined import QuarantineList
from chronoduck.errors import StatementRefusedError

NAME, METADATA = b"ARROW:extension:name", b"ARROW:extension:metadata"


def store(path: Path, table: str, column: pa.Array, extension: str = "", kind: str = "") -> None:
    """Store Arrow values as DuckDB takes them, which is what loads once did."""
    metadata = None
    if extension:
        says = f'{{"type_name": "{kind}", "vendor_name": "DuckDB"}}' if kind else ""
        metadata = {NAME: extension.encode(), METADATA: says.encode()}
    schema = pa.schema([pa.field("v", column.type, metadata=metadata)])
    with duckdb.connect(str(path)) as connection:
        connection.register("body", pa.table([column], schema=schema))
        connection.execute(f'CREATE TABLE "{table}" AS SELECT 1 AS id, * FROM body')


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "old.db"
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "CREATE TABLE sound AS SELECT TIME '24:00:00' AS t, '101'::BIT AS b, 12::BIGNUM AS n, "
            "'[1]'::JSON AS j, now() AS w, [TIME '01:00:00'] AS l, {'x': -5::BIGNUM} AS s"
        )
    return path


def test_a_sound_database_holds_none(database: Path) -> None:
    assert find_poisoned(database).columns == ()


def test_values_that_end_the_engine_are_found_by_name(database: Path) -> None:
    store(database, "Big", pa.array([b"\x00", b"\x00\x01"], pa.binary()), "arrow.opaque", "bignum")
    store(
        database,
        "bits",
        pa.array([b"\xff\xed\x4f\x19", b"\xff"], pa.binary()),
        "arrow.opaque",
        "bit",
    )
    store(database, "times", pa.array([2**62, -5], pa.int64()).view(pa.time64("us")))
    store(database, "texts", pa.array(["not json"]), "arrow.json")
    lists = pa.array([[2**62]], pa.list_(pa.int64())).view(pa.list_(pa.time64("us")))
    store(database, "inner", lists)
    with duckdb.connect(str(database)) as connection:
        connection.execute("CREATE VIEW over_times AS SELECT id FROM times")
        connection.execute("CREATE MACRO over_view() AS TABLE SELECT * FROM over_times")
    found = find_poisoned(database)
    assert {column.name for column in found.columns} == {
        "main.Big.v",
        "main.bits.v",
        "main.times.v",
        "main.texts.v",
        "main.inner.v",
    }
    assert set(found.names) == {"big", "bits", "times", "texts", "inner", "over_times", "over_view"}


async def test_statements_that_name_them_are_refused_until_they_are_dropped(
    tmp_path: Path,
) -> None:
    quarantine = QuarantineList(tmp_path / "x.db")
    quarantine.check("SELECT * FROM times")
    quarantine.write(["main.times.v"], ["times", "over_times"])
    await quarantine.follow()
    for sql in (
        "SELECT * FROM times",
        "FROM main.TIMES",
        'SELECT 1 FROM "over_times"',
        "FROM 'TIMES'",
        "INSERT INTO copy SELECT * FROM times",
        "CREATE VIEW again AS FROM times",
        "ALTER TABLE times ALTER v TYPE VARCHAR",
        "SELECT 1; DROP TABLE times",
    ):
        with pytest.raises(StatementRefusedError) as caught:
            quarantine.check(sql)
        assert caught.value.rule == "quarantined"
    for sql in (
        "SELECT sometimes FROM other",
        "DROP TABLE times",
        "ALTER TABLE times DROP COLUMN v",
        "SELECT 1",
    ):
        quarantine.check(sql)
    quarantine.write([], [])
    await quarantine.follow()
    quarantine.check("SELECT * FROM times")
    assert list(tmp_path.iterdir()) == []


def test_whole_names_tell_what_reads_a_table() -> None:
    with duckdb.connect() as connection:
        for statement in (
            "CREATE TABLE page (id INTEGER)",
            "CREATE TABLE pages (id INTEGER, page_no INTEGER)",
            'CREATE TABLE "my page" (id INTEGER)',
            "CREATE VIEW of_pages AS SELECT page_no FROM pages",
            'CREATE VIEW of_my_page AS FROM "my page"',
            "CREATE VIEW of_page AS SELECT id FROM main.PAGE",
            'CREATE VIEW "Of page quoted" AS SELECT * FROM "page" AS p',
            "CREATE VIEW of_the_view AS SELECT count(*) AS n FROM of_page",
            "CREATE MACRO read_page() AS (SELECT max(id) FROM page)",
            "CREATE MACRO read_pages() AS TABLE SELECT 'a page' AS page_text FROM pages",
        ):
            connection.execute(statement)
        assert dependents_of(connection, ["Page"]) == [
            "of page quoted",
            "of_page",
            "of_the_view",
            "page",
            "read_page",
        ]
