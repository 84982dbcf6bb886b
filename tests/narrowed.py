"""A database of which a principal sees a part, and its twin that holds nothing but that part.

What a narrowed principal gets must be the same from both, errors included: then nothing of what is
hidden can have reached it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from chronoduck.assembly import DuckDBService
from chronoduck.errors import DuckDBException
from chronoduck.principals import Principal, Role, Scope, TableGrant
from chronoduck.service.records import Caller
from chronoduck.settings import load_settings

__all__ = [
    "CALLER",
    "CANARIES",
    "SCOPE",
    "narrowed_and_twin",
    "outcome",
    "scripts",
    "service_of_part",
]

CANARIES = ("CANARY", "q7x", "chronoduck_scope")
"""In every hidden row, and in the name of everything hidden."""

SCOPE = Scope(
    tables=(
        TableGrant("pages", row_filter="tenant = 'a' OR (n >= 0 AND length(tenant) = 1)"),
        TableGrant("visits", row_filter="tenant = 'a'"),
        TableGrant("owners"),
        TableGrant("busy"),
        TableGrant("reports", row_filter="id < 40"),
        TableGrant("leaky"),
    ),
    schemas=("sales",),
)
PRINCIPAL = Principal("tenant a", Role.ANALYST, "key:a", scope=SCOPE)
CALLER = Caller("tenant a", principal=PRINCIPAL)

_TABLES = """
CREATE TYPE mood_q7x AS ENUM ('calm', 'glad', 'CANARY mood');
CREATE TABLE pages (id INTEGER, tenant VARCHAR, title VARCHAR, n INTEGER, price DECIMAL(9, 2),
    seen TIMESTAMP, tags VARCHAR[], meta STRUCT(k VARCHAR, w INTEGER), mood mood_q7x, doc JSON);
CREATE TABLE visits (id INTEGER, page INTEGER, tenant VARCHAR, agent VARCHAR, day DATE);
CREATE TABLE owners (id INTEGER, name VARCHAR);
CREATE SCHEMA sales;
CREATE TABLE sales.orders (id INTEGER, page INTEGER, amount DOUBLE);
CREATE VIEW busy AS SELECT p.id, p.title, count(v.id) AS visits FROM pages p
    LEFT JOIN visits v ON v.page = p.id GROUP BY ALL;
CREATE VIEW reports (id, name, total) AS WITH big AS (SELECT * FROM sales.orders WHERE amount > 1)
    SELECT o.id, o.name, sum(b.amount) FROM owners o JOIN big b ON b.page = o.id GROUP BY ALL;
"""
_SHOWN = """
INSERT INTO pages SELECT i, 'a', (i * 7 % 50)::VARCHAR, i, i * 1.25,
    TIMESTAMP '2024-01-01' + to_hours(i), ['t' || i % 4, i::VARCHAR], {'k': 'k' || i % 3, 'w': i},
    CASE WHEN i % 2 = 0 THEN 'calm' ELSE 'glad' END, json_object('v', i) FROM range(60) t(i);
INSERT INTO visits SELECT i, i * 3 % 70, 'a', (i % 9)::VARCHAR, DATE '2024-01-01' + i::INTEGER
    FROM range(200) t(i);
INSERT INTO owners SELECT i, 'owner ' || i FROM range(50) t(i);
INSERT INTO sales.orders SELECT i, i % 50, i / 3 FROM range(100) t(i);
"""
_HIDDEN = """
INSERT INTO pages SELECT i, 'CANARY tenant', 'CANARY ' || i, -1 - i, -1 * i, TIMESTAMP '1999-01-01',
    ['CANARY'], {'k': 'CANARY', 'w': -i}, 'CANARY mood', '{"v": "CANARY"}' FROM range(500) t(i);
INSERT INTO visits SELECT i, i % 70, 'CANARY', 'CANARY agent ' || i, DATE '1999-01-01'
    FROM range(300) t(i);
CREATE TABLE vault_q7x (x VARCHAR, column_q7x INTEGER DEFAULT 7);
INSERT INTO vault_q7x VALUES ('CANARY in the vault', 1);
CREATE SCHEMA hr_q7x;
CREATE TABLE hr_q7x.salaries_q7x (name VARCHAR, pay INTEGER);
INSERT INTO hr_q7x.salaries_q7x VALUES ('CANARY', 9);
CREATE TABLE hr_q7x.pages AS SELECT 'CANARY' AS title;
CREATE VIEW leaky AS SELECT x FROM vault_q7x;
CREATE VIEW hidden_view_q7x AS SELECT 'CANARY' AS x;
CREATE SEQUENCE seq_q7x;
CREATE MACRO peek_q7x() AS (SELECT max(x) FROM vault_q7x);
CREATE MACRO lower_q7x(a) AS (SELECT max(x) || a FROM vault_q7x);
CREATE MACRO all_q7x() AS TABLE SELECT * FROM vault_q7x;
CREATE INDEX index_q7x ON vault_q7x (x);
COMMENT ON TABLE pages IS 'CANARY comment';
COMMENT ON COLUMN pages.title IS 'CANARY comment';
"""


def scripts(*, is_whole: bool) -> list[str]:
    """Return the statements that make the database, or with ``is_whole`` false its twin."""
    script = _TABLES + (_HIDDEN if is_whole else "") + _SHOWN
    return [statement for statement in script.split(";\n") if statement.strip()]


@asynccontextmanager
async def service_of_part(directory: Path, *, is_whole: bool) -> AsyncIterator[DuckDBService]:
    """Open the database, or with ``is_whole`` false its twin, of the same name."""
    settings = load_settings(
        database_path=directory / "test.db",
        temp_directory=directory / "temp",
        memory_limit="500MB",
        worker_threads=2,
        shutdown_grace=0.5,
        ballast_size=0,
    )
    async with DuckDBService(settings) as service:
        for statement in scripts(is_whole=is_whole):
            await service.execute_query(statement)
        yield service


@asynccontextmanager
async def narrowed_and_twin(directory: Path) -> AsyncIterator[tuple[DuckDBService, DuckDBService]]:
    """Open both."""
    async with (
        service_of_part(directory / "whole", is_whole=True) as whole,
        service_of_part(directory / "twin", is_whole=False) as twin,
    ):
        yield whole, twin


async def outcome(run: Callable[[], Any]) -> str:
    """Return all that the caller gets: columns, types and rows in any order, or the whole error."""
    try:
        result = await run()
    except DuckDBException as error:
        facts = [type(error).__name__, error.code, error.detail, error.hint]
        facts += [getattr(error, name, None) for name in ("category", "line", "column", "rule")]
        return repr(facts)
    return repr((result.columns, result.types, sorted(map(repr, result.data))))
