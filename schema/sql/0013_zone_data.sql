-- The time zone data by which due instants were computed last (schema/zone_data.h). No row: it is not known.
CREATE TABLE zone_data (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    digest   text NOT NULL,
    since    timestamptz NOT NULL DEFAULT now()
);
