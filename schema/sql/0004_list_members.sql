-- How many members a list has, counted as `n_owners` is: a list has a limit.
ALTER TABLE list ADD COLUMN n_members integer NOT NULL DEFAULT 0;
UPDATE list l SET n_members = (SELECT count(*) FROM member m WHERE m.list = l.id);
ALTER TABLE list ALTER COLUMN n_members DROP DEFAULT;
