-- @BATCH@ of the reminders that bulk_register.sql made fire: their events, then what the reminder actor keeps of them.
\set k :k + 1
\set first ((:run - 1) * 100000 + :k) * @BATCH@
\set mine (:run * 100000 + :k) * @BATCH@
BEGIN ISOLATION LEVEL READ COMMITTED;
SELECT pg_advisory_xact_lock(7461, 0);
UPDATE stream SET head = head + @BATCH@ WHERE id = @LIST@ RETURNING head - @BATCH@ AS rev \gset
INSERT INTO event (shard, stream, rev, type, task, command, by, is_answer, at, epoch, digest, salt, fingerprint, body) SELECT 0, @LIST@, :rev::bigint + i, :type::smallint, lpad(to_hex(:first::bigint + i), 32, '0')::uuid, lpad(to_hex(:mine::bigint + i), 32, '0')::uuid, @LIST@, true, now(), :epoch::text, :digest::bytea, :salt::bytea, :fingerprint::bytea, :event_body::bytea FROM generate_series(1, @BATCH@) i;
COMMIT;
WITH k AS (SELECT lpad(to_hex(:first::bigint + i), 32, '0')::uuid AS id FROM generate_series(1, @BATCH@) i), past AS (INSERT INTO reminder_past (list, fire_at, task, reminder, whom, fired_at) SELECT @LIST@, now(), id, id, 2, now() FROM k) UPDATE reminder r SET state = 1, fired_at = now() FROM k WHERE r.task = k.id AND r.reminder = k.id;
