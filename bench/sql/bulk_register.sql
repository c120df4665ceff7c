-- @BATCH@ tasks with a reminder each, as the writer and the reminder actor store them: two transactions of statements over
-- many rows. Bodies, digest and salt are -D variables with the bytes of a real event.
\set k :k + 1
\set first (:run * 100000 + :k) * @BATCH@
BEGIN ISOLATION LEVEL READ COMMITTED;
SELECT pg_advisory_xact_lock(7461, 0);
UPDATE stream SET head = head + @BATCH@, n_open = n_open + @BATCH@ WHERE id = @LIST@ RETURNING head - @BATCH@ AS rev \gset
INSERT INTO task (id, list, rev, status, priority, title, tags, due_at, position, created_at, updated_at, body, is_recurring, words, sort_title) SELECT lpad(to_hex(:first::bigint + i), 32, '0')::uuid, @LIST@, :rev::bigint + i, 0, 1, 'Water the plants', '{}', now() + interval '9 years', 'a0', now(), now(), :task_body::bytea, false, '''a'' ''task'' ''of'' ''the'' ''benchmark'''::tsvector, 'water the plants' FROM generate_series(1, @BATCH@) i;
INSERT INTO event (shard, stream, rev, type, task, command, by, is_answer, at, epoch, digest, salt, fingerprint, body) SELECT 0, @LIST@, :rev::bigint + i, :type::smallint, lpad(to_hex(:first::bigint + i), 32, '0')::uuid, lpad(to_hex(:first::bigint + i), 32, '0')::uuid, @LIST@, true, now(), :epoch::text, :digest::bytea, :salt::bytea, :fingerprint::bytea, :event_body::bytea FROM generate_series(1, @BATCH@) i;
COMMIT;
INSERT INTO reminder (task, reminder, list, event_id, state, fire_at, whom) SELECT lpad(to_hex(:first::bigint + i), 32, '0')::uuid, lpad(to_hex(:first::bigint + i), 32, '0')::uuid, @LIST@, :first::bigint + i, 0, now() + i * interval '1 second', 2 FROM generate_series(1, @BATCH@) i;
