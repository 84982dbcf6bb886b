"""What the engine before cannot read is named, and nothing that it can."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.cli.engine_checks import check_downgrade, check_engine
from chronoduck.cli.findings import Severity
from chronoduck.engine.database import DuckDBInstance
from chronoduck.engine.downgrade import (
    NEWER_FUNCTIONS,
    is_readable_by_older,
    newer_entries,
    read_catalog_texts,
)
from chronoduck.engine.known_bugs import durability_bugs
from chronoduck.engine.storage_version import file_storage_version
from chronoduck.engine.version_note import is_of_another_engine
from chronoduck.errors import DatabaseFormatError
from chronoduck.settings import Settings
from tests.damaged_wal import crash
from tests.engines import NEWER, OLDER, run_in

NAMES = """
import duckdb, json
with duckdb.connect() as connection:
    rows = connection.execute(
        "SELECT DISTINCT lower(function_name) FROM duckdb_functions() WHERE function_type <> 'pragma'"
    ).fetchall()
print(json.dumps([name for (name,) in rows]))
"""
MAKE = """
import duckdb, json, sys
kept = []
for number, statement in enumerate(json.loads(sys.argv[2])):
    path = f"{sys.argv[1]}/{number}.db"
    with duckdb.connect(path, config={"storage_compatibility_version": "v1.5.0"}) as connection:
        connection.execute("CREATE TABLE t (a INTEGER)")
        connection.execute(statement)
"""
USE = """
import duckdb, json, sys
failed = {}
for number in range(int(sys.argv[2])):
    try:
        with duckdb.connect(f"{sys.argv[1]}/{number}.db") as connection:
            connection.execute("INSERT INTO t BY NAME SELECT 1 AS a")
            for table, in connection.execute(
                "SELECT table_name FROM duckdb_tables() UNION ALL "
                "SELECT view_name FROM duckdb_views() WHERE NOT internal"
            ).fetchall():
                connection.execute(f'FROM "{table}"').fetchall()
            for macro, in connection.execute(
                "SELECT function_name FROM duckdb_functions() WHERE NOT internal"
            ).fetchall():
                connection.execute(f'SELECT "{macro}"(1)').fetchall()
    except duckdb.Error as error:
        failed[number] = str(error)
print(json.dumps(failed))
"""
ONLY_NEWER = {
    "CREATE VIEW v AS SELECT binom(a, 1) FROM t": "view main.v (function binom)",
    "CREATE VIEW v AS SELECT overlay('abc' PLACING 'x' FROM 2) AS b": "overlay",
    "CREATE OR REPLACE TABLE t (a INTEGER, b JSON DEFAULT (json_set('{}', '$.a', '1')))": "json_set",
    "CREATE OR REPLACE TABLE t (a INTEGER, b INTEGER DEFAULT (if(true, 1, 2)))": "table main.t",
    "CREATE OR REPLACE TABLE t (a INTEGER CHECK (binom(a, 1) > 0))": "table main.t",
    "CREATE OR REPLACE TABLE t (a INTEGER, b AS (binom(a, 1)))": "table main.t",
    "CREATE INDEX i ON t ((binom(a, 1)))": "index main.i",
    "CREATE MACRO m(a) AS binom(a, 1)": "macro main.m",
    "CREATE TABLE u (a TIMESTAMPTZ_NS)": "type timestamptz_ns: it cannot be opened",
    "CREATE TABLE u (a STRUCT(x TIMESTAMPTZ_NS)[])": "timestamptz_ns",
    "CREATE VIEW v AS SELECT '2020-01-01'::TIMESTAMPTZ_NS AS a": "view main.v",
    "CREATE MACRO m(a) AS a::TIMESTAMPTZ_NS": "macro main.m",
    "CREATE MACRO m(a TIMESTAMPTZ_NS) AS a": "macro main.m",
    "CREATE TYPE x AS TIMESTAMPTZ_NS": "type main.x",
}
UNDERSTOOD_BY_BOTH = (
    "CREATE VIEW v AS SELECT round_even(2.5, 0), fmod(5, 2), row_number() OVER () FROM t",
    "CREATE VIEW v AS SELECT 'binom(1, 2) timestamptz_ns' AS b, a AS overlay FROM t",
    "CREATE OR REPLACE TABLE t (a INTEGER, made TIMESTAMP DEFAULT now(), CHECK (a BETWEEN 0 AND 9))",
    "CREATE TABLE u (a TIMESTAMP_NS, b VARIANT, c GEOMETRY, d TIME_NS)",
    'CREATE TABLE "binom" (overlay INTEGER)',
    "CREATE MACRO m(a) AS a + 1",
    "CREATE INDEX i ON t ((a + 1))",
    "CREATE TYPE x AS ENUM ('a')",
)


def test_the_functions_that_only_the_newer_engine_has_are_these() -> None:
    older, newer = (set(run_in(engine, NAMES)) for engine in (OLDER, NEWER))
    families = ("read_", "parquet_", "__internal_", "icu_collate_", "collate_", "duckdb_")
    found = {n for n in newer - older if n.isidentifier() and not n.startswith(families)}
    assert found == NEWER_FUNCTIONS


@pytest.mark.skipif(duckdb.__version__ != NEWER, reason="the files are made by the newer engine")
def test_what_the_older_engine_does_not_understand_is_named(tmp_path: Path) -> None:
    statements = [*ONLY_NEWER, *UNDERSTOOD_BY_BOTH]
    run_in(NEWER, MAKE, tmp_path, json.dumps(statements))
    named = {}
    for number, statement in enumerate(statements):
        path = tmp_path / f"{number}.db"
        assert is_readable_by_older(path)
        if entries := newer_entries(read_catalog_texts(path)):
            named[number] = entries
            assert ONLY_NEWER[statement] in "; ".join(entries), statement
    failed = run_in(OLDER, USE, tmp_path, len(statements))
    assert {int(number) for number in failed} == named.keys() == set(range(len(ONLY_NEWER)))
    for number, entries in named.items():
        opens = "unrecognized enum value" not in failed[str(number)]
        assert opens == ("cannot be opened" not in "; ".join(entries)), failed[str(number)]


@pytest.mark.skipif(duckdb.__version__ != NEWER, reason="DuckDB 1.5 cannot write such a file")
def test_a_file_of_a_newer_storage_version_is_told_from_the_others(tmp_path: Path) -> None:
    for version, readable in (("v1.0.0", True), ("v1.5.0", True), ("v2.0.0", False)):
        path = tmp_path / f"{version}.db"
        config = {"storage_compatibility_version": version}
        with duckdb.connect(str(path), config=config) as connection:
            connection.execute("CREATE TABLE t (a INTEGER)")
        assert is_readable_by_older(path) == readable


async def test_the_doctor_says_it_beside_a_running_service_and_without_one(
    make_settings: Callable[..., Settings],
) -> None:
    settings = make_settings()
    assert list(check_downgrade(settings)) == []
    async with DuckDBService(settings) as service:
        await service.execute_query("CREATE TABLE t (a INTEGER)")
    (found,) = check_downgrade(settings)
    assert (found.id, found.severity) == ("downgrade", Severity.OK)
    if duckdb.__version__ == NEWER:
        async with DuckDBService(settings) as service:
            await service.execute_query("CREATE VIEW v AS SELECT binom(a, 1) FROM t")
        (found,) = check_downgrade(settings)
        assert found.severity is Severity.WARNING
        assert "view main.v (function binom)" in found.finding


def test_the_doctor_and_health_name_the_bugs_of_the_older_engine(settings: Settings) -> None:
    assert durability_bugs("2.0.1") == ()
    assert len(durability_bugs("1.5.5")) == 3
    (found,) = check_engine(settings)
    is_older = duckdb.__version__.startswith("1.")
    assert found.severity is (Severity.WARNING if is_older else Severity.OK)
    assert ("RENAME" in found.finding) == is_older
    (_, wrong) = check_engine(settings.model_copy(update={"storage_version": "v9.9.9"}))
    assert (wrong.id, wrong.severity) == ("storage-version", Severity.ERROR)


async def test_health_and_start_log_name_the_bugs_of_the_older_engine(
    service: DuckDBService,
) -> None:
    component = (await service.health_check())["components"]["engine"]
    assert component["status"] == "healthy"
    assert ("CHECKPOINT may never end" in component["reason"]) == bool(durability_bugs())


def test_a_wal_of_a_newer_engine_is_refused(settings: Settings) -> None:
    path = settings.database_path
    instance = DuckDBInstance(settings)
    instance.open()
    instance.cursor().execute("CREATE TABLE t (a INTEGER)").fetchall()
    assert path.with_name("test.db.engine").read_text() == f"{duckdb.__version__}\n"
    assert not is_of_another_engine(path)
    instance.close()
    path.with_name("test.db.engine").write_text("99.0.0\n")
    instance.open()  # it was stopped cleanly
    instance.close()
    assert not is_of_another_engine(path)
    path.with_name("test.db.engine").write_text("99.0.0\n")
    path.with_name("test.db.wal").write_bytes(b"something")
    with pytest.raises(DatabaseFormatError, match=r"99\.0\.0") as caught:
        instance.open()
    assert caught.value.hint.startswith("Start the service once with DuckDB 99.0.0")
    assert path.with_name("test.db.engine").read_text() == "99.0.0\n"
    assert path.with_name("test.db.wal").read_bytes() == b"something"


@pytest.mark.parametrize("note", ["", "nonsense", "1..x", "\x00"])
def test_a_note_that_says_nothing_is_no_obstacle(settings: Settings, note: str) -> None:
    settings.database_path.parent.mkdir(parents=True)
    settings.database_path.with_name("test.db.engine").write_text(note)
    instance = DuckDBInstance(settings)
    instance.open()
    instance.close()
    assert not is_of_another_engine(settings.database_path)


@pytest.mark.skipif(duckdb.__version__ < "2", reason="no options make DuckDB 1.5 replay it plainly")
@pytest.mark.parametrize("read", [read_catalog_texts, file_storage_version])
def test_nothing_is_downloaded_to_read_a_wal(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    # The replay asks for an extension that is built in; DuckDB would install it from its server first.
    database = tmp_path / "a.db"
    crash(
        database,
        [
            "CREATE TABLE t(made TIMESTAMP DEFAULT now(), s STRUCT(x INTEGER, y VARCHAR))",
            "CHECKPOINT",
            "ALTER TABLE t DROP COLUMN s.x",
        ],
    )
    assert read(database)
