"""Every function of the installed DuckDB is classified: what a new version brings is looked at first."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from chronoduck.sql.rules.functions import (
    ALLOWED_TABLE_FUNCTIONS,
    DENIED_FUNCTIONS,
    DENIED_IN_FROM,
    DENIED_VIEWS,
    denial_of,
    is_known,
)
from chronoduck.sql.rules.kinds import KNOWN_KINDS
from chronoduck.sql.rules.known_functions import KNOWN_FUNCTIONS
from chronoduck.sql.rules.known_settings import (
    ALLOWED_PRAGMAS,
    ALLOWED_SETTINGS,
    DENIED_PRAGMAS,
    DENIED_SETTINGS,
)
from chronoduck.sql.rules.refusals import RULES

# Families that are refused or harmless as a whole, whatever their next member is called.
FAMILIES = ("read_", "parquet_", "__internal_", "icu_collate_", "collate_")


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        yield opened


def functions(connection: duckdb.DuckDBPyConnection, *kinds: str) -> set[str]:
    rows = connection.execute(
        "SELECT DISTINCT lower(function_name) FROM duckdb_functions() "
        "WHERE list_contains($1, function_type)",
        [list(kinds)],
    ).fetchall()
    return {name for (name,) in rows if not name.startswith(FAMILIES)}


def test_every_table_function_is_allowed_or_refused_by_name(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    found = functions(connection, "table", "table_macro")
    assert len(found) > 50
    classified = ALLOWED_TABLE_FUNCTIONS | DENIED_FUNCTIONS.keys() | DENIED_IN_FROM.keys()
    assert sorted(found - classified) == []


def test_every_other_function_is_found_harmless_or_refused_by_name(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    found = functions(connection, "scalar", "aggregate", "macro", "window")
    assert len(found) > 500
    assert sorted(n for n in found if n not in DENIED_FUNCTIONS and not is_known(n)) == []


def test_every_setting_has_a_verdict(connection: duckdb.DuckDBPyConnection) -> None:
    rows = connection.execute("SELECT lower(name) FROM duckdb_settings()").fetchall()
    found = {name for (name,) in rows}
    assert len(found) > 150
    assert sorted(found - ALLOWED_SETTINGS - DENIED_SETTINGS) == []
    assert set() == ALLOWED_SETTINGS & DENIED_SETTINGS


def test_every_pragma_has_a_verdict(connection: duckdb.DuckDBPyConnection) -> None:
    rows = connection.execute(
        "SELECT DISTINCT lower(function_name) FROM duckdb_functions() WHERE function_type LIKE 'pragma%'"
    ).fetchall()
    found = {name for (name,) in rows}
    assert len(found) > 30
    assert sorted(found - ALLOWED_PRAGMAS - DENIED_PRAGMAS) == []
    assert set() == ALLOWED_PRAGMAS & DENIED_PRAGMAS


def test_every_kind_of_function_is_looked_at(connection: duckdb.DuckDBPyConnection) -> None:
    rows = connection.execute("SELECT DISTINCT function_type FROM duckdb_functions()").fetchall()
    looked_at = {"table", "table_macro", "scalar", "aggregate", "macro", "window", "pragma"}
    assert {kind for (kind,) in rows} <= looked_at


def test_every_kind_of_statement_has_a_verdict() -> None:
    found = {name.lower() for name in duckdb.StatementType.__members__}
    assert len(found) >= 30
    assert sorted(found - KNOWN_KINDS) == []


def test_every_view_over_a_refused_function_is_refused(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    rows = connection.execute(
        "SELECT view_name, lower(sql) FROM duckdb_views() WHERE internal"
    ).fetchall()
    assert len(rows) > 20
    reaching = {view for view, sql in rows for name in DENIED_FUNCTIONS if f"{name}(" in sql}
    assert reaching <= DENIED_VIEWS.keys() | ALLOWED_VIEWS


# pg_database tells names alone, pg_type the catalogue's types.
ALLOWED_VIEWS = {"pg_database"}


def test_no_function_is_both_harmless_and_refused() -> None:
    assert KNOWN_FUNCTIONS & DENIED_FUNCTIONS.keys() == set()
    assert ALLOWED_TABLE_FUNCTIONS & DENIED_FUNCTIONS.keys() == set()
    for name in KNOWN_FUNCTIONS | ALLOWED_TABLE_FUNCTIONS:
        assert denial_of(name) is None


def test_every_rule_of_a_function_is_a_rule() -> None:
    rules = {*DENIED_FUNCTIONS.values(), *DENIED_VIEWS.values(), *DENIED_IN_FROM.values()}
    assert rules <= RULES.keys()


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("read_anything_new", "files"),
        ("parquet_new", "files"),
        ("lance_scan", "files"),
        ("duckdb_new_secrets", "metadata"),
        ("pragma_new", "metadata"),
        ("enable_new", "engine-log"),
    ],
)
def test_families_are_refused_before_their_members_are_known(name: str, rule: str) -> None:
    assert denial_of(name) == rule
