-- A dead letter is an event that an actor refused (event_id, stream, rev), or a record from Kafka that could not be
-- handled: where it was, and what it was. Of its value the first 64 KiB are kept; value_bytes is its size, null for a
-- record without one. A topic that was deleted and made anew counts its offsets from 0 again, hence the digest, which is
-- that of key and value.
ALTER TABLE dead_letter
    ALTER COLUMN event_id DROP NOT NULL,
    ALTER COLUMN stream DROP NOT NULL,
    ALTER COLUMN rev DROP NOT NULL,
    ADD COLUMN topic text,
    ADD COLUMN partition integer,
    ADD COLUMN record_offset bigint,
    ADD COLUMN digest bytea,
    ADD COLUMN record_key bytea,
    ADD COLUMN value bytea,
    ADD COLUMN value_bytes integer,
    ADD COLUMN headers bytea, -- msgpack: [[name, value or nil], …], as bin
    ADD CONSTRAINT dead_letter_origin CHECK ((event_id IS NULL) <> (topic IS NULL));
CREATE UNIQUE INDEX dead_letter_record ON dead_letter (topic, partition, record_offset, digest) WHERE topic IS NOT NULL;
-- For the oldest of them, which go when there are too many.
CREATE INDEX dead_letter_records ON dead_letter (id) WHERE topic IS NOT NULL;
