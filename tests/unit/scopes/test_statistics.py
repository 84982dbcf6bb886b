"""The optimizer's decisions about a scope's rows do not depend on the values of hidden rows.

DuckDB keeps the least and greatest value of each column, its longest text and whether it has a NULL,
for all rows together. A condition that cannot hold by these facts is never evaluated, nor is what
it guards. A statement that would fail on a visible row then fails only if a hidden row has such a
value: the answer tells the value, and no error names it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from chronoduck.engine.database import Connection, DuckDBInstance
from chronoduck.engine.scopes.registry import Scopes
from chronoduck.principals import Scope, TableGrant
from chronoduck.settings import Settings

_TABLE = """
CREATE TABLE pages (id INTEGER, tenant VARCHAR, n INTEGER, price DECIMAL(9, 2), x DOUBLE,
    huge HUGEINT, title VARCHAR, raw BLOB, mark UUID, seen TIMESTAMP, day DATE, flag BOOLEAN,
    mood ENUM ('calm', 'glad', 'sad'), tags VARCHAR[], meta STRUCT(k VARCHAR, w INTEGER),
    deep STRUCT(a STRUCT(b INTEGER[])), pair INTEGER[2], props MAP(VARCHAR, INTEGER), doc JSON)
"""
_VISIBLE = """
INSERT INTO pages SELECT i, 'a', i, i, i, i, 'v' || i, 'v'::BLOB,
    '00000000-0000-0000-0000-000000000001', TIMESTAMP '2024-01-01' + to_hours(i::INTEGER),
    DATE '2024-01-01' + i::INTEGER, true, 'calm', ['t' || i], {'k': 'k', 'w': i},
    {'a': {'b': [i]}}, [i, i], MAP {'k': i}, '{"v": 1}' FROM range(60) r(i)
"""
_HIDDEN = """
INSERT INTO pages SELECT -1 - i, 'hidden', -1 - i, -1 - i, if(i = 0, NULL, -1 - i), -1 - i,
    if(i = 0, NULL, 'hidden and long ' || i), 'hidden'::BLOB,
    'f0000000-0000-0000-0000-000000000001', TIMESTAMP '1999-01-01', DATE '1999-01-01', false, 'sad',
    ['a hidden tag'], {'k': 'hidden', 'w': -1 - i}, {'a': {'b': [-1 - i]}}, [-1 - i, -1 - i],
    MAP {'hidden': -1 - i}, '{"v": "hidden"}' FROM range(500) r(i)
"""
_FILTERS = ["tenant = 'a'", "n >= 0", "lower(tenant) = 'a'", "length(tenant) = 1 AND n >= 0"]
_EXPRESSIONS = [
    *("id", "tenant", "n", "price", "x", "huge", "title", "raw", "mark", "seen", "day", "flag"),
    *("mood", "tags", "meta", "deep", "pair", "props", "doc", "tags[1]", "meta.k", "meta.w"),
    *("deep.a.b", "deep.a.b[1]", "pair[1]", "n + 1", "length(title)", "year(day)", "n::VARCHAR"),
]
# None holds for a visible row, and by the statistics of hidden rows each could.
_CONDITIONS = [
    *("n < -400", "price < -400", "x < -400", "huge < -400", "x IS NULL", "title IS NULL"),
    *("title < 'v'", "length(title) > 9", "tenant > 'b'", "seen < TIMESTAMP '2000-01-01'"),
    *("day < DATE '2000-01-01'", "year(day) < 2000", "NOT flag", "n + 1 < -400", "n = -77"),
    *("tags[1] < 'b'", "meta.w < -400", "meta.k < 'i'", "deep.a.b[1] < -400", "n IN (-3, -9)"),
    *("n BETWEEN -90 AND -80", "mark > 'e0000000-0000-0000-0000-000000000001'::UUID"),
]
# Each fails on visible rows unless it is known beforehand that the condition never holds.
_SHAPES = [
    "SELECT e FROM (SELECT error(title) AS e, * FROM pages LIMIT 9999) WHERE {}",
    "SELECT e FROM (SELECT error(title) AS e, * FROM pages ORDER BY id LIMIT 5) WHERE {}",
    "WITH c AS MATERIALIZED (FROM pages WHERE error(title) IS NULL) SELECT count(*) FROM c WHERE {}",
    "SELECT count(*) FROM (SELECT DISTINCT ON (id) error(title) AS e, * FROM pages) WHERE {} OR e",
    "SELECT i, error(i::VARCHAR) FROM range(3) r(i) LEFT JOIN (FROM pages WHERE {}) ON id = i",
    "SELECT CASE WHEN {} THEN 1 ELSE error(title) END FROM pages",
    "SELECT count(*) FILTER ({}), max(error(title)) FROM pages",
]
_ALL = [shape.replace("{}", each) for shape in _SHAPES for each in _CONDITIONS]
_BARE = "CREATE VIEW bare AS SELECT * FROM (FROM pages WHERE {}) USING SAMPLE 100% (system)"


def _settings_in(settings: Settings, directory: Path) -> Settings:
    directory.mkdir()
    return settings.model_copy(
        update={"database_path": directory / "test.db", "temp_directory": directory / "temp"}
    )


@contextmanager
def _instance(settings: Settings, *scripts: str) -> Iterator[DuckDBInstance]:
    opened = DuckDBInstance(settings)
    opened.open()
    connection = opened.cursor()
    for script in scripts:
        connection.execute(script)
    connection.close()
    yield opened
    opened.close()


@pytest.fixture
def pair(settings: Settings, tmp_path: Path) -> Iterator[tuple[DuckDBInstance, DuckDBInstance]]:
    """Return a database with hidden rows, and one with nothing but the visible ones."""
    whole = _settings_in(settings, tmp_path / "whole")
    part = _settings_in(settings, tmp_path / "part")
    with (
        _instance(whole, _TABLE, _HIDDEN, _VISIBLE) as first,
        _instance(part, _TABLE, _VISIBLE) as second,
    ):
        yield first, second


@contextmanager
def _entered(
    instance: DuckDBInstance, row_filter: str, table: str = "pages"
) -> Iterator[Connection]:
    scopes = Scopes(instance)
    connection = instance.cursor()
    scopes.enter(connection, Scope((TableGrant(table, row_filter=row_filter),)))
    yield connection
    connection.close()
    scopes.close()


def _outcome(connection: Connection, sql: str) -> str:
    """Return the rows, or that it failed: on which row first depends on threads."""
    try:
        return repr(connection.execute(sql).fetchall())
    except duckdb.InvalidInputException:
        return "failed"


def _differences(
    whole: Connection, part: Connection, *, prepare: Callable[[str], str]
) -> list[str]:
    statements = [prepare(sql) for sql in _ALL]
    return [sql for sql in statements if _outcome(whole, sql) != _outcome(part, sql)]


@pytest.mark.parametrize("row_filter", _FILTERS)
def test_no_statistics_of_a_column_pass_the_filter(
    pair: tuple[DuckDBInstance, DuckDBInstance], row_filter: str
) -> None:
    with _entered(pair[0], row_filter) as whole, _entered(pair[1], row_filter) as part:
        for each in _EXPRESSIONS:
            sql = f"SELECT stats({each}) FROM pages LIMIT 1"
            assert _outcome(whole, sql) == _outcome(part, sql), each


@pytest.mark.parametrize("row_filter", _FILTERS)
def test_no_condition_is_decided_by_hidden_values(
    pair: tuple[DuckDBInstance, DuckDBInstance], row_filter: str
) -> None:
    with _entered(pair[0], row_filter) as whole, _entered(pair[1], row_filter) as part:
        assert _differences(whole, part, prepare=str) == []


def test_behind_a_sample_alone_hidden_values_decide(
    pair: tuple[DuckDBInstance, DuckDBInstance],
) -> None:
    whole, part = (each.cursor() for each in pair)
    for connection in (whole, part):
        connection.execute(_BARE.replace("{}", _FILTERS[0]))
    different = _differences(whole, part, prepare=lambda sql: sql.replace("pages", "bare"))
    told = [
        each
        for each in _EXPRESSIONS
        if len({_outcome(c, f"SELECT stats({each}) FROM bare LIMIT 1") for c in (whole, part)}) == 2
    ]
    for connection in (whole, part):
        connection.close()
    assert len(different) > 30
    assert len(told) > 20


def test_values_and_types_of_every_kind_come_through_unchanged(settings: Settings) -> None:
    # A file that DuckDB 1.5.5 reads cannot hold these two.
    newer = "EXCLUDE (empty_struct, tuple)" if duckdb.__version__ >= "2" else ""
    every = (
        f"CREATE TABLE every AS SELECT * {newer}, row_number() OVER () AS id FROM test_all_types()"
    )
    with _instance(settings, every) as instance, _entered(instance, "id > 0", "every") as narrowed:
        connection = instance.cursor()
        names = [row[0] for row in connection.execute("DESCRIBE every").fetchall()]
        for name in names:
            texts = f'SELECT CAST("{name}" AS VARCHAR), id FROM every ORDER BY id'
            assert narrowed.execute(texts).fetchall() == connection.execute(texts).fetchall(), name
            kind = f'SELECT DISTINCT typeof("{name}") FROM every'
            told, seen = (each.execute(kind).fetchall()[0][0] for each in (connection, narrowed))
            assert seen == ("VARCHAR" if told.startswith("ENUM") else told), name
        connection.close()
    assert len(names) > 40
