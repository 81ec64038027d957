-- Receipts: who was answered, and when. The answers themselves stay in the log, sealed.

CREATE TABLE IF NOT EXISTS receipt (
    seq UBIGINT, id VARCHAR, account_id VARCHAR, time TIMESTAMP
);

-- What requests with a key have done, receipt or not.
CREATE TABLE IF NOT EXISTS keyed_command (
    seq UBIGINT, id VARCHAR, fingerprint VARCHAR, noun VARCHAR, aggregate_id VARCHAR
);

INSERT INTO receipt
SELECT seq, id, author, time FROM batch WHERE kind = 'receipt_kept';

INSERT INTO keyed_command
SELECT seq, cause, fingerprint, noun, id FROM batch
WHERE fingerprint <> '' AND nth = 0 AND noun <> 'receipt';
