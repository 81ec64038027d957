-- How far each account has read each channel: every advance is a row, the greatest wins.

CREATE TABLE IF NOT EXISTS cursor (
    seq UBIGINT, channel_id VARCHAR, account_id VARCHAR, time TIMESTAMP, read_seq UBIGINT
);

INSERT INTO cursor
SELECT seq, split_part(id, '.', 1), split_part(id, '.', 2), time, CAST(data->>'seq' AS UBIGINT)
FROM batch WHERE kind = 'cursor_advanced';
