-- A command that makes several events is found again by the one that its answer names: the last one in that stream.
-- Until now this was every command's first event, so that only the name changes. The log may belong to a role that the
-- login is no member of; who made that role may enter it for a moment.
DO $$
DECLARE
    log_owner name := (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = 'event'::regclass);
    is_owner  boolean := pg_has_role(log_owner, 'USAGE');
BEGIN
    IF NOT is_owner THEN
        EXECUTE format('GRANT %I TO %I', log_owner, current_user);
    END IF;
    ALTER TABLE event RENAME COLUMN is_first TO is_answer;
    IF NOT is_owner THEN
        EXECUTE format('REVOKE %I FROM %I', log_owner, current_user);
    END IF;
END $$;
