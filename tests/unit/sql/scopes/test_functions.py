"""Every function that a narrowed statement may call depends on the rows that it is given, alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chronoduck.sql.scopes.names import Syntax
from tests.narrowed import CALLER, narrowed_and_twin, outcome

# Their results are another at each call, or depend on the order of rows.
_BY_CHANCE = {
    "random",
    "uuid",
    "uuidv4",
    "uuidv7",
    "gen_random_uuid",
    "reservoir_quantile",
    "any_value",
    "arbitrary",
    "first",
    "last",
    "first_value",
    "last_value",
    "mode",  # of values that are equally frequent, the one that a thread met first
    "now",
    "today",
    "get_current_time",
    "get_current_timestamp",
    "current_date",
    "current_localtime",
    "current_localtimestamp",
    "transaction_timestamp",
    "pg_postmaster_start_time",
    "pg_conf_load_time",
    "ago",
    "age",
}
_ORDERED = {
    "array_agg",
    "list",
    "string_agg",
    "group_concat",
    "listagg",
    "fill",
    "lag",
    "lead",
}
_COLUMNS: tuple[str, ...] = ("n", "title", "tags")
if "CHRONODUCK_SCOPE_SEEDS" in os.environ:  # make soak
    _COLUMNS += ("seen", "price", "meta", "doc")


@pytest.mark.slow
async def test_every_function_of_one_column_gives_what_it_gives_without_the_hidden_rows(
    tmp_path: Path,
) -> None:
    syntax = Syntax()
    names = sorted(syntax.functions - _BY_CHANCE - _ORDERED)
    syntax.close()
    different: list[tuple[str, str, str]] = []
    async with narrowed_and_twin(tmp_path) as (whole, twin):
        for name in names:
            for column in _COLUMNS:
                sql = f'SELECT "{name}"({column}) AS f FROM (SELECT * FROM pages ORDER BY id)'
                seen = await outcome(lambda: whole.execute_query(sql, caller=CALLER))  # noqa: B023
                told = await outcome(lambda: twin.execute_query(sql, caller=CALLER))  # noqa: B023
                if seen != told or "CANARY" in seen:
                    different.append((sql, seen[:200], told[:200]))
    assert different == []
    assert len(names) > 500
