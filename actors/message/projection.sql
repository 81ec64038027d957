-- Messages as facts: what was posted, and all that happened to it later.
-- Nothing is updated; `queries.py` lets the greatest (clock, origin) win.
-- What was said in private stands in `sealed` only, as ciphertext, and is opened where it is shown.
-- A message's key is `<channel>.<message>`; both tokens become columns.

CREATE TABLE IF NOT EXISTS message (
    seq UBIGINT, id VARCHAR, channel_id VARCHAR, user_id VARCHAR, time TIMESTAMP, clock VARCHAR,
    origin VARCHAR, content VARCHAR, type VARCHAR, thread_id VARCHAR, parent_message_id VARCHAR,
    attachments JSON, mentions JSON, security JSON, expires_at TIMESTAMP, sealed JSON
);

CREATE INDEX IF NOT EXISTS message_id ON message (id);

-- Edits, deletion, reactions and thread subscriptions: `data` is the event's own.
CREATE TABLE IF NOT EXISTS message_change (
    seq UBIGINT, id VARCHAR, channel_id VARCHAR, user_id VARCHAR, time TIMESTAMP, clock VARCHAR,
    origin VARCHAR, kind VARCHAR, data JSON
);

CREATE INDEX IF NOT EXISTS message_change_id ON message_change (id);

-- Every field at once: one after the other, each would read the JSON anew.
-- TRY_CAST: a date that another node wrote badly must not stop this node; no date never expires.
INSERT INTO message
SELECT seq, split_part(id, '.', 2), split_part(id, '.', 1), author, time, clock, origin,
       coalesce(told[1], ''), coalesce(told[2], 'text'), told[3], told[4],
       coalesce(told[5], '[]'), coalesce(told[6], '[]'), told[7],
       TRY_CAST(told[8] AS TIMESTAMP), told[9]
FROM (
    SELECT *, json_extract_string(data, [
        '$.content', '$.message_type', '$.thread_id', '$.parent_message_id', '$.attachments',
        '$.mentions', '$.security', '$.expires_at', '$.sealed'
    ]) AS told
    FROM batch WHERE kind = 'message_posted'
);

INSERT INTO message_change
SELECT seq, split_part(id, '.', 2), split_part(id, '.', 1), author, time, clock, origin, kind, data
FROM batch
WHERE kind IN ('message_edited', 'message_deleted', 'content_erased', 'reaction_added',
               'reaction_removed', 'thread_followed')
  AND noun = 'message';
