"""Hints for a key that sees a part: what they show runs for that key."""

from __future__ import annotations

from pathlib import Path

import pytest

from chronoduck.errors import StatementRefusedError
from tests.narrowed import CALLER, service_of_part

REFUSED = (
    "PRAGMA table_info('pages')",
    "PRAGMA show_tables",
    "CALL duckdb_tables()",
    "SHOW DATABASES",
    "SHOW ALL TABLES",
    "FROM duckdb_databases()",
    "FROM duckdb_tables()",
    "FROM histogram(pages, n)",
    "FROM 'x.csv'",
    "SELECT setseed(0.5)",
    "SELECT lpad(title, ?, ' ') FROM pages",
    "DELETE FROM pages",
)


async def test_what_a_hint_shows_runs_for_a_key_that_sees_a_part(tmp_path: Path) -> None:
    async with service_of_part(tmp_path, is_whole=True) as service:
        runner = (await service.parts()).runner
        for sql in REFUSED:
            with pytest.raises(StatementRefusedError) as refused:
                await runner.parse(sql, CALLER)
            hint = refused.value.hint
            shown = [each for each in hint.split("`")[1::2] if not each.startswith("chronoduck ")]
            assert "chronoduck load" not in hint
            for each in shown:
                found = each.replace("FROM t", "FROM pages").replace("(b,", "(title,")
                await runner.parse(found.replace("(a, 7)", "(n, 7)"), CALLER)
        await runner.parse("SHOW TABLES", CALLER)
