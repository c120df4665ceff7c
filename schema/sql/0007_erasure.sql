-- Accounts that are erased: what is left of them in the log is still to be purged. The row goes when that is done.
CREATE TABLE erasure (
    account uuid PRIMARY KEY,
    at      timestamptz NOT NULL
);
