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
from chronoduck.errors import SettingsError
from chronoduck.principals import Role
from chronoduck.service.result_encoding import ResultRequest
from chronoduck.settings import AuditSettings, Settings
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
    return make_settings(database_path=path, memory_limit="60MB")


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


def make_secrets(settings: Settings, words: str) -> list[Path]:
    """Make the files of a service that has run for a while, each with the words in it."""
    settings.jobs_path.mkdir(exist_ok=True)
    secrets = [
        settings.token_path,
        settings.keys_path,
        settings.jobs_path / "links.key",
        settings.jobs_path / "1234abcd.json",
        settings.database_path.with_name("tls.pem"),
    ]
    for path in secrets:
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{words}\n")
    return secrets


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
    looked = "SELECT list(name || value ORDER BY name)::VARCHAR FROM duckdb_settings()"
    before = run(connect, Role.ADMIN, looked)
    for statement in (*SETTINGS, *(each.format(port=canary.port) for each in SOCKETS)):
        assert run(connect, role, statement).startswith("refused"), statement
    assert run(connect, Role.ADMIN, looked) == before
    assert instance.is_valid()
    assert canary.hits == 0


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


def test_spill_files_hold_nothing_that_can_be_read(instance: DuckDBInstance) -> None:
    assert instance.temp_directory is not None
    marker = "PIN-4711-of-alice"
    sorting = instance.cursor()
    rows = f"SELECT i, '{marker}-' || i || repeat('x', 100) AS s FROM range(400000) t(i)"
    sorting.execute(f"SELECT * FROM ({rows}) ORDER BY hash(s), s")
    spilled = [path for path in instance.temp_directory.glob("*") if path.is_file()]
    held = b"".join(path.read_bytes() for path in spilled)
    assert len(held) > 1_000_000
    assert marker.encode() not in held
    assert sorting.fetchone() is not None
    sorting.close()


@pytest.mark.parametrize(
    "name", ["jobs", "jobs/below", ".", "linked", "query_log", "audit_directory"]
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
    }
    settings = make_settings(
        database_path=data / "x.db",
        allowed_directories=(str(places[name]),),
        audit=AuditSettings(file=tmp_path / "audit" / "trail.jsonl"),
    )
    with pytest.raises(SettingsError, match="DUCKDB_ALLOWED_DIRECTORIES"):
        DuckDBInstance(settings).check_settings()
