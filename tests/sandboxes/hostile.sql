-- Statements that must not be answered, one a line, under the name of what they are after.
-- {file} is a file with a secret in it, {new} one that must not come into being.

-- files that are read
SELECT * FROM read_text('{file}')
SELECT * FROM read_blob('{file}')
SELECT * FROM read_csv('{file}')
SELECT * FROM read_csv_auto('{file}')
SELECT * FROM read_json('{file}')
SELECT * FROM read_json_auto('{file}')
SELECT * FROM read_json_objects('{file}')
SELECT * FROM read_ndjson('{file}')
SELECT * FROM read_parquet('{file}')
SELECT * FROM parquet_scan('{file}')
SELECT * FROM parquet_metadata('{file}')
SELECT * FROM parquet_schema('{file}')
SELECT * FROM sniff_csv('{file}')
SELECT * FROM glob('/*')
SELECT * FROM glob('{file}')
SELECT * FROM read_duckdb('{file}')
SELECT * FROM '{file}'
SELECT * FROM "{file}"
FROM '{file}'
FROM '/etc/*.conf'
FROM '{file}' SELECT *
TABLE "{file}"
SELECT * FROM './secret.csv'
SELECT * FROM '../../secret.parquet'
SELECT * FROM 'file://{file}'
SELECT * FROM 'http://127.0.0.1:1/x.parquet'
SELECT * FROM 'https://127.0.0.1:1/x.csv'
SELECT * FROM 's3://bucket/x.parquet'
SELECT * FROM READ_TEXT('{file}')
SELECT * FROM Read_Text('{file}')
SELECT * FROM "read_text"('{file}')
SELECT * FROM main.read_text('{file}')
SELECT * FROM system.main.read_text('{file}')
SELECT * FROM read_text(['{file}', '/etc/hostname'])
SELECT * FROM read_text/**/('{file}')
SELECT * FROM (SELECT * FROM (SELECT * FROM read_text('{file}')))
SELECT (SELECT content FROM read_text('{file}'))
SELECT 1 WHERE EXISTS (SELECT 1 FROM read_text('{file}') WHERE content LIKE 's%')
WITH t AS (SELECT * FROM read_text('{file}')) SELECT * FROM t
WITH t AS MATERIALIZED (FROM read_text('{file}')) FROM t
WITH RECURSIVE t AS (SELECT content FROM read_text('{file}') UNION ALL SELECT content FROM t) FROM t
SELECT * FROM messages, LATERAL (SELECT content FROM read_text('{file}'))
SELECT * FROM messages m JOIN LATERAL (FROM read_text('{file}')) ON true
SELECT * FROM messages ORDER BY (SELECT content FROM read_text('{file}'))
SELECT * FROM messages LIMIT (SELECT length(content) FROM read_text('{file}'))
SELECT count(*) FILTER (WHERE EXISTS (FROM read_text('{file}'))) FROM messages
SELECT sum(seq) OVER (ORDER BY (SELECT content FROM read_text('{file}'))) FROM messages
SELECT CASE WHEN true THEN (SELECT content FROM read_text('{file}')) END
SELECT list_transform([1], lambda x: (SELECT content FROM read_text('{file}')))
SELECT [x FOR x IN (SELECT list(content) FROM read_text('{file}'))]
SELECT {'a': (SELECT content FROM read_text('{file}'))}
SELECT id FROM messages UNION ALL SELECT content FROM read_text('{file}')
SELECT id FROM messages EXCEPT SELECT content FROM read_text('{file}')
SELECT id FROM messages GROUP BY id HAVING id > (SELECT content FROM read_text('{file}'))
SELECT id FROM messages QUALIFY row_number() OVER () < (SELECT count(*) FROM read_text('{file}'))
VALUES ((SELECT content FROM read_text('{file}')))
SELECT * FROM (VALUES ((SELECT content FROM read_text('{file}')))) t(a)
SELECT * FROM range((SELECT length(content) FROM read_text('{file}')))
SELECT * FROM unnest((SELECT list(content) FROM read_text('{file}')))
SELECT * FROM messages PIVOT (count(*) FOR id IN (SELECT content FROM read_text('{file}')))
SELECT * REPLACE ((SELECT content FROM read_text('{file}')) AS id) FROM messages
SELECT * FROM messages m POSITIONAL JOIN read_text('{file}')
SELECT * FROM messages ASOF JOIN read_text('{file}') r ON messages.content >= r.content
SELECT which_secret('{file}', 's3')
SELECT * FROM which_secret('s3://x', 's3')

-- files that are written
COPY (SELECT 1) TO '{new}'
COPY messages TO '{new}' (FORMAT parquet)
COPY messages FROM '{file}'
EXPORT DATABASE '{new}'
IMPORT DATABASE '{file}'
ATTACH '{new}' AS other
ATTACH '{file}' AS other (READ_ONLY)
DETACH memory
USE memory
CHECKPOINT
FORCE CHECKPOINT
VACUUM
SELECT * FROM force_checkpoint()
SELECT * FROM checkpoint()
SELECT write_log('x', log_type := 'y')
SELECT * FROM enable_logging(storage := 'file')
SELECT * FROM enable_profiling('json')
PRAGMA enable_profiling
PRAGMA profiling_output = '{new}'

-- settings and extensions
SET memory_limit = '100GB'
SET GLOBAL enable_external_access = true
RESET lock_configuration
SET temp_directory = '{new}'
SET VARIABLE x = 1
PRAGMA database_list
PRAGMA version
PRAGMA threads = 64
PRAGMA table_info('messages')
INSTALL httpfs
LOAD httpfs
LOAD '{file}'
INSTALL spatial FROM community
CALL pragma_version()
SELECT current_setting('memory_limit')
SELECT getvariable('x')
SELECT getenv('HOME')
SELECT * FROM duckdb_settings()
SELECT * FROM duckdb_extensions()
SELECT * FROM duckdb_secrets()
SELECT * FROM duckdb_variables()
SELECT * FROM pragma_version()
SELECT * FROM pragma_platform()
SELECT * FROM pragma_user_agent()
SELECT version()
CREATE SECRET s (TYPE s3)

-- changes
INSERT INTO messages VALUES (1)
UPDATE messages SET content = 'x'
DELETE FROM messages
TRUNCATE messages
DROP VIEW messages
CREATE TABLE t AS SELECT 1
CREATE TEMP TABLE t (a INT)
CREATE OR REPLACE VIEW messages AS SELECT 1
CREATE TEMP VIEW messages AS SELECT 1
CREATE MACRO lower(x) AS 'gotcha'
CREATE FUNCTION now() AS 1
CREATE TYPE mood AS ENUM ('x')
CREATE SCHEMA s
CREATE SEQUENCE q
ALTER TABLE messages ADD COLUMN x INT
COMMENT ON TABLE messages IS 'x'
MERGE INTO messages USING channels ON true WHEN MATCHED THEN DELETE
WITH x AS (INSERT INTO messages VALUES (1) RETURNING *) SELECT * FROM x
WITH x AS (UPDATE messages SET content = 'x' RETURNING *) SELECT * FROM x
WITH x AS (DELETE FROM messages RETURNING *) SELECT * FROM x
SELECT nextval('q')
SELECT setval('q', 1)
BEGIN
COMMIT
ROLLBACK
PREPARE p AS SELECT 1
EXECUTE p
DEALLOCATE p
EXPLAIN SELECT * FROM messages
EXPLAIN ANALYZE SELECT * FROM messages
SELECT setseed(0.5)

-- more than one
SELECT 1; SELECT 2
SELECT 1; DROP TABLE messages
SELECT 1; COPY (SELECT 1) TO '{new}'
SELECT 1;; SELECT 2
SELECT 1; /* and then */ FROM messages
SELECT 1 /* ; */; SELECT 2
; SELECT 1; SELECT 2
SELECT '1'';' ; SELECT 2

-- text that becomes SQL
SELECT * FROM query('SELECT 1')
SELECT * FROM query_table('messages')
SELECT * FROM query_table(['messages', 'channels'])
SELECT json_execute_serialized_sql(json_serialize_sql('SELECT 1'))
SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))
SELECT json_serialize_sql('SELECT 1')
SELECT json_deserialize_sql('{}')
SELECT json_serialize_plan('SELECT 1')
SELECT * FROM seq_scan('messages')
SELECT * FROM python_map_function(1)
SELECT * FROM arrow_scan(1, 2, 3)
SELECT * FROM arrow_scan_dumb(1, 2, 3)
SELECT * FROM pandas_scan(1)
SELECT * FROM python_arrow_scan(1)

-- the catalogue
SELECT * FROM api_key
SELECT * FROM session
SELECT * FROM account_change
SELECT * FROM message
SELECT * FROM message_change
SELECT * FROM "commit"
SELECT * FROM main.messages
SELECT * FROM memory.messages
SELECT * FROM memory.main.messages
SELECT * FROM temp.messages
SELECT * FROM "main"."messages"
SELECT * FROM system.main.duckdb_tables
SELECT * FROM projection
SELECT * FROM information_schema.tables
SELECT * FROM information_schema.columns
SELECT * FROM pg_catalog.pg_class
SELECT * FROM pg_class
SELECT * FROM pg_catalog.pg_settings
SELECT * FROM sqlite_master
SELECT * FROM duckdb_tables
SELECT * FROM duckdb_tables()
SELECT * FROM duckdb_views()
SELECT * FROM duckdb_columns()
SELECT * FROM duckdb_databases()
SELECT * FROM duckdb_functions()
SELECT * FROM duckdb_memory()
SELECT * FROM duckdb_temporary_files()
SELECT * FROM duckdb_logs()
SELECT * FROM pragma_table_info('messages')
SELECT * FROM pragma_storage_info('messages')
SELECT * FROM pragma_database_size()
SHOW TABLES
SHOW ALL TABLES
SHOW DATABASES
DESCRIBE messages
SUMMARIZE messages
SELECT * FROM (DESCRIBE messages)
SELECT * FROM (SHOW ALL TABLES)
SELECT * FROM (SUMMARIZE messages)
SELECT current_user
SELECT current_catalog
SELECT current_schema
SELECT current_database()
SELECT current_schema()
SELECT current_query()
SELECT session_user, user
SELECT has_table_privilege('messages', 'select')
SELECT pg_get_viewdef(1)
SELECT txid_current()
SELECT current_connection_id()
SELECT 'messages'::regclass
SELECT stats(seq) FROM messages
SELECT vector_type(seq) FROM messages
SELECT * FROM messages AT (VERSION => 1)

-- names that hide others
WITH sqlite_master AS (SELECT 1) SELECT * FROM main.sqlite_master
WITH api_key AS (SELECT 1) SELECT * FROM (SELECT 1) t, main.api_key
SELECT * FROM (WITH api_key AS (SELECT 1) SELECT * FROM api_key) a, api_key b
WITH a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a
SELECT (WITH pg_class AS (SELECT 1) SELECT 1), (SELECT count(*) FROM pg_class)
WITH messages AS (SELECT * FROM message) SELECT * FROM messages
WITH read_text AS (SELECT 1) SELECT * FROM read_text('{file}')
SELECT * FROM messages AS api_key, api_key AS messages
SELECT * FROM "api_key"
SELECT * FROM "API_KEY"
SELECT * FROM ａｐｉ＿ｋｅｙ
SELECT * FROM "api_key" -- messages
SELECT * FROM /* messages */ api_key
SELECT * FROM "messages""; SELECT 1; --"
SELECT * FROM U&"\0061pi_key"
SELECT * FROM "messages "
SELECT * FROM mеssages

-- much out of little
SELECT repeat('x', 1000000000)
SELECT lpad('x', 1000000000, 'y')
SELECT rpad('x', 1000000000, 'y')
SELECT range(200000000)
SELECT generate_series(1, 200000000)
SELECT list_resize([1], 1000000000)
SELECT array_resize([1], 1000000000)
SELECT printf('%1000000000d', 1)
SELECT format('{:>1000000000}', 1)
SELECT repeat([1, 2], 100000000)
SELECT * FROM repeat('x', 1000000000)
SELECT * FROM repeat_row(1, 2, num_rows := 1000000000)
SELECT * FROM test_all_types()
SELECT * FROM test_vector_types(NULL::INT)
SELECT enum_range(NULL::mood)
SELECT * FROM summary((FROM messages))
SELECT bitstring('1', 1000000000)

-- waiting
SELECT pg_sleep(1000)
SELECT sleep_ms(1000000)
SELECT 'x'.repeat(1000000000)
SELECT error('x')
SELECT * FROM duckdb_external_file_cache()
SELECT * FROM truncate_duckdb_logs()
SELECT random(), uuid(), gen_random_uuid()
SELECT count(*) FROM messages TABLESAMPLE reservoir(10 ROWS) REPEATABLE (1), read_text('{file}')
