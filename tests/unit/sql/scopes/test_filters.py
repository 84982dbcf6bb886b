"""Row filters and grants: what an operator may write, and what is refused with a sentence."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chronoduck.errors import InvalidRequestError
from chronoduck.principals import Scope, TableGrant
from chronoduck.sql.cutting import view_query
from chronoduck.sql.scopes.filters import condition
from chronoduck.sql.scopes.names import Syntax
from chronoduck.sql.scopes.plan import Relation, plan_scope

_COLUMNS = {
    "id": "INTEGER",
    "tenant": "VARCHAR",
    "seen": "TIMESTAMP",
    "ok": "BOOLEAN",
    "meta": "STRUCT(k VARCHAR)",
    "odd name": "VARCHAR",
}


@pytest.fixture(scope="module")
def syntax() -> Iterator[Syntax]:
    opened = Syntax()
    yield opened
    opened.close()


@pytest.mark.parametrize(
    "text",
    [
        "tenant = 'acme'",
        "tenant IN ('a', 'b') AND id > 3",
        "id BETWEEN 1 AND 9 OR NOT ok",
        "tenant LIKE 'a%'",
        "seen >= '2024-01-01'",
        "tenant IS NOT NULL",
        "ok",
        "\"odd name\" = 'x'",
        "pages.tenant = 'a'",
        "TENANT = 'a'",
    ],
)
def test_comparisons_with_constants_are_left_to_the_scan(syntax: Syntax, text: str) -> None:
    if text.startswith("pages."):
        assert condition(text, _COLUMNS, "pages", syntax)
    else:
        assert not condition(text, _COLUMNS, "pages", syntax).startswith("TRY")


@pytest.mark.parametrize(
    "text",
    [
        "tenant = 5",
        "id = 1.5",
        "id / 0 > 1",
        "CAST(tenant AS INTEGER) = 3",
        "lower(tenant) = 'a'",
        "meta.k = 'x'",
        "seen > now() - INTERVAL 7 DAY",
        "id + 1 = 2",
    ],
)
def test_what_may_fail_on_a_row_hides_the_row_instead(syntax: Syntax, text: str) -> None:
    assert condition(text, _COLUMNS, "pages", syntax).startswith("TRY(")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("tenant =", "syntax"),
        ("tenant = 'a'; DROP TABLE pages", "syntax"),
        ("1), (2", ""),
        ("tenant = (SELECT max(x) FROM vault)", "a subquery"),
        ("EXISTS (SELECT 1)", "a subquery"),
        ("other = 'a'", "no column other"),
        ("rowid < 5", "no column rowid"),
        ("vault.x = 'a'", "no column vault"),
        ("tenant = ?", "a parameter"),
        ("tenant = $t", "a parameter"),
        ("random() < 0.5", "the row alone"),
        ("nextval('s') > 0", "not allowed"),
        ("my_macro(tenant)", "not allowed"),
        ("db.my_macro(tenant)", "not allowed"),
        ("count(*) > 1", "the row alone"),
        ("row_number() OVER () < 9", "a window function"),
        ("COLUMNS(*) = 'a'", ""),
        ("tenant::main.mood = 'a'", "bare names"),
        ("current_setting('x') = 'a'", "not allowed"),
        ("list_filter([1], lambda x: x > 1) = []", ""),
    ],
)
def test_everything_else_is_refused_with_a_sentence(syntax: Syntax, text: str, reason: str) -> None:
    with pytest.raises(InvalidRequestError, match="the row filter") as caught:
        condition(text, _COLUMNS, "pages", syntax)
    assert reason in str(caught.value)


def test_a_comment_at_the_end_swallows_nothing(syntax: Syntax) -> None:
    assert condition("tenant = 'a' -- or so", _COLUMNS, "pages", syntax) == "((tenant = 'a'))"


@pytest.mark.parametrize(
    ("sql", "body"),
    [
        ("CREATE VIEW v AS SELECT 1;", "SELECT 1"),
        (
            'CREATE VIEW sales."v w" ("p q", r) AS SELECT a, "we ird" FROM t;',
            'SELECT a, "we ird" FROM t',
        ),
        (
            'CREATE VIEW "a AS b" AS WITH x AS (SELECT 1)SELECT * FROM x;',
            "WITH x AS (SELECT 1)SELECT * FROM x",
        ),
        ('CREATE VIEW "q""q"("x"", y") AS SELECT 1', "SELECT 1"),
        ("CREATE TEMP VIEW v AS SELECT 1;", "SELECT 1"),
        ("DROP VIEW v", None),
    ],
)
def test_the_body_of_a_view_is_found_whatever_its_names(sql: str, body: str | None) -> None:
    assert view_query(sql) == body


_RELATIONS = [
    Relation("main", "pages", (("id", "INTEGER"), ("mood", "ENUM('a', 'it''s, b')[]"))),
    Relation("main", "vault", (("x", "VARCHAR"),)),
    Relation("sales", "orders", (("id", "INTEGER"),)),
    Relation("sales", "vault", (("y", "VARCHAR"),)),
    Relation("main", "good", (("id", "INTEGER"),), "CREATE VIEW good AS SELECT id FROM pages;"),
    Relation("main", "twice", (("id", "INTEGER"),), "CREATE VIEW twice AS SELECT id FROM good;"),
    Relation("main", "bad", (("x", "VARCHAR"),), "CREATE VIEW bad AS SELECT x FROM vault;"),
    Relation("main", "worse", (("x", "VARCHAR"),), "CREATE VIEW worse AS SELECT x FROM bad;"),
    Relation("sales", "own", (("y", "VARCHAR"),), "CREATE VIEW sales.own AS SELECT y FROM vault;"),
    Relation(
        "main", "named", (("x", "INTEGER"),), "CREATE VIEW named AS SELECT id FROM db.main.pages;"
    ),
    Relation(
        "main", "meta", (("x", "VARCHAR"),), "CREATE VIEW meta AS SELECT sql FROM duckdb_views();"
    ),
]


def seen(
    syntax: Syntax, *tables: TableGrant, schemas: tuple[str, ...] = ()
) -> tuple[set[str], str]:
    plan = plan_scope(Scope(tables, schemas), "db", _RELATIONS, syntax)
    return {f"{view.schema}.{view.name}" for view in plan.views}, "; ".join(plan.problems)


def test_views_come_after_what_they_read_and_never_without_it(syntax: Syntax) -> None:
    names = ("worse", "twice", "bad", "good", "pages", "named", "meta")
    found, problems = seen(syntax, *map(TableGrant, names))
    assert found == {"main.pages", "main.good", "main.twice"}
    assert "main.bad reads main.vault, which is not granted" in problems
    assert "main.worse reads main.bad, which is not granted" in problems
    assert "main.named" in problems
    assert "main.meta" in problems
    assert seen(syntax, TableGrant("good"))[0] == set()


def test_a_views_bare_names_mean_its_own_schema_first(syntax: Syntax) -> None:
    found, problems = seen(syntax, TableGrant("own", "sales"), TableGrant("vault"))
    assert found == {"main.vault"}
    assert "reads sales.vault" in problems
    assert "sales.own" in seen(syntax, schemas=("SALES",))[0]


def test_a_filter_wins_over_the_grant_of_a_schema_and_two_filters_over_nothing(
    syntax: Syntax,
) -> None:
    scope = Scope((TableGrant("orders", "sales", "id = 1"),), ("sales",))
    view = plan_scope(scope, "db", _RELATIONS, syntax).find("sales", "orders")
    assert view is not None
    assert not view.is_whole
    twice = (TableGrant("pages", row_filter="id = 1"), TableGrant("PAGES"))
    found, problems = seen(syntax, *twice)
    assert found == set()
    assert "granted twice" in problems


def test_the_values_of_an_enum_are_not_shown_beside_a_filter(syntax: Syntax) -> None:
    scope = Scope((TableGrant("pages", row_filter="id = 1"),))
    view = plan_scope(scope, "db", _RELATIONS, syntax).find("main", "pages")
    assert view is not None
    assert dict(view.columns)["mood"] == "VARCHAR[]"


def test_names_match_as_duckdb_matches_them(syntax: Syntax) -> None:
    assert seen(syntax, TableGrant("PaGeS", "MAIN"))[0] == {"main.pages"}
    assert "no table or view main.pagés" in seen(syntax, TableGrant("pagés"))[1]
    assert "no schema nowhere" in seen(syntax, schemas=("nowhere",))[1]
