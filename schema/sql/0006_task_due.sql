-- For pages of open tasks in the order of due dates (gateway/task_page.c), and for those of some days. A patch that
-- leaves the due date alone stays a heap-only update.
CREATE INDEX task_due ON task (list, (coalesce(due_at, 'infinity'::timestamptz)), id) WHERE status < 2 AND deleted_at IS NULL;
