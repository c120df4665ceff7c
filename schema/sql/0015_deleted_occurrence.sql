-- The occurrence of a number that was deleted last: one that was closed by then is not made again (task.succeed). Only
-- deleted rows are in it, and no column of it changes otherwise, so it costs no other write.
CREATE INDEX task_deleted_occurrence ON task (series, occurrence, deleted_at)
    WHERE series IS NOT NULL AND deleted_at IS NOT NULL;
