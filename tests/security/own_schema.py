"""Statements that name the service's own schema, in every spelling that either engine may take."""

from __future__ import annotations

from collections.abc import Iterator

SPELLINGS = (
    "_chronoduck",
    '"_chronoduck"',
    "_CHRONODUCK",
    '"_Chronoduck"',
    "'_chronoduck'",
    "'_CHRONODUCK'",
    "E'\\x5fchronoduck'",
    "e'\\137chronoduck'",
    "U&'\\005fchronoduck'",
    'U&"\\005fchronoduck"',
    'u&"_chronoduck"',
    "`_chronoduck`",
    "$$_chronoduck$$",
    "$q$_chronoduck$q$",
    "'_chrono' 'duck'",
    "'_chrono'\n'duck'",
    "'_chrono' -- a comment\n 'duck'",
    "'_chrono'||'duck'",
    "N'_chronoduck'",
    "x'5f6368726f6e6f6475636b'",
    "/*x*/_chronoduck/*y*/",
    "[_chronoduck]",
    "('_chronoduck')",
    "{database}._chronoduck",
    "{database}.'_chronoduck'",
    "'{database}'.'_chronoduck'",
    "{database}.`_chronoduck`",
)

_TEMPLATES = """
DROP SCHEMA {} CASCADE
DROP SCHEMA IF EXISTS {} CASCADE
CREATE SCHEMA {}
CREATE SCHEMA IF NOT EXISTS {}
CREATE OR REPLACE SCHEMA {}
ALTER SCHEMA {} RENAME TO foo
COMMENT ON SCHEMA {} IS 'x'
CREATE TABLE {}.z(i INT)
CREATE TABLE {}.z AS SELECT 1
CREATE OR REPLACE TABLE {}.k(i INT)
CREATE VIEW {}.vv AS SELECT 1
CREATE OR REPLACE VIEW {}.v AS SELECT 2 AS y
CREATE MACRO {}.mm(x) AS x
CREATE FUNCTION {}.mm(x) AS x
CREATE TYPE {}.tt AS ENUM('q')
CREATE SEQUENCE {}.ss
CREATE INDEX ii ON {}.k(b)
CREATE UNIQUE INDEX ii ON {}.k(b)
CREATE TABLE t2 AS SELECT * FROM {}.k
CREATE TABLE t2 AS FROM {}.k
CREATE OR REPLACE VIEW v2 AS SELECT * FROM {}.k
CREATE OR REPLACE MACRO m2() AS TABLE SELECT * FROM {}.k
CREATE OR REPLACE MACRO m3() AS (SELECT max(b) FROM {}.k)
CREATE TABLE t2(a INT REFERENCES {}.k(a))
CREATE TABLE t2(a INT DEFAULT nextval('{}.sq'))
CREATE TABLE t2(x {}.ty)
CREATE TEMP TABLE x AS (SELECT * FROM {}.k)
CREATE TABLE {}.k2 (LIKE s)
CREATE TRIGGER tr AFTER INSERT ON {}.k FOR EACH ROW (DELETE FROM t)
DROP TABLE {}.k
DROP TABLE IF EXISTS {}.k
DROP VIEW {}.v
DROP INDEX {}.own_i
DROP MACRO {}.m
DROP FUNCTION {}.m
DROP TYPE {}.ty
DROP SEQUENCE {}.sq
DROP TRIGGER x ON {}.k
ALTER TABLE {}.k ADD COLUMN q INT
ALTER TABLE {}.k RENAME TO kk
ALTER TABLE {}.k RENAME a TO aa
ALTER TABLE {}.k DROP COLUMN b
ALTER TABLE {}.k ALTER b SET DEFAULT 'x'
ALTER TABLE {}.k SET PARTITIONED BY (a)
ALTER TABLE t SET SCHEMA {}
ALTER VIEW {}.v RENAME TO w
ALTER SEQUENCE {}.sq OWNED BY t
ALTER SEQUENCE {}.sq RESTART
ALTER TYPE {}.ty RENAME TO q
ALTER INDEX {}.own_i RENAME TO q
COMMENT ON TABLE {}.k IS 'x'
COMMENT ON COLUMN {}.k.a IS 'x'
COMMENT ON VIEW {}.v IS 'x'
COMMENT ON INDEX {}.own_i IS 'x'
COMMENT ON SEQUENCE {}.sq IS 'x'
COMMENT ON TYPE {}.ty IS 'x'
COMMENT ON MACRO {}.m IS 'x'
INSERT INTO {}.k VALUES (2, 'y')
INSERT OR REPLACE INTO {}.k VALUES (2, 'y')
INSERT INTO {}.k SELECT * FROM s
INSERT INTO {}.k FROM s
INSERT INTO {}.k BY NAME SELECT * FROM s
INSERT INTO {}.k(a) VALUES (3)
INSERT INTO {}.k DEFAULT VALUES
INSERT INTO t SELECT * FROM {}.k RETURNING *
INSERT INTO t FROM {}.k RETURNING *
INSERT INTO t TABLE {}.k RETURNING *
INSERT INTO t (FROM {}.k) RETURNING *
INSERT INTO t WITH w AS (FROM {}.k) FROM w RETURNING *
INSERT INTO t VALUES (1, 'z') RETURNING (SELECT max(b) FROM {}.k)
UPDATE {}.k SET a = 5
UPDATE t SET b = (SELECT max(b) FROM {}.k) RETURNING *
UPDATE s SET a = k.a + 9 FROM {}.k k
DELETE FROM {}.k
DELETE FROM t USING {}.k
TRUNCATE {}.k
TRUNCATE TABLE {}.k
MERGE INTO {}.k USING s ON k.a = s.a WHEN MATCHED THEN DELETE
MERGE INTO {}.k USING s ON k.a = 9 WHEN NOT MATCHED THEN INSERT
MERGE INTO t USING {}.k k ON t.a = k.a WHEN NOT MATCHED THEN INSERT RETURNING *
COPY {}.k TO 'o.csv'
COPY {}.k FROM 'in.csv'
COPY (SELECT * FROM {}.k) TO 'o.csv'
EXPORT DATABASE 'exported_{}'
ANALYZE {}.k
VACUUM {}.k
VACUUM ANALYZE {}.k
EXPLAIN SELECT * FROM {}.k
EXPLAIN ANALYZE DELETE FROM {}.k
EXPLAIN ANALYZE INSERT INTO {}.k VALUES (8, 'x')
EXPLAIN ANALYZE DROP SCHEMA {} CASCADE
SELECT * FROM {}.k
FROM {}.k
TABLE {}.k
SELECT {}.m(1)
SELECT nextval('{}.sq')
DESCRIBE {}.k
SUMMARIZE {}.k
SHOW {}.k
SHOW TABLES FROM {}
SELECT 1::{}.ty
SELECT CAST('a' AS {}.ty)
PIVOT {}.k ON a USING count(*)
UNPIVOT {}.k ON a
WITH w AS (DELETE FROM {}.k RETURNING *) SELECT * FROM w
WITH w AS (DROP SCHEMA {} CASCADE) SELECT 1
USE {}
SET schema = {}
SET search_path = {}
CALL {}.m(1)
SELECT * FROM query_table('{}.k')
PRAGMA table_info({}.k)
PRAGMA storage_info({}.k)
LOCK TABLE {}.k
PREPARE p AS DELETE FROM {}.k
REINDEX {}.k
"""


def statements(database: str) -> Iterator[str]:
    """Yield every template with every spelling."""
    for template in _TEMPLATES.strip().splitlines():
        for spelling in SPELLINGS:
            name = spelling.replace("{database}", database)
            if "'{}" in template or "_{}'" in template:
                name = name.replace("'", "''")
            yield template.replace("{}", name)
