-- What DuckDB's SQL can do and every reader may.
SELECT 1
SELECT 1;
SELECT 42 AS answer, 'text' AS t, 1.5 AS d, true AS b, NULL AS n
FROM people
FROM people SELECT name
FROM people p SELECT p.name WHERE p.age > 20
SELECT * FROM people
TABLE people
VALUES (1, 'a'), (2, 'b')
SELECT * FROM (VALUES (1, 'a'), (2, 'b')) t(x, y)
SELECT DISTINCT city FROM people
SELECT DISTINCT ON (city) city, name FROM people ORDER BY city, age
SELECT name, age FROM people WHERE age BETWEEN 20 AND 40
SELECT name FROM people WHERE name LIKE 'A%' OR name ILIKE '%b%' OR name SIMILAR TO 'C.*'
SELECT name FROM people WHERE name GLOB 'A*'
SELECT name FROM people WHERE name NOT LIKE 'A%' ESCAPE '$'
SELECT name FROM people WHERE city IN ('Paris', 'Rome')
SELECT name FROM people WHERE city NOT IN (SELECT city FROM places)
SELECT name FROM people WHERE EXISTS (SELECT 1 FROM places WHERE places.city = people.city)
SELECT name FROM people WHERE age > ALL (SELECT 10)
SELECT name FROM people WHERE age = ANY (SELECT 30)
SELECT name FROM people WHERE city IS NULL OR city IS NOT DISTINCT FROM 'x.y'
SELECT name FROM people WHERE city IS DISTINCT FROM 'a/b.csv'
SELECT count(*), avg(age), min(name), max(born) FROM people
SELECT city, count(*) FROM people GROUP BY city
SELECT city, count(*) FROM people GROUP BY ALL ORDER BY ALL
SELECT city, count(*) FROM people GROUP BY 1 HAVING count(*) > 1 ORDER BY 2 DESC
SELECT city, age, count(*) FROM people GROUP BY ROLLUP (city, age)
SELECT city, age, count(*) FROM people GROUP BY CUBE (city, age)
SELECT city, age, GROUPING(city), count(*) FROM people GROUP BY GROUPING SETS ((city), (age), ())
SELECT name FROM people ORDER BY age DESC NULLS LAST LIMIT 2 OFFSET 1
SELECT name FROM people ORDER BY name COLLATE NOCASE
SELECT name FROM people ORDER BY name COLLATE de
SELECT name FROM people LIMIT 50%
SELECT name FROM people LIMIT (SELECT 2)
SELECT * FROM people USING SAMPLE 50%
SELECT * FROM people USING SAMPLE 2 ROWS
SELECT * FROM people USING SAMPLE reservoir(2 ROWS) REPEATABLE (42)
SELECT * FROM people TABLESAMPLE bernoulli(50%)
SELECT * EXCLUDE (age) FROM people
SELECT * REPLACE (upper(name) AS name) FROM people
SELECT * RENAME (name AS who) FROM people
SELECT COLUMNS('n.*') FROM people
SELECT COLUMNS(c -> c LIKE 'a%') FROM people
SELECT min(COLUMNS(*)), max(COLUMNS(*)) FROM people
SELECT COLUMNS(* EXCLUDE (born)) FROM people
SELECT * LIKE 'n%' FROM people
SELECT people.* FROM people
SELECT p.name, q.name FROM people p JOIN people q ON p.city = q.city AND p.name < q.name
SELECT * FROM people JOIN places USING (city)
SELECT * FROM people NATURAL JOIN places
SELECT * FROM people LEFT JOIN places ON people.city = places.city
SELECT * FROM people RIGHT JOIN places ON people.city = places.city
SELECT * FROM people FULL OUTER JOIN places ON people.city = places.city
SELECT * FROM people CROSS JOIN places
SELECT * FROM people, places WHERE people.city = places.city
SELECT * FROM people SEMI JOIN places USING (city)
SELECT * FROM people ANTI JOIN places USING (city)
SELECT * FROM people POSITIONAL JOIN places
SELECT * FROM people ASOF JOIN events ON people.born >= events.happened
SELECT * FROM people ASOF LEFT JOIN events ON people.name = events.who AND people.born >= events.happened
SELECT * FROM people, LATERAL (SELECT count(*) FROM events WHERE events.who = people.name) e(n)
SELECT * FROM range(3) t(i), LATERAL (SELECT i + 1) u(j)
SELECT * FROM (SELECT 1 AS a) x, (SELECT 2 AS b) y
SELECT * FROM (FROM people) WHERE age > 1
SELECT 1 UNION SELECT 2
SELECT 1 UNION ALL SELECT 1
SELECT 1 UNION ALL BY NAME SELECT 2 AS x
SELECT 1 INTERSECT SELECT 1
SELECT 1 EXCEPT SELECT 2
(SELECT 1) UNION ALL (SELECT 2) ORDER BY 1
WITH a AS (SELECT 1 AS x) SELECT * FROM a
WITH a AS (SELECT 1 AS x), b AS (SELECT x + 1 AS y FROM a) SELECT * FROM a, b
WITH a(x, y) AS (VALUES (1, 2)) FROM a
WITH a AS MATERIALIZED (SELECT 1 AS x) FROM a
WITH a AS NOT MATERIALIZED (SELECT 1 AS x) FROM a JOIN a b USING (x)
WITH RECURSIVE t(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM t WHERE n < 10) SELECT sum(n) FROM t
WITH RECURSIVE t(a, b) USING KEY (a) AS (SELECT 1, 1 UNION SELECT a, b + 1 FROM t WHERE b < 3) FROM t
WITH query(a) AS (SELECT 1) FROM query
WITH summary AS (SELECT 1) FROM summary
WITH "glob"(a) AS (SELECT 1), query(b) AS (SELECT 2) FROM "glob", query
SELECT name, row_number() OVER (ORDER BY age) FROM people
SELECT name, rank() OVER w, dense_rank() OVER w, percent_rank() OVER w, cume_dist() OVER w FROM people WINDOW w AS (PARTITION BY city ORDER BY age)
SELECT name, lag(age) OVER (ORDER BY born), lead(age, 1, 0) OVER (ORDER BY born) FROM people
SELECT name, sum(age) OVER (ORDER BY born ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM people
SELECT name, sum(age) OVER (ORDER BY age RANGE BETWEEN 5 PRECEDING AND 5 FOLLOWING EXCLUDE CURRENT ROW) FROM people
SELECT name, first_value(name) OVER (PARTITION BY city ORDER BY age), nth_value(name, 2) OVER (ORDER BY age), ntile(2) OVER (ORDER BY age) FROM people
SELECT name, sum(age) FILTER (WHERE age > 20) OVER () FROM people
SELECT name FROM people QUALIFY row_number() OVER (PARTITION BY city ORDER BY age) = 1
SELECT count(*) FILTER (WHERE age > 30), sum(DISTINCT age), string_agg(name, ', ' ORDER BY name) FROM people
SELECT list(name ORDER BY age), array_agg(age), first(name), last(name), any_value(city) FROM people
SELECT arg_max(name, age), arg_min(name, age), max(age, 2), median(age), mode(city), quantile_cont(age, 0.5) FROM people
SELECT approx_count_distinct(name), approx_quantile(age, 0.9), approx_top_k(city, 2), reservoir_quantile(age, 0.5) FROM people
SELECT stddev(age), variance(age), skewness(age), kurtosis(age), entropy(city), corr(age, age) FROM people
SELECT histogram(age), bit_and(age), bool_or(age > 3), product(age), count_if(age > 2), geometric_mean(age) FROM people
SELECT CASE WHEN age > 30 THEN 'old' WHEN age > 20 THEN 'young' ELSE 'child' END FROM people
SELECT CASE city WHEN 'Paris' THEN 1 ELSE 0 END FROM people
SELECT coalesce(city, 'none'), ifnull(city, 'none'), nullif(city, 'Paris'), if(age > 3, 1, 2) FROM people
SELECT age::VARCHAR, CAST(age AS DOUBLE), TRY_CAST(name AS INTEGER), age::DECIMAL(10, 2) FROM people
SELECT [1, 2, 3], [1, 2, 3][1], [1, 2, 3][1:2], [1, 2, 3][-1]
SELECT [x * 2 FOR x IN [1, 2, 3] IF x > 1]
SELECT [(x, y) FOR x, y IN [1, 2, 3]]
SELECT list_transform([1, 2, 3], x -> x + 1)
SELECT list_transform([1, 2, 3], lambda x: x + 1)
SELECT list_transform([1, 2, 3], lambda x, i: x + i)
SELECT list_filter([1, 2, 3], lambda x: x > 1), list_reduce([1, 2, 3], lambda a, b: a + b)
SELECT list_transform([[1, 2], [3]], lambda l: list_transform(l, lambda x: x + 1))
SELECT list_sort([3, 1, 2]), list_distinct([1, 1]), list_contains([1], 1), list_sum([1, 2]), list_zip([1], [2])
SELECT list_aggregate([1, 2], 'sum'), list_concat([1], [2]), list_append([1], 2), flatten([[1], [2]]), len([1])
SELECT range(5), generate_series(1, 5), range(DATE '2024-01-01', DATE '2024-02-01', INTERVAL 1 DAY)
SELECT unnest([1, 2, 3])
SELECT unnest([{'a': 1}, {'a': 2}], recursive := true)
SELECT * FROM unnest([1, 2, 3]) t(x)
SELECT * FROM unnest(generate_series(1, 3)) WITH ORDINALITY
SELECT * FROM range(10)
SELECT * FROM range(1, 10, 2) t(i)
SELECT * FROM generate_series(TIMESTAMP '2024-01-01', TIMESTAMP '2024-01-02', INTERVAL 1 HOUR)
SELECT count(*) FROM range(1000000)
SELECT * FROM repeat('x', 3)
SELECT repeat('x', 3), lpad('x', 5, '-'), rpad('x', 5, '-'), bar(5, 0, 10, 20)
SELECT {'a': 1, 'b': 'x'}, {'a': 1}.a, struct_pack(a := 1), row(1, 2)
SELECT s.a, s.b.c, s['a'] FROM (SELECT {'a': 1, 'b': {'c': 2}} AS s)
SELECT s.* FROM (SELECT {'a': 1, 'b': 2} AS s)
SELECT struct_insert({'a': 1}, b := 2), struct_extract({'a': 1}, 'a')
SELECT MAP {'a': 1, 'b': 2}, MAP {'a': 1}['a'], map_keys(MAP {'a': 1}), map_values(MAP {'a': 1}), map([1], [2])
SELECT union_value(a := 1), union_tag(union_value(a := 1))
SELECT '{"a": [1, 2]}'::JSON, '{"a": 1}'::JSON -> 'a', '{"a": 1}'::JSON ->> 'a', '{"a": {"b": 2}}'::JSON -> 'a' -> 'b'
SELECT json_extract('{"a": 1}', '$.a'), json_array_length('[1]'), json_keys('{"a": 1}'), to_json({'a': 1}), json_group_array(age) FROM people
SELECT * FROM json_each('{"a": 1, "b": 2}')
SELECT * FROM json_tree('{"a": [1, 2]}')
SELECT json_structure('{"a": 1}'), json_type('1'), json_valid('x'), from_json('{"a": 1}', '{"a": "INTEGER"}'), json_object('a', 1), json_merge_patch('{}', '{"a": 1}')
SELECT upper(name), lower(name), length(name), substring(name, 1, 2), name[1:2], left(name, 1), right(name, 1), reverse(name) FROM people
SELECT trim('  x '), ltrim('x'), rtrim('x'), trim(BOTH 'x' FROM 'xax'), replace('a', 'a', 'b'), split_part('a,b', ',', 1), string_split('a,b', ',')
SELECT concat('a', 'b'), 'a' || 'b', concat_ws(',', 'a', 'b'), position('a' IN 'ba'), strpos('ab', 'b'), instr('ab', 'b'), starts_with('ab', 'a'), contains('ab', 'b')
SELECT regexp_matches('abc', 'b'), regexp_extract('abc', '(b)', 1), regexp_replace('abc', 'b', 'x'), regexp_extract_all('abab', 'a'), regexp_split_to_array('a b', ' ')
SELECT format('{} {}', 1, 'x'), printf('%d %s', 1, 'x'), md5('x'), sha256('x'), hash('x'), hex('x'), base64('x'::BLOB), to_base64('x'::BLOB)
SELECT levenshtein('a', 'b'), jaccard('a', 'b'), jaro_winkler_similarity('a', 'b'), hamming('a', 'b'), ascii('a'), chr(65), unicode('a'), strip_accents('é')
SELECT url_encode('a b'), url_decode('a%20b'), parse_filename('/a/b.csv'), parse_path('/a/b.csv'), translate('abc', 'a', 'x'), 'a.b/c.csv' AS path
SELECT current_date, current_timestamp::VARCHAR, now()::DATE, today(), localtimestamp, current_time::VARCHAR
SELECT date_trunc('month', born), date_part('year', born), extract(year FROM born), year(born), dayname(born), strftime(born, '%Y'), age(born) FROM people
SELECT extract(epoch FROM TIMESTAMP '2024-01-01'), substring('a.b' FROM 2)
SELECT date_diff('day', DATE '2024-01-01', DATE '2024-02-01'), date_add(DATE '2024-01-01', INTERVAL 1 DAY), DATE '2024-01-01' + 1, INTERVAL '1 month' * 2
SELECT time_bucket(INTERVAL 1 WEEK, born), last_day(born), make_date(2024, 1, 1), make_timestamp(2024, 1, 1, 0, 0, 0), epoch(born), to_timestamp(0)::VARCHAR, strptime('2024', '%Y') FROM people
SELECT TIMESTAMPTZ '2024-01-01 00:00:00+00' AT TIME ZONE 'Europe/Berlin', timezone('UTC', TIMESTAMP '2024-01-01')::VARCHAR
SELECT abs(-1), ceil(1.5), floor(1.5), round(1.55, 1), sqrt(4), pow(2, 3), 2 ** 3, 2 ^ 3, exp(1), ln(2), log(10), mod(5, 3), 5 % 3, 5 // 2, sign(-1), pi(), random() < 2
SELECT greatest(1, 2), least(1, 2), gcd(4, 6), lcm(4, 6), factorial(5), bit_count(5), 5 & 3, 5 | 3, xor(5, 3), ~5, 1 << 3, 8 >> 1
SELECT typeof(1), version(), current_schema(), current_database(), current_user, uuid() IS NOT NULL, gen_random_uuid() IS NOT NULL
SELECT current_setting('threads'), current_setting('TimeZone'), current_setting('max_memory')
SELECT current_query() IS NOT NULL, txid_current() > 0, stats(age) FROM people LIMIT 1
SELECT 1 + 2 * 3 - (4 / 2), NOT true AND false OR true
SELECT 1_000_000, 0xFF, 1e3, 'it''s', $$dollar$$, '\x41'::BLOB
SELECT "name" AS "a b", "age" "c" FROM "people"
SELECT name AS 名前, 'ü' FROM people -- a comment
SELECT /* a comment */ 1 /* and another */
SELECT a: 1, b: 2
SELECT name, age + 1 AS next_age, next_age + 1 AS after_next FROM people
SELECT name FROM main.people
SELECT name FROM test.main.people
SELECT p.name FROM test.main.people p
SELECT main.people.name FROM main.people
SELECT ('Hello').upper()
SELECT name.upper().lower().length() FROM people
SELECT name.list_value().list_transform(lambda x: x.upper()) FROM people
SELECT (SELECT max(age) FROM people), (SELECT count(*) FROM places)
SELECT name, (SELECT country FROM places WHERE places.city = people.city) FROM people
SELECT ARRAY(SELECT name FROM people ORDER BY age)
SELECT (SELECT list(x) FROM (SELECT unnest([1, 2]) AS x))
SELECT * FROM adults
SELECT * FROM adults_by_city
SELECT double_it(age) FROM people
SELECT double_it(double_it(double_it(1)))
SELECT * FROM older_than(20)
SELECT full_label(name, city), full_label(name) FROM people
SELECT * FROM older_than(20) JOIN places USING (city)
PIVOT people ON city USING avg(age)
PIVOT people ON city USING avg(age) GROUP BY name
PIVOT people ON city USING avg(age) AS a, count(*) AS n GROUP BY name ORDER BY name LIMIT 3
PIVOT people ON city IN ('Paris', 'Rome') USING count(*)
PIVOT people ON city, age USING count(*)
PIVOT people ON city || '-' || age::VARCHAR USING count(*)
PIVOT (SELECT city, age FROM people WHERE age > 1) ON city USING sum(age)
WITH p AS (PIVOT people ON city USING sum(age) GROUP BY name) FROM p
SELECT * FROM (PIVOT people ON city USING count(*) GROUP BY name) ORDER BY name
FROM people PIVOT (sum(age) FOR city IN ('Paris', 'Rome') GROUP BY name)
UNPIVOT wide ON jan, feb INTO NAME month VALUE amount
UNPIVOT wide ON COLUMNS(* EXCLUDE (id)) INTO NAME month VALUE amount
SELECT * FROM wide UNPIVOT (amount FOR month IN (jan, feb))
FROM (UNPIVOT wide ON jan, feb) SELECT *
DESCRIBE people
DESCRIBE SELECT * FROM people
DESC people
DESCRIBE adults
SUMMARIZE people
SUMMARIZE SELECT age FROM people
SHOW TABLES
SHOW ALL TABLES
SHOW DATABASES
SHOW SCHEMAS
SHOW TABLES FROM main
DESCRIBE
SELECT * FROM (DESCRIBE people)
SELECT column_name FROM (SUMMARIZE people)
EXPLAIN SELECT * FROM people
EXPLAIN FROM people
EXPLAIN ANALYZE SELECT count(*) FROM people
EXPLAIN (FORMAT JSON) SELECT * FROM people
EXPLAIN (ANALYZE, FORMAT JSON) SELECT * FROM people
EXPLAIN (SELECT 1)
EXPLAIN WITH a AS (SELECT 1) FROM a
EXPLAIN PIVOT people ON city IN ('Paris') USING count(*)
SELECT * FROM information_schema.tables
SELECT table_name FROM information_schema.columns WHERE column_name = 'name'
SELECT * FROM information_schema.schemata
SELECT * FROM pg_catalog.pg_tables
SELECT relname FROM pg_catalog.pg_class
SELECT datname FROM pg_catalog.pg_database
SELECT * FROM sqlite_master
SELECT table_name, estimated_size FROM duckdb_tables()
SELECT view_name FROM duckdb_views() WHERE NOT internal
SELECT function_name FROM duckdb_functions() LIMIT 3
SELECT column_name FROM duckdb_columns() WHERE table_name = 'people'
SELECT * FROM duckdb_types() LIMIT 1
SELECT * FROM duckdb_keywords() LIMIT 1
SELECT * FROM duckdb_constraints()
SELECT * FROM duckdb_indexes()
SELECT * FROM duckdb_schemas()
SELECT * FROM duckdb_sequences()
SELECT * FROM duckdb_dependencies()
SELECT tag, memory_usage_bytes FROM duckdb_memory()
SELECT * FROM pg_timezone_names() LIMIT 1
SELECT t.json, t.csv FROM (SELECT 1 AS json, 2 AS csv) t
SELECT data.parquet FROM (SELECT 1 AS parquet) data
SELECT count(*) FROM people WHERE name = 'SELECT * FROM read_csv(''x'')'
SELECT 'DROP TABLE users; --' AS text
SELECT 'read_text(''/etc/passwd'')' AS text, 'http://example.org/x.csv' AS url
SELECT "read_csv", "glob" FROM (SELECT 1 AS read_csv, 2 AS glob)
SELECT query, checkpoint, summary FROM (SELECT 1 AS query, 2 AS checkpoint, 3 AS summary)
SELECT sum(x) FROM (SELECT 1 AS x UNION ALL SELECT 2)
SELECT * FROM people WHERE (city, age) IN (SELECT city, age FROM people)
SELECT * FROM people WHERE age IN (SELECT unnest([30, 40]))
SELECT name FROM people WHERE age IN (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 30)
SELECT x FROM (SELECT unnest(range(10)) AS x) WHERE x % 2 = 0
SELECT city, list(name) FILTER (WHERE age > 1) FROM people GROUP BY city
SELECT max_by(name, age, 2) FROM people
SELECT * FROM people ORDER BY random() LIMIT 1
SELECT sum(age) / count(*) * 100.0 FROM people
SELECT try_strptime('x', '%Y'), TRY(ln(-1)), error_free FROM (SELECT 1 AS error_free)
SELECT encode('x'), decode('x'::BLOB), bin(5), to_hex(255), unhex('FF'), set_bit('101'::BIT, 0, 0), bitstring('1', 5)
SELECT enum_range(NULL::mood), 'happy'::mood
SELECT [1, 2]::INTEGER[2], array_value(1, 2), array_distance([1, 2]::FLOAT[2], [3, 4]::FLOAT[2])
SELECT 'a' < 'b', 1 <> 2, 1 != 2, 1 == 1, [1] = [1], 'abc' ^@ 'a', [1, 2] @> [1], [1] && [1]
SELECT count() FROM people
SELECT rowid, name FROM people
SELECT name FROM people WHERE rowid = 0
SELECT * FROM (SELECT name, age FROM people) AS t(who, years)
SELECT getvariable('nothing')
SELECT * FROM test_all_types() LIMIT 1
SELECT list_transform(range(100), lambda x: repeat('a', 10))
SELECT string_agg(x::VARCHAR, ',') FROM range(1000) t(x)
SELECT a.x, b.y FROM (SELECT 1 AS x) a LEFT JOIN LATERAL (SELECT a.x + 1 AS y) b ON true
SELECT sum(amount) OVER (PARTITION BY month) FROM (UNPIVOT wide ON jan, feb INTO NAME month VALUE amount)
SELECT date_trunc('day', happened) AS day, count(*) FROM events GROUP BY day ORDER BY day
SELECT who, happened - lag(happened) OVER (PARTITION BY who ORDER BY happened) AS gap FROM events
