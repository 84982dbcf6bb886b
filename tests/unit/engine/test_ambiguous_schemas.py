"""Schemas named like a catalog: DuckDB calls ``"mine"."t"`` ambiguous in the file ``mine.db``."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from chronoduck.engine.checkpoint_room import LoggedRows, written_bytes
from chronoduck.engine.compaction import compact_file
from chronoduck.engine.index_check import check_indexes
from chronoduck.engine.inspection import inspect_database
from chronoduck.engine.poisoned_values import try_columns
from chronoduck.engine.rescue_copy import copy_living_database
from chronoduck.engine.table_export import export_tables, import_tables
from chronoduck.engine.tables import quoted
from chronoduck.errors import DatabaseFailedError

SCHEMAS = ("mine", "source", "subject", "rescue", "target", "memory", "main_", "temp", "system")
ROWS = 3 + 2  # of a schema


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "mine.db"
    with duckdb.connect(str(path)) as connection:
        for schema in SCHEMAS:
            place = quoted("mine", schema)
            connection.execute(f"CREATE SCHEMA {place}")
            connection.execute(f"USE {place}")
            connection.execute("CREATE TABLE parent (a INTEGER PRIMARY KEY, b JSON DEFAULT '1')")
            connection.execute("CREATE TABLE child (a INTEGER REFERENCES parent (a))")
            connection.execute("CREATE SEQUENCE numbers START 7")
            connection.execute("CREATE VIEW v AS SELECT a FROM parent")
            connection.execute("CREATE INDEX child_a ON child (a)")
            connection.execute(f"INSERT INTO {quoted('mine', schema, 'parent')} (a) FROM range(3)")
            connection.execute(f"INSERT INTO {quoted('mine', schema, 'child')} FROM range(2)")
            connection.execute("USE mine.main")
    return path


def facts(path: Path) -> list[Any]:
    return sorted((t.name, t.rows, t.hash) for t in inspect_database(path, full=True).tables)


def test_a_file_is_compacted(database: Path, tmp_path: Path) -> None:
    for target in ("mine.db.new", "source", "temp.db"):
        assert compact_file(database, tmp_path / target) == ROWS * len(SCHEMAS)
        assert facts(tmp_path / target) == facts(database)


@pytest.mark.parametrize("attach", [False, True])
def test_a_file_is_checkpointed_by_another_process(database: Path, attach: bool) -> None:
    request = {"do": "checkpoint", "database": str(database), "cpu": 60, "attach": attach}
    done = subprocess.run(
        [sys.executable, "-m", "chronoduck.engine.offline_child"],
        input=json.dumps(request | {"memory_limit": "500MB"}) + "\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == {"result": {"rows": ROWS * len(SCHEMAS)}}


def test_a_living_database_is_rescued(database: Path, tmp_path: Path) -> None:
    with duckdb.connect(str(database)) as living:
        before = living.execute("FROM duckdb_tables() ORDER BY ALL").fetchall()
        copy = copy_living_database(living.cursor(), tmp_path / "copy.db")
        assert living.execute("FROM duckdb_tables() ORDER BY ALL").fetchall() == before
    assert copy.rows == ROWS * len(SCHEMAS)
    assert facts(tmp_path / "copy.db") == facts(database)
    # Texts that DuckDB writes itself, and cannot read again: only those are left out.
    assert {what.split()[-1].split(".")[0] for what in copy.left_out} == {"mine", "temp", "system"}
    with duckdb.connect(str(tmp_path / "copy.db")) as found:
        for schema in SCHEMAS:
            assert found.execute(f"SELECT nextval('copy.{schema}.numbers')").fetchone() == (7,)


def test_what_only_reads_finds_every_table(database: Path) -> None:
    with duckdb.connect(str(database)) as connection:
        assert check_indexes(connection, probe_constraints=True) == []
        assert try_columns(connection, [], lambda stage: None) == []
        assert written_bytes(connection, 0, LoggedRows(), 10_000_000) is not None


def test_a_backup_of_tables_is_restored(
    database: Path, tmp_path: Path, make_settings: Callable[..., Any]
) -> None:
    wanted = [f"{schema}.parent" for schema in SCHEMAS[:-2]]
    export_tables(database, wanted, tmp_path, make_settings())
    (tmp_path / "restored").mkdir()
    restored = tmp_path / "restored" / "mine.db"
    import_tables(tmp_path, restored, storage_version="v1.5.0")
    assert facts(restored) == [each for each in facts(database) if each[0] in wanted]
    with pytest.raises(DatabaseFailedError, match="schema temp cannot be exported"):
        export_tables(database, ["temp.parent"], tmp_path, make_settings())
