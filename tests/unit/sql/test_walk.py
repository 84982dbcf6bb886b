"""The one walk over a tree finds every name, in the order in which it is written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import duckdb
import pytest

from chronoduck.sql.facts import PartRole, StatementFacts
from chronoduck.sql.scopes.names import names_of
from chronoduck.sql.scratch import Scratch

_WRITES_IN_CTES = not duckdb.__version__.startswith("1.")


@pytest.fixture(scope="module")
def scratch() -> Iterator[Scratch]:
    with closing(Scratch()) as opened:
        yield opened


def facts_of(scratch: Scratch, sql: str) -> StatementFacts:
    facts = scratch.facts(sql)
    assert facts is not None
    return facts


def test_tables_calls_and_ctes_are_found_wherever_they_stand(scratch: Scratch) -> None:
    facts = facts_of(
        scratch,
        'WITH "C" AS (SELECT f1(a) FROM one) SELECT f2(x -> f3(x)), (SELECT 1 FROM s.two WHERE EXISTS '
        '(FROM three)) FROM "C", range(f4(1)) r JOIN four USING (a) WHERE a IN (SELECT f5() FROM five) '
        "QUALIFY sum(f6(1)) OVER (PARTITION BY f7(1) ORDER BY f8(1)) > 1 ORDER BY f9(1) LIMIT f10(1)",
    )
    names = names_of(facts)
    assert names.refusal is None
    assert {name for _, _, name in names.tables} == {"one", "two", "three", "four", "five", "c"}
    assert ("", "s", "two") in names.tables
    assert names.ctes == {"c"}
    assert names.table_functions == {"range"}
    assert names.functions >= {f"f{number}" for number in range(1, 11)} | {"sum"}


def test_parts_stand_in_the_written_order_and_each_behind_what_holds_it(scratch: Scratch) -> None:
    facts = facts_of(scratch, "SELECT a1, f(a2, (SELECT a3 FROM t)), a4 FROM t WHERE a5")
    columns = [part.node["column_names"] for part in facts.parts if part.expression == "COLUMN_REF"]
    by_clause = [name for name in columns if name != ["a5"]]
    assert by_clause == [["a1"], ["a2"], ["a3"], ["a4"]]
    for index, part in enumerate(facts.parts):
        assert part.parent < index < facts.ends[part.parent if index else 0]
        assert part.level == sum(bool(each.expression) for each in _holders(facts, index))


def _holders(facts: StatementFacts, index: int) -> Iterator[object]:
    while index >= 0:
        yield facts.parts[index]
        index = facts.parts[index].parent


def test_joins_are_taken_apart_for_the_query_that_reads_them(scratch: Scratch) -> None:
    facts = facts_of(scratch, "SELECT * FROM a JOIN (b CROSS JOIN c) ON true, (SELECT * FROM d) e")
    sources = [
        sorted(source.table[-1] or source.kind for source in facts.sources[query])
        for query in facts.queries
        if query in facts.sources
    ]
    assert ["SUBQUERY", "a", "b", "c"] in sources
    assert ["d"] in sources


def test_roles_tell_a_call_in_from_and_the_value_before_in(scratch: Scratch) -> None:
    facts = facts_of(scratch, "SELECT range(1) FROM range(2) WHERE a IN (1, b) AND c NOT IN (2)")
    calls = [facts.parts[index] for index in facts.calls]
    assert sorted(part.role is PartRole.TABLE_CALL for part in calls) == [False, True]
    listed = [part.node["column_names"] for part in facts.parts if part.role is PartRole.LISTED]
    assert sorted(listed) == [["a"], ["c"]]


def test_constants_stay_closed(scratch: Scratch) -> None:
    text = '{"type": "BASE_TABLE", "class": "FUNCTION", "function_name": "read_text"}'
    facts = facts_of(scratch, f"SELECT '{text}'")
    assert not facts.calls
    assert all(part.kind != "BASE_TABLE" for part in facts.parts)


@pytest.mark.skipif(not _WRITES_IN_CTES, reason="DuckDB 1.5 has no CTE that writes")
@pytest.mark.parametrize(
    "write", ["INSERT INTO t VALUES (1)", "UPDATE t SET a = 1", "DELETE FROM t"]
)
def test_a_cte_that_writes_is_a_write(scratch: Scratch, write: str) -> None:
    assert facts_of(scratch, f"WITH w AS ({write} RETURNING *) FROM w").writes
    assert not facts_of(scratch, "WITH w AS (SELECT 'INSERT') FROM w").writes


@pytest.mark.parametrize("sql", ["SELECT", "INSERT INTO t VALUES (1)", "PIVOT t ON a USING sum(b)"])
def test_what_has_no_tree_has_no_facts(scratch: Scratch, sql: str) -> None:
    assert scratch.facts(sql) is None
    assert names_of(None).refusal is not None
