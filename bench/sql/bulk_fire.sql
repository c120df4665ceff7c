-- @BATCH@ of the reminders that bulk_register.sql made fire: their events, then what the reminder actor keeps of them.
\set k :k + 1
\set first ((:run - 1) * 100000 + :k) * @BATCH@
BEGIN ISOLATION LEVEL READ COMMITTED;
SELECT pg_advisory_xact_lock(7461, 0);
UPDATE stream SET head = head + @BATCH@ WHERE id = @LIST@ RETURNING head - @BATCH@ AS rev \gset
INSERT INTO event (shard, stream, rev, type, task, command, by, is_answer, at, epoch, digest, salt, fingerprint, body) SELECT 0, @LIST@, :rev::bigint + i, :type::smallint, md5('t' || :first::bigint + i)::uuid, md5('f' || :first::bigint + i)::uuid, @LIST@, true, now(), :epoch::text, :digest::bytea, :salt::bytea, :fingerprint::bytea, :event_body::bytea FROM generate_series(1, @BATCH@) i;
COMMIT;
WITH k AS (SELECT md5('t' || :first::bigint + i)::uuid AS task, md5('r' || :first::bigint + i)::uuid AS reminder, timestamptz '2035-01-01Z' + (:first::bigint + i) * interval '10 us' AS fire_at FROM generate_series(1, @BATCH@) i), past AS (INSERT INTO reminder_past (list, fire_at, task, reminder, whom, fired_at) SELECT @LIST@, fire_at, task, reminder, 2, now() FROM k) UPDATE reminder r SET state = 1, fired_at = now() FROM k WHERE r.task = k.task AND r.reminder = k.reminder;
