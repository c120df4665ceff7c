-- Subtasks: a task is under `parent`, which is in the same list and not deleted while it is not deleted itself. The
-- writer walks down by this index; what is deleted is not found by it.
CREATE INDEX task_parent ON task (parent) WHERE parent IS NOT NULL AND deleted_at IS NULL;

-- The task that took this one along when it was deleted: restoring that one brings this one back. Not part of `body`,
-- as it is nothing that anybody sees.
ALTER TABLE task ADD COLUMN deleted_with uuid;
CREATE INDEX task_deleted_with ON task (deleted_with) WHERE deleted_with IS NOT NULL;
