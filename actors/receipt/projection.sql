-- Receipts: who was answered, and when. The answers themselves stay in the log, sealed.

CREATE TABLE IF NOT EXISTS receipt (
    seq UBIGINT, id VARCHAR, account_id VARCHAR, time TIMESTAMP
);

INSERT INTO receipt
SELECT seq, id, author, time FROM batch WHERE kind = 'receipt_kept';
