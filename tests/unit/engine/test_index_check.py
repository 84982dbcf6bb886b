"""An index is compared with its table: what it lost, or mixed up, is found."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from chronoduck.engine.disk_format import BLOCK_BYTES, HEADER_BYTES
from chronoduck.engine.index_check import check_indexes
from tests.broken_index import broken_index_database
from tests.damaged_wal import crash

TYPES = {
    "BIGINT": "i * 1000003",
    "VARCHAR": "'it''s ' || i || chr(10)",
    "BLOB": "encode('é' || i)",
    "UUID": "md5(i::VARCHAR)::UUID",
    "DOUBLE": "i / 7",
    "FLOAT": "(i / 3)::FLOAT",
    "DECIMAL(20, 3)": "i / 3",
    "HUGEINT": "i::HUGEINT * 1000000000000000000000",
    "BOOLEAN": "i % 2 = 0",
    "TIMESTAMPTZ": "TIMESTAMPTZ '2020-01-01 00:00:00+00' + INTERVAL (i) MINUTE",
    "TIMESTAMP_NS": "make_timestamp_ns(i)",
    "TIME": "TIME '00:00:00' + INTERVAL (i) SECOND",
    "DATE": "DATE '2020-01-01' + i::INTEGER",
    "ENUM('a', 'it''s')": "CASE WHEN i % 2 = 0 THEN 'a' ELSE 'it''s' END",
}


@pytest.fixture
def connection() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


@pytest.mark.parametrize("kind", TYPES)
def test_a_right_index_of_every_type_is_found_right(
    connection: duckdb.DuckDBPyConnection, kind: str
) -> None:
    connection.execute(f'CREATE TABLE "a b" ("k""y" {kind}, n INTEGER PRIMARY KEY)')
    connection.execute(f'INSERT INTO "a b" SELECT {TYPES[kind]}, i FROM range(3000) r(i)')
    connection.execute('INSERT INTO "a b" VALUES (NULL, -1)')
    connection.execute('CREATE INDEX "in dex" ON "a b" ("k""y")')
    connection.execute('DELETE FROM "a b" WHERE n % 7 = 0')
    assert check_indexes(connection) == []


def test_expressions_generated_columns_and_constraints_are_looked_up_too(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    connection.execute(
        "CREATE TABLE t (a INTEGER, b VARCHAR, g INTEGER GENERATED ALWAYS AS (a + 1), UNIQUE (a, b))"
    )
    connection.execute("INSERT INTO t SELECT i, 'B' || i FROM range(2000) r(i)")
    for key in ("(lower(b))", "g", "a, b"):
        connection.execute(f'CREATE INDEX "{key}" ON t ({key})')
    assert check_indexes(connection, probe_constraints=True) == []


def test_two_keys_that_changed_places_are_found(tmp_path: Path) -> None:
    path = broken_index_database(tmp_path / "broken.db")
    with duckdb.connect(str(path), read_only=True) as connection:
        (damage,) = check_indexes(connection)
        assert (damage.schema, damage.table, damage.index) == ("main", "t", "t_k")
        assert damage.reason
        assert not damage.is_constraint
        assert check_indexes(connection, tables=[("main", "other")]) == []
        assert check_indexes(connection, keys=None)


def test_drop_and_create_repairs_it(tmp_path: Path) -> None:
    path = broken_index_database(tmp_path / "broken.db")
    with duckdb.connect(str(path)) as connection:
        connection.execute("DROP INDEX t_k")
        connection.execute("CREATE INDEX t_k ON t (k)")
        assert check_indexes(connection) == []


def test_settings_are_as_before(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("SET index_scan_max_count = 77")
    connection.execute("CREATE TABLE t AS SELECT range AS a FROM range(100)")
    connection.execute("CREATE INDEX t_a ON t (a)")
    check_indexes(connection)
    assert connection.execute("SELECT current_setting('index_scan_max_count')").fetchall() == [
        (77,)
    ]


def test_a_locked_configuration_is_no_obstacle(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("CREATE TABLE t AS SELECT range AS a FROM range(100)")
    connection.execute("CREATE INDEX t_a ON t (a)")
    connection.execute("SET lock_configuration = true")
    assert check_indexes(connection) == []


def test_a_table_that_cannot_be_read_is_an_error_not_a_damaged_index(tmp_path: Path) -> None:
    path = tmp_path / "torn.db"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE t AS SELECT hash(range) AS a FROM range(100000)")
        connection.execute("CREATE INDEX t_a ON t (a)")
    data = path.read_bytes()
    scans = 0
    for start in range(HEADER_BYTES, len(data), BLOCK_BYTES):
        middle = start + BLOCK_BYTES // 2
        path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
        try:
            connection = duckdb.connect(str(path), read_only=True)
        except duckdb.Error:
            continue  # it is noticed when the file is opened
        with connection:
            try:
                connection.execute("SELECT sum(a) FROM t")
            except duckdb.Error:
                scans += 1
                with pytest.raises(duckdb.Error):
                    check_indexes(connection)
            else:
                assert len(check_indexes(connection)) <= 1
    assert scans > 0


@pytest.mark.skipif(duckdb.__version__ < "2", reason="DuckDB 1.5 cannot replay this WAL")
def test_a_table_that_takes_no_rows_has_no_broken_index(tmp_path: Path) -> None:
    """A replay may forget that a default needs a sequence, which can be dropped then."""
    path = tmp_path / "a.db"
    crash(
        path,
        [
            "CREATE SEQUENCE q",
            "CREATE TABLE t (id BIGINT, n BIGINT, UNIQUE (id, n))",
            "INSERT INTO t VALUES (1, 1)",
            "ALTER TABLE t ADD COLUMN c BIGINT DEFAULT nextval('q')",
        ],
    )
    with duckdb.connect(str(path)) as connection:
        connection.execute("DROP SEQUENCE q")
        with pytest.raises(duckdb.CatalogException):
            connection.execute("INSERT INTO t (id, n) VALUES (2, 2)")
        assert check_indexes(connection, probe_constraints=True) == []
