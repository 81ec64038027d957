-- Accounts as facts: who registered, what changed since, which keys and sessions came and went.
-- Nothing is updated; `queries.py` lets the greatest (clock, origin) win, column by column.

CREATE TABLE IF NOT EXISTS account (
    seq UBIGINT, id VARCHAR, time TIMESTAMP, clock VARCHAR, origin VARCHAR,
    username VARCHAR, public_key VARCHAR
);

-- One row is one change, registering the first; a column that it did not speak of is NULL.
CREATE TABLE IF NOT EXISTS account_change (
    seq UBIGINT, id VARCHAR, time TIMESTAMP, clock VARCHAR, origin VARCHAR,
    status VARCHAR, password_sealed VARCHAR, display_name VARCHAR, bio VARCHAR,
    avatar_file_id VARCHAR, account_type VARCHAR, agent_directives VARCHAR
);

CREATE TABLE IF NOT EXISTS api_key (
    seq UBIGINT, account_id VARCHAR, id VARCHAR, time TIMESTAMP,
    secret_hash VARCHAR, scopes VARCHAR[], label VARCHAR, expires_at TIMESTAMP
);

CREATE TABLE IF NOT EXISTS api_key_revocation (
    seq UBIGINT, account_id VARCHAR, id VARCHAR, time TIMESTAMP
);

CREATE TABLE IF NOT EXISTS session (
    seq UBIGINT, account_id VARCHAR, id VARCHAR, time TIMESTAMP, expires_at TIMESTAMP
);

CREATE TABLE IF NOT EXISTS session_closing (
    seq UBIGINT, account_id VARCHAR, id VARCHAR, time TIMESTAMP
);

INSERT INTO account
SELECT seq, id, time, clock, origin, data->>'username', data->>'public_key'
FROM batch WHERE kind = 'account_registered';

INSERT INTO account_change
SELECT seq, id, time, clock, origin,
       data->>'status', data->>'password_sealed', data->>'display_name', data->>'bio',
       data->>'avatar_file_id', data->>'account_type', data->>'agent_directives'
FROM batch
WHERE kind IN ('account_registered', 'status_changed', 'profile_changed', 'password_changed');

-- TRY_CAST: a date that another node wrote badly must not stop this node; no date never expires.
INSERT INTO api_key
SELECT seq, id, data->>'key_id', time,
       data->>'secret_hash', CAST(data->'scopes' AS VARCHAR[]), coalesce(data->>'label', ''),
       TRY_CAST(data->>'expires_at' AS TIMESTAMP)
FROM batch WHERE kind = 'key_created';

INSERT INTO api_key_revocation
SELECT seq, id, data->>'key_id', time FROM batch WHERE kind = 'key_revoked';

INSERT INTO session
SELECT seq, id, data->>'session_id', time, TRY_CAST(data->>'expires_at' AS TIMESTAMP)
FROM batch WHERE kind = 'session_opened';

INSERT INTO session_closing
SELECT seq, id, data->>'session_id', time FROM batch WHERE kind = 'session_closed';
