-- Settings, secrets, the log, the profiler and other things of the whole engine.
SET memory_limit = '1TB'
SET threads = 64
SET GLOBAL threads = 1
SET SESSION threads = 1
SET LOCAL threads = 1
SET enable_external_access = true
SET lock_configuration = false
SET allowed_directories = ['/']
SET temp_directory = '/'
SET TimeZone = 'Asia/Tokyo'
SET search_path = 'x'
SET schema = 'x'
SET VARIABLE x = 1
SET VARIABLE x = (SELECT content FROM read_text('{secret}'))
SET home_directory = '/root'
SET extension_directory = '/tmp'
SET allow_unsigned_extensions = true
SET enable_profiling = 'json'
SET profiling_output = '{secret}'
SET profile_output = '{secret}'
SET log_query_path = '{secret}'
SET enable_logging = true
SET enable_progress_bar = true
SET enable_progress_bar_print = true
SET custom_profiling_settings = '{{}}'
SET s3_secret_access_key = 'x'
SET http_proxy = '127.0.0.1:{http}'
SET s3_endpoint = '127.0.0.1:{http}'
SET allowed_configs = ['x']
SET default_secret_storage = 'x'
SET secret_directory = '/tmp'
SET allow_persistent_secrets = true
SET python_enable_replacements = true
SET wal_autocheckpoint = '1KB'
SET checkpoint_threshold = '1KB'
SET debug_window_mode = 'x'
SET disabled_optimizers = 'filter_pushdown'
SET disabled_filesystems = 'LocalFileSystem'
SET max_expression_depth = 1000000
SET immediate_transaction_mode = true
SET access_mode = 'READ_ONLY'
RESET memory_limit
RESET ALL
RESET custom_profiling_settings
RESET GLOBAL s3_secret_access_key
RESET VARIABLE x
RESET lock_configuration
USE main
USE other
USE memory
PRAGMA database_list
PRAGMA database_size
PRAGMA show_tables
PRAGMA show_tables_expanded
PRAGMA table_info('users')
PRAGMA storage_info('users')
PRAGMA metadata_info
PRAGMA version
PRAGMA platform
PRAGMA user_agent
PRAGMA functions
PRAGMA collations
PRAGMA extension_versions
PRAGMA memory_limit = '1TB'
PRAGMA threads = 64
PRAGMA enable_profiling
PRAGMA enable_profile
PRAGMA enable_profiling = 'json'
PRAGMA disable_profiling
PRAGMA profile_output = '{secret}'
PRAGMA enable_logging
PRAGMA enable_verification
PRAGMA verify_parallelism
PRAGMA verify_serializer
PRAGMA verify_external
PRAGMA disable_optimizer
PRAGMA disable_verification
PRAGMA disable_checkpoint_on_shutdown
PRAGMA enable_checkpoint_on_shutdown
PRAGMA force_checkpoint
PRAGMA enable_object_cache
PRAGMA enable_progress_bar
PRAGMA disable_print_progress_bar
PRAGMA add_parquet_key('x', '0123456789012345')
PRAGMA import_database('{temp}')
PRAGMA copy_database('a', 'b')
PRAGMA json_execute_serialized_sql('x')
PRAGMA show('users')
SELECT current_setting('s3_secret_access_key')
SELECT current_setting('s3_access_key_id')
SELECT current_setting('s3_session_token')
SELECT current_setting('temp_directory')
SELECT current_setting('home_directory')
SELECT current_setting('secret_directory')
SELECT current_setting('allowed_directories')
SELECT current_setting('http_proxy_password')
SELECT current_setting('custom_user_agent')
SELECT current_setting(name) FROM (VALUES ('threads')) t(name)
SELECT current_setting('mem' || 'ory_limit')
SELECT current_setting(?)
SELECT current_setting(upper('threads'))
SELECT current_setting((SELECT 'threads'))
SELECT system.main.current_setting('s3_secret_access_key')
SELECT 's3_secret_access_key'.current_setting()
SELECT list_transform(['s3_secret_access_key'], x -> current_setting(x))
SELECT * FROM duckdb_settings()
SELECT value FROM duckdb_settings() WHERE name LIKE 's3%'
SELECT * FROM duckdb_settings
SELECT * FROM pg_settings
SELECT * FROM pg_catalog.pg_settings
SELECT * FROM pg_prepared_statements
SELECT * FROM duckdb_secrets()
SELECT * FROM duckdb_secrets(redact = false)
SELECT * FROM which_secret('s3://x', 's3')
SELECT secret_string FROM system.main.duckdb_secrets()
SELECT getenv('HOME')
SELECT getenv('AWS_SECRET_ACCESS_KEY')
CREATE SECRET x (TYPE s3, KEY_ID 'a', SECRET 'b')
CREATE OR REPLACE SECRET aws (TYPE s3)
CREATE TEMPORARY SECRET x (TYPE s3)
CREATE PERSISTENT SECRET x (TYPE s3)
CREATE SECRET IF NOT EXISTS x (TYPE http)
CREATE PERSISTENT SECRET x IN local_file (TYPE s3)
DROP SECRET aws
DROP SECRET IF EXISTS aws
DROP PERSISTENT SECRET aws
DROP TEMPORARY SECRET aws FROM memory
CALL enable_logging()
CALL enable_logging('QueryLog')
CALL enable_logging(level = 'trace')
CALL enable_logging('HTTP', storage = 'file', storage_path = '/tmp')
CALL disable_logging()
CALL truncate_duckdb_logs()
CALL enable_profiling()
CALL disable_profiling()
SELECT * FROM enable_logging()
SELECT * FROM enable_logging('QueryLog', storage = 'stdout')
SELECT * FROM disable_logging()
SELECT * FROM enable_profiling(save_location = '{secret}')
SELECT * FROM disable_profiling()
SELECT * FROM truncate_duckdb_logs()
SELECT * FROM duckdb_logs()
SELECT * FROM duckdb_logs
SELECT * FROM duckdb_logs_parsed('QueryLog')
SELECT * FROM duckdb_log_contexts()
SELECT * FROM duckdb_profiling_settings()
SELECT * FROM duckdb_prepared_statements()
SELECT * FROM duckdb_live_query_metrics()
SELECT write_log('x')
SELECT write_log('x', level := 'error', log_type := 'y')
SELECT parse_duckdb_log_message('HTTP', 'x')
CHECKPOINT FORCE
FORCE CHECKPOINT
FORCE CHECKPOINT test
CALL force_checkpoint()
CALL checkpoint()
SELECT * FROM checkpoint()
SELECT * FROM force_checkpoint()
CALL pragma_version()
CALL duckdb_settings()
CALL range(10)
CALL read_text('{secret}')
CALL read_csv('checkpoint')
CALL glob('checkpoint')
CALL arrow_scan(1, 2, 3)
SELECT setseed(0.5)
SELECT sleep_ms(100000)
SELECT pg_sleep(100)
SELECT * FROM pragma_database_size()
SELECT * FROM pragma_storage_info('users')
SELECT * FROM pragma_metadata_info()
SELECT * FROM pragma_user_agent()
SELECT * FROM duckdb_table_sample('users')
SELECT json_serialize_sql('SELECT 1')
SELECT json_serialize_plan('FROM read_csv(''{secret}'')')
SELECT json_deserialize_sql('{{}}')
SELECT * FROM json_execute_serialized_sql(json_serialize_sql('FROM read_text(''{secret}'')'))
SELECT * FROM query('SELECT 1')
SELECT * FROM query('FROM read_text(''{secret}'')')
SELECT * FROM query($$FROM '{secret}'$$)
SELECT * FROM query_table('users')
SELECT * FROM query_table('{secret}')
SELECT * FROM query_table(['users', '{secret}'])
SELECT * FROM histogram('{secret}', a)
SELECT * FROM histogram_values('{secret}', a)
SELECT finalize(x) FROM users
SELECT combine(1, 2)
SELECT __internal_compress_string_ubigint('x')
SELECT __internal_decompress_string(1)
SELECT create_sort_key('x', 'ASC')
SELECT variant_bytes_to_variant('x', 'y')
SELECT to_aggregate_state(1, 2)
SELECT vector_type(id) FROM users
-- Limits of DuckDB 2.0: the first holds for every connection, the second for the caller's.
SET max_execution_time = 1
SET GLOBAL max_execution_time = 1
SET SESSION max_execution_time = 1
RESET max_execution_time
PRAGMA max_execution_time = 1
SET operator_memory_limit = '1MB'
SET SESSION operator_memory_limit = '1MB'
SET LOCAL operator_memory_limit = '1MB'
RESET operator_memory_limit
PRAGMA operator_memory_limit = '1MB'
SELECT current_setting('max_execution_time')
SET fsync_mode = 'off'
SET current_dialect = 'postgres'
SET enable_optimistic_write = false
SET extension_repository_directory = '/tmp'
PRAGMA add_parquet_key('k', 'MDEyMzQ1Njc4OTAxMjM0NQ==')
DISCONNECT
CREATE EXTERNAL RESOURCE x
SHOW RESOURCES
CREATE TRIGGER x AFTER INSERT ON users FOR EACH STATEMENT INSERT INTO users VALUES (9, 'x')
CREATE SECURE VIEW x AS SELECT 1
