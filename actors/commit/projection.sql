-- The log itself: one row a commit, whatever it is about. What was said stands in the other rooms.
-- `key` names the aggregate within its noun, `id` the commit, `cause` the command, `correlation`
-- the chain of causes, `parent` the commit whose reactor sent the command ('' for none), and
-- `fingerprint` the request with an Idempotency-Key ('' without one).

CREATE TABLE IF NOT EXISTS commit (
    seq UBIGINT, time TIMESTAMP, noun VARCHAR, key VARCHAR, id VARCHAR, author VARCHAR,
    origin VARCHAR, cause VARCHAR, correlation VARCHAR, parent VARCHAR, fingerprint VARCHAR,
    kinds VARCHAR[]
);

INSERT INTO commit
SELECT seq, time, noun, key, id, author, origin, cause, correlation, parent, fingerprint, kinds
FROM commits;
