-- What a writer does, in this order.
CREATE TABLE notes (id INTEGER PRIMARY KEY, text VARCHAR NOT NULL DEFAULT 'empty', tags VARCHAR[], made TIMESTAMP DEFAULT current_timestamp, CHECK (length(text) < 1000))
CREATE TABLE IF NOT EXISTS notes (id INTEGER)
CREATE TABLE query ("glob" INTEGER, checkpoint INTEGER, "read_csv" INTEGER)
INSERT INTO query ("glob", checkpoint) VALUES (1, 2)
INSERT INTO query VALUES (1, 2, 3)
UPDATE query SET "glob" = checkpoint WHERE "glob" = 1
DELETE FROM query
DROP TABLE query
INSERT INTO notes VALUES (1, 'a', ['x', 'y'], DEFAULT)
INSERT INTO notes (id, text) VALUES (2, 'b/c.csv'), (3, 'http://example.org/x.csv'), (4, 'it''s')
INSERT INTO notes (id) VALUES (5)
INSERT INTO notes BY NAME SELECT 6 AS id, 'f' AS text
INSERT INTO notes SELECT age, name, [city], born FROM people WHERE age > 35
INSERT INTO notes FROM (SELECT 7, 'g', NULL, NULL)
INSERT INTO notes WITH n AS (SELECT 8 AS id) SELECT id, 'h', NULL, NULL FROM n
INSERT INTO notes (id, text) VALUES ((SELECT max(id) + 100 FROM notes), upper('i')) RETURNING id, text
INSERT INTO notes (id, text) VALUES (1, 'again') ON CONFLICT (id) DO UPDATE SET text = excluded.text || '!' WHERE notes.id > 0
INSERT INTO notes (id, text) VALUES (1, 'again') ON CONFLICT DO NOTHING
INSERT OR REPLACE INTO notes (id, text) VALUES (1, 'replaced')
INSERT OR IGNORE INTO notes (id, text) VALUES (1, 'ignored')
UPDATE notes SET text = 'x' WHERE id = 1
UPDATE notes SET text = upper(text), tags = list_append(tags, 'z') WHERE id BETWEEN 1 AND 3
UPDATE notes SET text = DEFAULT WHERE id = 2
UPDATE notes SET text = p.city FROM people p JOIN places USING (city) WHERE p.age = notes.id
UPDATE notes AS n SET text = (SELECT max(name) FROM people) WHERE n.id = 3 RETURNING n.id
UPDATE notes SET text = nullif(text, 'a'), tags = nullif(tags, []) WHERE false
DELETE FROM notes WHERE id = 4 RETURNING *
DELETE FROM notes USING people p WHERE p.age = notes.id AND p.name = 'nobody'
DELETE FROM notes WHERE id IN (SELECT age FROM people WHERE name LIKE 'D%')
MERGE INTO notes USING (SELECT 1 AS id, 'merged' AS text) s ON notes.id = s.id WHEN MATCHED THEN UPDATE SET text = s.text WHEN NOT MATCHED THEN INSERT (id, text) VALUES (s.id, s.text)
MERGE INTO notes USING people p ON p.age = notes.id WHEN MATCHED AND p.age BETWEEN 1 AND 2 THEN DELETE
MERGE INTO notes USING (SELECT 1 AS id) s USING (id) WHEN MATCHED THEN UPDATE SET text = 'm'
WITH gone AS (SELECT 2 AS id) DELETE FROM notes USING gone WHERE notes.id = gone.id
TRUNCATE items
CREATE TABLE copy_of_notes AS SELECT * FROM notes
CREATE TABLE shape AS FROM notes WITH NO DATA
CREATE OR REPLACE TABLE copy_of_notes AS (SELECT id, text FROM notes WHERE id > 0)
CREATE TABLE made AS WITH a AS (SELECT 1 AS x) SELECT x, x + 1 AS y FROM a
CREATE TABLE generated (a INTEGER, b INTEGER GENERATED ALWAYS AS (a + 1) VIRTUAL)
CREATE VIEW short_notes AS SELECT id, text[1:3] AS t FROM notes
CREATE OR REPLACE VIEW short_notes (i, t) AS SELECT id, text FROM notes
CREATE VIEW IF NOT EXISTS short_notes AS SELECT 1
CREATE INDEX notes_text ON notes (text)
CREATE UNIQUE INDEX notes_lower ON copy_of_notes (id, lower(text))
CREATE SCHEMA archive
CREATE TABLE archive.notes AS FROM notes
INSERT INTO archive.notes SELECT * FROM main.notes WHERE id < 0
CREATE SEQUENCE note_ids START 100 INCREMENT BY 2
CREATE TABLE numbered (id INTEGER DEFAULT nextval('note_ids'), label VARCHAR)
INSERT INTO numbered (label) VALUES ('x')
SELECT nextval('note_ids'), currval('note_ids')
CREATE TYPE size AS ENUM ('small', 'large')
CREATE TYPE pair AS STRUCT(a INTEGER, b INTEGER)
CREATE TYPE cities AS ENUM (SELECT DISTINCT city FROM places)
CREATE MACRO plus(a, b) AS a + b
CREATE MACRO plus_default(a, b := 5) AS a + b
CREATE OR REPLACE MACRO plus(a) AS a, (a, b) AS a + b, (a, b, c) AS a + b + c
CREATE FUNCTION notes_like(word) AS TABLE SELECT * FROM notes WHERE text LIKE word
CREATE MACRO oldest() AS (SELECT max(age) FROM people)
SELECT plus(1, 2), plus_default(1), oldest()
FROM notes_like('%a%')
ALTER TABLE notes ADD COLUMN extra INTEGER DEFAULT 3
ALTER TABLE made RENAME y TO z
ALTER TABLE made ALTER x TYPE VARCHAR USING x::VARCHAR
ALTER TABLE made ALTER x SET DEFAULT 'y'
ALTER TABLE made DROP COLUMN z
ALTER TABLE made RENAME TO remade
ALTER VIEW short_notes RENAME TO brief_notes
COMMENT ON TABLE remade IS 'a comment; with "quotes" and read_csv(''x'')'
COMMENT ON COLUMN remade.x IS 'x'
EXPLAIN INSERT INTO notes (id) VALUES (1000)
EXPLAIN ANALYZE INSERT INTO notes (id) VALUES (1001)
EXPLAIN DELETE FROM notes
SELECT count(*) FROM notes
DROP INDEX notes_text
DROP VIEW brief_notes
DROP MACRO plus
DROP MACRO TABLE notes_like
DROP TYPE size
DROP TABLE IF EXISTS remade
DROP SEQUENCE note_ids CASCADE
DROP SCHEMA archive CASCADE
