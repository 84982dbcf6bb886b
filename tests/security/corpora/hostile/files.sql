-- Reading and writing files. {secret}: a file outside; {db}: the database; {temp}: its spill directory.
FROM '{secret}'
FROM "{secret}"
SELECT * FROM '{secret}'
SELECT * FROM read_text('{secret}')
SELECT content FROM read_text('{secret}')
SELECT * FROM read_blob('{secret}')
SELECT * FROM read_csv('{secret}')
SELECT * FROM read_csv_auto('{secret}')
SELECT * FROM read_csv('{secret}', header = false, columns = {{'a': 'VARCHAR'}})
SELECT * FROM read_json('{secret}')
SELECT * FROM read_json_auto('{secret}')
SELECT * FROM read_json_objects('{secret}')
SELECT * FROM read_json_objects_auto('{secret}')
SELECT * FROM read_ndjson('{secret}')
SELECT * FROM read_ndjson_auto('{secret}')
SELECT * FROM read_ndjson_objects('{secret}')
SELECT * FROM read_parquet('{secret}')
SELECT * FROM parquet_scan('{secret}')
SELECT * FROM parquet_metadata('{secret}')
SELECT * FROM parquet_schema('{secret}')
SELECT * FROM parquet_file_metadata('{secret}')
SELECT * FROM parquet_full_metadata('{secret}')
SELECT * FROM parquet_kv_metadata('{secret}')
SELECT * FROM parquet_bloom_probe('{secret}', 'a', 1)
SELECT * FROM sniff_csv('{secret}')
SELECT * FROM glob('/etc/*')
SELECT * FROM glob('{temp}/**')
SELECT * FROM read_duckdb('{db}')
SELECT * FROM read_blob('{db}')
SELECT * FROM read_blob('{db}.wal')
SELECT * FROM read_blob(['{db}', '{secret}'])
SELECT * FROM read_blob('{temp}/*')
SELECT * FROM read_text('{temp}/spool/*')
SELECT * FROM read_text('/proc/self/environ')
SELECT * FROM read_text('/proc/self/cmdline')
SELECT * FROM read_text('/proc/self/maps')
SELECT * FROM read_text('file://{secret}')
SELECT * FROM read_text('{temp}/../../../../../..{secret}')
SELECT * FROM read_text('/etc/%70asswd')
SELECT * FROM read_csv('/dev/stdin')
SELECT * FROM read_csv('/dev/zero')
SELECT * FROM read_csv('/dev/tcp/127.0.0.1/{port}')
SELECT (SELECT content FROM read_text('{secret}'))
SELECT [x.content for x in (SELECT list(t) FROM read_text('{secret}') t)]
SELECT count(*) FROM users WHERE name IN (SELECT content FROM read_text('{secret}'))
SELECT * FROM users, read_text('{secret}')
SELECT * FROM users JOIN read_text('{secret}') f ON true
SELECT * FROM users LEFT JOIN '{secret}' f ON true
SELECT * FROM users POSITIONAL JOIN read_csv('{secret}')
SELECT * FROM users ASOF JOIN '{secret}' f ON users.id >= f.a
SELECT * FROM users CROSS JOIN "{secret}"
SELECT * FROM users SEMI JOIN '{secret}' USING (id)
SELECT * FROM users, LATERAL (SELECT * FROM read_text('{secret}'))
SELECT * FROM (SELECT * FROM (SELECT * FROM read_text('{secret}')))
WITH f AS (FROM read_text('{secret}')) FROM f
WITH f AS MATERIALIZED (FROM '{secret}') SELECT * FROM f
WITH RECURSIVE r AS (SELECT content FROM read_text('{secret}') UNION ALL SELECT content FROM r) FROM r
SELECT 1 UNION ALL SELECT content FROM read_text('{secret}')
SELECT 1 EXCEPT SELECT 1 FROM '{secret}'
SELECT id FROM users INTERSECT SELECT id FROM '{secret}'
TABLE '{secret}'
TABLE "{secret}"
VALUES ((SELECT content FROM read_text('{secret}')))
SELECT * FROM users ORDER BY (SELECT content FROM read_text('{secret}'))
SELECT * FROM users LIMIT (SELECT count(*) FROM read_text('{secret}'))
SELECT * FROM users QUALIFY row_number() OVER (ORDER BY (SELECT content FROM read_text('{secret}'))) = 1
SELECT sum(id) FILTER (WHERE (SELECT count(*) FROM read_text('{secret}')) > 0) FROM users
SELECT sum(id) OVER (PARTITION BY (SELECT content FROM read_text('{secret}'))) FROM users
SELECT count(*) FROM users GROUP BY (SELECT content FROM read_text('{secret}'))
SELECT count(*) FROM users HAVING (SELECT count(*) FROM read_text('{secret}')) > 0
SELECT CASE WHEN true THEN (SELECT content FROM read_text('{secret}')) END
SELECT EXISTS (FROM read_text('{secret}'))
SELECT 1 WHERE 'x' = ANY (SELECT content FROM read_text('{secret}'))
SELECT ARRAY(SELECT content FROM read_text('{secret}'))
SELECT {{'a': (SELECT content FROM read_text('{secret}'))}}
SELECT list_transform([1], x -> (SELECT content FROM read_text('{secret}')))
DESCRIBE '{secret}'
DESCRIBE SELECT * FROM read_csv('{secret}')
DESCRIBE TABLE '{secret}'
SUMMARIZE '{secret}'
SUMMARIZE SELECT * FROM read_text('{secret}')
SHOW '{secret}'
SELECT * FROM (DESCRIBE '{secret}')
SELECT * FROM (SUMMARIZE FROM read_text('{secret}'))
EXPLAIN SELECT * FROM read_csv('{secret}')
EXPLAIN ANALYZE SELECT * FROM read_csv('{secret}')
EXPLAIN FROM '{secret}'
EXPLAIN (FORMAT JSON) FROM '{secret}'
EXPLAIN (ANALYZE, FORMAT JSON) SELECT * FROM read_text('{secret}')
PIVOT '{secret}' ON a USING count(*)
PIVOT (FROM read_text('{secret}')) ON filename USING count(*)
PIVOT read_csv('{secret}') ON a IN (1, 2) USING count(*)
UNPIVOT '{secret}' ON a
UNPIVOT (FROM read_text('{secret}')) ON content
SELECT * FROM (PIVOT (FROM read_text('{secret}')) ON filename USING count(*))
FROM data.csv
FROM data."csv"
FROM "data".parquet
FROM data.json
SELECT * FROM data.tsv
FROM exports.pages.parquet
FROM memory.main."x.csv"
FROM main."{secret}"
FROM "s3://bucket/x.parquet"
FROM "x.csv"
FROM 'x.parquet'
FROM '*.csv'
FROM '?.csv'
FROM 'x.[ct]sv'
FROM '**/x.json'
FROM 'x.csv.gz'
FROM 'x.db'
FROM 'C:\x.csv'
COPY users TO '{secret}'
COPY users TO '{db}' (USE_TMP_FILE false)
COPY users TO '{db}.wal' (USE_TMP_FILE false)
COPY (SELECT 1) TO '{temp}/x.csv'
COPY (SELECT * FROM users) TO '/tmp/chronoduck-hostile.parquet' (FORMAT PARQUET)
COPY (SELECT 'ssh-rsa AAAA') TO '/root/.ssh/authorized_keys' (HEADER false)
COPY users TO '/dev/stdout'
COPY users FROM '{secret}'
COPY users FROM PROGRAM 'cat /etc/passwd'
COPY FROM DATABASE test TO other
EXPORT DATABASE '/tmp/chronoduck-export'
EXPORT DATABASE '{temp}/x' (FORMAT parquet)
IMPORT DATABASE '/tmp/chronoduck-export'
CREATE TABLE stolen AS FROM '{secret}'
CREATE TABLE stolen AS SELECT * FROM read_text('{secret}')
CREATE OR REPLACE TABLE stolen AS FROM read_blob('{db}')
CREATE TEMP TABLE stolen AS FROM data.csv
CREATE TABLE stolen AS TABLE '{secret}'
CREATE TABLE stolen AS (FROM (FROM read_text('{secret}')))
CREATE TABLE stolen (a VARCHAR DEFAULT (SELECT content FROM read_text('{secret}')))
CREATE TABLE stolen (a VARCHAR CHECK (a IN (SELECT content FROM read_text('{secret}'))))
CREATE TABLE stolen (a INTEGER, b VARCHAR GENERATED ALWAYS AS ((SELECT content FROM read_text('{secret}'))))
CREATE VIEW stolen AS FROM '{secret}'
CREATE VIEW stolen AS SELECT * FROM read_text('{secret}')
CREATE VIEW stolen (a) AS SELECT content FROM read_text('{secret}')
CREATE OR REPLACE VIEW stolen AS SELECT * FROM users, "{secret}"
CREATE TEMP VIEW stolen AS FROM read_csv('{secret}')
CREATE VIEW stolen AS WITH f AS (FROM glob('*')) FROM f
CREATE MACRO stolen(p) AS (SELECT content FROM read_text(p))
CREATE MACRO stolen(p) AS TABLE SELECT * FROM read_text(p)
CREATE MACRO stolen(p) AS TABLE FROM '{secret}'
CREATE MACRO stolen(p) AS TABLE FROM data.csv
CREATE FUNCTION stolen(p) AS (SELECT content FROM read_blob(p))
CREATE MACRO stolen(a) AS a, (a, b) AS (SELECT content FROM read_text(b))
CREATE MACRO stolen(a, b := (SELECT content FROM read_text('{secret}'))) AS b
CREATE TEMP MACRO stolen() AS TABLE FROM read_csv('{secret}')
CREATE TYPE stolen AS ENUM (SELECT content FROM read_text('{secret}'))
CREATE INDEX stolen ON users ((SELECT content FROM read_text('{secret}')))
INSERT INTO users SELECT 1, content FROM read_text('{secret}')
INSERT INTO users FROM '{secret}'
INSERT INTO users BY NAME FROM read_csv('{secret}')
INSERT INTO users VALUES (1, (SELECT content FROM read_text('{secret}')))
INSERT INTO users SELECT * FROM data.csv
INSERT INTO users TABLE '{secret}'
INSERT INTO users WITH f AS (FROM read_text('{secret}')) SELECT 1, content FROM f
INSERT INTO users VALUES (1, 'x') RETURNING (SELECT content FROM read_text('{secret}'))
INSERT INTO users VALUES (1, 'x') ON CONFLICT DO UPDATE SET name = (SELECT content FROM read_text('{secret}'))
INSERT INTO users (PIVOT '{secret}' ON a)
WITH f AS (FROM read_text('{secret}')) INSERT INTO users SELECT 1, content FROM f
UPDATE users SET name = (SELECT content FROM read_text('{secret}'))
UPDATE users SET name = f.content FROM read_text('{secret}') f
UPDATE users SET name = f.a FROM '{secret}' f
UPDATE users SET name = f.a FROM users u, "{secret}" f
UPDATE users SET name = f.a FROM data.csv f
UPDATE users SET name = f.a FROM users u JOIN '{secret}' f ON true
UPDATE users SET id = 1 WHERE name IN (FROM '{secret}')
UPDATE users SET id = 1 RETURNING (SELECT content FROM read_text('{secret}'))
DELETE FROM users USING '{secret}' f WHERE true
DELETE FROM users USING read_text('{secret}') f
DELETE FROM users USING users u, data.csv f
DELETE FROM users WHERE name IN (SELECT content FROM read_text('{secret}'))
DELETE FROM users WHERE EXISTS (FROM "{secret}")
MERGE INTO users USING '{secret}' f ON true WHEN MATCHED THEN DELETE
MERGE INTO users USING read_csv('{secret}') f ON users.id = f.a WHEN NOT MATCHED THEN INSERT VALUES (1, 'x')
MERGE INTO users USING data.csv f ON true WHEN MATCHED THEN DELETE
MERGE INTO users USING users u ON true WHEN MATCHED THEN UPDATE SET name = (SELECT content FROM read_text('{secret}'))
MERGE INTO users USING users u ON (SELECT true FROM '{secret}') WHEN MATCHED THEN DELETE
ALTER TABLE users ALTER name SET DEFAULT (SELECT content FROM read_text('{secret}'))
ALTER TABLE users ADD COLUMN x VARCHAR DEFAULT (SELECT content FROM read_text('{secret}'))
ALTER TABLE users ALTER name TYPE VARCHAR USING (SELECT content FROM read_text('{secret}'))
SELECT * FROM arrow_scan(1, 2, 3)
SELECT * FROM arrow_scan_dumb(1, 2, 3)
SELECT * FROM pandas_scan(1)
SELECT * FROM python_map_function(1)
SELECT * FROM seq_scan('users')
SELECT * FROM duckdb_temporary_files()
SELECT * FROM duckdb_external_file_cache()
SELECT path FROM duckdb_databases()
SELECT * FROM duckdb_databases
SELECT * FROM pragma_database_list
SELECT install_path FROM duckdb_extensions()
CREATE TABLE "function" AS SELECT * FROM users, '{secret}'
CREATE TABLE x AS SELECT 1 AS macro, * FROM users, "{secret}"
-- A CTE that copies: valid from DuckDB 2.0 on, in front of any kind of statement.
WITH d AS (COPY users TO '{db}' (USE_TMP_FILE false)) SELECT 1
WITH d AS (COPY users TO '/tmp/chronoduck-hostile.csv') SELECT 1
WITH d AS MATERIALIZED (COPY users TO '/tmp/chronoduck-hostile.csv') SELECT 1
WITH d AS NOT MATERIALIZED (COPY users TO '/tmp/chronoduck-hostile.csv') SELECT 1
WITH d AS (COPY (SELECT * FROM users) TO '/tmp/chronoduck-hostile.parquet' (FORMAT PARQUET)) SELECT 1
WITH d AS (COPY users TO '/tmp/chronoduck-hostile.csv' (RETURN_FILES)) FROM d
WITH d AS (COPY users (id) TO '{temp}/x.csv') SELECT 1
WITH a AS (SELECT 1), d AS (COPY users TO '/tmp/chronoduck-hostile.csv') FROM a
WITH d AS (COPY users TO '/tmp/chronoduck-hostile.csv') INSERT INTO users VALUES (3, 'x')
WITH d AS (COPY users TO '/tmp/chronoduck-hostile.csv') UPDATE users SET name = 'x'
WITH d AS (COPY users TO '/tmp/chronoduck-hostile.csv') DELETE FROM users
WITH d AS (COPY users TO '/tmp/chronoduck-hostile.csv') MERGE INTO users USING (SELECT 1 AS id) s USING (id) WHEN MATCHED THEN DELETE
CREATE TABLE zz AS WITH d AS (COPY users TO '/tmp/chronoduck-hostile.csv') SELECT 1 AS a
INSERT INTO users WITH d AS (COPY users TO '/tmp/chronoduck-hostile.csv') SELECT 3, 'x'
WITH d AS (COPY users TO '/tmp/chronoduck-hostile.csv') PIVOT users ON id USING count(*)
EXPLAIN ANALYZE WITH d AS (COPY users TO '/tmp/chronoduck-hostile.csv') SELECT 1
EXPLAIN WITH d AS (COPY users TO '/tmp/chronoduck-hostile.csv') SELECT 1
