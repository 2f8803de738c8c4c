-- The state of a token: bytes that its holder saves for the next one, under the fence (rules Y).
--
-- The cursor of a task is the same state, read and written as JSON.

-- The newest states of each token. The slot of a state is its sequence modulo the number of slots,
-- so that a new state replaces the oldest one and nothing is ever deleted.
CREATE TABLE {schema}.token_state (
    group_id text COLLATE "C" NOT NULL,
    slot integer NOT NULL,
    sequence bigint NOT NULL,
    term bigint NOT NULL,
    session uuid NOT NULL,
    node text COLLATE "C",
    saved_at timestamptz NOT NULL,
    content bytea NOT NULL,
    CONSTRAINT token_state_pkey PRIMARY KEY (group_id, slot),
    CONSTRAINT token_state_slot_check CHECK (slot BETWEEN 0 AND 9 AND slot = mod(sequence, 10)),
    CONSTRAINT token_state_size_check CHECK (octet_length(content) <= 1048576),
    CONSTRAINT token_state_values_check CHECK (
        saved_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
        AND octet_length(group_id) <= 1000000
        AND octet_length(node) <= 1000000
    )
) WITH (fillfactor = 50);

-- Save a state in the caller's transaction and return its sequence, which rises by one with each.
--
-- A holder may save in several transactions at the same time. The second of them waits at the row
-- of the first and then counts anew, so that no two states have one sequence.
CREATE FUNCTION {schema}.coord_save_state(
    p_group text, p_term bigint, p_session uuid, p_state bytea
) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $coord$
DECLARE
    v_sequence bigint;
BEGIN
    IF p_state IS NULL OR p_session IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'null_value_not_allowed',
            MESSAGE = 'coord_save_state: state and session must not be NULL';
    ELSIF octet_length(p_state) > 1048576 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'program_limit_exceeded',
            MESSAGE = 'coord_save_state: the state has ' || octet_length(p_state)
                || ' bytes, more than 1048576 (1 MiB)',
            HINT = 'Save where the work is, and keep the work itself in tables or in files.';
    END IF;
    PERFORM {schema}.coord_fence(p_group, p_term, p_session);
    LOOP
        SELECT coalesce(max(kept.sequence), 0) + 1 INTO v_sequence
        FROM {schema}.token_state AS kept
        WHERE kept.group_id = p_group;
        INSERT INTO {schema}.token_state AS kept
            (group_id, slot, sequence, term, session, node, saved_at, content)
        VALUES (
            p_group, CAST(mod(v_sequence, 10) AS integer), v_sequence, p_term, p_session,
            (
                SELECT token.task_id FROM {schema}.token_holder AS token
                WHERE token.group_id = p_group
            ),
            clock_timestamp(), p_state
        )
        ON CONFLICT (group_id, slot) DO UPDATE
        SET sequence = excluded.sequence, term = excluded.term, session = excluded.session,
            node = excluded.node, saved_at = excluded.saved_at, content = excluded.content
        WHERE kept.sequence < excluded.sequence;
        EXIT WHEN FOUND;
    END LOOP;
    RETURN v_sequence;
END
$coord$;

-- Return the state that was saved last; NULL when there is none.
CREATE FUNCTION {schema}.coord_read_state(p_group text) RETURNS bytea
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $coord$
    SELECT kept.content FROM {schema}.token_state AS kept
    WHERE kept.group_id = p_group
    ORDER BY kept.sequence DESC
    LIMIT 1
$coord$;

-- Save the state of a task as JSON.
CREATE FUNCTION {schema}.coord_save_cursor(
    p_group text, p_task text, p_term bigint, p_session uuid, p_cursor jsonb
) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $coord$
BEGIN
    PERFORM {schema}.coord_save_state(
        p_group || '/' || p_task, p_term, p_session, convert_to(CAST(p_cursor AS text), 'UTF8')
    );
END
$coord$;

-- Return the state of a task as JSON; NULL when there is none.
CREATE FUNCTION {schema}.coord_read_cursor(p_group text, p_task text) RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $coord$
BEGIN
    RETURN CAST(
        convert_from({schema}.coord_read_state(p_group || '/' || p_task), 'UTF8') AS jsonb
    );
EXCEPTION
    WHEN data_exception THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_text_representation',
            MESSAGE = 'coord_read_cursor: the state of task ' || quote_literal(p_task)
                || ' is not JSON',
            HINT = 'Read it with coord_read_state, or with `coord state get`.';
END
$coord$;

-- A state is a program's own bytes: its group reads it, and the people that the script of
-- `coord db roles` names.
CREATE POLICY coord_select ON {schema}.token_state FOR SELECT USING (
    EXISTS (
        SELECT FROM {schema}.group_role AS admitted
        WHERE admitted.role_name = CAST(session_user AS text)
            AND admitted.group_id = split_part(token_state.group_id, '/', 1)
        OFFSET 0
    )
);

CREATE POLICY coord_insert ON {schema}.token_state FOR INSERT WITH CHECK (
    EXISTS (
        SELECT FROM {schema}.group_role AS admitted
        WHERE admitted.role_name = CAST(session_user AS text)
            AND admitted.group_id = split_part(token_state.group_id, '/', 1)
        OFFSET 0
    )
);

CREATE POLICY coord_update ON {schema}.token_state FOR UPDATE USING (
    EXISTS (
        SELECT FROM {schema}.group_role AS admitted
        WHERE admitted.role_name = CAST(session_user AS text)
            AND admitted.group_id = split_part(token_state.group_id, '/', 1)
        OFFSET 0
    )
);
