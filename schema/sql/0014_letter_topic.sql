-- Dead letters go to Kafka's topic taskwire-dead-letter as well, once they are here. `published` says how: 'whole', 'cut'
-- (without its value, which Kafka does not take), 'refused' (Kafka does not take it at all); null: not yet. Until then a
-- record's key and value are kept whole here; they are cut when it has been published.
ALTER TABLE dead_letter
    ADD COLUMN published text,
    ADD CONSTRAINT dead_letter_published CHECK (published IN ('whole', 'cut', 'refused'));
-- Those that wait, from the oldest on.
CREATE INDEX dead_letter_waiting ON dead_letter (id) WHERE published IS NULL;
-- The oldest records go when there are too many: those that wait are counted by themselves.
DROP INDEX dead_letter_records;
CREATE INDEX dead_letter_records ON dead_letter (id) WHERE topic IS NOT NULL AND published IS NOT NULL;
