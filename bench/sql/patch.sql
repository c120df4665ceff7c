-- One PATCH of a task's title as the writer does it, alone in its transaction: the same lock, reads and writes, one
-- statement at a time. What stands between at signs is filled in by lib/peer.py; bodies, digest and salt are -D variables
-- with the bytes of a real event.
\set n random(0, @last@)
\set task :n * @stride@
\set l :task % @lists@
\set shard @shard@
\set k :k + 1
\set c (:run * 1000 + :client_id) * 1000000000 + :k
BEGIN ISOLATION LEVEL READ COMMITTED;
SELECT pg_advisory_xact_lock(7461, :shard::integer);
SELECT epoch FROM log_epoch \gset
SELECT id, is_account, head, tail, n_open FROM stream WHERE id = @LIST@ \gset s_
SELECT id, rev, title, is_archived, n_owners, created_at, created_by, updated_at, deleted_at FROM list WHERE id = @LIST@;
SELECT list, account, role, since FROM member WHERE list = @LIST@ AND account = @ACCOUNT@;
SELECT id, rev, email, name, time_zone, password_hash, created_at, updated_at FROM account WHERE id = @ACCOUNT@;
SELECT body FROM task WHERE id = @TASK@;
SELECT by, command, stream, rev, task, type, fingerprint FROM event WHERE by = @ACCOUNT@ AND command = @COMMAND@ AND is_answer;
UPDATE stream SET head = :s_head::bigint + 1, tail = :s_tail::text, n_open = :s_n_open::bigint WHERE id = @LIST@;
UPDATE task SET list = @LIST@, rev = :s_head::bigint + 1, status = 0::smallint, priority = 1::smallint, title = @TITLE@, tags = string_to_array(:tags::text, ','), due_at = :due_at::timestamptz, position = position, assignee = NULL, parent = NULL, series = NULL, occurrence = NULL, updated_at = clock_timestamp(), deleted_at = NULL, body = :task_body::bytea, is_recurring = false, words = '''a'' ''task'' ''of'' ''the'' ''benchmark'''::tsvector, sort_title = @TITLE@ WHERE id = @TASK@;
INSERT INTO event (shard, stream, rev, type, task, command, by, is_answer, at, epoch, digest, salt, fingerprint, body) VALUES (:shard::smallint, @LIST@, :s_head::bigint + 1, :type::smallint, @TASK@, @COMMAND@, @ACCOUNT@, true, clock_timestamp(), :epoch::text, :digest::bytea, :salt::bytea, :fingerprint::bytea, :event_body::bytea);
COMMIT;
