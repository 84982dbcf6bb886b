"""EXPLAIN ANALYZE counts as what it runs: judged, committed, and refused of what changes the catalog."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import duckdb
import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.errors import DuckDBException, StatementRefusedError
from chronoduck.principals import Role
from chronoduck.settings import Settings
from chronoduck.sql.autocommit import Autocommit
from chronoduck.sql.guard import Guard
from chronoduck.sql.statements import StatementParser


@pytest.fixture
def parser() -> Iterator[StatementParser]:
    opened = StatementParser()
    yield opened
    opened.close()


@pytest.mark.parametrize(
    "sql",
    [
        "EXPLAIN ANALYZE DELETE FROM t",
        "EXPLAIN ANALYSE DELETE FROM t",
        "EXPLAIN (ANALYZE) INSERT INTO t VALUES (1)",
        'EXPLAIN ("analyze", FORMAT json) UPDATE t SET i = 1',
        "/* a */ EXPLAIN -- b\n (FORMAT json, ANALYZE) TRUNCATE t",
    ],
)
def test_a_write_that_is_run_is_a_write(parser: StatementParser, sql: str) -> None:
    statement = parser.parse(sql)
    assert statement.kind == "explain"
    assert not statement.is_read_only
    assert statement.autocommit is Autocommit.BY_US


@pytest.mark.parametrize("inner", ["DELETE FROM t", "CREATE TABLE x AS SELECT 1", "SELECT 1"])
def test_a_plan_alone_is_a_read(parser: StatementParser, inner: str) -> None:
    assert parser.parse(f"EXPLAIN {inner}").is_read_only
    assert parser.parse(f"EXPLAIN (FORMAT json) {inner} -- analyze").is_read_only


@pytest.mark.parametrize(
    "inner",
    [
        "CREATE TABLE x AS SELECT 1",
        "DROP TABLE t",
        "ALTER TABLE t ADD COLUMN x INTEGER",
        "COPY t TO 'x.csv'",
        "SET threads = 1",
        "CHECKPOINT",
        "CALL pragma_version()",
        "VACUUM",
        "BEGIN",
        "PREPARE p AS SELECT 1",
    ],
)
@pytest.mark.parametrize("how", ["ANALYZE", "ANALYSE", "(ANALYZE)", "(FORMAT json, ANALYZE)"])
def test_nothing_else_is_run_by_explain(parser: StatementParser, how: str, inner: str) -> None:
    sql = f"EXPLAIN {how} {inner}"
    with pytest.raises(StatementRefusedError):
        parser.parse(sql)
    guard = Guard(parser)
    for role in (Role.ADMIN, Role.WRITER, Role.ANALYST):
        with pytest.raises(DuckDBException):
            guard.judge(sql, role)


async def test_what_explain_ran_is_committed(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    async with DuckDBService(settings) as service:
        await service.execute_query("CREATE TABLE t (i INTEGER)")
        await service.execute_query("EXPLAIN ANALYSE INSERT INTO t VALUES (1)")
        await service.execute_query("EXPLAIN (ANALYZE, FORMAT json) UPDATE t SET i = 2")
    async with DuckDBService(settings) as service:
        assert (await service.execute_query("FROM t")).data == [(2,)]


def test_a_transaction_that_a_failure_left_open_spoils_no_other_text() -> None:
    """Met on DuckDB 1.5, which parses a PIVOT in a transaction, by texts of other users before it."""
    parser = StatementParser()
    parser._connection.execute("BEGIN")
    with pytest.raises(duckdb.Error):
        parser._connection.execute("SELECT error('x')")
    assert parser.parse("SELECT * FROM (PIVOT t ON a USING count(*))").kind == "select"
    parser.close()
