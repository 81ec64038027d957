-- Who owns the node, and the one-time codes that let others register.

CREATE TABLE IF NOT EXISTS workspace_claim (
    seq UBIGINT, clock VARCHAR, origin VARCHAR, account_id VARCHAR
);

CREATE TABLE IF NOT EXISTS registration_code (
    seq UBIGINT, id VARCHAR, time TIMESTAMP, author VARCHAR,
    secret_hash VARCHAR, expires_at TIMESTAMP, label VARCHAR
);

CREATE TABLE IF NOT EXISTS registration_code_use (
    seq UBIGINT, id VARCHAR, clock VARCHAR, origin VARCHAR, account_id VARCHAR
);

INSERT INTO workspace_claim
SELECT seq, clock, origin, data->>'account_id' FROM batch WHERE kind = 'workspace_claimed';

-- TRY_CAST: a date that cannot be read makes a code that is not valid at any time.
INSERT INTO registration_code
SELECT seq, data->>'code_id', time, author, data->>'secret_hash',
       TRY_CAST(data->>'expires_at' AS TIMESTAMP), coalesce(data->>'label', '')
FROM batch WHERE kind = 'code_issued';

INSERT INTO registration_code_use
SELECT seq, data->>'code_id', clock, origin, data->>'account_id'
FROM batch WHERE kind = 'code_redeemed';
