-- What was purged may still be in the memory of running processes, as frames of events that were to be followed. Each
-- step of a purge leaves here which stream it was about, in its own transaction; each process asks for what is newer
-- than what it has seen. Numbers are drawn and become visible in one order (purge.c), and are asked for by the index.
CREATE SEQUENCE purged_n;
CREATE TABLE purged (
    stream uuid PRIMARY KEY,
    n      bigint NOT NULL
);
CREATE INDEX purged_by_n ON purged (n);
