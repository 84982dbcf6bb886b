"""No statement changes a setting of the open database, whatever the engine's version has."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.errors import DuckDBQueryError
from chronoduck.settings import Settings

_FORMS = (
    "SET {0} = '{1}'",
    "SET GLOBAL {0} = '{1}'",
    "SET SESSION {0} = '{1}'",
    "SET LOCAL {0} = '{1}'",
    "RESET {0}",
    "RESET GLOBAL {0}",
    "PRAGMA {0} = '{1}'",
)
_VALUES = "SELECT name, value FROM duckdb_settings() ORDER BY name, value"
_OF_THE_CONNECTION = ("schema", "search_path")
"""Code in this process may change these, on a connection that is thrown away afterwards."""


async def test_no_setting_can_be_changed(make_settings: Callable[..., Settings]) -> None:
    async with DuckDBService(make_settings()) as service:
        before = (await service.execute_query(_VALUES)).data
        assert len(before) > 150
        ran = []
        for name, value in before:
            for form in _FORMS:
                sql = form.format(name, str(value).replace("'", "''"))
                try:
                    await service.execute_query(sql)
                except DuckDBQueryError:
                    continue
                ran.append(sql)
        assert [sql for sql in ran if not any(own in sql for own in _OF_THE_CONNECTION)] == []
        assert (await service.execute_query(_VALUES)).data == before


@pytest.mark.parametrize("name", ["max_execution_time", "operator_memory_limit"])
async def test_the_limits_of_duckdb_2_are_left_alone(
    make_settings: Callable[..., Settings], name: str
) -> None:
    async with DuckDBService(make_settings()) as service:
        known = await service.execute_query(
            "SELECT value FROM duckdb_settings() WHERE name = ?", [name]
        )
        if not known.data:
            return  # DuckDB 1.5
        with pytest.raises(DuckDBQueryError):
            await service.execute_query(f"SET {name} = '1000'")
        after = await service.execute_query(
            "SELECT value FROM duckdb_settings() WHERE name = ?", [name]
        )
        assert after.data == known.data
