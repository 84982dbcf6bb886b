"""Every function, aggregate and cast of DuckDB over one large value: it stops, or is refused.

A share of all calls: ``CHRONODUCK_DEAF_SHARE`` sets it, ``CHRONODUCK_DEAF_OFFSET`` which ones.
"""

from __future__ import annotations

import os

import duckdb
import pytest

from chronoduck.engine.live_definitions import LiveDefinitions
from chronoduck.errors import StatementRefusedError
from chronoduck.principals import Role
from chronoduck.sql.guard import Guard
from chronoduck.sql.statements import StatementParser
from tests.security.search.deaf import Deaf, deaf_calls
from tests.security.search.deaf_calls import Call, calls

SHARE = float(os.environ.get("CHRONODUCK_DEAF_SHARE", "0.01"))
OFFSET = int(os.environ.get("CHRONODUCK_DEAF_OFFSET", "0"))

LEFT_TO_THE_WATCHDOG = {
    "levenshtein": "two columns of names are compared every day",
    "editdist3": "the same function",
    "damerau_levenshtein": "the same",
    "jaro_similarity": "the same",
    "jaro_winkler_similarity": "the same",
    "timezone": "a column of zones is usual; it takes long over a long one that is unknown, once",
    "make_timestamptz": "the same",
    "regexp_split_to_array": "a pattern of a column that is 100,000 characters long",
    "str_split_regex": "the same function",
    "string_split_regex": "the same function",
}
"""What is deaf and not refused, because people send it with short values. The penalty box bounds it."""


def told(found: Deaf) -> str:
    return f"{found.what}: {found.call.expression} of {found.call.value} {found.size:,}"


@pytest.mark.slow
def test_no_call_over_a_large_value_is_deaf_unless_it_is_known() -> None:
    found = list(deaf_calls(SHARE, OFFSET))
    assert [told(each) for each in found if each.call.name not in LEFT_TO_THE_WATCHDOG] == []


def test_the_calls_are_the_engines_own() -> None:
    """A function that a new version brings is called, too."""
    names = {call.name for call in calls()}
    with duckdb.connect() as connection:
        rows = connection.execute(
            "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type IN "
            "('scalar', 'aggregate') AND list_contains(parameter_types, 'VARCHAR')"
        ).fetchall()
    assert {name for (name,) in rows} - names == set()


@pytest.mark.parametrize(
    "call",
    [call for call in calls() if call.name in ("parse_path", "parse_dirpath", "cast to bignum")],
    ids=lambda call: f"{call.expression} of {call.value}",
)
def test_calls_that_were_deaf_are_refused(call: Call) -> None:
    parser = StatementParser()
    with duckdb.connect() as database:
        guard = Guard(parser, LiveDefinitions(database.cursor))
        try:
            with pytest.raises(StatementRefusedError):
                guard.judge(call.sql(10_000), Role.ANALYST)
        finally:
            guard.close()
            parser.close()
