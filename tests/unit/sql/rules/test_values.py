"""Values and shapes that DuckDB does not survive, or does not stop for: refused, and nothing near them."""

# ruff: noqa: E501 - statements, one a line

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from chronoduck.engine.live_definitions import LiveDefinitions
from chronoduck.errors import StatementRefusedError
from chronoduck.principals import Role
from chronoduck.sql.guard import Guard
from chronoduck.sql.statements import StatementParser

WIDE = "(SELECT " + ", ".join(f"1 AS c{i}" for i in range(60)) + ")"
DEEP = "(repeat('[', 2000) || repeat(']', 2000))"


@pytest.fixture(scope="module")
def guard() -> Iterator[Guard]:
    with duckdb.connect() as database:
        database.execute(
            "CREATE TABLE t (a INTEGER, b VARCHAR, j JSON, d DATE, ts TIMESTAMP, variant INT)"
        )
        database.execute("CREATE MACRO often(x) AS repeat(x, 90000)")
        database.execute("CREATE MACRO bar_of(x) AS repeat('#', x)")
        database.execute("CREATE VIEW long_view AS SELECT repeat('a', 90000) AS s")
        parser = StatementParser()
        opened = Guard(parser, LiveDefinitions(database.cursor))
        yield opened
        opened.close()
        parser.close()


@pytest.mark.parametrize(
    ("rule", "sql"),
    [
        # JSON to VARIANT, however the cast is written.
        ("variant", f"SELECT {DEEP}::JSON::VARIANT"),
        ("variant", f"SELECT CAST({DEEP}::JSON AS VARIANT)"),
        ("variant", f"SELECT TRY_CAST({DEEP}::JSON AS variant)"),
        ("variant", f'SELECT {DEEP}::JSON::"VARIANT"'),
        ("variant", f"SELECT {DEEP}::JSON::main.variant"),
        ("variant", "SELECT j::VARIANT FROM t"),
        ("variant", "SELECT variant '1'"),
        ("variant", "SELECT 1::VARIANT"),
        ("variant", "SELECT {'a': j}::STRUCT(a VARIANT) FROM t"),
        ("variant", "SELECT [j]::VARIANT[] FROM t"),
        ("variant", "SELECT [j]::VARIANT[3] FROM t"),
        ("variant", "SELECT map([1], [j])::MAP(INTEGER, VARIANT) FROM t"),
        ("variant", "SELECT j::UNION(a INTEGER, b VARIANT) FROM t"),
        ("variant", "WITH RECURSIVE r AS (SELECT NULL::VARIANT v UNION ALL SELECT j FROM t) FROM r"),
        ("variant", "EXPLAIN ANALYZE SELECT j::VARIANT FROM t"),
        ("variant", "CREATE TABLE v AS SELECT j::VARIANT FROM t"),
        ("variant", "CREATE TABLE v (a VARIANT)"),
        ("variant", 'CREATE TABLE v ("a" "variant")'),
        ("variant", "CREATE TABLE v (a TIMESTAMP WITH TIME ZONE, b VARIANT)"),
        ("variant", "CREATE TABLE v (a INTEGER DEFAULT (extract(day FROM DATE '2020-01-01')), b VARIANT)"),
        ("variant", "CREATE TABLE v (a STRUCT(x INTEGER, y VARIANT))"),
        ("variant", "CREATE TABLE v (a MAP(VARCHAR, VARIANT))"),
        ("variant", "CREATE TABLE v (a VARIANT[])"),
        ("variant", "CREATE TABLE v (a JSON, b INTEGER DEFAULT (CAST('1' AS VARIANT)::INTEGER))"),
        ("variant", "CREATE TABLE v (a JSON, b INTEGER CHECK (a::VARIANT IS NOT NULL))"),
        ("variant", "CREATE TEMP TABLE v (a main.VARIANT)"),
        ("variant", "ALTER TABLE t ADD COLUMN v VARIANT"),
        ("variant", "ALTER TABLE t ALTER j TYPE VARIANT"),
        ("variant", "ALTER TABLE t ALTER COLUMN j SET DATA TYPE VARIANT USING j"),
        ("variant", "CREATE TYPE v AS VARIANT"),
        ("variant", "CREATE TYPE v AS STRUCT(a VARIANT)"),
        ("variant", "CREATE MACRO m(x) AS x::VARIANT"),
        ("variant", "CREATE VIEW v AS SELECT j::VARIANT AS v FROM t"),
        ("variant", "INSERT INTO t (j) SELECT j::VARIANT FROM t"),
        ("variant", "UPDATE t SET j = j::VARIANT"),
        ("variant", "DELETE FROM t WHERE j::VARIANT IS NULL"),
        ("variant", "MERGE INTO t USING (SELECT j::VARIANT AS v FROM t) s ON true WHEN MATCHED THEN DELETE"),
        ("engine-internals", f"SELECT cast_to_type({DEEP}::JSON, a) FROM t"),
        ("engine-internals", f"SELECT replace_type({DEEP}::JSON, NULL::JSON, a) FROM t"),
        # Structures of JSON are literals, and not deep.
        ("nesting", """SELECT from_json('[]', repeat('[', 200) || '"INT"' || repeat(']', 200))"""),
        ("nesting", "SELECT json_transform(j, $1) FROM t"),
        ("nesting", "SELECT json_transform(j, '" + "[" * 60 + '"INT"' + "]" * 60 + "') FROM t"),
        ("literal-size", "SELECT length(json_pretty(repeat('[', 20000) || repeat(']', 20000)))"),
        ("nesting", "SELECT json_pretty('" + "[" * 1_001 + "]" * 1_001 + "')"),
        ("nesting", "SELECT '" + '{"a":' * 1_001 + "1" + "}" * 1_001 + "'::JSON"),
        ("literal-size", "SELECT json_keys((repeat('[', 90000) || repeat(']', 90000))::JSON)"),
        # A column before the point is the first argument.
        ("literal-size", "SELECT b.repeat(2000000000) FROM t"),
        ("literal-size", "SELECT t.b.lpad(2000000000, 'x') FROM t"),
        ("literal-size", "SELECT x.b.repeat(2000000000) FROM (SELECT {'b': b} AS x FROM t)"),
        ("literal-size", "SELECT b.repeat(90000).repeat(90000) FROM t"),
        ("literal-size", "SELECT a.reservoir_quantile(0.5, 2147483647) FROM t"),
        ("literal-size", "SELECT a.bar(0, 10, 2000000000) FROM t"),
        ("literal-size", "UPDATE t SET b = b.repeat(2000000000)"),
        ("literal-size", "CREATE MACRO m(x) AS x.repeat(2000000000)"),
        ("literal-size", "SELECT main.repeat('x', 2000000000)"),
        ("nesting", "SELECT b.from_json(b) FROM t"),
        ("nesting", "SELECT b.json_transform('" + "[" * 60 + '"INT"' + "]" * 60 + "') FROM t"),
        # What follows JSON to any depth.
        ("json-depth", "SELECT json_contains(repeat('[', 90000) || repeat(']', 90000), '1')"),
        ("json-depth", "SELECT json_contains(j, '1') FROM t"),
        ("json-depth", "SELECT j.json_contains('1') FROM t"),
        ("json-depth", "SELECT json_contains(b::JSON, '1') FROM t"),
        ("json-depth", "SELECT json_contains(?, '1')"),
        ("json-depth", "SELECT json_contains((SELECT string_agg('[', '') FROM range(450000)), '1')"),
        ("json-depth", "SELECT list_filter([j], x -> json_contains(x, '1')) FROM t"),
        ("json-depth", "UPDATE t SET b = 'x' WHERE main.json_contains(j, '1')"),
        ("json-depth", "CREATE MACRO m(x) AS json_contains(x, '1')"),
        ("json-depth", "CREATE INDEX i ON t ((\"json_contains\"(j, '1')))"),
        ("json-depth", "ALTER TABLE t ALTER b TYPE BOOLEAN USING json_contains(b, '1')"),
        # Values inside of values.
        ("nesting", "SELECT " + "{'a':" * 51 + "1" + "}" * 51),
        ("nesting", "SELECT " + "[" * 51 + "1" + "]" * 51),
        ("nesting", "SELECT " + "MAP {'a':" * 26 + "1" + "}" * 26),
        ("nesting", "SELECT " + "row(" * 51 + "1" + ")" * 51),
        ("nesting", "SELECT NULL::" + "STRUCT(a " * 60 + "INTEGER" + ")" * 60),
        ("nesting", "SELECT NULL::INTEGER" + "[]" * 60),
        # Long values.
        ("literal-size", f"SELECT repeat('{'x' * 100}', 100000)"),
        ("literal-size", "SELECT repeat(repeat('a', 9000), 9000)"),
        ("literal-size", "SELECT repeat(s, 90000) FROM (SELECT repeat('a', 90000) AS s)"),
        ("literal-size", "WITH x AS (SELECT repeat('a', 90000) AS s) SELECT repeat(s, 90000) FROM x"),
        ("literal-size", "SELECT repeat(s, 90000) FROM long_view"),
        ("literal-size", "SELECT often(often('a'))"),
        ("literal-size", "SELECT often(s) FROM long_view"),
        ("literal-size", "SELECT replace(repeat('a', 90000), 'a', repeat('b', 90000))"),
        ("literal-size", "SELECT " + "replace(" * 30 + "'a'" + ", 'a', 'aa')" * 30),
        ("literal-size", "SELECT regexp_replace(repeat('ab', 45000), '(a|b)', '" + "\\1" * 5000 + "', 'g')"),
        ("literal-size", "SELECT array_to_string(range(900000), repeat('x', 100))"),
        ("literal-size", "SELECT list_transform(range(900000), x -> repeat('x', 1000))"),
        ("literal-size", "SELECT range(TIMESTAMP '2020-01-01', TIMESTAMP '2024-01-01', INTERVAL 1 SECOND)"),
        ("literal-size", "SELECT range(DATE '0001-01-01', DATE '9999-01-01', INTERVAL 1 MINUTE)"),
        ("literal-size", "SELECT generate_series('2020-01-01'::TIMESTAMPTZ, now(), '1 second'::INTERVAL)"),
        ("literal-size", "SELECT range(now() - INTERVAL 10 YEAR, now(), INTERVAL '500 milliseconds')"),
        ("literal-size", "SELECT range(TIMESTAMP '2020-01-01', 'infinity'::TIMESTAMP, INTERVAL 1 DAY)"),
        ("literal-size", "SELECT range(make_date(1, 1, 1), make_date(9999, 1, 1), INTERVAL 1 MINUTE)"),
        ("literal-size", "SELECT count(*) FROM unnest(range(DATE '1000-01-01', today(), INTERVAL 1 SECOND))"),
        ("literal-size", "SELECT range(DATE '2020-01-01', DATE '2021-01-01', $1)"),
        ("literal-size", "SELECT reservoir_quantile(i, 0.5, 2147483647) FROM range(20) t(i)"),
        ("literal-size", "SELECT min(i, 2000000000) FROM range(20) t(i)"),
        ("literal-size", f"SELECT '{'9' * 20_000}'::BIGNUM"),
        ("literal-size", "SELECT repeat('9', 20000)::BIGNUM"),
        ("literal-size", "SELECT printf('%*d', 1000000000, 1)"),
        ("literal-size", "SELECT printf('%-*d', 1000000000, 1)"),
        ("literal-size", "SELECT printf('%.*f', 1000000000, 1.0)"),
        ("literal-size", "SELECT printf('%1000' || '000000d', 1)"),
        ("literal-size", "SELECT format('{:{}}', 'a', 1000000000)"),
        ("literal-size", "SELECT format('{0:{1}}', 'a', 1000000000)"),
        ("literal-size", "SELECT repeat('x', epoch_ms(now()))"),
        ("literal-size", "SELECT repeat('x', ('9' || '999999')::INTEGER)"),
        # Patterns that are matched by trying.
        ("literal-size", "SELECT repeat('a', 90000) GLOB '" + "*a" * 4000 + "b'"),
        ("literal-size", "SELECT repeat('a', 90000) GLOB '*a*a*ab'"),
        ("literal-size", "SELECT repeat('a', 90000) LIKE '%a_%a_%ab'"),
        ("literal-size", "SELECT repeat('a', 90000) ILIKE '" + "%a_" * 40 + "b'"),
        ("literal-size", "SELECT repeat('a', 90000) NOT LIKE '%a!_%a_%a_%ab' ESCAPE '!'"),
        ("literal-size", "SELECT b GLOB '" + "*a" * 20 + "' FROM t"),
        ("literal-size", "SELECT b GLOB repeat('*a', 4000) FROM t"),
        ("literal-size", "SELECT levenshtein(repeat('a', 90000), repeat('b', 90000))"),
        # Shapes of queries.
        ("too-many-terms", f"SELECT 1 FROM {WIDE} t" + "".join(f" NATURAL JOIN {WIDE} t{i}" for i in range(9))),
        (
            "too-many-terms",
            f"SELECT 1 FROM {WIDE} t"
            + "".join(f" JOIN t t{i} USING ({', '.join(f'c{k}' for k in range(60))})" for i in range(6)),
        ),
        ("too-many-terms", f"SELECT 1 FROM {WIDE} GROUP BY CUBE (c0, c1, c2, c3, c4, c5, c6, c7, c8)"),
        ("too-many-terms", f"SELECT 1 FROM {WIDE} GROUP BY ROLLUP (c0, c1, c2, c3), CUBE (c4, c5, c6, c7, c8, c9)"),
    ],
)  # fmt: skip
def test_what_ends_or_holds_the_engine_is_refused(guard: Guard, rule: str, sql: str) -> None:
    with pytest.raises(StatementRefusedError) as caught:
        guard.judge(sql, Role.WRITER)
    assert caught.value.rule == rule, caught.value.detail


@pytest.mark.parametrize(
    "sql",
    [
        # A name is a name.
        "SELECT variant FROM (SELECT 1 AS variant) variant",
        "SELECT b variant, t.a AS variant FROM t",
        "SELECT variant.a FROM t AS variant",
        "CREATE TABLE v (variant VARCHAR, b INTEGER, PRIMARY KEY (variant))",
        "CREATE TABLE v (b INTEGER, variant STRUCT(variant VARCHAR, a INTEGER))",
        'CREATE TABLE v ("variant" VARCHAR)',
        "CREATE TABLE variant (variant INTEGER PRIMARY KEY, a INTEGER REFERENCES variant (variant))",
        "ALTER TABLE t ADD COLUMN variant VARCHAR",
        "ALTER TABLE t RENAME COLUMN b TO variant",
        "ALTER TABLE t RENAME b TO variant",
        "ALTER TABLE t DROP COLUMN variant",
        "ALTER TABLE t DROP variant",
        "CREATE INDEX i ON t (variant)",
        "INSERT INTO t (variant, a) VALUES (1, 2)",
        "UPDATE t SET variant = 1, a = variant WHERE variant = 2",
        "CREATE VIEW variant AS SELECT b AS variant FROM t",
        "DROP TABLE IF EXISTS variant",
        # Everyday sizes.
        "SELECT repeat('█', (50 * a / max(a) OVER ())::INTEGER) FROM t",
        "SELECT lpad(a::VARCHAR, 10, '0'), rpad(b, 40), bar(a, 0, 100, 80) FROM t",
        "SELECT bar_of(a) FROM t",
        "SELECT replace(replace(replace(b, '&', '&amp;'), '<', '&lt;'), '>', '&gt;') FROM t",
        "SELECT regexp_replace(b, '[^a-z]+', ' ', 'g'), regexp_extract(b, '(a|b)+') FROM t",
        "SELECT unnest(generate_series(DATE '2000-01-01', DATE '2030-12-31', INTERVAL 1 DAY))",
        "SELECT unnest(generate_series(TIMESTAMP '2024-01-01', TIMESTAMP '2025-01-01', INTERVAL 1 MINUTE))",
        "SELECT generate_series(min(d), max(d), INTERVAL 1 DAY) FROM t",
        "SELECT range(min(ts), max(ts), INTERVAL '15 minutes') FROM t",
        "SELECT range(date_trunc('hour', now()::TIMESTAMP) - INTERVAL 1 DAY, now()::TIMESTAMP, INTERVAL 1 MINUTE)",
        "SELECT * FROM range(DATE '1900-01-01', DATE '2100-01-01', INTERVAL 1 HOUR)",
        "SELECT * FROM generate_series(TIMESTAMP '2020-01-01', TIMESTAMP '2024-01-01', INTERVAL 1 SECOND) LIMIT 5",
        "SELECT count(*) FROM range(1000000000)",
        "SELECT list_transform(range(1000), x -> x * x), list_sum([x for x in range(10000) if x % 2 = 0])",
        "SELECT reservoir_quantile(a, 0.5), reservoir_quantile(a, 0.5, 8192), min(a, 3), max(a, 10), approx_top_k(b, 5) FROM t",
        "SELECT arg_max(b, a, 5), arg_min(b, a) FROM t",
        "SELECT printf('%05d %s %.2f %%', a, b, 1.5), format('{} {:>10} {:,} {{}}', a, b, 1234567) FROM t",
        "SELECT format('{0} {1:.3f}', b, a::DOUBLE) FROM t",
        "SELECT 12345678901234567890123456789012345678901234567890::BIGNUM + 1, left(b, 9)::BIGNUM FROM t",
        "SELECT * FROM t WHERE b LIKE '%foo%' AND b NOT ILIKE 'a_c%' AND b GLOB '*.csv' AND b SIMILAR TO 'a.*b'",
        "SELECT * FROM t WHERE b LIKE '%' || a || '%' OR b LIKE concat('%', b, '%')",
        "SELECT * FROM t WHERE b LIKE '%a%b%c%d%e%f%g%h%i%j%'",
        "SELECT levenshtein(b, 'duckdb'), jaro_winkler_similarity(b, 'duck'), damerau_levenshtein(b, 'x') FROM t",
        # JSON.
        "SELECT json_pretty('" + "[" * 900 + "]" * 900 + "'), '[" + "[1]," * 2_000 + "[1]]'::JSON",
        "SELECT j->'a'->>'b', json_extract(j, '$.a[0]'), json_structure('[1]'), json_keys(j) FROM t",
        "SELECT json_contains('[1]'::JSON, '1'), json_merge_patch('{}', '{\"a\": 1}'), json_array(a, b), json_object('a', a) FROM t",
        """SELECT from_json(j, '{"a": "INTEGER", "b": ["VARCHAR"]}'), json_transform(j, '["DOUBLE"]') FROM t""",
        "SELECT j::STRUCT(a INTEGER, b VARCHAR[]), CAST(b AS JSON), to_json(t), '[1, 2]'::JSON::INTEGER[] FROM t",
        "SELECT CAST('" + '{"key": "value", "n": [1, 2, 3]}' + "' AS JSON)",
        "SELECT '[" + "[1, 2, {\"a\": 3}], " * 4_000 + "1]'::JSON",
        # Nested values and shapes.
        "SELECT {'a': {'b': [{'c': MAP {'d': [1, 2]}}]}}, [[[[1]]]], row(1, (2, (3, 4)))",
        "SELECT NULL::STRUCT(a STRUCT(b STRUCT(c INTEGER[][])))",
        "SELECT count(*) FROM t NATURAL JOIN t t2 JOIN t t3 USING (a, b) JOIN t t4 USING (a)",
        "SELECT a, b, d, count(*) FROM t GROUP BY CUBE (a, b, d)",
        "SELECT a, b, d, ts, count(*) FROM t GROUP BY ROLLUP (a, b, d, ts)",
        "SELECT a, b, count(*) FROM t GROUP BY GROUPING SETS ((a, b), (a), ())",
        "SELECT list(struct_pack(a := a, b := b)), array_agg(b ORDER BY a) FROM t",
    ],
)  # fmt: skip
def test_what_is_near_is_not(guard: Guard, sql: str) -> None:
    guard.judge(sql, Role.WRITER)
