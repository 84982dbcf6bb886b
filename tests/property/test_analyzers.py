"""An analyzer says of a text what the guard says in this process, or refuses it by a bound."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

import duckdb
import pytest

from chronoduck.engine.analyzers.analysis import Analysis
from chronoduck.engine.analyzers.nursery_link import nursery_of_this_process
from chronoduck.engine.analyzers.pool import AnalyzerPool
from chronoduck.engine.analyzers.text_bounds import check_text
from chronoduck.engine.live_definitions import LiveDefinitions
from chronoduck.errors import DuckDBException, DuckDBQueryError, StatementRefusedError
from chronoduck.principals import Principal, Role
from chronoduck.sql.guard import Guard
from chronoduck.sql.statements import Statement, StatementParser
from tests.security.corpus import benign, hostile, mutated, writes
from tests.security.stage import make_database

COUNT = int(os.environ.get("CHRONODUCK_ANALYZER_TEXTS", "60"))


@pytest.fixture
def database(tmp_path: Path) -> Path:
    make_database(tmp_path / "analyzed.db")
    return tmp_path / "analyzed.db"


def outcome(error: DuckDBException) -> tuple[object, ...]:
    facts = (type(error), error.detail, error.hint, error.code)
    if isinstance(error, StatementRefusedError):
        return (*facts, error.rule)
    return (*facts, error.category, error.line) if isinstance(error, DuckDBQueryError) else facts


@pytest.fixture
async def judges(database: Path) -> AsyncIterator[tuple[Analysis, Guard]]:
    parser = StatementParser()
    with duckdb.connect(str(database)) as connection:
        live = LiveDefinitions(connection.cursor)
        guard = Guard(parser, live)
        pool = AnalyzerPool(nursery_of_this_process(has_stores=False), 2)
        analysis = Analysis(pool, live, cpu_seconds=100.0)
        yield analysis, guard
        await analysis.close()
        guard.close()
    parser.close()


async def test_an_analyzer_says_what_the_guard_says(judges: tuple[Analysis, Guard]) -> None:
    analysis, guard = judges
    plain = [*hostile(), *writes(), *(sql for part in benign().values() for sql in part)]
    dice = random.Random(11)
    texts = dice.sample([*plain, *mutated(plain, 1, 5)], COUNT)
    bounded = 0
    for number, sql in enumerate(texts):
        role = (Role.ANALYST, Role.WRITER, Role.ADMIN)[number % 3]
        said: Statement | tuple[object, ...]
        expected: Statement | tuple[object, ...]
        try:
            said = (await analysis.judge(sql, Principal("p", role, f"key:{role}"))).statement
        except DuckDBException as error:
            said = outcome(error)
        try:
            check_text(sql, may_be_bulk=True)
        except StatementRefusedError as error:
            assert said == outcome(error), sql
            bounded += 1
            continue
        try:
            expected = guard.judge(sql, role)
        except DuckDBException as error:
            expected = outcome(error)
        assert said == expected, (sql, role)
    assert analysis.pool.deaths == 0
    assert bounded < COUNT / 10
