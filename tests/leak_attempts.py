"""Statements by which a narrowed principal may try to see more than it was granted."""

from __future__ import annotations

__all__ = ["ATTEMPTS", "CHANCE"]

_QUALIFIED = """
SELECT * FROM test.main.pages
SELECT * FROM test.pages
SELECT * FROM "test".main.pages
SELECT * FROM "test"."main"."pages"
SELECT * FROM TEST.MAIN.PAGES
SELECT * FROM tEsT.pages
SELECT * FROM "TEST".pages
SELECT * FROM test . main . pages
SELECT * FROM test/**/./**/main/**/./**/pages
SELECT * FROM "test" . "pages"
SELECT * FROM main.vault_q7x
SELECT * FROM "main"."vault_q7x"
SELECT * FROM MAIN.VAULT_Q7X
SELECT * FROM vault_q7x
SELECT * FROM "vault_q7x"
SELECT * FROM Vault_q7X
TABLE vault_q7x
FROM vault_q7x
FROM test.main.vault_q7x SELECT x
SELECT * FROM hr_q7x.salaries_q7x
SELECT * FROM test.hr_q7x.salaries_q7x
SELECT * FROM "hr_q7x"."pages"
SELECT * FROM hidden_view_q7x
SELECT * FROM leaky
SELECT x FROM main.leaky
SELECT test.main.vault_q7x.x FROM pages
SELECT test.main.pages.title FROM pages
SELECT vault_q7x.x FROM pages
SELECT * FROM temp.pages
SELECT * FROM temp.main.pages
SELECT * FROM system.main.duckdb_tables
SELECT * FROM system.information_schema.tables
SELECT * FROM chronoduck_scope_1.main.pages
SELECT * FROM chronoduck_scope_2.main.pages
SELECT * FROM "".main.pages
SELECT * FROM 'test'.main.pages
SELECT * FROM 'vault_q7x'
SELECT * FROM "test.main.pages"
SELECT * FROM "main.vault_q7x"
SELECT * FROM pages, test.main.vault_q7x
SELECT * FROM pages JOIN test.pages p2 USING (id)
SELECT (SELECT max(x) FROM test.main.vault_q7x)
SELECT * FROM pages WHERE EXISTS (SELECT 1 FROM test.main.vault_q7x)
SELECT * FROM pages WHERE id IN (SELECT column_q7x FROM vault_q7x)
SELECT * FROM pages ORDER BY (SELECT max(x) FROM test.vault_q7x)
SELECT id FROM pages GROUP BY id HAVING (SELECT count(*) FROM test.vault_q7x) > 0
SELECT sum(id) FILTER ((SELECT count(*) FROM test.vault_q7x) > 0) FROM pages
SELECT id FROM pages LIMIT (SELECT count(*) FROM test.main.pages)
SELECT id FROM pages OFFSET (SELECT count(*) FROM test.main.vault_q7x)
SELECT id FROM pages UNION ALL SELECT column_q7x FROM test.vault_q7x
SELECT x.* FROM (VALUES (1)) v, LATERAL (SELECT * FROM test.vault_q7x) x
SELECT * FROM range((SELECT count(*) FROM test.main.pages))
SELECT list_transform([1], lambda e: (SELECT max(x) FROM test.vault_q7x))
SELECT * FROM (PIVOT test.main.pages ON tenant IN ('CANARY tenant') USING count(*))
PIVOT test.main.pages ON tenant USING count(*)
PIVOT pages ON tenant USING count(*)
PIVOT pages ON title
UNPIVOT test.main.vault_q7x ON x
SELECT * FROM pages POSITIONAL JOIN test.main.vault_q7x
SELECT * FROM pages ASOF JOIN test.main.pages q ON pages.id >= q.id
SELECT * FROM test.main.pages USING SAMPLE 3
SELECT * FROM test.pages TABLESAMPLE 100%
SELECT * FROM pages AT (VERSION => 1)
SELECT test.main.peek_q7x()
SELECT test.peek_q7x()
SELECT peek_q7x()
SELECT main.peek_q7x()
SELECT lower_q7x('')
SELECT test.lower_q7x('')
SELECT 'a'.lower_q7x()
SELECT title.lower_q7x() FROM pages
SELECT * FROM all_q7x()
SELECT * FROM test.all_q7x()
SELECT * FROM main.all_q7x()
SELECT test.main.upper('a')
SELECT 'calm'::mood_q7x
SELECT 'calm'::test.main.mood_q7x
SELECT enum_range(NULL::mood_q7x)
SELECT enum_range(NULL::main.mood_q7x)
SELECT enum_last(NULL::test.mood_q7x)
SELECT enum_range(mood) FROM pages LIMIT 1
SELECT typeof(mood) FROM pages LIMIT 1
SELECT enum_range_boundary('calm'::mood_q7x, NULL)
SELECT CAST([NULL] AS test.main.mood_q7x[])
SELECT CAST({'a': NULL} AS STRUCT(a main.mood_q7x))
SELECT TRY_CAST('x' AS mood_q7)
SELECT enum_range(json_transform('null', '"test.main.mood_q7x"'))
SELECT typeof(json_transform('null', '"\\"test\\".\\"main\\".\\"mood_q7x\\""'))
SELECT typeof(json_transform('null', '"STRUCT(a test.main.mood_q7x[])"'))
SELECT typeof(json_transform_strict('null', '"test\\u002emain\\u002emood_q7x"'))
SELECT typeof(json_transform('null', '{"k": ["test.main.mood_q7x"]}'))
SELECT typeof(json_transform('null', '"test.ma' || 'in.mood_q7x"'))
SELECT typeof(json_transform('null', '"test.main.mood_q7x"'::JSON))
SELECT typeof(json_transform('null', {'k': 'test.main.mood_q7x'}::JSON))
SELECT typeof(json_transform(structure := '"test.main.mood_q7x"', json := 'null'))
SELECT typeof(from_json('null', '["test.main.mood_q7x"]'))
SELECT typeof(from_json_strict('null', '["test.main.mood_q7x"]'))
SELECT typeof(json_transform(doc, title)) FROM pages
SELECT json_transform(doc, '{"v": "mood_q7x"}') FROM pages
SELECT json_transform(doc, '{"v": "INTEGER", "a.b": "DECIMAL(9, 2)[]"}') FROM pages
SELECT nextval('seq_q7x')
SELECT currval('seq_q7x')
SELECT nextval('test.main.seq_q7x')
SELECT rowid FROM pages
SELECT max(rowid) FROM pages
SELECT rowid, * FROM visits ORDER BY rowid DESC LIMIT 1
"""
_CATALOG = """
SELECT * FROM duckdb_tables()
SELECT * FROM duckdb_tables
SELECT * FROM main.duckdb_tables
SELECT * FROM duckdb_views()
SELECT * FROM duckdb_views
SELECT * FROM duckdb_columns()
SELECT * FROM duckdb_columns
SELECT * FROM duckdb_constraints()
SELECT * FROM duckdb_databases()
SELECT * FROM duckdb_databases
SELECT * FROM duckdb_schemas()
SELECT * FROM duckdb_functions()
SELECT * FROM duckdb_sequences()
SELECT * FROM duckdb_types()
SELECT * FROM duckdb_types
SELECT * FROM duckdb_indexes()
SELECT * FROM duckdb_indexes
SELECT * FROM duckdb_dependencies()
SELECT * FROM duckdb_settings()
SELECT * FROM duckdb_secrets()
SELECT * FROM duckdb_temporary_files()
SELECT * FROM duckdb_memory()
SELECT * FROM duckdb_variables()
SELECT * FROM duckdb_logs()
SELECT * FROM duckdb_logs
SELECT * FROM duckdb_table_sample('pages')
SELECT * FROM duckdb_table_sample('test.main.pages')
SELECT * FROM duckdb_prepared_statements()
SELECT * FROM duckdb_external_file_cache()
SELECT * FROM information_schema.tables
SELECT * FROM information_schema.columns
SELECT * FROM "information_schema"."tables"
SELECT * FROM INFORMATION_SCHEMA.SCHEMATA
SELECT * FROM information_schema.table_constraints
SELECT * FROM pg_catalog.pg_class
SELECT * FROM pg_class
SELECT * FROM pg_tables
SELECT * FROM pg_catalog.pg_tables
SELECT * FROM pg_views
SELECT * FROM pg_attribute
SELECT * FROM pg_namespace
SELECT * FROM pg_database
SELECT * FROM pg_description
SELECT * FROM pg_type
SELECT * FROM pg_enum
SELECT * FROM pg_proc
SELECT * FROM pg_indexes
SELECT * FROM pg_sequences
SELECT * FROM sqlite_master
SELECT * FROM sqlite_schema
SELECT * FROM main.sqlite_master
SELECT * FROM sqlite_temp_master
SELECT * FROM pragma_database_list
SELECT * FROM pragma_database_size()
SELECT * FROM pragma_table_info('test.main.vault_q7x')
SELECT * FROM pragma_table_info('vault_q7x')
SELECT * FROM pragma_storage_info('pages')
SELECT * FROM pragma_storage_info('test.main.pages')
SELECT * FROM pragma_show('vault_q7x')
SELECT * FROM pragma_metadata_info()
SELECT pg_get_viewdef(1)
SELECT pg_get_constraintdef(1)
SELECT format_type(1, 2)
SELECT col_description(1, 2)
SELECT stats(title) FROM pages
SELECT stats(n) FROM pages LIMIT 1
SELECT vector_type(title) FROM pages
SELECT current_database()
SELECT current_catalog
SELECT "current_catalog"
SELECT CURRENT_CATALOG || title FROM pages
SELECT current_schema
SELECT current_role, current_user, session_user, user
SELECT current_schemas(true)
SELECT current_schema()
SELECT in_search_path('test', 'main')
SELECT current_setting('search_path')
SELECT current_setting('temp_directory')
SELECT getvariable('x')
SELECT current_query()
SELECT txid_current()
SELECT json_serialize_plan('SELECT * FROM test.main.vault_q7x')
SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT * FROM test.main.vault_q7x'))
FROM query('SELECT * FROM test.main.vault_q7x')
FROM query_table('vault_q7x')
FROM query_table('test.main.vault_q7x')
FROM query_table(['test.main.pages', 'test.main.pages'])
FROM query_table('pages')
SELECT * FROM histogram('test.main.pages', title)
SELECT * FROM histogram('pages', title)
SELECT * FROM histogram_values('test.main.pages', title)
SELECT * FROM summary((FROM test.main.vault_q7x))
SELECT * FROM seq_scan('vault_q7x')
SELECT * FROM seq_scan()
SHOW ALL TABLES
SHOW TABLES
SHOW DATABASES
SHOW SCHEMAS
SHOW TABLES FROM test
SHOW TABLES FROM test.main
SHOW TABLES FROM main
SHOW TABLES FROM hr_q7x
SHOW vault_q7x
SHOW test.main.vault_q7x
SHOW search_path
SHOW VARIABLES
SELECT * FROM (SHOW ALL TABLES)
SELECT * FROM (SHOW TABLES)
SELECT name FROM (SHOW DATABASES)
DESCRIBE
DESCRIBE pages
DESCRIBE vault_q7x
DESCRIBE test.main.vault_q7x
DESCRIBE test.pages
DESCRIBE SELECT * FROM test.main.pages
SELECT * FROM (DESCRIBE test.vault_q7x)
DESCRIBE sales.orders
SUMMARIZE pages
SUMMARIZE visits
SUMMARIZE test.main.pages
SUMMARIZE vault_q7x
SUMMARIZE SELECT title FROM pages
SUMMARIZE SELECT * FROM test.pages
"""
_WAYS = """
EXPLAIN SELECT * FROM pages
EXPLAIN ANALYZE SELECT * FROM pages
EXPLAIN ANALYZE SELECT * FROM test.main.vault_q7x
EXPLAIN (FORMAT JSON) SELECT * FROM pages
CREATE TABLE mine AS SELECT * FROM test.main.vault_q7x
CREATE TEMP TABLE mine AS SELECT * FROM test.main.pages
CREATE VIEW mine AS SELECT * FROM test.main.vault_q7x
CREATE OR REPLACE VIEW pages AS SELECT * FROM test.main.pages
CREATE TEMP VIEW pages AS SELECT * FROM test.main.pages
CREATE MACRO m() AS (SELECT max(x) FROM test.vault_q7x)
INSERT INTO pages SELECT * FROM test.main.pages
INSERT INTO owners SELECT column_q7x, x FROM test.vault_q7x RETURNING *
UPDATE pages SET tenant = 'a' RETURNING title
UPDATE test.main.pages SET tenant = 'a' RETURNING title
DELETE FROM pages RETURNING *
DELETE FROM test.main.visits RETURNING agent
MERGE INTO owners USING test.vault_q7x v ON true WHEN MATCHED THEN UPDATE SET name = v.x
WITH d AS (DELETE FROM test.main.vault_q7x RETURNING *) SELECT * FROM d
WITH d AS (INSERT INTO owners SELECT 1, x FROM test.vault_q7x RETURNING *) SELECT * FROM d
COPY (SELECT * FROM test.main.vault_q7x) TO '/tmp/out.csv'
COPY pages TO '/dev/stdout'
COPY test.main.vault_q7x TO 'x.parquet'
EXPORT DATABASE '/tmp/exported'
USE test
USE test.main
SET search_path = 'test.main'
SET schema = 'test.main'
RESET search_path
SET VARIABLE x = (SELECT max(x) FROM test.main.vault_q7x)
PRAGMA table_info('vault_q7x')
PRAGMA show_tables
PRAGMA show_tables_expanded
PRAGMA database_list
PRAGMA storage_info('pages')
PRAGMA show_databases
CALL pragma_table_info('vault_q7x')
CALL duckdb_tables()
PREPARE p AS SELECT * FROM test.main.vault_q7x
EXECUTE p
ATTACH 'test.db' AS other
ATTACH ':memory:' AS other
DETACH chronoduck_scope_1
BEGIN
COMMENT ON TABLE pages IS 'x'
CHECKPOINT
VACUUM pages
ANALYZE
SELECT * FROM pages; SELECT * FROM test.main.vault_q7x
SELECT 1; USE test
SELECT * FROM read_csv('/etc/passwd')
SELECT * FROM '/etc/passwd'
SELECT * FROM 'test.db'
SELECT * FROM 'test.db.wal'
SELECT * FROM read_blob('test.db')
SELECT * FROM read_text('*')
SELECT * FROM glob('*')
SELECT * FROM read_duckdb('test.db')
SELECT * FROM 'x.csv'
SELECT * FROM sales.'x.csv'
SELECT * FROM parquet_metadata('*')
WITH duckdb_tables AS (SELECT 1) SELECT * FROM duckdb_tables
WITH sqlite_master AS (SELECT 1) SELECT * FROM (SELECT * FROM sqlite_master)
WITH a AS (SELECT * FROM duckdb_tables), duckdb_tables AS (SELECT 1) SELECT * FROM a
SELECT * FROM (WITH vault_q7x AS (SELECT 1) SELECT 1), vault_q7x
WITH a AS (SELECT * FROM vault_q7x), vault_q7x AS (SELECT 1) SELECT * FROM a
WITH vault_q7x AS (SELECT * FROM vault_q7x) SELECT * FROM vault_q7x
WITH RECURSIVE vault_q7x AS (SELECT 1 UNION ALL SELECT 1 FROM vault_q7x WHERE false) FROM vault_q7x
WITH pages AS (SELECT * FROM pages) SELECT count(*) FROM pages
WITH pages AS (SELECT * FROM test.main.pages) SELECT * FROM pages
WITH "/etc/passwd" AS (SELECT 1) SELECT * FROM (SELECT 1), "/etc/passwd"
SELECT * FROM pagez
SELECT * FROM vault
SELECT * FROM vault_q7
SELECT * FROM vaults
SELECT * FROM hidden_view
SELECT * FROM salaries
SELECT * FROM sales.salaries
SELECT * FROM hr.salaries
SELECT * FROM sales.pages
SELECT * FROM sales.vault
SELECT peek()
SELECT peek_q7()
SELECT lower_q7('a')
SELECT * FROM all_q7()
SELECT 'x'::mood
SELECT 'x'::mood_q7
SELECT nextval('seq')
SELECT column_q7 FROM pages
SELECT tilte FROM pages
SELECT v.x FROM pages v
SELECT COLUMNS('.*') FROM pages
SELECT COLUMNS(c -> c LIKE '%') FROM pages
SELECT COLUMNS(*) FROM visits
SELECT * LIKE '%q7x%' FROM pages
SELECT * EXCLUDE (nothing) FROM pages
SELECT pages FROM pages ORDER BY id DESC LIMIT 1
SELECT #1 FROM pages
SELECT any_value(title), max(title), min(title) FROM pages
SELECT arg_max(title, n), arg_min(title, n) FROM pages
SELECT first(title), last(title) FROM pages
SELECT list(title) FROM pages
SELECT string_agg(title) FROM pages
SELECT approx_top_k(title, 100) FROM pages
SELECT mode(tenant), histogram(tenant) FROM pages
SELECT count(*), count(DISTINCT tenant), approx_count_distinct(title) FROM pages
SELECT bitstring_agg(n) FROM pages
SELECT bitstring_agg(n) OVER () FROM pages
SELECT bitstring_agg(n, 0, 100) FROM pages
SELECT list_aggregate(list(n), 'bitstring_agg') FROM pages
SELECT list_aggr([n], 'bitstring_agg') FROM pages
SELECT list_aggr(tags, 'stats') FROM pages
SELECT min(n), max(n), min(seen), max(seen), min(price) FROM pages
SELECT DISTINCT tenant FROM visits
SELECT * FROM busy
SELECT * FROM reports
SELECT title FROM busy WHERE title::INTEGER >= 0
SELECT count(*) FROM pages TABLESAMPLE 100%
SELECT count(*) FROM pages WHERE tenant <> 'a'
SELECT count(*) FROM pages WHERE tenant = 'CANARY tenant'
SELECT count(*) FROM pages WHERE NOT (tenant = 'a')
SELECT count(*) FROM pages WHERE tenant IS DISTINCT FROM 'a'
SELECT count(*) FROM pages WHERE n < 0
SELECT count(*) FROM pages WHERE 1 = 1 OR tenant = 'b'
"""
_ORACLES = """
SELECT count(*) FROM pages WHERE title::INTEGER >= 0
SELECT count(*) FROM pages WHERE CAST(title AS INTEGER) IS NOT NULL
SELECT count(*) FROM pages WHERE title::DATE IS NULL
SELECT count(*) FROM pages WHERE CASE WHEN n < 0 THEN error(title) ELSE true END
SELECT count(*) FROM pages WHERE error(CASE WHEN n < 0 THEN title END) IS NULL
SELECT CASE WHEN n < 0 THEN error(title) ELSE title END FROM pages
SELECT count(*) FROM pages WHERE 1 / (n + 1) >= 0 AND sqrt(n) >= 0
SELECT count(*) FROM pages WHERE ln(n + 1) >= 0
SELECT count(*) FROM pages WHERE n::UTINYINT < 100
SELECT count(*) FROM pages WHERE (n * 2147483647::BIGINT * 2147483647) IS NOT NULL
SELECT count(*) FROM pages WHERE mood::VARCHAR::INTEGER IS NULL OR true
SELECT count(*) FROM pages WHERE tags[1]::INTEGER >= 0
SELECT count(*) FROM pages WHERE tags[2]::INTEGER >= 0
SELECT count(*) FROM pages WHERE meta.k[2:]::INTEGER >= 0
SELECT count(*) FROM pages WHERE (doc ->> 'v')::INTEGER >= 0
SELECT count(*) FROM pages WHERE json_extract(doc, '$.v')::INTEGER >= 0
SELECT count(*) FROM pages WHERE strptime(title, '%d') IS NULL OR true
SELECT count(*) FROM pages WHERE regexp_extract(title, '[0-9]+')::INTEGER >= 0
SELECT count(*) FROM pages WHERE decode(encode(title))::INTEGER >= 0
SELECT count(*) FROM pages WHERE unhex(title) IS NOT NULL OR true
SELECT count(*) FROM pages WHERE title::INTEGER = ANY (SELECT n FROM pages)
SELECT count(*) FROM pages WHERE title::INTEGER IN (SELECT agent::INTEGER FROM visits)
SELECT count(*) FROM visits WHERE agent::INTEGER >= 0
SELECT count(*) FROM visits WHERE agent::INTEGER >= 0 AND day >= DATE '1999-01-01'
SELECT count(*) FROM visits WHERE tenant::VARCHAR = 'a' AND agent::INTEGER < 5
SELECT count(*) FROM visits v JOIN pages p ON v.agent::INTEGER = p.title::INTEGER
SELECT count(*) FROM pages p, visits v WHERE p.id = v.page AND v.agent::INTEGER + p.title::INTEGER > 3
SELECT count(*) FROM pages p LEFT JOIN visits v ON p.title::INTEGER = v.page
SELECT count(*) FROM pages p FULL JOIN visits v ON p.title::INTEGER = v.agent::INTEGER
SELECT count(*) FROM pages p SEMI JOIN visits v ON p.title::INTEGER = v.agent::INTEGER
SELECT count(*) FROM pages p ANTI JOIN visits v ON p.title::INTEGER = v.agent::INTEGER
SELECT count(*) FROM pages p ASOF JOIN visits v ON p.title::INTEGER >= v.agent::INTEGER
SELECT p.id, (SELECT count(*) FROM visits v WHERE v.agent::INTEGER = p.title::INTEGER) FROM pages p
SELECT id FROM pages p WHERE EXISTS (FROM visits v WHERE v.agent::INTEGER = p.title::INTEGER % 9)
SELECT max(title::INTEGER) FROM pages
SELECT title::INTEGER AS t, count(*) FROM pages GROUP BY t
SELECT title::INTEGER, count(*) FROM pages GROUP BY ROLLUP (title::INTEGER)
SELECT id FROM pages ORDER BY title::INTEGER, id LIMIT 5
SELECT id FROM pages ORDER BY title::INTEGER DESC, id LIMIT 5 OFFSET 2
SELECT id, sum(title::INTEGER) OVER (ORDER BY id) FROM pages
SELECT id FROM pages QUALIFY row_number() OVER (PARTITION BY title::INTEGER % 3 ORDER BY id) = 1
SELECT id, u::INTEGER FROM (SELECT id, unnest(tags[2:]) AS u FROM pages)
SELECT count(*) FROM pages, unnest(tags) x(u) WHERE u LIKE 't%' OR u::INTEGER >= 0
SELECT count(*) FROM pages, LATERAL (SELECT title::INTEGER AS y) WHERE y >= 0
SELECT list_transform(tags[2:], lambda e: e::INTEGER) FROM pages
SELECT list_filter([title], lambda e: e::INTEGER >= 0) FROM pages
SELECT count(*) FILTER (title::INTEGER >= 0) FROM pages
SELECT title::INTEGER FROM pages INTERSECT SELECT agent::INTEGER FROM visits
SELECT title::INTEGER FROM pages EXCEPT SELECT agent::INTEGER FROM visits
SELECT count(*) FROM (SELECT title FROM pages UNION ALL SELECT agent FROM visits) WHERE title::INTEGER > 1
WITH c AS MATERIALIZED (SELECT * FROM pages) SELECT count(*) FROM c WHERE title::INTEGER >= 0
WITH c AS NOT MATERIALIZED (SELECT * FROM pages) SELECT count(*) FROM c WHERE title::INTEGER >= 0
PIVOT (SELECT title::INTEGER % 2 AS p, n FROM pages) ON p IN (0, 1) USING sum(n)
SUMMARIZE SELECT title::INTEGER FROM pages
SELECT (SELECT title FROM pages WHERE n < 0)
SELECT (SELECT title FROM pages WHERE id = 3)
"""


def _lines(text: str) -> list[str]:
    return text.strip().splitlines()


ATTEMPTS = [
    *_lines(_QUALIFIED),
    *_lines(_CATALOG),
    *_lines(_WAYS),
    *_lines(_ORACLES),
]
CHANCE = [
    "SELECT title FROM pages USING SAMPLE 50%",
    "SELECT title FROM pages TABLESAMPLE reservoir(20)",
    "SELECT title FROM pages ORDER BY random() LIMIT 10",
    "SELECT reservoir_quantile(n, 0.5) FROM pages",
    "SELECT title, uuid() FROM pages",
]
"""Their results differ from one run to the next."""
