-- Which request an event goes back to: a W3C trace context (trace id, span id, flags: 25 bytes), null for most. It says
-- how the event came about, not what it says, so neither its digest nor the audit chain has it; and as no word of any
-- user is in it, it stays when the body is purged. Nothing ever changes it. The log may belong to a role that the login is
-- no member of: see 0002_answer.sql.
DO $$
DECLARE
    log_owner name := (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = 'event'::regclass);
    is_owner  boolean := pg_has_role(log_owner, 'USAGE');
BEGIN
    IF NOT is_owner THEN
        EXECUTE format('GRANT %I TO %I', log_owner, current_user);
    END IF;
    ALTER TABLE event ADD COLUMN trace bytea;
    IF NOT is_owner THEN
        EXECUTE format('REVOKE %I FROM %I', log_owner, current_user);
    END IF;
END $$;
-- That of the event which set it, for the command that fires it.
ALTER TABLE reminder ADD COLUMN trace bytea;
