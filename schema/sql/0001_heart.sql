-- The heart: streams, what is in them, and the log.
-- Instants that clients see are inside `body`, as they see them; columns beside it are what SQL searches by.

-- One row: which history this is. A database restored from an older backup gets a new epoch and a new key.
CREATE TABLE log_epoch (
    only_row   boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    epoch      text NOT NULL,
    mac_key    bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE account (
    id            uuid PRIMARY KEY,
    rev           bigint NOT NULL,
    email         text NOT NULL,
    name          text NOT NULL,
    time_zone     text NOT NULL,
    password_hash text NOT NULL,
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL
);
CREATE UNIQUE INDEX account_email ON account (lower(email));

CREATE TABLE token (
    id         uuid PRIMARY KEY,
    account    uuid NOT NULL,
    kind       smallint NOT NULL, -- 0: of a login, 1: made for a program
    name       text NOT NULL,
    hash       bytea NOT NULL,
    scopes     integer NOT NULL, -- 1 read, 2 write
    lists      uuid[] NOT NULL,  -- empty: all
    created_at timestamptz NOT NULL,
    expires_at timestamptz
);
CREATE UNIQUE INDEX token_hash ON token (hash);
CREATE INDEX token_account ON token (account, id);

-- The unit of order: a list or an account. Updated by every event in it, so only its key is indexed.
CREATE TABLE stream (
    id         uuid PRIMARY KEY,
    shard      smallint NOT NULL,
    is_account boolean NOT NULL,
    head       bigint NOT NULL,
    tail       text NOT NULL COLLATE "C", -- the highest position given in it
    n_open     bigint NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE list (
    id          uuid PRIMARY KEY,
    rev         bigint NOT NULL,
    title       text NOT NULL,
    is_archived boolean NOT NULL,
    n_owners    integer NOT NULL,
    created_at  timestamptz NOT NULL,
    created_by  uuid NOT NULL,
    updated_at  timestamptz NOT NULL,
    deleted_at  timestamptz
);

CREATE TABLE member (
    list    uuid NOT NULL,
    account uuid NOT NULL,
    role    smallint NOT NULL, -- 1 viewer, 2 editor, 3 owner
    since   timestamptz NOT NULL,
    PRIMARY KEY (list, account)
);
CREATE INDEX member_account ON member (account, list);

-- `body` is the task as clients see it, in msgpack. No column that most patches change is indexed, so that they are
-- heap-only updates; each row is in exactly one of the two page indexes.
CREATE TABLE task (
    id         uuid PRIMARY KEY,
    list       uuid NOT NULL,
    rev        bigint NOT NULL,
    status     smallint NOT NULL, -- 0 open, 1 in_progress, 2 done, 3 cancelled
    priority   smallint NOT NULL, -- 0 low, 1 medium, 2 high, 3 urgent
    title      text NOT NULL,
    tags       text[] NOT NULL,
    due_at     timestamptz,
    position   text NOT NULL COLLATE "C",
    assignee   uuid,
    parent     uuid,
    series     uuid,
    occurrence bigint,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz,
    body       bytea NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX task_live ON task (list, position, id) WHERE status < 2 AND deleted_at IS NULL;
CREATE INDEX task_closed ON task (list, position, id) WHERE NOT (status < 2 AND deleted_at IS NULL);
CREATE UNIQUE INDEX task_occurrence ON task (series, occurrence) WHERE series IS NOT NULL AND deleted_at IS NULL;
-- A task's body is compressed only if that is worth a page; events are not worth the CPU.
ALTER TABLE task ALTER COLUMN body SET STORAGE MAIN;

-- The log. Written once; `id` is drawn under the shard's lock, so that within a shard it is the order of visibility.
-- `body` is the event as it travels; `salt` and `body` may later be dropped (a purge), nothing else ever changes.
CREATE SEQUENCE event_id CACHE 1;
CREATE TABLE event (
    id          bigint NOT NULL DEFAULT nextval('event_id'),
    shard       smallint NOT NULL,
    stream      uuid NOT NULL,
    rev         bigint NOT NULL,
    type        smallint NOT NULL,
    task        uuid,
    command     uuid NOT NULL,
    by          uuid NOT NULL,
    is_first    boolean NOT NULL, -- of its command: what a repeat is recognised by
    at          timestamptz NOT NULL,
    epoch       text NOT NULL,
    digest      bytea NOT NULL,
    salt        bytea,
    fingerprint bytea,
    body        bytea,
    PRIMARY KEY (stream, rev)
);
CREATE UNIQUE INDEX event_log ON event (shard, id);
CREATE UNIQUE INDEX event_command ON event (by, command) WHERE is_first;
CREATE INDEX event_task ON event (task, id) WHERE task IS NOT NULL;
ALTER TABLE event ALTER COLUMN body SET STORAGE EXTERNAL;

-- The audit chain: a row per stream and batch of events. `links` holds the hash after each event of the row, 32 bytes
-- each, so that a wrong event can be named.
CREATE TABLE audit (
    stream    uuid NOT NULL,
    first_rev bigint NOT NULL,
    last_rev  bigint NOT NULL,
    links     bytea NOT NULL,
    at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (stream, last_rev)
);
-- What was added since the last anchor: rows lie in the order of their instants, so a few bytes per 32 pages do.
CREATE INDEX audit_at ON audit USING brin (at) WITH (pages_per_range = 32, autosummarize = on);
CREATE TABLE audit_head (
    stream uuid PRIMARY KEY,
    rev    bigint NOT NULL,
    hash   bytea NOT NULL
) WITH (fillfactor = 50);

-- What the reminder actor knows of each reminder; a row changes only for a newer event of its task.
CREATE TABLE reminder (
    task     uuid NOT NULL,
    reminder uuid NOT NULL,
    list     uuid NOT NULL,
    event_id bigint NOT NULL,
    state    smallint NOT NULL, -- 0 pending, 1 fired, 2 ended
    fire_at  timestamptz NOT NULL,
    fired_at timestamptz,
    PRIMARY KEY (task, reminder)
) WITH (fillfactor = 70);
CREATE INDEX reminder_pending ON reminder (fire_at, task, reminder) WHERE state = 0;

-- Up to where each actor has handled each shard. Says only where to resume, and is never ahead of what is durable.
CREATE TABLE relay_position (
    actor text NOT NULL,
    shard smallint NOT NULL,
    id    bigint NOT NULL,
    PRIMARY KEY (actor, shard)
) WITH (fillfactor = 50);

-- What an actor could not handle.
CREATE TABLE dead_letter (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    actor    text NOT NULL,
    event_id bigint NOT NULL,
    stream   uuid NOT NULL,
    rev      bigint NOT NULL,
    reason   text NOT NULL,
    attempts integer NOT NULL,
    at       timestamptz NOT NULL DEFAULT now(),
    UNIQUE (actor, event_id)
);

-- The log lets one change through: body, salt and fingerprint becoming null. A search path of its own, so that nobody's
-- operators are taken for the real ones.
CREATE FUNCTION event_is_append_only() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        OLD.body := NULL;
        OLD.salt := NULL;
        OLD.fingerprint := NULL;
        IF NEW IS NOT DISTINCT FROM OLD THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'the log is append-only: % on % refused', TG_OP, TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit chain is append-only: % on % refused', TG_OP, TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER event_rows BEFORE UPDATE OR DELETE ON event FOR EACH ROW EXECUTE FUNCTION event_is_append_only();
CREATE TRIGGER event_truncate BEFORE TRUNCATE ON event FOR EACH STATEMENT EXECUTE FUNCTION event_is_append_only();
CREATE TRIGGER audit_rows BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION audit_is_append_only();
CREATE TRIGGER audit_truncate BEFORE TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();
ALTER TABLE event ENABLE ALWAYS TRIGGER event_rows;
ALTER TABLE event ENABLE ALWAYS TRIGGER event_truncate;
ALTER TABLE audit ENABLE ALWAYS TRIGGER audit_rows;
ALTER TABLE audit ENABLE ALWAYS TRIGGER audit_truncate;

-- Both belong to a role that the program does not have, where the login may make one and give things to it. That role
-- is shared by all databases of a server, so another migration may be making it at the same moment.
DO $$
DECLARE
    is_super boolean := (SELECT rolsuper FROM pg_roles WHERE rolname = current_user);
BEGIN
    IF NOT (SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user) THEN
        RETURN;
    END IF;
    IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'taskwire_log') THEN
        BEGIN
            CREATE ROLE taskwire_log NOLOGIN;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END IF;
    IF NOT is_super THEN
        EXECUTE format('GRANT taskwire_log TO %I', current_user);
    END IF;
    EXECUTE format('GRANT CREATE, USAGE ON SCHEMA %I TO taskwire_log', current_schema);
    ALTER TABLE event OWNER TO taskwire_log;
    ALTER TABLE audit OWNER TO taskwire_log;
    ALTER FUNCTION event_is_append_only() OWNER TO taskwire_log;
    ALTER FUNCTION audit_is_append_only() OWNER TO taskwire_log;
    EXECUTE format('GRANT SELECT, INSERT ON event, audit TO %I', current_user);
    EXECUTE format('GRANT UPDATE (body, salt, fingerprint) ON event TO %I', current_user);
    EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM taskwire_log', current_schema);
    IF NOT is_super THEN
        EXECUTE format('REVOKE taskwire_log FROM %I', current_user);
    END IF;
EXCEPTION WHEN insufficient_privilege THEN
    -- Another login made the role and this one may not give it anything (PostgreSQL 16 and later), or the schema is
    -- somebody else's: everything above is undone, and the program says at its start who owns the log.
    NULL;
END $$;

-- Every event updates its stream's row: dead versions are to be cleared away before they fill new pages.
ALTER TABLE stream SET (autovacuum_vacuum_scale_factor = 0.05);
