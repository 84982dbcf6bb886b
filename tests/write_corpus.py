"""A database with schemas of several people, and what a key for `anna` and `main.notes` may send."""

from __future__ import annotations

__all__ = ["ALLOWED", "OF_THE_PRODUCT", "REFUSED", "SETUP", "STATE"]

SETUP = """
CREATE SCHEMA anna;
CREATE SCHEMA bob;
CREATE TABLE anna.mine (a INTEGER PRIMARY KEY, b VARCHAR);
INSERT INTO anna.mine VALUES (1, 'one'), (2, 'two');
CREATE TABLE bob.his (a INTEGER, b VARCHAR);
INSERT INTO bob.his VALUES (1, 'his');
CREATE TABLE notes (a INTEGER, b VARCHAR);
INSERT INTO notes VALUES (1, 'note');
CREATE TABLE secret (a INTEGER, b VARCHAR);
INSERT INTO secret VALUES (1, 'kept');
CREATE TABLE mine (a INTEGER, b VARCHAR);
INSERT INTO mine VALUES (7, 'main');
CREATE SEQUENCE main.ids;
CREATE SEQUENCE anna.ids;
CREATE MACRO main.next_id() AS nextval('main.ids');
CREATE TYPE anna.mood AS ENUM ('calm');
CREATE TABLE bob.moods (m anna.mood);
CREATE VIEW bob.view AS SELECT * FROM secret
"""
ALLOWED = (
    "INSERT INTO anna.mine VALUES (3, 'three')",
    "insert or replace into ANNA.Mine values (3, 'three')",
    "INSERT INTO anna.mine SELECT a + 10, b FROM secret RETURNING a",
    "WITH new AS (SELECT a + 20 AS a, b FROM bob.his) INSERT INTO anna.mine SELECT * FROM new",
    "UPDATE anna.mine SET b = s.b FROM secret s WHERE s.a = mine.a",
    "DELETE FROM anna.mine USING secret s WHERE s.a = mine.a",
    (
        "MERGE INTO anna.mine USING secret s ON s.a = mine.a WHEN MATCHED THEN UPDATE SET b = s.b "
        "WHEN NOT MATCHED THEN INSERT VALUES (s.a, s.b)"
    ),
    "CREATE TABLE anna.copy AS SELECT * FROM secret",
    "CREATE OR REPLACE TABLE anna.mine AS SELECT 1 AS a",
    "CREATE VIEW anna.all_of_it AS SELECT * FROM secret JOIN bob.his USING (a)",
    "CREATE MACRO anna.twice(x) AS x * 2",
    "CREATE SEQUENCE anna.more",
    "CREATE TABLE anna.t (id BIGINT DEFAULT nextval('anna.ids'))",
    "INSERT INTO anna.mine VALUES (nextval('anna.ids') + 100, 'n')",
    "SELECT nextval('anna.ids')",
    "CREATE TYPE anna.size AS ENUM ('s')",
    "CREATE INDEX i ON anna.mine (b)",
    "ALTER TABLE anna.mine ADD COLUMN c INTEGER",
    "ALTER TABLE anna.mine RENAME TO other",
    "COMMENT ON TABLE anna.mine IS 'mine'",
    "COMMENT ON COLUMN anna.mine.a IS 'a'",
    "TRUNCATE anna.mine",
    "DROP TABLE anna.mine",
    'CREATE TABLE "anna"."a b.c" (x INTEGER)',
    "INSERT INTO notes VALUES (2, 'mine')",
    "INSERT INTO main.notes SELECT * FROM bob.view",
    "UPDATE main.notes SET b = 'x'",
    "DELETE FROM notes",
    "SELECT * FROM secret, bob.his, anna.mine",
    "EXPLAIN INSERT INTO secret VALUES (1, 'x')",
    "EXPLAIN ANALYZE INSERT INTO anna.mine VALUES (50, 'x')",
)
REFUSED = (
    "INSERT INTO secret VALUES (2, 'x')",
    "INSERT INTO main.secret VALUES (2, 'x')",
    "INSERT INTO test.main.secret VALUES (2, 'x')",
    "INSERT INTO test.secret VALUES (2, 'x')",
    "INSERT INTO mine VALUES (2, 'x')",
    'INSERT INTO "anna.mine" VALUES (2)',
    "INSERT INTO bob.his SELECT * FROM anna.mine",
    "WITH mine AS (SELECT 1 AS a, 'x' AS b) INSERT INTO secret SELECT * FROM mine",
    "WITH insert AS (SELECT 1 AS a) UPDATE secret SET a = 2",
    "WITH x AS (INSERT INTO secret VALUES (3, 'x') RETURNING a) SELECT * FROM x",
    "WITH x AS (DELETE FROM secret RETURNING a) INSERT INTO anna.mine SELECT a, '' FROM x",
    "UPDATE secret SET b = (SELECT max(b) FROM anna.mine)",
    "UPDATE ONLY secret SET b = 'x'",
    "UPDATE bob.his AS mine SET b = 'x'",
    "DELETE FROM secret USING anna.mine WHERE secret.a = mine.a",
    "DELETE FROM bob.his",
    "TRUNCATE secret",
    "TRUNCATE TABLE main.secret",
    "MERGE INTO secret USING anna.mine m ON m.a = secret.a WHEN MATCHED THEN DELETE",
    "EXPLAIN ANALYZE INSERT INTO secret VALUES (2, 'x')",
    "EXPLAIN ANALYZE DELETE FROM bob.his",
    "CREATE TABLE fresh (a INTEGER)",
    "CREATE TABLE main.fresh AS SELECT * FROM anna.mine",
    "CREATE TABLE bob.fresh (a INTEGER)",
    "CREATE OR REPLACE TABLE secret AS SELECT 1 AS a",
    "CREATE OR REPLACE TABLE main.notes AS SELECT 1 AS a",
    "CREATE TABLE IF NOT EXISTS secret (a INTEGER)",
    "CREATE VIEW fresh AS SELECT 1",
    "CREATE OR REPLACE VIEW bob.view AS SELECT 1 AS a",
    "CREATE MACRO fresh() AS 1",
    "CREATE OR REPLACE MACRO main.next_id() AS 1",
    "CREATE SEQUENCE fresh",
    "CREATE TYPE fresh AS ENUM ('a')",
    "CREATE INDEX i ON secret (a)",
    "CREATE INDEX anna ON bob.his (a)",
    "CREATE UNIQUE INDEX IF NOT EXISTS i ON notes (a)",
    "CREATE SCHEMA fresh",
    "CREATE SCHEMA anna.inner",
    "CREATE SCHEMA test.anna2",
    "DROP SCHEMA bob CASCADE",
    "DROP SCHEMA main CASCADE",
    "DROP TABLE secret",
    "DROP TABLE IF EXISTS bob.his CASCADE",
    "DROP TABLE notes",
    "DROP VIEW bob.view",
    "DROP SEQUENCE ids",
    "DROP MACRO next_id",
    "ALTER TABLE secret ADD COLUMN c INTEGER",
    "ALTER TABLE secret ALTER a TYPE INTEGER USING 5",
    "ALTER TABLE notes ADD COLUMN c INTEGER",
    "ALTER TABLE notes RENAME TO others",
    "ALTER TABLE bob.his RENAME COLUMN a TO z",
    "ALTER VIEW bob.view RENAME TO view2",
    "ALTER TABLE anna.mine SET SCHEMA main",
    "COMMENT ON TABLE secret IS 'x'",
    "COMMENT ON COLUMN main.secret.a IS 'x'",
    "COMMENT ON COLUMN notes.a IS 'x'",
    "SELECT nextval('ids')",
    "SELECT nextval('main.ids')",
    "SELECT next_id()",
    "INSERT INTO anna.mine VALUES (next_id() + 60, 'x')",
    "INSERT INTO anna.mine VALUES (nextval('main.ids') + 60, 'x')",
    "CREATE TABLE anna.t (id BIGINT DEFAULT nextval('main.ids'))",
    "CREATE MACRO anna.steal() AS nextval('main.ids')",
    "CREATE TEMP TABLE mine (a INTEGER)",
    "CREATE TABLE anna.t AS WITH x AS (DELETE FROM secret RETURNING a) SELECT * FROM x",
    "INSERT INTO pages_analytics (url) VALUES ('https://a.org/')",
    "DROP TABLE pages_analytics",
)
OF_THE_PRODUCT = (
    "INSERT INTO pages_analytics (url) VALUES ('https://a.org/')",
    "INSERT INTO test.main.pages_analytics (url) VALUES ('https://a.org/')",
    "INSERT INTO test.\"PAGES_analytics\" (url) VALUES ('https://a.org/')",
    "UPDATE pages_analytics SET url = 'x'",
    "UPDATE ONLY pages_analytics SET url = 'x'",
    "DELETE FROM main.pages_analytics",
    "DELETE FROM 'pages_analytics'",
    "TRUNCATE pages_analytics",
    "EXPLAIN ANALYZE DELETE FROM pages_analytics",
    "MERGE INTO pages_analytics USING mine ON true WHEN MATCHED THEN DELETE",
    "WITH x AS (DELETE FROM pages_analytics RETURNING url) SELECT * FROM x",
    "DROP TABLE pages_analytics",
    "DROP TABLE pages_analytics CASCADE",
    "DROP VIEW pages",
    "DROP SCHEMA main CASCADE",
    "CREATE OR REPLACE TABLE pages_analytics AS SELECT 1 AS url",
    "CREATE OR REPLACE VIEW pages AS SELECT 1 AS url",
    "ALTER TABLE pages_analytics DROP COLUMN url",
    "ALTER TABLE pages_analytics ALTER status_code TYPE SMALLINT USING 1",
    "ALTER TABLE pages_analytics RENAME TO mine2",
    "ALTER TABLE mine RENAME TO user_metrics",
    "COMMENT ON TABLE pages_analytics IS 'x'",
    "CREATE INDEX i ON pages_analytics (url)",
    "INSERT INTO user_metrics (user_id) VALUES ('x')",
)
STATE = (
    "SELECT * FROM secret",
    "SELECT * FROM bob.his",
    "SELECT * FROM mine",
    "SELECT schema_name, table_name, sql, comment FROM duckdb_tables() WHERE schema_name <> 'anna'",
    "SELECT schema_name, view_name, sql FROM duckdb_views() WHERE NOT internal AND schema_name <> 'anna'",
    (
        "SELECT schema_name, function_name, macro_definition FROM duckdb_functions() "
        "WHERE NOT internal AND schema_name <> 'anna' ORDER BY ALL"
    ),
    "SELECT schema_name, index_name FROM duckdb_indexes() WHERE schema_name <> 'anna'",
    "SELECT schema_name, sequence_name, last_value FROM duckdb_sequences() WHERE schema_name <> 'anna'",
    "SELECT schema_name, type_name FROM duckdb_types() WHERE NOT internal",
    "SELECT schema_name FROM duckdb_schemas() WHERE NOT internal",
    (
        "SELECT column_name, comment, data_type FROM duckdb_columns() "
        "WHERE NOT internal AND schema_name <> 'anna' ORDER BY ALL"
    ),
)
