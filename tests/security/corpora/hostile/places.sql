-- The same calls and files in other places of a statement, and what hides names of DuckDB.
FROM E'{secret}'
FROM $${secret}$$
FROM $a${secret}$a$
FROM U&'{secret}'
FROM `{secret}`
SELECT * FROM ('{secret}')
FROM ['{secret}']
FROM ('{secret}', '{secret}')
SELECT * FROM '{secret}' AS t(a)
DESCRIBE "{secret}"
SUMMARIZE "{secret}"
DESCRIBE FROM '{secret}'
SHOW "{secret}"
PIVOT '{secret}' ON a
PIVOT "{secret}" ON a
UNPIVOT "{secret}" ON COLUMNS(*)
FROM '{secret}' PIVOT (count(*) FOR a IN (1))
FROM users PIVOT (count(*) FOR name IN (SELECT content FROM read_text('{secret}')))
FROM users |> SELECT *
FROM '{secret}' |> SELECT *
SELECT * FROM users POSITIONAL JOIN '{secret}'
SELECT * FROM users, LATERAL (FROM '{secret}')
SELECT (FROM '{secret}')
SELECT [x FOR x IN (SELECT content FROM read_text('{secret}'))]
SELECT COLUMNS(x -> x IN (SELECT content FROM read_text('{secret}'))) FROM users
SELECT COLUMNS(lambda x: x = (SELECT content FROM read_text('{secret}'))) FROM users
SELECT * EXCLUDE (name) REPLACE ((SELECT content FROM read_text('{secret}')) AS id) FROM users
SELECT id FROM users ORDER BY (SELECT content FROM read_text('{secret}'))
SELECT id FROM users LIMIT (SELECT length(content) FROM read_text('{secret}'))
SELECT id FROM users OFFSET (SELECT length(content) FROM read_text('{secret}'))
SELECT id FROM users LIMIT (SELECT length(content) FROM read_text('{secret}'))%
SELECT sum(id) OVER (ORDER BY (SELECT content FROM read_text('{secret}'))) FROM users
SELECT sum(id) OVER (ROWS BETWEEN (SELECT length(content) FROM read_text('{secret}')) PRECEDING AND CURRENT ROW) FROM users
SELECT sum(id) FILTER (WHERE (SELECT content FROM read_text('{secret}')) <> '') FROM users
SELECT id FROM users QUALIFY row_number() OVER () = (SELECT length(content) FROM read_text('{secret}'))
SELECT sum(id ORDER BY (SELECT content FROM read_text('{secret}'))) FROM users
SELECT id FROM users GROUP BY GROUPING SETS ((id, (SELECT content FROM read_text('{secret}'))))
WITH RECURSIVE r AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM r, read_text('{secret}') WHERE a < 3) FROM r
WITH RECURSIVE r(a) USING KEY (a) AS (SELECT 1 UNION SELECT a + 1 FROM r, read_text('{secret}') WHERE a < 3) FROM r
SELECT struct_pack(a := (SELECT content FROM read_text('{secret}')))
SELECT MAP {{'a': (SELECT content FROM read_text('{secret}'))}}
SELECT 1 IN (SELECT content FROM read_text('{secret}'))
SELECT x.y.z FROM (SELECT {{'y': {{'z': (SELECT content FROM read_text('{secret}'))}}}} AS x)
SELECT content FROM (read_text('{secret}'))
SELECT t.* FROM read_text('{secret}') AS t
SELECT (['{secret}']).read_text()
SELECT main.read_text('{secret}')
SELECT unnest(read_text('{secret}'))
FROM system.main.read_text('{secret}')
FROM system.read_text('{secret}')
FROM "system"."main"."read_text"('{secret}')
FROM pg_catalog.read_text('{secret}')
FROM READ_TEXT('{secret}')
FROM read_text(E'{secret}')
FROM read_blob(['{secret}'])
FROM read_csv_auto('{secret}')
FROM parquet_scan('{secret}')
FROM read_duckdb('{db}')
FROM read_avro('{secret}')
FROM read_vortex('{secret}')
FROM st_read('{secret}')
FROM read_xlsx('{secret}')
FROM query('FROM read_text(''{secret}'')')
FROM query($$FROM '{secret}'$$)
FROM query_table('{secret}')
FROM query_table(['{secret}'])
FROM query_table("{secret}")
FROM query_table('users')
SELECT * FROM json_execute_serialized_sql('{{}}')
SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))
SELECT json_serialize_plan('SELECT * FROM read_text(''{secret}'')')
SELECT json_deserialize_sql(json_serialize_sql('SELECT 1'))
FROM sql_auto_complete('SELECT * FROM ''/etc/pas')
CALL sql_auto_complete('SELECT')
FROM check_peg_parser('SELECT 1')
FROM duckdb_logs
FROM duckdb_logs()
FROM duckdb_logs_parsed('QueryLog')
FROM duckdb_log_contexts()
CALL enable_logging(level := 'trace')
FROM enable_profiling()
FROM duckdb_settings
FROM duckdb_settings()
FROM duckdb_databases
FROM duckdb_databases()
FROM pragma_database_list
FROM pragma_database_list()
FROM duckdb_secrets()
FROM duckdb_temporary_files()
FROM duckdb_external_file_cache()
FROM duckdb_extensions()
FROM duckdb_variables()
FROM duckdb_prepared_statements()
FROM duckdb_live_query_metrics()
FROM pg_catalog.pg_settings
FROM pg_settings
FROM pg_catalog.pg_prepared_statements
FROM pragma_storage_info('users')
FROM pragma_table_info('users')
FROM pragma_show('users')
FROM pragma_metadata_info('test')
FROM pragma_database_size()
FROM pragma_user_agent()
FROM pragma_platform()
FROM pragma_collations()
FROM pragma_version()
FROM duckdb_table_sample('users')
FROM sniff_csv('{secret}')
FROM glob('{secret}*')
FROM glob(['/etc/*'])
FROM parquet_metadata('{secret}')
FROM parquet_file_metadata('{secret}')
FROM parquet_kv_metadata('{secret}')
FROM parquet_schema('{secret}')
FROM parquet_bloom_probe('{secret}', 'a', 1)
FROM parquet_full_metadata('{secret}')
FROM which_secret('s3://a', 's3')
SELECT current_setting('TEMP_DIRECTORY')
SELECT current_setting(chr(116) || 'emp_directory')
SELECT current_setting(setting_name := 'temp_directory')
SELECT system.main.current_setting('temp_directory')
SELECT pg_catalog.current_setting('temp_directory')
SELECT pg_sleep(1)
SELECT sleep_ms(1000)
INSERT INTO users VALUES (10, (SELECT content FROM read_text('{secret}')))
INSERT INTO users (id, name) SELECT 11, a FROM '{secret}'
INSERT INTO users BY NAME FROM '{secret}'
INSERT INTO users TABLE "{secret}"
INSERT OR REPLACE INTO users SELECT 1, a FROM '{secret}'
INSERT INTO users VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET name = (FROM '{secret}')
INSERT INTO users VALUES (12, 'x') RETURNING (SELECT content FROM read_text('{secret}'))
INSERT INTO users SELECT 13, 'x' RETURNING (FROM '{secret}')
INSERT INTO '{secret}' VALUES (1)
INSERT INTO "{secret}" VALUES (1)
UPDATE users SET name = (FROM '{secret}')
UPDATE users SET name = a FROM '{secret}'
UPDATE '{secret}' SET a = 1
DELETE FROM users USING '{secret}' s WHERE s.a = name
DELETE FROM '{secret}'
MERGE INTO users USING '{secret}' s ON s.a = name WHEN MATCHED THEN DELETE
MERGE INTO users USING "{secret}" s ON s.a = name WHEN MATCHED THEN DELETE
MERGE INTO users USING (FROM '{secret}') s ON s.a = name WHEN MATCHED THEN DELETE
MERGE INTO users USING (SELECT 1 AS k) s ON s.k = id WHEN MATCHED THEN UPDATE SET name = (FROM '{secret}')
MERGE INTO users USING (SELECT 1 AS k) s ON s.k = id AND EXISTS (FROM '{secret}') WHEN MATCHED THEN DELETE
MERGE INTO users USING (SELECT 1 AS k) s ON s.k = id WHEN MATCHED AND EXISTS (FROM '{secret}') THEN DELETE
MERGE INTO users USING (SELECT 99 AS k) s ON s.k = id WHEN NOT MATCHED THEN INSERT VALUES (99, (FROM '{secret}'))
MERGE INTO users USING (SELECT 99 AS k) s ON s.k = id WHEN NOT MATCHED THEN ERROR (SELECT content FROM read_text('{secret}'))
MERGE INTO users USING (SELECT 1 AS k) s ON s.k = id WHEN MATCHED THEN UPDATE SET name = 'z' RETURNING (FROM '{secret}')
MERGE INTO users USING (SELECT 1 AS k) s ON s.k = id WHEN MATCHED THEN UPDATE SET name = (SELECT value FROM duckdb_settings() LIMIT 1)
MERGE INTO users USING duckdb_settings() s ON s.name = users.name WHEN NOT MATCHED BY TARGET THEN INSERT VALUES (5, s.value)
MERGE INTO users USING duckdb_databases s ON s.database_name = users.name WHEN NOT MATCHED BY TARGET THEN INSERT VALUES (5, s.path)
MERGE INTO users USING users s USING (id) WHEN MATCHED THEN UPDATE SET name = getenv('HOME')
WITH s AS (FROM '{secret}') MERGE INTO users USING s ON true WHEN MATCHED THEN DELETE
WITH s AS (FROM '{secret}') INSERT INTO users SELECT 14, a FROM s
WITH s AS (FROM '{secret}') UPDATE users SET name = a FROM s
WITH s AS (FROM '{secret}') DELETE FROM users USING s
WITH s AS (INSERT INTO users SELECT 51, a FROM '{secret}' RETURNING *) FROM s
WITH s AS (UPDATE users SET name = (FROM '{secret}') RETURNING *) FROM s
WITH s AS (DELETE FROM users RETURNING (FROM '{secret}')) FROM s
WITH s AS (MERGE INTO users USING (SELECT 1 AS k) s ON s.k = id WHEN MATCHED THEN UPDATE SET name = (FROM '{secret}') RETURNING *) FROM s
WITH s AS (COPY users TO '{temp}/x.csv') FROM s
WITH s AS (COPY (SELECT 1) TO '{secret}') SELECT 1
CREATE TABLE z1 AS FROM '{secret}'
CREATE TABLE z2 AS SELECT * FROM "{secret}"
CREATE TABLE z3 (a VARCHAR DEFAULT (SELECT content FROM read_text('{secret}')))
CREATE TABLE z4 (a VARCHAR DEFAULT getenv('HOME'))
CREATE TABLE z4b (a VARCHAR DEFAULT current_setting('temp_directory'))
CREATE TABLE z5 (a VARCHAR CHECK (a <> getenv('HOME')))
CREATE TABLE z6 (a VARCHAR, b VARCHAR AS (getenv(a)))
CREATE TABLE z7 (a VARCHAR, b VARCHAR GENERATED ALWAYS AS (current_setting(a)) VIRTUAL)
CREATE TYPE t1 AS ENUM (SELECT content FROM read_text('{secret}'))
CREATE TYPE t2 AS ENUM (FROM '{secret}')
CREATE VIEW w1 AS FROM '{secret}'
CREATE VIEW w2 AS SELECT * FROM duckdb_settings()
CREATE MACRO m1() AS (SELECT content FROM read_text('{secret}'))
CREATE MACRO m2() AS TABLE FROM '{secret}'
CREATE MACRO m3(a) AS TABLE FROM query(a)
CREATE MACRO m4(a) AS TABLE FROM query_table(a)
CREATE MACRO m5(a := (SELECT content FROM read_text('{secret}'))) AS a
CREATE MACRO m6(a, b := getenv('HOME')) AS b
CREATE FUNCTION m7(a := current_setting('temp_directory')) AS TABLE SELECT a
CREATE INDEX i1 ON users ((getenv(name)))
CREATE INDEX i2 ON users USING ART (id) WITH (x = getenv('HOME'))
ALTER TABLE users ADD COLUMN c1 VARCHAR DEFAULT getenv('HOME')
ALTER TABLE users ADD COLUMN c2 VARCHAR DEFAULT (SELECT content FROM read_text('{secret}'))
ALTER TABLE gen ALTER b TYPE VARCHAR USING (SELECT content FROM read_text('{secret}'))
ALTER TABLE gen ALTER b TYPE VARCHAR USING getenv('HOME')
ALTER TABLE gen ALTER b SET DEFAULT getenv('HOME')
ALTER TABLE gen ALTER b SET DATA TYPE VARCHAR USING current_setting('temp_directory')
ALTER TABLE gen SET SORTED BY (getenv('HOME'))
ALTER TABLE gen SET PARTITIONED BY (getenv('HOME'))
ALTER DATABASE test SET ALIAS TO x
ALTER TABLE gen SET SCHEMA sch
CREATE TRIGGER tr AFTER INSERT ON users FOR EACH ROW INSERT INTO gen VALUES (1, 2)
CREATE TRIGGER tr AFTER INSERT ON users FOR EACH ROW INSERT INTO users SELECT 3, content FROM read_text('{secret}')
CREATE SECRET s (TYPE s3, KEY_ID 'a', SECRET 'b')
CREATE PERSISTENT SECRET s (TYPE s3, KEY_ID 'a', SECRET 'b')
CREATE EXTERNAL RESOURCE r
CREATE DATABASE x
CREATE FOREIGN TABLE x
CREATE SERVER x
CREATE TABLE test._chronoduck.zz (a INTEGER)
CREATE TABLE "_chronoduck"."zz" (a INTEGER)
CREATE SCHEMA _chronoduck
CREATE SCHEMA "_CHRONODUCK"
DROP SCHEMA _chronoduck CASCADE
DROP TABLE system.main.users
COPY users TO '{temp}/o.csv'
COPY users TO '{temp}/o.csv' (FORMAT csv, HEADER)
COPY (FROM users) TO '{temp}/o' (FORMAT parquet, PARTITION_BY (id))
COPY users FROM '{secret}' (FORMAT csv, AUTO_DETECT true)
COPY FROM DATABASE test TO test
COPY users TO STDOUT
COPY (SELECT content FROM read_text('{secret}')) TO '{temp}/o.csv'
EXPORT DATABASE '{temp}/e'
IMPORT DATABASE '{temp}/e'
ATTACH '{temp}/a.db'
ATTACH ':memory:' AS mem
ATTACH IF NOT EXISTS '{db}' AS two (READ_ONLY)
USE test.main
SET memory_limit = '1GB'
SET SESSION x = 1
PREPARE p AS SELECT 1
EXECUTE p
DEALLOCATE p
EXPLAIN COPY users TO '{temp}/o.csv'
EXPLAIN ANALYZE COPY users TO '{temp}/o.csv'
EXPLAIN (ANALYZE, FORMAT json) INSERT INTO users FROM '{secret}'
EXPLAIN (FORMAT json, ANALYZE) CREATE TABLE zz AS FROM '{secret}'
EXPLAIN CREATE TABLE zz AS FROM '{secret}'
EXPLAIN ANALYZE CHECKPOINT
EXPLAIN ANALYZE EXPLAIN ANALYZE SELECT 1
EXPLAIN CALL read_text('{secret}')
EXPLAIN ANALYZE SET threads = 1
EXPLAIN ATTACH '{temp}/a.db'
EXPLAIN (ANALYZE, FORMAT 'json', VERBOSE) SELECT 1
EXPLAIN ANALYZE MERGE INTO users USING '{secret}' s ON s.a = name WHEN MATCHED THEN DELETE
EXPLAIN PIVOT users ON name
EXPLAIN ANALYZE PIVOT users ON name
EXPLAIN ANALYZE PIVOT '{secret}' ON a
PIVOT users ON name USING first((SELECT content FROM read_text('{secret}')))
PIVOT users ON (SELECT content FROM read_text('{secret}'))
PIVOT users ON name || getenv('HOME')
PIVOT users ON name IN (FROM '{secret}')
PIVOT (FROM '{secret}') ON a
PIVOT duckdb_settings() ON name USING first(value)
PIVOT (SELECT * FROM duckdb_settings()) ON name USING first(value)
FROM (PIVOT duckdb_databases ON database_name USING first(path))
UNPIVOT duckdb_settings() ON value
UNPIVOT (FROM duckdb_settings()) ON COLUMNS('v.*')
CREATE TABLE pz AS PIVOT users ON name
CREATE TABLE pz2 AS PIVOT '{secret}' ON a
CREATE VIEW pv AS PIVOT users ON name
INSERT INTO users PIVOT '{secret}' ON a
CREATE TABLE pz3 AS FROM users PIVOT (first(getenv('HOME')) FOR name IN ('Ada'))
CONNECT TO x
CREATE TYPE json AS VARCHAR
CREATE OR REPLACE TYPE "JSON" AS INTEGER
CREATE TYPE IF NOT EXISTS main.variant AS VARCHAR
CREATE VIEW duckdb_tables AS SELECT 1 AS a
CREATE OR REPLACE TEMP VIEW duckdb_columns AS FROM users
CREATE TABLE sqlite_master (a INTEGER)
CREATE TABLE main.pg_class AS FROM users
ALTER VIEW harmless_view RENAME TO duckdb_views
ALTER TABLE users RENAME TO pg_tables
CREATE TABLE q AS SELECT * FROM users AT (VERSION => 1)
SELECT * FROM users AT (TIMESTAMP => now()), read_text('{secret}')
FROM users SELECT (FROM read_text('{secret}') SELECT content)
FROM users WHERE id = ANY (FROM read_text('{secret}') SELECT size)
SELECT * FROM users WHERE (id, name) IN (SELECT size, content FROM read_text('{secret}'))
SELECT list_reduce([1, 2], lambda x, y: x + (SELECT size FROM read_text('{secret}')))
SELECT list_filter(['a'], lambda x: x = getenv('HOME'))
SELECT apply([1], lambda x: current_setting('temp_directory'))
SELECT 'HOME'.getenv()
SELECT ('temp_' || 'directory').current_setting()
SELECT [x.getenv() for x in ['HOME']]
SELECT TRY(getenv('HOME'))
SELECT try(current_setting('temp_directory'))
SELECT CASE 1 WHEN 1 THEN getenv('HOME') END
SELECT users.id, t.* FROM users, LATERAL (SELECT content FROM read_text('{secret}') WHERE users.id = 1) t
SELECT * FROM users NATURAL JOIN read_text('{secret}')
SELECT * FROM users ASOF JOIN read_text('{secret}') r ON users.id >= r.size
SELECT * FROM users ANTI JOIN read_text('{secret}') r ON true
SELECT * FROM users SEMI JOIN glob('{secret}') g ON true
SELECT * FROM (VALUES (getenv('HOME'))) t(a)
SELECT * FROM unnest([getenv('HOME')])
SELECT * FROM range((SELECT size FROM read_text('{secret}')))
SELECT max_by(name, getenv('HOME')) FROM users
SELECT count(DISTINCT getenv('HOME')) FROM users
SELECT first(name ORDER BY getenv('HOME')) FROM users
SELECT sum(id) OVER w FROM users WINDOW w AS (ORDER BY getenv('HOME'))
SELECT * FROM users ORDER BY ALL LIMIT length(getenv('HOME'))
SELECT DISTINCT ON (getenv('HOME')) id FROM users
SELECT id FROM users HAVING getenv('HOME') <> ''
SELECT * REPLACE (getenv('HOME') AS name) FROM users
SELECT COLUMNS(c -> c = getenv('HOME')) FROM users
SELECT UNPACK(COLUMNS(*)), getenv('HOME') FROM users
WITH a(x) AS (SELECT getenv('HOME')), b AS (FROM a) FROM b
WITH RECURSIVE a AS (SELECT getenv('HOME') AS x UNION ALL FROM a WHERE false) FROM a
WITH read_text AS (SELECT 1) SELECT * FROM read_text('{secret}')
WITH users AS (FROM read_csv('{secret}')) FROM users
SELECT * FROM main.duckdb_settings()
SELECT * FROM "duckdb_settings"()
SELECT * FROM DUCKDB_SETTINGS()
SELECT * FROM /* a */ duckdb_settings /* b */ ( /* c */ )
SUMMARIZE SELECT content FROM read_text('{secret}')
DESCRIBE duckdb_settings
SHOW duckdb_databases
SUMMARIZE duckdb_settings
TABLE duckdb_settings
TABLE duckdb_databases
FROM (TABLE pragma_database_list)
(((FROM duckdb_settings())))
SELECT 1 UNION ALL BY NAME SELECT 2 AS x FROM read_text('{secret}')
SELECT 1 EXCEPT ALL SELECT size FROM read_text('{secret}')
SELECT 1 INTERSECT SELECT size FROM read_text('{secret}')
PIVOT users ON name USING count(*) GROUP BY getenv('HOME')
PIVOT (SELECT id, getenv('HOME') AS h FROM users) ON h
PIVOT users ON getenv('HOME')
PIVOT users ON name IN ('Ada') USING first(getenv('HOME'))
UNPIVOT (SELECT getenv('HOME') AS a, 'b' AS b) ON a, b
UNPIVOT users ON COLUMNS(c -> c = getenv('HOME'))
FROM users UNPIVOT (v FOR n IN (name)) WHERE v = getenv('HOME')
EXPLAIN (FORMAT json) SELECT getenv('HOME')
EXPLAIN (ANALYZE, FORMAT graphviz) SELECT getenv('HOME')
EXPLAIN (ANALYZE false) COPY users TO '{temp}/o.csv'
EXPLAIN (ANALYZE 'x') COPY users TO '{temp}/o.csv'
EXPLAIN (FORMAT nothing, ANALYZE) FROM read_text('{secret}')
MERGE INTO users USING users s ON getenv('HOME') = s.name WHEN MATCHED THEN DELETE
MERGE INTO users USING (SELECT 9 AS k) s ON s.k = id WHEN NOT MATCHED BY SOURCE THEN UPDATE SET name = getenv('HOME')
MERGE INTO users USING (SELECT 1 AS k) s ON s.k = id WHEN MATCHED THEN UPDATE SET name = 'HOME'.getenv()
INSERT INTO users (id, name) VALUES (100, getenv('HOME')), (101, 'x')
INSERT INTO users VALUES (102, 'HOME'.getenv())
INSERT INTO users VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET name = getenv('HOME') WHERE true
INSERT INTO users SELECT 103, x FROM (SELECT getenv('HOME') AS x)
UPDATE users SET name = getenv('HOME') WHERE id = 1
UPDATE users SET name = q.x FROM (VALUES (getenv('HOME'))) q(x)
DELETE FROM users WHERE name = getenv('HOME') RETURNING *
DELETE FROM users USING duckdb_settings() s WHERE s.name = users.name
TRUNCATE '{secret}'
CREATE TABLE q (a VARCHAR DEFAULT 'HOME'.getenv())
CREATE TABLE q (a VARCHAR, b VARCHAR GENERATED ALWAYS AS (getenv(a)) STORED)
CREATE TABLE q (a INTEGER CHECK (a > length(getenv('HOME'))))
CREATE TABLE q (LIKE '{secret}')
CREATE UNIQUE INDEX q ON users (getenv(name))
CREATE SEQUENCE q START WITH (SELECT size FROM read_text('{secret}'))
CREATE MACRO q(a) AS a.getenv()
CREATE MACRO q(a) AS TABLE SELECT a.current_setting()
CREATE MACRO q(a, b := (FROM read_text('{secret}'))) AS a
CREATE VIEW q AS SELECT 'HOME'.getenv() AS x
CREATE VIEW q AS FROM evil_view
CREATE TABLE q AS FROM evil_chain
INSERT INTO users SELECT 104, evil_scalar('{secret}')
SELECT evil_setting('temp_directory')
FROM evil_macro('{secret}')
ATTACH '{db}' AS again (READ_ONLY true)
ATTACH 'http://127.0.0.1:{port}/x.db'
ATTACH DATABASE IF NOT EXISTS '{temp}/new.db' AS n (TYPE duckdb, ENCRYPTION_KEY 'x')
DETACH DATABASE IF EXISTS test
COPY (FROM users) TO '{temp}/o' (FORMAT csv, PARTITION_BY (name), OVERWRITE_OR_IGNORE true)
COPY (FROM users) TO '{temp}/o.db' (FORMAT duckdb)
COPY users TO '{secret}' (FORMAT csv, USE_TMP_FILE false)
COPY users TO '{db}' (FORMAT csv, USE_TMP_FILE false)
COPY users FROM 'http://127.0.0.1:{port}/x.csv'
COPY users FROM PROGRAM 'id'
EXPORT DATABASE '{temp}/e' (FORMAT parquet)
CALL enable_logging(storage := 'file', storage_path := '{temp}')
CALL enable_logging('QueryLog', level := 'debug')
SET VARIABLE v = getenv('HOME')
SET search_path = 'system.main'
SET SESSION threads TO 1
RESET GLOBAL threads
PREPARE p AS FROM read_text('{secret}')
EXECUTE p('{secret}')
SELECT 1 ;;; DROP TABLE users
BEGIN; DROP TABLE users; COMMIT
SELECT json_contains(string_agg('[', '') || string_agg(']', ''), '1') FROM range(450000)
SELECT json_contains(a || b, '1') FROM (SELECT string_agg('[', '') AS a, string_agg(']', '') AS b FROM range(450000))
SELECT json_contains((SELECT string_agg('{{"a":', '') FROM range(450000)), name) FROM users
SELECT (SELECT string_agg('[', '') FROM range(450000)).json_contains('1')
SELECT json_contains(array_to_string(list_transform(range(450000), x -> '['), ''), '1')
SELECT name.repeat(2000000000) FROM users
SELECT users.name.repeat(2000000000) FROM users
SELECT name.lpad(2000000000, 'x') FROM users
SELECT u.s.repeat(2000000000) FROM (SELECT {{'s': name}} AS u FROM users)
SELECT name.repeat(90000).repeat(90000).repeat(90000) FROM users
SELECT id.reservoir_quantile(0.5, 2147483647) FROM users
SELECT id.list_resize(2000000000) FROM (SELECT [id] AS id FROM users)
SELECT name.from_json(name) FROM users
SELECT name.like_escape(repeat('%a_', 5000), 'x') FROM users
UPDATE users SET name = name.repeat(2000000000)
SELECT name.getenv() FROM users
SELECT name.current_setting() FROM users
