-- One GET of a task as the gateway reads it, membership included.
\set n random(0, @last@)
\set task :n * @stride@
\set l :task % @lists@
SELECT t.body, t.list, t.rev, e.epoch FROM task t JOIN member m ON m.list = t.list AND m.account = @ACCOUNT@ JOIN list l ON l.id = t.list AND l.deleted_at IS NULL CROSS JOIN log_epoch e WHERE t.id = @TASK@ AND t.deleted_at IS NULL AND (NULL::uuid[] IS NULL OR t.list = ANY(NULL::uuid[]));
