-- @BATCH@ tasks with a reminder each, as the writer and the reminder actor store them: two transactions of statements over
-- many rows. Bodies, title, words, digest and salt are -D variables with the bytes of a real event; ids are as scattered as
-- real ones.
\set k :k + 1
\set first (:run * 100000 + :k) * @BATCH@
BEGIN ISOLATION LEVEL READ COMMITTED;
SELECT pg_advisory_xact_lock(7461, 0);
UPDATE stream SET head = head + @BATCH@, n_open = n_open + @BATCH@ WHERE id = @LIST@ RETURNING head - @BATCH@ AS rev \gset
INSERT INTO task (id, list, rev, status, priority, title, tags, due_at, position, created_at, updated_at, body, is_recurring, words, sort_title) SELECT md5('t' || :first::bigint + i)::uuid, @LIST@, :rev::bigint + i, 0, 1, :title::text, '{}', timestamptz '2035-11-23 08:00Z', 'a' || lpad(to_hex(:first::bigint + i), 12, '0'), now(), now(), :task_body::bytea, false, :words::tsvector, :sort_title::text FROM generate_series(1, @BATCH@) i;
INSERT INTO event (shard, stream, rev, type, task, command, by, is_answer, at, epoch, digest, salt, fingerprint, body) SELECT 0, @LIST@, :rev::bigint + i, :type::smallint, md5('t' || :first::bigint + i)::uuid, md5('c' || :first::bigint + i)::uuid, @LIST@, true, now(), :epoch::text, :digest::bytea, :salt::bytea, :fingerprint::bytea, :event_body::bytea FROM generate_series(1, @BATCH@) i;
COMMIT;
INSERT INTO reminder (task, reminder, list, event_id, state, fire_at, whom) SELECT md5('t' || :first::bigint + i)::uuid, md5('r' || :first::bigint + i)::uuid, @LIST@, :first::bigint + i, 0, timestamptz '2035-01-01Z' + (:first::bigint + i) * interval '10 us', 2 FROM generate_series(1, @BATCH@) i;
