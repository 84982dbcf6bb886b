"""Behind the guard: what a statement reaches that no rule looked at, run by the engine as each role.

The walls of DuckDB itself stand between such a statement and the service's secrets. What they do not
give in one process is written down in docs/security.md: the engine reads its own database and WAL.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import duckdb
import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.engine.database import Connection, DuckDBInstance
from chronoduck.engine.encoding import EncodingOptions, ResultFormat
from chronoduck.engine.query_log import QueryLogStore
from chronoduck.errors import SettingsError
from chronoduck.principals import Role
from chronoduck.service.result_encoding import ResultRequest
from chronoduck.settings import AuditSettings, BackupSettings, ReplicaSettings, Settings
from tests.patience import PATIENCE_SECONDS
from tests.security.roles import caller_of
from tests.security.stage import Canary

WORDS = "hunter2-of-the-service"
IS_VERSION_1 = duckdb.__version__.startswith("1.")
BEGINS = {
    Role.ANALYST: "BEGIN TRANSACTION READ ONLY",
    Role.WRITER: "BEGIN TRANSACTION",
    Role.ADMIN: "",
}
READS = (
    "SELECT content FROM read_text('{0}')",
    "SELECT content FROM read_blob('{0}')",
    "SELECT * FROM read_csv('{0}', header = false, sep = '\\x01')",
    "SELECT * FROM read_json('{0}', format = 'unstructured')",
    "FROM '{0}'",
    "SELECT content FROM read_text('file://{0}')",
    "SELECT content FROM read_text('{spool}/../../../..{0}')",
    "SELECT content FROM read_text('{spool}/../../{relative}')",
    "SELECT error((SELECT content FROM read_text('{0}')))",
    "EXPLAIN ANALYZE SELECT content FROM read_text('{0}')",
    "COPY users FROM '{0}'",
    "ATTACH '{0}' AS stolen",
)
LISTS = ("SELECT * FROM glob('{0}/*')", "SELECT filename FROM read_blob('{0}/*')")
WRITES = (
    "COPY (SELECT 'gone' AS x) TO '{0}' (FORMAT csv, USE_TMP_FILE false)",
    "COPY (SELECT 'gone' AS x) TO '{0}' (FORMAT parquet)",
    "EXPLAIN ANALYZE COPY (SELECT 'gone' AS x) TO '{0}' (FORMAT csv, USE_TMP_FILE false)",
    "ATTACH '{0}' AS stolen",
    "EXPORT DATABASE '{0}'",
)
SETTINGS = (
    "SET enable_external_access = true",
    "SET allowed_directories = ['/']",
    "SET lock_configuration = false",
    "SET temp_file_encryption = false",
    "SET temp_directory = '/tmp'",
    "SET memory_limit = '1TB'",
    "SET python_enable_replacements = true",
    "SET secret_directory = '/tmp'",
    "INSTALL httpfs",
    "LOAD '/tmp/x.duckdb_extension'",
)
SOCKETS = (
    "FROM read_csv('http://127.0.0.1:{port}/x.csv')",
    "FROM read_text('http://127.0.0.1:{port}/x.txt')",
    "COPY (SELECT 1) TO 'http://127.0.0.1:{port}/x.csv'",
    "ATTACH 'http://127.0.0.1:{port}/x.db' AS far",
    "FROM postgres_scan('host=127.0.0.1 port={port}', 'public', 't')",
    "INSTALL httpfs FROM 'http://127.0.0.1:{port}'",
)
LOCKED_BY_VERSION_2 = (
    "SELECT * FROM enable_logging()",
    "CALL enable_logging('QueryLog')",
    "CALL disable_logging()",
    "PRAGMA disable_checkpoint_on_shutdown",
    "PRAGMA force_checkpoint",
    "PRAGMA disable_optimizer",
)
OF_OTHERS = (
    "FROM mine",
    "FROM temp.mine",
    "SELECT getvariable('mine')",
    "EXECUTE mine",
    "FROM duckdb_variables()",
    "FROM duckdb_prepared_statements()",
    "FROM duckdb_logs",
    "SELECT sql FROM duckdb_tables() WHERE temporary",
    "SELECT name FROM users WHERE id = 9",
    "SELECT stats FROM pragma_storage_info('users')",
)


@pytest.fixture
def canary() -> Iterator[Canary]:
    opened = Canary()
    yield opened
    opened.close()


@pytest.fixture
def settings(tmp_path: Path, make_settings: Callable[..., Settings]) -> Settings:
    path = tmp_path / "data" / "test.db"
    path.parent.mkdir()
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, name VARCHAR)")
        connection.execute("INSERT INTO users VALUES (1, 'Ada'), (2, 'Grace')")
    path.chmod(0o600)
    return make_settings(database_path=path, memory_limit="64MB")


@pytest.fixture
async def service(settings: Settings) -> AsyncIterator[DuckDBService]:
    async with DuckDBService(settings) as opened:
        yield opened


@pytest.fixture
def instance(settings: Settings) -> Iterator[DuckDBInstance]:
    """Return the engine alone: nothing of the service stands before it."""
    opened = DuckDBInstance(settings)
    opened.open()
    yield opened
    opened.close()


def run(connect: Callable[[], Connection], role: Role, sql: str) -> str:
    """Run a statement as the session of a role would, with no guard before it; return what it told."""
    connection = connect()
    try:
        if BEGINS[role]:
            connection.execute(BEGINS[role])
        told = repr(connection.execute(sql).fetchall())
        if BEGINS[role]:
            connection.execute("COMMIT")
    except duckdb.Error as error:
        return f"refused: {error}"
    finally:
        connection.close()
    return told


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def open_query_log(settings: Settings) -> QueryLogStore:
    """Return the query log, open in its file."""
    log = QueryLogStore(settings.query_log_path, 1_000, 1, storage_version="v1.5.0")
    log.open()
    assert log.is_persistent
    return log


def make_secrets(settings: Settings, words: str) -> list[Path]:
    """Make the files of a service that has run for a while, each with the words in it.

    Keys of its own, and what it knows of others: their results, statements and use.
    """
    settings.jobs_path.mkdir(exist_ok=True)
    secrets = [
        settings.token_path,
        settings.keys_path,
        settings.jobs_path / "links.key",
        settings.jobs_path / "1234abcd.json",
        settings.jobs_path / "1234abcd.parquet",
        settings.database_path.with_name("tls.pem"),
        settings.audit_path,
        settings.usage_path,
        settings.query_log_path,
        settings.shadow_path / "copy.db",
    ]
    for path in secrets:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{words}\n")
    return secrets


def state_of(instance: DuckDBInstance) -> str:
    """Return the settings of the instance, and the databases and secrets that it knows."""
    return "".join(
        run(instance.cursor, Role.ADMIN, statement)
        for statement in (
            "SELECT list(name || value ORDER BY name)::VARCHAR FROM duckdb_settings()",
            "SELECT database_name, path FROM duckdb_databases() ORDER BY ALL",
            "SELECT name FROM duckdb_secrets() ORDER BY ALL",
        )
    )


@pytest.mark.parametrize("role", list(BEGINS))
def test_no_secret_is_read_or_changed(
    instance: DuckDBInstance, settings: Settings, role: Role
) -> None:
    secrets = make_secrets(settings, WORDS)
    before = {path: digest(path) for path in secrets}
    connect = instance.cursor
    for path in secrets:
        places = {"spool": instance.spool_directory, "relative": path.name}
        for statement in (*READS, *WRITES):
            told = run(connect, role, statement.format(path, **places))
            assert WORDS not in told, statement
        for statement in LISTS:
            told = run(connect, role, statement.format(path.parent))
            assert path.name not in told, (statement, told)
        new = path.with_name("planted.csv")
        for statement in WRITES:
            run(connect, role, statement.format(new))
            assert not new.exists(), statement
    assert {path: digest(path) for path in secrets} == before
    assert not settings.rescue_path.exists()


@pytest.mark.parametrize("role", list(BEGINS))
def test_nothing_of_the_service_changes_and_no_socket_is_opened(
    instance: DuckDBInstance, canary: Canary, role: Role
) -> None:
    connect = instance.cursor
    before = state_of(instance)
    for statement in (*SETTINGS, *(each.format(port=canary.port) for each in SOCKETS)):
        assert run(connect, role, statement).startswith("refused"), statement
    assert state_of(instance) == before
    assert instance.is_valid()
    assert canary.hits == 0


@pytest.mark.skipif(IS_VERSION_1, reason="the lock of DuckDB 1.5 does not hold these functions")
@pytest.mark.parametrize("role", list(BEGINS))
def test_functions_and_pragmas_change_no_locked_setting(
    instance: DuckDBInstance, role: Role
) -> None:
    before = state_of(instance)
    for statement in LOCKED_BY_VERSION_2:
        assert run(instance.cursor, role, statement).startswith("refused"), statement
    assert state_of(instance) == before


@pytest.mark.parametrize("role", list(BEGINS))
def test_what_another_connection_holds_is_not_read(instance: DuckDBInstance, role: Role) -> None:
    other = instance.cursor()
    other.execute(f"CREATE TEMP TABLE mine AS SELECT '{WORDS}' AS words")
    other.execute(f"SET VARIABLE mine = '{WORDS}'")
    other.execute(f"PREPARE mine AS SELECT '{WORDS}'")
    other.execute("BEGIN")
    other.execute(f"INSERT INTO users VALUES (9, '{WORDS}')")
    for statement in OF_OTHERS:
        assert WORDS not in run(instance.cursor, role, statement), statement
    other.execute("ROLLBACK")
    assert other.execute("FROM mine").fetchall() == [(WORDS,)]
    other.close()


def test_the_query_logs_own_instance_reaches_nothing_else(
    instance: DuckDBInstance, settings: Settings, canary: Canary
) -> None:
    """Statements of admins run on it."""
    log = open_query_log(settings)
    secrets = make_secrets(settings, WORDS)
    secrets.remove(settings.query_log_path)
    before = {path: digest(path) for path in secrets}
    instance.cursor().execute(f"INSERT INTO users VALUES (9, '{WORDS}')")
    for path in (*secrets, settings.database_path, Path(f"{settings.database_path}.wal")):
        places = {"spool": instance.spool_directory, "relative": path.name}
        for statement in (*READS, *WRITES):
            told = run(log.cursor, Role.ADMIN, statement.format(path, **places))
            assert WORDS not in told, statement
        for statement in LISTS:
            assert path.name not in run(log.cursor, Role.ADMIN, statement.format(path.parent))
    for statement in (*SETTINGS, *(each.format(port=canary.port) for each in SOCKETS)):
        assert run(log.cursor, Role.ADMIN, statement).startswith("refused"), statement
    assert {path: digest(path) for path in secrets} == before
    assert instance.cursor().execute("SELECT count(*) FROM users").fetchall() == [(3,)]
    assert canary.hits == 0
    log.close()


@pytest.mark.skipif(IS_VERSION_1, reason="DuckDB 1.5 lets COPY write over its own database file")
@pytest.mark.parametrize("role", list(BEGINS))
def test_the_database_is_not_overwritten(
    instance: DuckDBInstance, settings: Settings, role: Role
) -> None:
    connect = instance.cursor
    connect().execute("INSERT INTO users VALUES (3, 'Mary')")
    path = settings.database_path
    for target in (path, f"{path}.wal", f"{path.parent}/../{path.parent.name}/{path.name}"):
        for statement in WRITES:
            run(connect, role, statement.format(target))
    connect().execute("CHECKPOINT")
    rows = connect().execute("SELECT name FROM users ORDER BY id").fetchall()
    assert rows == [("Ada",), ("Grace",), ("Mary",)]


async def test_results_of_jobs_are_read_by_their_owner_and_by_no_statement(
    service: DuckDBService, settings: Settings
) -> None:
    parts = await service.parts()
    caller = caller_of(Role.ANALYST)
    options = EncodingOptions()
    job = await parts.statement_jobs.start(
        f"SELECT '{WORDS}' AS w, 17::HUGEINT AS h, {{'a': [1]}} AS s",
        None,
        options,
        max_rows=None,
        timeout=None,
        caller=caller,
    )
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not job.has_ended:
            await asyncio.sleep(0.05)
    connect = parts.instance.cursor
    path = settings.jobs_path / f"{job.id}.parquet"
    assert path.exists()
    for role in BEGINS:
        for reader in ("read_parquet", "read_blob", "parquet_metadata"):
            assert WORDS not in run(connect, role, f"SELECT * FROM {reader}('{path}')")
        assert job.id not in run(connect, role, f"SELECT * FROM glob('{settings.jobs_path}/*')")
    request = ResultRequest("", None, ResultFormat.JSON, options)
    result = await parts.statement_jobs.read(job, request, 0, None, caller)
    assert WORDS in result.body.decode()


def spilled(sorting: Connection, directory: Path) -> bytes:
    """Sort more rows than fit into memory; return what the spill files then hold."""
    rows = f"SELECT i, '{WORDS}-' || i || repeat('x', 100) AS s FROM range(1600000) t(i)"
    sorting.execute(f"SELECT * FROM ({rows}) ORDER BY hash(s), s")
    held = b"".join(path.read_bytes() for path in directory.glob("*") if path.is_file())
    assert len(held) > 1_000_000
    assert sorting.fetchone() is not None
    sorting.close()
    return held


def test_spill_files_hold_nothing_that_can_be_read(instance: DuckDBInstance) -> None:
    assert instance.temp_directory is not None
    assert WORDS.encode() not in spilled(instance.cursor(), instance.temp_directory)


def test_neither_do_those_of_the_query_log(settings: Settings) -> None:
    log = open_query_log(settings)
    directory = Path(f"{settings.query_log_path}.tmp")
    assert WORDS.encode() not in spilled(log.cursor(), directory)
    log.close()


@pytest.mark.parametrize(
    "name",
    ["jobs", "jobs/below", ".", "linked", "query_log", "audit_directory", "backups", "replica"],
)
def test_no_allowed_directory_holds_anything_of_the_service(
    tmp_path: Path, make_settings: Callable[..., Settings], name: str
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (tmp_path / "elsewhere").symlink_to(data)
    places = {
        "jobs": data / "x.jobs",
        "jobs/below": data / "x.jobs" / "below",
        ".": data,
        "linked": tmp_path / "elsewhere",
        "query_log": data / "x.query_log",
        "audit_directory": tmp_path / "audit",
        "backups": tmp_path / "backups" / "below",
        "replica": tmp_path / "replica" / "below",
    }
    settings = make_settings(
        database_path=data / "x.db",
        allowed_directories=(str(places[name]),),
        audit=AuditSettings(file=tmp_path / "audit" / "trail.jsonl"),
        backup=BackupSettings(dir=tmp_path / "backups"),
        replica=ReplicaSettings(url=f"file://{tmp_path / 'replica'}"),
    )
    with pytest.raises(SettingsError, match="DUCKDB_ALLOWED_DIRECTORIES"):
        DuckDBInstance(settings).check_settings()
