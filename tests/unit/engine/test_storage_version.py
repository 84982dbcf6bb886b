"""Every file that the service makes can be opened by the engine before; copies keep their version."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.backup.restore import restore_backup
from chronoduck.backup.take import take_backup
from chronoduck.engine.compaction import compact_file
from chronoduck.engine.query_log import QueryLogStore
from chronoduck.engine.storage_version import file_storage_version
from chronoduck.errors import SettingsError
from chronoduck.replication.opening import open_archive
from chronoduck.replication.recovery import restore_database
from chronoduck.settings import BackupSettings, ReplicaSettings, Settings, load_settings
from tests.engines import NEWER, OLDER, REPOSITORY, run_in

OPEN_AND_WRITE = """
import duckdb, json, sys
with duckdb.connect(sys.argv[1]) as connection:
    tables = connection.execute(
        "SELECT schema_name, table_name FROM duckdb_tables() WHERE NOT internal ORDER BY ALL"
    ).fetchall()
    counts = [connection.execute(f'SELECT count(*) FROM "{s}"."{t}"').fetchone()[0] for s, t in tables]
    connection.execute("CREATE TABLE made_by_the_other_engine AS SELECT 1 AS a")
    connection.execute("CHECKPOINT")
print(json.dumps([duckdb.__version__, counts]))
"""
ROWS = "CREATE TABLE t AS SELECT range AS a, 'x' || range % 100 AS b FROM range(200000)"


def make_old(path: Path, version: str) -> None:
    with duckdb.connect(str(path), config={"storage_compatibility_version": version}) as made:
        made.execute(ROWS)
    path.chmod(0o640)


async def test_the_older_engine_opens_everything_that_the_service_makes(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = make_settings(
        replica=ReplicaSettings(url=str(tmp_path / "replica"), interval=0.02),
        backup=BackupSettings(dir=tmp_path / "backups"),
    )
    made = {"the database": settings.database_path, "the query log": settings.query_log_path}
    async with DuckDBService(settings) as service:
        await service.execute_query(ROWS)
        parts = await service.parts()
        await parts.jobs.wait(await parts.compaction.begin())
        await service.execute_query("INSERT INTO t VALUES (-1, 'after')")
        for name, tables in (("backup", ()), ("tables", ("t",))):
            backup = take_backup(settings, tables, lambda step, done, total: None)
            made[name] = tmp_path / f"{name}.db"
            restore_backup(backup.path, made[name], settings.backup)
    made["a restored point"] = tmp_path / "restored.db"
    restore_database(open_archive(settings), made["a restored point"], verify="quick")
    for name, path in made.items():
        assert file_storage_version(path) == "v1.5.0", name
        engine, counts = run_in(OLDER, OPEN_AND_WRITE, path)
        assert engine == OLDER
        assert max(counts) >= 200_001 or name == "the query log", name


@pytest.mark.parametrize("version", ["v1.0.0", "v1.2.0"])
async def test_nothing_raises_the_version_of_an_older_file(
    make_settings: Callable[..., Settings], tmp_path: Path, version: str
) -> None:
    settings = make_settings(backup=BackupSettings(dir=tmp_path / "backups"))
    settings.database_path.parent.mkdir(parents=True, exist_ok=True)
    make_old(settings.database_path, version)
    settings.query_log_path.parent.mkdir()
    make_old(settings.query_log_path, version)
    async with DuckDBService(settings) as service:
        await service.execute_query("INSERT INTO t VALUES (-1, 'x')")
        await service.execute_query("CHECKPOINT")
        parts = await service.parts()
        await parts.jobs.wait(await parts.compaction.begin())
        for number, tables in enumerate(((), ("t",))):
            backup = take_backup(settings, tables, lambda step, done, total: None)
            assert backup.manifest is not None
            assert backup.manifest.storage_version == version
            restored = tmp_path / f"{number}.db"
            restore_backup(backup.path, restored, settings.backup, storage_version="v1.5.0")
            assert file_storage_version(restored) == version
    assert file_storage_version(settings.database_path) == version
    assert file_storage_version(settings.query_log_path) == version


async def test_compaction_takes_the_version_that_is_named(
    make_settings: Callable[..., Settings],
) -> None:
    settings = make_settings(storage_version="v1.4.0")
    settings.database_path.parent.mkdir(parents=True, exist_ok=True)
    make_old(settings.database_path, "v1.0.0")
    async with DuckDBService(settings) as service:
        parts = await service.parts()
        await parts.jobs.wait(await parts.compaction.begin())
    assert file_storage_version(settings.database_path) == "v1.4.0"


def test_a_file_of_the_newest_version_becomes_readable_by_compacting(tmp_path: Path) -> None:
    source, target = tmp_path / "source.db", tmp_path / "target.db"
    make_old(source, "latest")
    assert compact_file(source, target, storage_version="v1.2.0") == 200_000
    assert file_storage_version(target) == "v1.2.0"


def test_tables_are_restored_where_their_version_is_unknown(
    make_settings: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings(backup=BackupSettings(dir=tmp_path / "backups"))
    settings.database_path.parent.mkdir(parents=True, exist_ok=True)
    make_old(settings.database_path, "v1.2.0")
    backup = take_backup(settings, ("t",), lambda step, done, total: None)
    manifest = backup.path / "manifest.json"
    text = manifest.read_text()
    assert '"v1.2.0"' in text
    manifest.write_text(text.replace('"v1.2.0"', '"v9.9.9"'))
    restore_backup(backup.path, tmp_path / "a.db", settings.backup, storage_version="v1.4.0")
    assert file_storage_version(tmp_path / "a.db") == "v1.4.0"


@pytest.mark.parametrize("value", ["v9.9.9", "v1.5.99"])
def test_a_version_that_the_engine_does_not_know_is_refused(
    make_settings: Callable[..., Settings], value: str
) -> None:
    from chronoduck.engine.database import DuckDBInstance

    with pytest.raises(SettingsError, match="DUCKDB_STORAGE_VERSION") as caught:
        DuckDBInstance(make_settings(storage_version=value)).open()
    assert value in caught.value.detail


@pytest.mark.parametrize("value", ["latest", "1.5.0", "v1.5", "v1.5.0; ATTACH", "v"])
def test_a_version_is_written_as_a_version(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUCKDB_STORAGE_VERSION", value)
    with pytest.raises(SettingsError, match="DUCKDB_STORAGE_VERSION"):
        load_settings()


def test_the_default_can_be_opened_by_the_engine_before() -> None:
    assert load_settings().storage_version == "v1.5.0"
    assert NEWER.startswith("2.")
    assert OLDER.startswith("1.5.")


def _connects() -> Iterator[tuple[str, ast.Call]]:
    for path in sorted((REPOSITORY / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "connect"
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "duckdb"
            ):
                yield str(path.relative_to(REPOSITORY)), node


OPENS_EXISTING_FILES = {
    "src/chronoduck/engine/replay_check.py",  # a copy of the file and its WAL
    "src/chronoduck/engine/inspection.py",
    "src/chronoduck/engine/offline_child.py",  # a copy of the file and its WAL
    "src/chronoduck/engine/table_export.py",  # its other one makes a file, and names the version
}


def test_whoever_may_make_a_file_names_its_version() -> None:
    found = list(_connects())
    assert len(found) > 8
    for path, call in found:
        first = call.args[0] if call.args else None
        text = ast.unparse(call)
        is_memory = first is None or (isinstance(first, ast.Constant) and first.value == ":memory:")
        is_reader = "read_only=True" in text
        names_it = "new_file_config(" in text
        assert is_memory or is_reader or names_it or path in OPENS_EXISTING_FILES, f"{path}: {text}"
    named = {path for path, call in found if "new_file_config(" in ast.unparse(call)}
    assert named >= {
        "src/chronoduck/engine/compaction.py",
        "src/chronoduck/engine/database.py",
        "src/chronoduck/engine/query_log.py",
        "src/chronoduck/engine/table_export.py",
    }


def test_no_statement_names_a_storage_version() -> None:
    """ATTACH with STORAGE_VERSION raises the version of a file that exists, without a word."""
    for path in (REPOSITORY / "src").rglob("*.py"):
        if path.name == "rescue_copy.py":  # its file is new, and gets the version of its source
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert "(STORAGE_VERSION" not in node.value.upper().replace(" ", "") or (
                    node.value.strip().startswith("Storage versions:")
                ), path


def test_an_attach_with_a_version_would_raise_it(tmp_path: Path) -> None:
    """The reason for the test before; if DuckDB mends this, both can go."""
    make_old(tmp_path / "a.db", "v1.0.0")
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{tmp_path / 'a.db'}' AS a (STORAGE_VERSION 'v1.5.0')")
        connection.execute("INSERT INTO a.t VALUES (-1, 'x')")
        connection.execute("CHECKPOINT a")
    assert file_storage_version(tmp_path / "a.db") == "v1.5.0"


def test_the_query_log_in_memory_knows_its_version(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    store = QueryLogStore(blocked / "log.duckdb", 10, 1, storage_version="v1.5.0")
    store.open()
    assert store.is_open
    assert not store.is_persistent
    store.close()
