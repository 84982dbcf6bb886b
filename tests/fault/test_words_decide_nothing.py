"""Words that a user writes close nothing, heal nothing, open no breaker and blame no disk."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.errors import (
    BatchError,
    DatabaseFailedError,
    DuckDBException,
    DuckDBQueryError,
    DuckDBResourceError,
)
from chronoduck.principals import Principal, Role, Scope, TableGrant
from chronoduck.service.records import Caller
from chronoduck.settings import ExportSettings, Settings
from chronoduck.sql.error_facts import read_facts
from chronoduck.transfer.detect import FileFormat
from tests.export.running import run_export

WORDS = (
    "FATAL",
    "FATAL Error: the database has been invalidated because of a previous fatal error",
    "IO Error: Could not read from file",
    "Could not fsync file: Input/output error",
    "No space left on device",
    "File too large, Disk quota exceeded, max_temp_directory_size",
    "Out of Memory Error: failed to allocate",
    "INTERNAL Error: Attempted to access index 7 within vector of size 3",
    "Serialization: computed checksum 1 does not match stored checksum 2 in block at location 12288",
    "TransactionContext Error: Failed to commit: Could not write file: No space left on device",
    "Connection Error: Connection already closed!",
    "Could not set lock on file: Conflicting lock is held in python (PID 1)",
    "HTTP GET error on 's3://bucket' (HTTP 501 Not Implemented)",
    '{"exception_type":"FATAL","exception_message":"x"}',
    '{"exception_type":"IO","exception_message":"x","errno":"28"}',
    '{"exception_type":"INTERNAL","exception_message":"x"}',
    '{"exception_type":"Out of Memory","exception_message":"max_temp_directory_size"}',
    '{"exception_type":"Connection","exception_message":"x"}',
    '{"exception_type":"Invalid Input","exception_message":"FATAL","position":"-7","errno":"5"}',
    '{"exception_type":"Invalid Input","exception_message":"x","position":"999999999999999999"}',
    'IO Error: {"exception_type":"IO","exception_message":"No space left on device","errno":"28"}',
    "Stack Trace:\n\n[0x7f0c88b967eb] FATAL Error: ",
)


def quoted(word: str) -> str:
    return "'" + word.replace("'", "''") + "'"


def named(word: str) -> str:
    return '"' + word.replace('"', '""') + '"'


STATEMENTS: tuple[Callable[[str], str], ...] = (
    lambda w: f"SELECT error({quoted(w)})",
    lambda w: f"SELECT id, CASE WHEN id > 20000 THEN error({quoted(w)}) END FROM s03",
    lambda w: f"SELECT id, CASE WHEN id > 20000 THEN ({quoted(w)} || id)::INTEGER END FROM s03",
    lambda w: f"SELECT {quoted(w)}::INTEGER",
    lambda w: f"SELECT {named(w)} FROM s03",
    lambda w: f"FROM {named(w)}",
    lambda w: f"SELECT 1 FROM s03 WHERE regexp_matches(id::VARCHAR, {quoted(w + '(')})",
    lambda w: f"SELECT strptime({quoted(w)}, '%Y')",
    lambda w: f"INSERT INTO s03 SELECT error({quoted(w)})::INTEGER",
    lambda w: f"INSERT INTO checked VALUES ({quoted(w)})",
    lambda w: f"INSERT INTO keyed VALUES ({quoted(w)}), ({quoted(w)})",
    lambda w: f"UPDATE s03 SET id = ({quoted(w)} || id)::INTEGER",
    lambda w: f"CREATE TABLE made AS SELECT error({quoted(w)}) FROM s03",
    lambda w: f"CREATE TABLE made (a INTEGER DEFAULT nosuch({quoted(w)}))",
    lambda w: f"ALTER TABLE s03 DROP COLUMN {named(w)}",
    lambda w: f"EXPLAIN ANALYZE SELECT error({quoted(w)}) FROM s03",
    lambda w: f"SELECT {quoted(w)}::labels",
)


@pytest.fixture
async def service(settings: Settings) -> AsyncIterator[DuckDBService]:
    async with DuckDBService(settings) as opened:
        for statement in (
            "CREATE TABLE s03 AS SELECT range::INTEGER AS id FROM range(30000)",
            "CREATE TABLE checked (t VARCHAR CHECK (length(t) < 3))",
            "CREATE TABLE keyed (t VARCHAR PRIMARY KEY)",
            "CREATE TYPE labels AS ENUM ('a', 'b')",
        ):
            await opened.execute_query(statement)
        yield opened
        health = await opened.health_check()
        assert health["healing"]["count"] == 0
        assert health["circuit_breaker"]["state"] == "closed"
        assert health["circuit_breaker"]["metrics"]["failed_requests"] == 0
        assert health["status"] == "healthy"
        parts = await opened.parts()
        assert not parts.instance.damage.found
        assert parts.instance.generation == 1
        assert (await opened.execute_query("SELECT count(*) FROM s03")).data == [(30000,)]


def assert_users_fault(error: BaseException, sql: str) -> None:
    cause = error.cause if isinstance(error, BatchError) else error
    assert isinstance(cause, DuckDBQueryError), (sql, error)
    assert 400 <= cause.http_status < 500, (sql, error)
    assert cause.category not in ("fatal", "io", "internal", "out_of_memory", "connection"), sql


async def drained(service: DuckDBService, sql: str) -> None:
    async for _ in service.stream(sql):
        pass


async def test_in_statements_and_streams(service: DuckDBService) -> None:
    for word in WORDS:
        for make in STATEMENTS:
            sql = make(word)
            with pytest.raises(DuckDBException) as caught:
                await service.execute_query(sql)
            assert_users_fault(caught.value, sql)
            if sql.startswith(("SELECT", "FROM")):
                with pytest.raises(DuckDBException) as caught:
                    await drained(service, sql)
                assert_users_fault(caught.value, sql)


async def test_in_batches_and_transactions(service: DuckDBService) -> None:
    for word in WORDS:
        sql = f"SELECT error({quoted(word)})"
        for is_whole in (True, False):
            with pytest.raises(BatchError) as caught:
                await service.execute_batch(["SELECT 1", sql], use_transaction=is_whole)
            assert_users_fault(caught.value, sql)
        with pytest.raises(DuckDBException) as raised:
            async with service.transaction() as tx:
                await tx.execute("INSERT INTO checked VALUES ('a')")
                await tx.execute(sql)
        assert_users_fault(raised.value, sql)


async def test_in_the_key_of_a_commit_that_lost(service: DuckDBService) -> None:
    """DuckDB tells it as ``Failed to commit: ...``, as it does of a disk that is full."""
    for word in WORDS:
        insert = f"INSERT INTO keyed VALUES ({quoted(word)})"
        with pytest.raises(DuckDBException) as caught:
            async with service.transaction() as first:
                await first.execute(insert)
                await service.execute_query(insert)
        assert_users_fault(caught.value, insert)
        assert caught.value.http_status in (400, 409)


FILTERS: tuple[Callable[[str], str], ...] = (
    lambda w: f"({quoted(w)} || id)::INTEGER > 0",
    lambda w: f"id < 5 OR ({quoted(w)} || id)::INTEGER > 0",
    lambda w: f"regexp_matches(id::VARCHAR, {quoted(w + '(')})",
    lambda w: f"strptime({quoted(w)} || id, '%Y') > TIMESTAMP '2000-01-01'",
    lambda w: f"{named(w)} = 1",
    lambda w: f"({quoted(w)} || id)::DATE > '2000-01-01'",
)


async def test_in_the_row_filter_of_a_key(service: DuckDBService) -> None:
    """A filter that fails for a row may hide it instead; what is an error is the statement's own."""
    failed = 0
    await service.execute_query("CREATE TABLE few AS SELECT range::INTEGER AS id FROM range(10)")
    for number, word in enumerate(WORDS):
        text = FILTERS[number % len(FILTERS)](word)
        scope = Scope((TableGrant("few", row_filter=text),))
        caller = Caller("k", principal=Principal("k", Role.ANALYST, f"key:{number}", scope))
        try:
            await service.execute_query("SELECT sum(id) FROM few", caller=caller)
        except DuckDBException as error:
            failed += 1
            assert 400 <= error.http_status < 500 or error.code == "row_filter_invalid", (
                text,
                error,
            )
            assert not isinstance(error, DatabaseFailedError | DuckDBResourceError), (text, error)
    assert failed >= len(WORDS) // len(FILTERS)  # names of columns, at least


async def test_in_exports_that_a_file_declares(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    """What an operator declared fails as a user's statement does, and is no failure of the engine."""
    file = tmp_path / "export.toml"
    queries = [f"SELECT error({quoted(word)}) AS x FROM range(3)" for word in WORDS]
    declared = [f"[files.w{n}]\nquery = {json.dumps(sql)}\n" for n, sql in enumerate(queries)]
    file.write_text("\n".join(declared))
    export = ExportSettings(url=str(tmp_path / "out"), file=file)
    async with DuckDBService(make_settings(export=export)) as service:
        for number in range(len(WORDS)):
            error = await run_export(service, f"w{number}", expect="failed")
            assert error["code"] == "export_write", error
            assert 400 <= error["status"] < 500, error
            assert not error["retryable"], error
        health = await service.health_check()
        assert health["healing"]["count"] == 0
        assert health["circuit_breaker"]["metrics"]["failed_requests"] == 0


async def test_the_query_log_has_the_type_that_duckdb_gave(service: DuckDBService) -> None:
    for word in WORDS:
        for make in STATEMENTS[:3]:
            with pytest.raises(DuckDBException):
                await drained(service, make(word))
    await service._statistics.flush()
    log = "SELECT DISTINCT error_type FROM chronoduck.query_log WHERE outcome = 'user_error'"
    told = (await service.execute_query(log)).data
    assert {kind for (kind,) in told} <= {"invalid_input", "binder", "conversion"}, told


async def test_in_a_file_that_is_loaded(service: DuckDBService) -> None:
    parts = await service.parts()
    await service.execute_query("CREATE TABLE numbers (n INTEGER)")
    for word in WORDS:
        row = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        for body, kind in (
            (f'{{"n": "{row}"}}', FileFormat.NDJSON),
            ('n\n"' + word.replace('"', '""').replace("\n", " ") + '"\n', FileFormat.CSV),
        ):
            source = io.BytesIO(body.encode())
            with pytest.raises(DuckDBException) as caught:
                async for _ in parts.loader.load(
                    source, name=word[:40], table="numbers", file_format=kind
                ):
                    pass
            assert caught.value.http_status == 422, (word, caught.value)


def test_a_position_that_a_user_wrote_is_read_as_a_number_or_not_at_all() -> None:
    for text in ("-1", "\uff11", "9" * 40, "x", ""):
        json = f'{{"exception_type":"IO","exception_message":"m","position":"{text}"}}'
        assert read_facts(OSError(json)).position is None
