"""What people really send: nothing of it is refused, and all of it runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import duckdb
import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.errors import DuckDBException, DuckDBQueryError, StatementRefusedError
from chronoduck.principals import Role
from chronoduck.settings import Settings
from chronoduck.transfer.schema import SCHEMA_STATEMENTS
from tests.security.corpus import CORPORA, benign, statements
from tests.security.roles import caller_of

# DuckDB 2.0 wants the keyword lambda instead of the arrow.
ARROWS = {
    "SELECT COLUMNS(c -> c LIKE 'a%') FROM people",
    "SELECT list_transform([1, 2, 3], x -> x + 1)",
}


@pytest.fixture
async def service(make_settings: Callable[..., Settings]) -> AsyncIterator[DuckDBService]:
    settings = make_settings()
    settings.database_path.parent.mkdir(parents=True)
    with duckdb.connect(str(settings.database_path)) as connection:
        for path in sorted((CORPORA / "schema").glob("*.sql")):
            connection.execute(path.read_text())
        for statement in SCHEMA_STATEMENTS:
            connection.execute(statement)
    settings.database_path.chmod(0o600)
    async with DuckDBService(settings) as opened:
        yield opened


async def failures(service: DuckDBService, role: Role, corpus: list[str]) -> list[tuple[str, str]]:
    failed = []
    for sql in corpus:
        try:
            await service.execute_query(sql, caller=caller_of(role))
        except DuckDBQueryError as error:
            rule = error.rule if isinstance(error, StatementRefusedError) else error.category
            failed.append((sql, f"{rule}: {error}"))
    return failed


@pytest.mark.parametrize("role", [Role.ANALYST, Role.ADMIN])
async def test_every_reader_runs_benign_queries(service: DuckDBService, role: Role) -> None:
    corpus = [sql for part in benign().values() for sql in part]
    assert len(corpus) >= 300
    failed = await failures(service, role, corpus)
    assert [item for item in failed if item[0] not in ARROWS or "lambda" not in item[1]] == []


async def test_the_pool_keeps_its_connections_over_readers_queries(
    service: DuckDBService,
) -> None:
    """A read-only transaction is ended with its result: the connection is as good as new."""
    for _ in range(20):
        await service.execute_query("SELECT count(*) FROM people", caller=caller_of(Role.ANALYST))
    assert service.connection_pool.connections_opened <= 2


async def test_a_writer_writes(service: DuckDBService) -> None:
    corpus = statements(CORPORA / "benign_writes" / "writers.sql")
    assert await failures(service, Role.WRITER, corpus) == []


async def test_an_admin_operates(service: DuckDBService) -> None:
    corpus = ["CHECKPOINT", "VACUUM", "VACUUM ANALYZE people", "ANALYZE", "TRUNCATE items"]
    assert await failures(service, Role.ADMIN, corpus) == []


async def test_a_viewer_runs_every_template(service: DuckDBService) -> None:
    library = await service.templates()
    runner = (await service.parts()).runner
    caller = caller_of(Role.VIEWER)
    for name in library.names():
        template = library.get(name)
        statement = await runner.parse(template.sql, caller, "template")
        assert statement.in_read_only_transaction
        with pytest.raises(StatementRefusedError) as caught:
            await runner.parse(template.sql, caller)
        assert caught.value.rule == "role"
        for role in (Role.ANALYST, Role.WRITER):
            await runner.parse(template.sql, caller_of(role))


async def test_a_batch_sees_what_it_defines(service: DuckDBService) -> None:
    results = await service.execute_batch(
        [
            "CREATE MACRO twice(x) AS x * 2",
            "CREATE VIEW twos AS SELECT twice(age) AS t FROM people",
            "SELECT max(t) FROM twos",
        ],
        caller=caller_of(Role.WRITER),
    )
    assert results[-1].data == [(82,)]


async def test_a_reader_batches_reads_only(service: DuckDBService) -> None:
    caller = caller_of(Role.ANALYST)
    for use_transaction in (True, False):
        results = await service.execute_batch(
            ["SELECT 1", "SELECT count(*) FROM people", "SELECT 3"], use_transaction, caller=caller
        )
        assert [result.data for result in results] == [[(1,)], [(4,)], [(3,)]]
    async with service.transaction(caller=caller) as tx:
        assert (await tx.execute("SELECT count(*) FROM people")).data == [(4,)]
        with pytest.raises(StatementRefusedError):
            await tx.execute("DELETE FROM people")


async def test_the_engine_itself_keeps_readers_from_writing(service: DuckDBService) -> None:
    """Were a write overlooked by every rule, the read-only transaction would refuse it."""
    runner = (await service.parts()).runner
    guarded = await runner.parse("SELECT 1", caller_of(Role.ANALYST))
    assert guarded.in_read_only_transaction
    with pytest.raises(DuckDBException, match="read-only"):
        async with runner.session(guarded, caller_of(Role.ANALYST)) as session:
            from chronoduck.engine.execution import RunningResult
            from chronoduck.sql.judged_text import own_text

            await session.run(
                lambda connection: RunningResult(
                    connection,
                    own_text("DELETE FROM people"),
                    None,
                    session.token,
                    in_read_only_transaction=True,
                )
            )
