-- Channels as facts: how each was opened, what changed, who came and went, who muted it.
-- Nothing is updated; `queries.py` lets the greatest (clock, origin) win, column by column.

CREATE TABLE IF NOT EXISTS channel (
    seq UBIGINT, id VARCHAR, time TIMESTAMP, clock VARCHAR, origin VARCHAR, author VARCHAR,
    name VARCHAR, description VARCHAR, type VARCHAR, privacy_mode VARCHAR
);

-- One row is one change; a column that the change did not speak of is NULL.
CREATE TABLE IF NOT EXISTS channel_change (
    seq UBIGINT, id VARCHAR, time TIMESTAMP, clock VARCHAR, origin VARCHAR,
    name VARCHAR, topic VARCHAR, description VARCHAR, privacy_mode VARCHAR,
    ttl_days INTEGER, preserved BOOLEAN, archived BOOLEAN, removed BOOLEAN
);

-- One row is one word about a member: the role from now on, NULL for who has left.
CREATE TABLE IF NOT EXISTS channel_member (
    seq UBIGINT, channel_id VARCHAR, account_id VARCHAR, time TIMESTAMP, clock VARCHAR,
    origin VARCHAR, role VARCHAR, came BOOLEAN
);

CREATE TABLE IF NOT EXISTS channel_mute (
    seq UBIGINT, channel_id VARCHAR, account_id VARCHAR, clock VARCHAR, origin VARCHAR, muted BOOLEAN
);

INSERT INTO channel
SELECT seq, id, time, clock, origin, author,
       data->>'name', coalesce(data->>'description', ''), data->>'type', data->>'privacy_mode'
FROM batch WHERE kind = 'channel_opened';

INSERT INTO channel_change
SELECT seq, id, time, clock, origin,
       data->>'name', data->>'topic', data->>'description', data->>'privacy_mode',
       CAST(data->>'ttl_days' AS INTEGER), CAST(data->>'preserved' AS BOOLEAN),
       CAST(data->>'archived' AS BOOLEAN), CASE WHEN kind = 'channel_removed' THEN true END
FROM batch WHERE kind IN ('channel_described', 'lifecycle_changed', 'channel_removed');

INSERT INTO channel_member
SELECT seq, id, data->>'account_id', time, clock, origin,
       CASE WHEN kind <> 'member_removed' THEN data->>'role' END, kind = 'member_added'
FROM batch WHERE kind IN ('member_added', 'role_changed', 'member_removed');

INSERT INTO channel_mute
SELECT seq, id, author, clock, origin, CAST(data->>'muted' AS BOOLEAN)
FROM batch WHERE kind = 'channel_muted';
