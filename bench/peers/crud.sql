-- The database of crud.py: the same lists, tasks and tokens as taskwire's, in tables as such a service has them.
CREATE TABLE account (id uuid PRIMARY KEY, email text NOT NULL UNIQUE);
CREATE TABLE token (hash bytea PRIMARY KEY, account uuid NOT NULL REFERENCES account);
CREATE TABLE list (id uuid PRIMARY KEY, title text NOT NULL);
CREATE TABLE member (
    list    uuid NOT NULL REFERENCES list,
    account uuid NOT NULL REFERENCES account,
    role    smallint NOT NULL,
    PRIMARY KEY (list, account)
);
CREATE TABLE task (
    id         uuid PRIMARY KEY,
    list       uuid NOT NULL REFERENCES list,
    title      text NOT NULL,
    notes      text NOT NULL,
    tags       text[] NOT NULL,
    status     text NOT NULL DEFAULT 'open',
    priority   text NOT NULL DEFAULT 'medium',
    due        timestamptz,
    version    bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX task_list ON task (list, created_at);
-- What a relay would bring to Kafka.
CREATE TABLE outbox (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key     uuid NOT NULL,
    type    text NOT NULL,
    payload jsonb NOT NULL,
    at      timestamptz NOT NULL DEFAULT now()
);
