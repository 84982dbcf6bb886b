-- Reaching the network. {port}: a listening port, {http}: a server that counts its requests.
FROM 'http://127.0.0.1:{http}/x.csv'
FROM "http://127.0.0.1:{http}/x.parquet"
SELECT * FROM read_csv('http://127.0.0.1:{http}/x.csv')
SELECT * FROM read_text('http://127.0.0.1:{http}/x')
SELECT * FROM read_blob('https://127.0.0.1:{http}/x')
SELECT * FROM read_parquet('http://127.0.0.1:{http}/x.parquet')
SELECT * FROM read_json('http://127.0.0.1:{http}/x.json')
SELECT * FROM read_parquet('s3://bucket/x?s3_endpoint=127.0.0.1:{http}&s3_use_ssl=false')
SELECT * FROM read_parquet(['s3://a/b', 'http://127.0.0.1:{http}/'])
SELECT * FROM glob('s3://bucket/*?s3_endpoint=127.0.0.1:{http}')
SELECT * FROM glob('http://127.0.0.1:{http}/*')
FROM 's3://bucket/x.parquet'
FROM 'gcs://bucket/x.parquet'
FROM 'r2://bucket/x.parquet'
FROM 'hf://datasets/a/b/x.csv'
FROM 'az://x/y.csv'
FROM 'abfss://x@y/z.parquet'
SELECT * FROM sniff_csv('http://127.0.0.1:{http}/x.csv')
SELECT * FROM parquet_metadata('http://127.0.0.1:{http}/x.parquet')
DESCRIBE FROM 'http://127.0.0.1:{http}/x.csv'
SUMMARIZE 'http://127.0.0.1:{http}/x.csv'
EXPLAIN FROM 'http://127.0.0.1:{http}/x.csv'
COPY users TO 'http://127.0.0.1:{http}/x.csv'
COPY users TO 's3://bucket/x.parquet'
COPY users FROM 'http://127.0.0.1:{http}/x.csv'
CREATE TABLE x AS FROM 'http://127.0.0.1:{http}/x.csv'
CREATE VIEW x AS FROM 'http://127.0.0.1:{http}/x.csv'
INSERT INTO users FROM 'http://127.0.0.1:{http}/x.csv'
ATTACH 'http://127.0.0.1:{http}/x.db' AS x
ATTACH 'host=127.0.0.1 port={port}' AS x (TYPE postgres)
ATTACH 'postgres://127.0.0.1:{port}/x' AS x
ATTACH 'quack:localhost:{port}' AS x
ATTACH 'ducklake:http://127.0.0.1:{http}/' AS x
ATTACH 's3://bucket/x.db'
ATTACH 'md:x'
SELECT * FROM postgres_scan('host=127.0.0.1 port={port}', 'public', 't')
SELECT * FROM postgres_scan_pushdown('host=127.0.0.1 port={port}', 'public', 't')
SELECT * FROM postgres_query('x', 'SELECT pg_sleep(10)')
SELECT * FROM postgres_execute('x', 'DROP TABLE t')
CALL postgres_attach('host=127.0.0.1 port={port}')
SELECT * FROM mysql_query('x', 'SELECT 1')
SELECT * FROM mysql_scan('host=127.0.0.1 port={port}', 'a', 'b')
SELECT * FROM sqlite_scan('{secret}', 't')
SELECT * FROM sqlite_query('x', 'SELECT 1')
SELECT * FROM iceberg_scan('http://127.0.0.1:{http}/')
SELECT * FROM delta_scan('http://127.0.0.1:{http}/')
SELECT * FROM ducklake_snapshots('x')
CALL quack_serve('quack:localhost:{port}', token = 'x')
SELECT * FROM quack_serve('quack:localhost:{port}')
SELECT * FROM quack_query_by_name('x', 'SELECT 1')
CALL quack_query('quack:localhost:{port}', 'SELECT 1')
SELECT * FROM http_get('http://127.0.0.1:{http}/')
SELECT http_post('http://127.0.0.1:{http}/', 'x')
CALL start_ui()
CALL start_ui_server()
SELECT * FROM start_ui()
INSTALL httpfs
INSTALL httpfs FROM 'http://127.0.0.1:{http}/'
INSTALL h3 FROM community
FORCE INSTALL spatial
FORCE INSTALL x FROM 'http://127.0.0.1:{http}'
LOAD httpfs
LOAD '/tmp/evil.duckdb_extension'
LOAD 'http://127.0.0.1:{http}/x.duckdb_extension'
UPDATE EXTENSIONS
UPDATE EXTENSIONS (httpfs)
SELECT * FROM register_external_resource('x')
SELECT * FROM create_external_resource('x')
SELECT * FROM add_grammar_extension('x')
CALL enable_peg_parser()
