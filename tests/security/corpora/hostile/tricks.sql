-- The same by other spellings: case, quotes, comments, spaces, qualified names, carriers.
select * from READ_TEXT('{secret}')
SELECT * FROM Read_Text('{secret}')
SELECT * FROM "read_text"('{secret}')
SELECT * FROM "READ_TEXT"('{secret}')
SELECT * FROM "Read_Text" ('{secret}')
SELECT * FROM main.read_text('{secret}')
SELECT * FROM system.main.read_text('{secret}')
SELECT * FROM "system"."main"."read_text"('{secret}')
SELECT * FROM main."read_text"('{secret}')
SELECT * FROM read_text/**/('{secret}')
SELECT * FROM read_text /* ) */ ('{secret}')
SELECT * FROM/**/read_text('{secret}')
SELECT/**/*/**/FROM/**/'{secret}'
SELECT * FROM read_text($$)$$ || '{secret}')
SELECT * FROM read_text(E'\x2fetc\x2fpasswd')
SELECT * FROM read_text(chr(47) || 'etc/passwd')
SELECT * FROM read_text('{secret}'::VARCHAR)
SELECT * FROM read_text(concat('{secret}'))
SELECT * FROM read_text(?)
SELECT * FROM read_text($1)
SELECT * FROM read_text((SELECT '{secret}'))
SELECT * FROM read_text(getvariable('x'))
SELECT * FROM $${secret}$$
SELECT * FROM $x${secret}$x$
SELECT * FROM e'{secret}'
SELECT '{secret}'.read_text()
SELECT ('{secret}').read_text()
SELECT 'FROM x'.query()
SELECT read_text('{secret}')
SELECT read_blob('{secret}')
SELECT glob('/etc/*')
SELECT read_csv('{secret}')
SELECT query('SELECT 1')
FROM read_text('{secret}') SELECT content
FROM (FROM (FROM '{secret}'))
FROM ((SELECT * FROM '{secret}'))
FROM '{secret}' AS t
FROM '{secret}' t(a)
FROM '{secret}' TABLESAMPLE 1%
FROM t: '{secret}'
FROM f: read_text('{secret}')
SELECT a: (SELECT content FROM read_text('{secret}'))
SELECT * FROM users u, u.name.read_text()
SELECT * FROM users WHERE id = (FROM read_text('{secret}') SELECT count(*))
SELECT COLUMNS(c -> c IN (SELECT content FROM read_text('{secret}'))) FROM users
SELECT * REPLACE ((SELECT content FROM read_text('{secret}')) AS name) FROM users
SELECT * EXCLUDE (name), (SELECT content FROM read_text('{secret}')) FROM users
SELECT * LIKE 'n%', (SELECT content FROM read_text('{secret}')) FROM users
SELECT unnest((SELECT list(content) FROM read_text('{secret}')))
SELECT * FROM unnest((SELECT list(content) FROM read_text('{secret}')))
SELECT * FROM range((SELECT length(content) FROM read_text('{secret}')))
SELECT * FROM json_each((SELECT content FROM read_text('{secret}')))
SELECT * FROM generate_series(1, (SELECT size FROM read_blob('{db}')))
SELECT TRY((SELECT content FROM read_text('{secret}')))
SELECT TRY_CAST((SELECT content FROM read_text('{secret}')) AS INTEGER)
SELECT (SELECT content FROM read_text('{secret}'))::INTEGER
SELECT error((SELECT content FROM read_text('{secret}')))
SELECT 1 AS "x" FROM "{secret}" WHERE 1 = 1
SELECT * FROM users AT (VERSION => (SELECT 1 FROM '{secret}'))
SELECT reduce([1], (a, b) -> (SELECT content FROM read_text('{secret}')))
SELECT list_filter([1], lambda x: (SELECT true FROM '{secret}'))
SELECT [x FOR x IN [1] IF (SELECT true FROM '{secret}')]
SELECT max(name) FILTER (WHERE EXISTS (FROM '{secret}')) FROM users
SELECT string_agg(name, (SELECT content FROM read_text('{secret}'))) FROM users
SELECT string_agg(name ORDER BY (SELECT content FROM read_text('{secret}'))) FROM users
SELECT first(name ORDER BY id) OVER (ROWS (SELECT 1 FROM '{secret}') PRECEDING) FROM users
SELECT * FROM users GROUP BY ALL HAVING (SELECT true FROM '{secret}')
SELECT * FROM users WINDOW w AS (ORDER BY (SELECT content FROM read_text('{secret}')))
SELECT * FROM users USING SAMPLE 1 ROWS; FROM '{secret}'
SELECT * FROM users OFFSET (SELECT 1 FROM '{secret}')
SELECT DISTINCT ON ((SELECT content FROM read_text('{secret}'))) * FROM users
SELECT * FROM (VALUES ((SELECT content FROM read_text('{secret}')))) t
SELECT * FROM users WHERE name LIKE (SELECT content FROM read_text('{secret}'))
SELECT * FROM users WHERE (id, name) IN (FROM '{secret}')
SELECT * FROM users JOIN users u2 ON (SELECT true FROM '{secret}')
SELECT * FROM users NATURAL JOIN '{secret}'
SELECT * FROM users ANTI JOIN "{secret}" USING (id)
SELECT * FROM users FULL OUTER JOIN read_text('{secret}') ON true
WITH a AS (SELECT 1), b AS (FROM '{secret}') FROM a, b
WITH a AS (WITH b AS (FROM '{secret}') FROM b) FROM a
WITH users AS (FROM '{secret}') FROM users
WITH RECURSIVE t(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM t, '{secret}' WHERE n < 3) FROM t
WITH RECURSIVE t AS (SELECT 1 AS a UNION SELECT (SELECT 1 FROM read_text('{secret}')) FROM t) FROM t
(SELECT content FROM read_text('{secret}'))
((FROM '{secret}'))
(FROM '{secret}') UNION ALL (FROM '{secret}')
SELECT * FROM evil_macro('{secret}')
SELECT evil_scalar('{secret}')
SELECT evil_setting('s3_secret_access_key')
SELECT * FROM evil_view
SELECT * FROM evil_chain
SELECT * FROM main.evil_macro('{secret}')
SELECT "EVIL_SCALAR"('{secret}')
SELECT harmless_until_two_arguments(1, '{secret}')
SELECT lower('{secret}') FROM evil_view
DESCRIBE evil_view
SUMMARIZE evil_view
EXPLAIN FROM evil_view
CREATE VIEW mine AS FROM evil_view
CREATE TABLE mine AS SELECT * FROM evil_macro('{secret}')
CREATE MACRO mine(x) AS evil_scalar(x)
INSERT INTO users SELECT 1, evil_scalar('{secret}')
UPDATE users SET name = evil_scalar('{secret}')
DELETE FROM users WHERE name = evil_scalar('{secret}')
CREATE MACRO lower(x) AS 'shadowed'
CREATE MACRO duckdb_tables() AS TABLE SELECT 1
CREATE OR REPLACE MACRO sum(x) AS 0
CREATE MACRO current_setting(x) AS x
SELECT * FROM a.b.c.d
SELECT * FROM "a/b"
SELECT * FROM "a\b"
SELECT * FROM "a:b"
SELECT * FROM "a*b"
SELECT * FROM "~"
SELECT 1 FROM "..", ".."
