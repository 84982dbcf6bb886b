"""Row filters with values of who asks: they select by the value, whatever it holds, and by no other's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronoduck.assembly import DuckDBService
from chronoduck.engine.scopes.registry import make_catalog, plan_for, set_variables
from chronoduck.errors import DuckDBQueryError, RowFilterError
from chronoduck.principals import Claims, Principal, Role, Scope, TableGrant, claims_of
from chronoduck.service.records import Caller
from chronoduck.sql.scopes.claims import variable_name
from chronoduck.sql.scopes.names import Syntax

HOSTILE = (
    *(
        "o'brien",
        "x' OR 'a' = 'a",
        '"',
        "\0",
        "a\0b",
        "$claim.sub",
        "$1",
        "?",
        "--",
        "/*",
        "\\",
        "\ud7ff",
    ),
    *(
        "') OR true --",
        "getvariable('x')",
        "é́",
        "",
        "NULL",
        "true",
        "7",
        "07",
        "7.0",
        "\u2028",
        "😀",
    ),
)


@pytest.fixture(scope="module")
def syntax() -> Iterator[Syntax]:
    made = Syntax()
    yield made
    made.close()


@pytest.fixture(scope="module")
def database(syntax: Syntax) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t (id BIGINT, owner VARCHAR, day DATE, is_open BOOLEAN)")
        for index, text in enumerate(HOSTILE):
            connection.execute(
                "INSERT INTO t VALUES (?, ?, '2024-01-01', ?)", [index, text, index % 2]
            )
        yield connection


class Seen:
    """What scopes see of the table, each in a catalogue of its own on one connection."""

    count = 0

    def __init__(self, database: duckdb.DuckDBPyConnection, syntax: Syntax) -> None:
        self._database = database
        self._syntax = syntax

    def __call__(
        self, row_filter: str, claims: Claims = (), values: tuple[object, ...] | None = None
    ) -> list[int]:
        grant = TableGrant("t", row_filter=row_filter if values is None else (row_filter, values))  # type: ignore[arg-type]
        scope = Scope(tables=(grant,), claims=claims)
        Seen.count += 1
        catalog = f"chronoduck_scope_{Seen.count}"
        cursor = self._database.cursor()
        plan = make_catalog(cursor, plan_for(cursor, scope, self._syntax), catalog)
        assert not plan.problems
        assert not any("MARKED" in view.select for view in plan.views)
        cursor.execute(f"USE {catalog}.main")
        set_variables(cursor, plan)
        found = [int(row[0]) for row in cursor.execute("SELECT id FROM t ORDER BY id").fetchall()]
        cursor.execute("USE memory.main")
        cursor.execute(f"DETACH {catalog}")
        return found


@pytest.fixture(scope="module")
def seen(database: duckdb.DuckDBPyConnection, syntax: Syntax) -> Seen:
    return Seen(database, syntax)


@pytest.mark.parametrize("index", range(len(HOSTILE)))
def test_a_hostile_text_selects_its_own_rows(seen: Seen, index: int) -> None:
    text = HOSTILE[index]
    marked = claims_of({"sub": text, "org": {"id": text}, "all": [text, text], "mark": "MARKED"})
    for row_filter in (
        *("owner = $claim.sub", "owner = $claim.org.id", "list_contains($claim.all, owner)"),
        "lower(owner) = lower($claim.sub) AND owner = $claim.sub",
        "owner = $claim.sub AND owner <> 'x' || $claim.mark",
    ):
        assert seen(row_filter, marked) == [index], row_filter
    assert seen("owner = ?", values=(text,)) == [index]


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=30))
def test_any_text_selects_what_equals_it(seen: Seen, text: str) -> None:
    wanted = [index for index, each in enumerate(HOSTILE) if each == text]
    assert seen("owner = $claim.sub", (((("sub",)), text),)) == wanted


@pytest.mark.parametrize(
    ("row_filter", "claims", "wanted"),
    [
        ("id = $claim.n", {"n": 3}, [3]),
        ("id = $claim.n", {"n": "3"}, [3]),
        ("id = $claim.n", {"n": "x"}, []),
        ("id = $claim.n", {"n": 2.5}, []),
        ("id < 4 AND is_open = $claim.b", {"b": True}, [1, 3]),
        ("list_contains($claim.ids, id)", {"ids": [1, 2]}, [1, 2]),
        ("day = $claim.day", {"day": "no date"}, []),
        ("id = $claim.n", {}, []),
        ("id <> $claim.n", {}, []),
        ("id <> $claim.n", {"n": None}, []),
        ("id <> $claim.n", {"n": float("inf")}, []),
        ("id <> $claim.n", {"n": float("nan")}, []),
        ("NOT list_contains($claim.ids, id)", {"ids": []}, []),
        ("NOT list_contains($claim.ids, id)", {"ids": [1, "x"]}, []),
        ("id >= 0 OR owner = $claim.sub", {}, []),
        ("id = 1 AND $claim.sub IS NULL", {}, []),
    ],
)
def test_types_and_what_is_missing(
    seen: Seen, row_filter: str, claims: dict[str, object], wanted: list[int]
) -> None:
    assert seen(row_filter, claims_of(claims)) == wanted


def test_values_of_other_kinds_have_other_variables() -> None:
    values = [1, True, 1.0, "1", "True", ("1",), (1,), (True,), "", 0, False]
    assert len({variable_name(value) for value in values}) == len(values)


def caller_of(name: str, row_filter: object, **claims: object) -> Caller:
    grant = TableGrant("t", row_filter=row_filter)  # type: ignore[arg-type]
    scope = Scope(tables=(grant,), claims=claims_of(claims))
    return Caller(name, principal=Principal(name, Role.ANALYST, f"user:{name}", scope))


async def test_principals_never_see_by_each_others_claims(service: DuckDBService) -> None:
    await service.execute_query("CREATE TABLE t (owner VARCHAR, n INTEGER)")
    await service.execute_query("INSERT INTO t SELECT 'u' || (range % 4), range FROM range(400)")
    callers = {
        f"u{number}": caller_of(f"p{number}", "owner = $claim.sub", sub=f"u{number}")
        for number in range(3)
    }
    callers["u3"] = caller_of("p3", ("owner = ?", ["u3"]))

    async def ask(owner: str) -> None:
        caller = callers[owner]
        for sql in ("SELECT DISTINCT owner FROM t", "SELECT any_value(owner) FROM t WHERE n < $n"):
            params = {"n": 100} if "$n" in sql else None
            result = await service.execute_query(sql, params, caller=caller)
            assert result.data == [(owner,)]

    for _ in range(2):  # the second time every cache knows the texts
        for owner in callers:
            await ask(owner)
    await asyncio.gather(*(ask(owner) for owner in [*callers] * 3))
    nobody = caller_of("p4", "owner = $claim.sub")
    assert (await service.execute_query("SELECT count(*) FROM t", caller=nobody)).data == [(0,)]
    # Nothing of it stays on a connection that goes back to the pool.
    names = ", ".join(f"getvariable('{variable_name(owner)}') AS {owner}" for owner in callers)
    for _ in range(4):
        assert set((await service.execute_query(f"SELECT {names}")).data[0]) == {None}


async def test_values_that_python_calls_equal_are_others_claims(service: DuckDBService) -> None:
    await service.execute_query("CREATE TABLE t (owner VARCHAR)")
    await service.execute_query(
        "INSERT INTO t VALUES ('1'), ('true'), ('1.0'), ('[1]'), ('[true]')"
    )
    wanted = {"1": 1, "true": True, "1.0": 1.0, "[1]": [1], "[true]": [True]}
    for _ in range(2):
        for owner, value in wanted.items():
            for caller in (
                caller_of(f"c{owner}", "owner = CAST($claim.v AS VARCHAR)", v=value),
                caller_of(f"p{owner}", ("owner = CAST(? AS VARCHAR)", [value])),
            ):
                result = await service.execute_query("SELECT owner FROM t", caller=caller)
                assert result.data == [(owner,)]


async def test_a_filter_that_does_not_fit_is_an_error_of_its_own(service: DuckDBService) -> None:
    await service.execute_query("CREATE TABLE t (owner VARCHAR)")
    for row_filter in ("tenant = 'secret word'", "owner = ", "owner = $other.sub"):
        caller = caller_of("ann", row_filter)
        with pytest.raises(RowFilterError) as caught:
            await service.execute_query("SELECT * FROM t", caller=caller)
        assert "secret word" not in f"{caught.value.detail}{caught.value.hint}"
        assert row_filter in caught.value.operator_detail
        with pytest.raises(DuckDBQueryError, match="does not exist"):
            await service.execute_query("SELECT * FROM other", caller=caller)
