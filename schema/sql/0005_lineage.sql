-- Where this history is: the server and its timeline, and the table, which a restored dump makes anew. A database that
-- is found elsewhere than it was is a copy, and may be an older one. NULL until the program has looked.
ALTER TABLE log_epoch ADD COLUMN system_identifier bigint, ADD COLUMN timeline text, ADD COLUMN log_table oid;

-- The epochs that ended: who knows one of these, and not the present one, is behind; who knows another is ahead of a
-- database that was restored from before it.
CREATE TABLE past_epoch (
    epoch    text PRIMARY KEY,
    ended_at timestamptz NOT NULL DEFAULT now(),
    reason   text NOT NULL
);
