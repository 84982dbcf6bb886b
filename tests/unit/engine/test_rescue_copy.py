"""A living database copied by SQL alone: rows always, the catalog as far as it goes."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from chronoduck.engine.rescue_copy import copy_living_database
from chronoduck.engine.storage_version import (
    file_storage_version,
    new_file_config,
    own_storage_version,
)

STATEMENTS = (
    "CREATE SCHEMA s",
    "CREATE TYPE s.mood AS ENUM ('good', 'it''s bad')",
    "CREATE SEQUENCE numbers START 5",
    "CREATE TABLE parent (a INTEGER PRIMARY KEY, made TIMESTAMP DEFAULT now())",
    'CREATE TABLE "odd name" (x INTEGER REFERENCES parent (a), "a b" VARCHAR)',
    (
        "CREATE TABLE s.t (a BIGINT DEFAULT nextval('numbers'), m s.mood, g BIGINT GENERATED ALWAYS "
        "AS (a + 1), c VARCHAR CHECK (length(c) > 1), n STRUCT(k INTEGER, l VARCHAR[]))"
    ),
    "CREATE MACRO plus(x) AS x + 1",
    "CREATE MACRO pair(x) AS TABLE SELECT x, x",
    "CREATE VIEW v AS SELECT g FROM s.t",
    "CREATE INDEX t_c ON s.t (c)",
    "INSERT INTO parent (a) FROM range(10)",
    "INSERT INTO \"odd name\" SELECT range, 'v' FROM range(10)",
    (
        "INSERT INTO s.t (m, c, n) SELECT 'good', 'xx' || range, {k: range, l: ['a', NULL]} "
        "FROM range(3000)"
    ),
    "DELETE FROM s.t WHERE a % 7 = 0",
)


@pytest.fixture
def living(tmp_path: Path) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(str(tmp_path / "living.db"))
    for statement in STATEMENTS:
        connection.execute(statement)
    return connection


def test_rows_and_catalog_are_those_of_the_living_database(
    living: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    target = tmp_path / "copy.db"
    copy = copy_living_database(living.cursor(), target)
    assert copy.left_out == []
    (kept,) = living.execute("SELECT count(*) FROM s.t").fetchall()[0]
    wanted = living.execute("SELECT sum(hash(t)::HUGEINT) FROM s.t").fetchone()
    next_number = living.execute("SELECT nextval('numbers')").fetchone()
    with duckdb.connect(str(target)) as found:
        assert found.execute("SELECT sum(hash(t)::HUGEINT) FROM s.t").fetchone() == wanted
        assert found.execute("SELECT nextval('numbers')").fetchone() == next_number
        assert found.execute("SELECT plus(1), (SELECT count(*) FROM pair(1))").fetchone() == (2, 1)
        assert found.execute("SELECT count(*) FROM v").fetchone() == (kept,)
        with pytest.raises(duckdb.ConstraintException):
            found.execute("INSERT INTO \"odd name\" VALUES (99, 'no parent')")
        with pytest.raises(duckdb.ConstraintException):
            found.execute("INSERT INTO s.t (c) VALUES ('x')")
        assert found.execute("SELECT index_name FROM duckdb_indexes()").fetchall() == [("t_c",)]
    assert living.execute("SELECT current_database()").fetchone() == ("living",)
    assert len(living.execute("FROM duckdb_databases() WHERE NOT internal").fetchall()) == 1


def test_what_cannot_be_made_again_is_named_and_no_row_is_missing(
    living: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    living.execute("CREATE TYPE pair_of AS STRUCT(a INTEGER)")
    living.execute("COMMENT ON TABLE parent IS 'the parent'")
    copy = copy_living_database(living.cursor(), tmp_path / "copy.db")
    assert "type main.pair_of" in copy.left_out
    assert "1 comments" in copy.left_out
    assert copy.rows == 10 + 10 + living.execute("SELECT count(*) FROM s.t").fetchall()[0][0]


def test_the_copy_has_the_storage_version_of_the_file_not_of_the_configuration(
    tmp_path: Path,
) -> None:
    path, target = tmp_path / "living.db", tmp_path / "copy.db"
    version = "v2.0.0" if duckdb.__version__ >= "2" else "v1.4.0"
    with duckdb.connect(str(path), config=new_file_config(version)) as made:
        made.execute("CREATE TABLE t AS SELECT range AS a FROM range(1000)")
    with duckdb.connect(str(path), config=new_file_config("v1.5.0")) as living:
        assert copy_living_database(living.cursor(), target).rows == 1000
        assert own_storage_version(living) == version
    assert file_storage_version(target) == version


def test_a_table_with_a_key_into_itself_is_copied_without_the_key(tmp_path: Path) -> None:
    """DuckDB 2.0 wants the row that a key names to be there before the statement."""
    with duckdb.connect(str(tmp_path / "tree.db")) as connection:
        connection.execute(
            "CREATE TABLE tree (a INTEGER PRIMARY KEY, parent INTEGER REFERENCES tree (a), "
            "g INTEGER GENERATED ALWAYS AS (a + 1))"
        )
        for row in ("(1, NULL)", "(2, 1)", "(3, 2)"):
            connection.execute(f"INSERT INTO tree (a, parent) VALUES {row}")
        copy = copy_living_database(connection.cursor(), tmp_path / "copy.db")
    is_refused = not duckdb.__version__.startswith("1.")
    assert copy.left_out == ["constraints and defaults of table main.tree"] * is_refused
    with duckdb.connect(str(tmp_path / "copy.db")) as found:
        assert found.execute("FROM tree").fetchall() == [(1, None, 2), (2, 1, 3), (3, 2, 4)]
