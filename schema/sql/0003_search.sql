-- What tasks are found and sorted by, made in writer_store.c only. None of it is indexed: a title is what patches
-- change most, and an index on its words would cost every one of them its heap-only update. A search reads the tasks of
-- the asker's own lists, and the words beside them.
ALTER TABLE task ADD COLUMN is_recurring boolean NOT NULL DEFAULT false;
ALTER TABLE task ADD COLUMN words tsvector NOT NULL DEFAULT '';
ALTER TABLE task ADD COLUMN sort_title text NOT NULL COLLATE "C" DEFAULT '';

-- Tasks that are there already. A body begins with id, list, rev, title, notes; texts are msgpack strings. Letters are
-- folded by PostgreSQL here, by the program from the next change on.
CREATE FUNCTION migrate_text_after(body bytea, key bytea, OUT value text, OUT rest bytea) LANGUAGE plpgsql AS $$
DECLARE
    at integer := position(key IN body) + length(key) - 1;
    head integer := get_byte(body, at);
    n_head integer := CASE head WHEN 217 THEN 2 WHEN 218 THEN 3 WHEN 219 THEN 5 ELSE 1 END;
    n_bytes integer := head - 160;
BEGIN
    IF n_head > 1 THEN
        n_bytes := 0;
        FOR i IN 1 .. n_head - 1 LOOP
            n_bytes := n_bytes * 256 + get_byte(body, at + i);
        END LOOP;
    END IF;
    value := convert_from(substring(body FROM at + n_head + 1 FOR n_bytes), 'UTF8');
    rest := substring(body FROM at + n_head + n_bytes + 1);
END $$;
CREATE FUNCTION migrate_fold(t text) RETURNS text LANGUAGE sql AS $$
    SELECT lower(regexp_replace(normalize(t, NFKD), U&'[\0300-\036F]', '', 'g'))
$$;
CREATE FUNCTION migrate_words_of(body bytea, tags text[]) RETURNS tsvector LANGUAGE plpgsql AS $$
DECLARE
    title record;
    notes record;
BEGIN
    SELECT * INTO title FROM migrate_text_after(body, '\xa57469746c65');
    SELECT * INTO notes FROM migrate_text_after(title.rest, '\xa56e6f746573');
    RETURN (SELECT coalesce(array_to_tsvector(array_agg(DISTINCT left(word, 64))), '')
        FROM regexp_split_to_table(migrate_fold(title.value || ' ' || notes.value || ' '
                                                || array_to_string(tags, ' ')), '[^[:alnum:]]+') AS k(word)
        WHERE word <> '');
END $$;
UPDATE task SET is_recurring = position('\xaa' || 'recurrence'::bytea || '\xc0' IN body) = 0,
                words = migrate_words_of(body, tags),
                sort_title = left(migrate_fold(title), 64);
DROP FUNCTION migrate_words_of(bytea, text[]), migrate_fold(text), migrate_text_after(bytea, bytea);
