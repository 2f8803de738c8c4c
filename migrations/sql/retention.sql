-- Retention and cleaning. A right to delete is a right to lock a table, which would stop every
-- group: so these functions run with the owner's rights, and ask whose rows they are.

-- Delete at most p_count rows of each kind that are too old, or too many, and return how many went.
--
-- The last 100 terms of a token stay whatever is asked: a token's row that was lost is made anew
-- from them. So does every holding that has not ended. Names of tokens below a group begin with the
-- group and a slash; a zero is the next letter.
CREATE FUNCTION {schema}.coord_prune_before(
    p_group text, p_count integer, p_event_age interval, p_event_rows bigint,
    p_term_age interval, p_term_rows bigint
) RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $coord$
DECLARE
    v_now CONSTANT timestamptz := clock_timestamp();
    v_last bigint;
    v_gone bigint;
    v_all bigint := 0;
BEGIN
    SELECT told.id INTO v_last
    FROM {schema}.event AS told
    WHERE told.group_id = p_group
        OR told.group_id >= p_group || '/' AND told.group_id < p_group || '0'
    ORDER BY told.id DESC
    OFFSET p_event_rows LIMIT 1;
    DELETE FROM {schema}.event AS gone
    WHERE gone.id IN (
        SELECT told.id
        FROM {schema}.event AS told
        WHERE (
                told.group_id = p_group
                OR told.group_id >= p_group || '/' AND told.group_id < p_group || '0'
            )
            AND (told.at < v_now - p_event_age OR told.id <= v_last)
        LIMIT p_count
    );
    GET DIAGNOSTICS v_gone = ROW_COUNT;
    v_all := v_all + v_gone;

    SELECT made.id INTO v_last
    FROM {schema}.observer_decision AS made
    WHERE made.group_id = p_group
    ORDER BY made.id DESC
    OFFSET p_event_rows LIMIT 1;
    DELETE FROM {schema}.observer_decision AS gone
    WHERE gone.id IN (
        SELECT made.id
        FROM {schema}.observer_decision AS made
        WHERE made.group_id = p_group AND (made.at < v_now - p_event_age OR made.id <= v_last)
        LIMIT p_count
    );
    GET DIAGNOSTICS v_gone = ROW_COUNT;
    v_all := v_all + v_gone;

    DELETE FROM {schema}.planned_change AS gone
    WHERE gone.id IN (
        SELECT change.id
        FROM {schema}.planned_change AS change
        WHERE change.group_id = p_group AND change.ended_at < v_now - p_event_age
        LIMIT p_count
    );
    GET DIAGNOSTICS v_gone = ROW_COUNT;
    v_all := v_all + v_gone;

    DELETE FROM {schema}.token_history AS gone
    USING (
        SELECT ranked.group_id, ranked.term
        FROM (
            SELECT held.group_id, held.term, held.ended_at,
                row_number() OVER (PARTITION BY held.group_id ORDER BY held.term DESC) AS place
            FROM {schema}.token_history AS held
            WHERE held.group_id = p_group
                OR held.group_id >= p_group || '/' AND held.group_id < p_group || '0'
        ) AS ranked
        WHERE ranked.place > 100
            AND ranked.ended_at IS NOT NULL
            AND (ranked.ended_at < v_now - p_term_age OR ranked.place > p_term_rows)
        LIMIT p_count
    ) AS old
    WHERE gone.group_id = old.group_id AND gone.term = old.term;
    GET DIAGNOSTICS v_gone = ROW_COUNT;
    v_all := v_all + v_gone;

    -- A deleted task goes with what is kept of it; its token's row stays, for its term.
    WITH old AS (
        SELECT task.name
        FROM {schema}.task AS task
        WHERE task.group_id = p_group AND task.deleted AND task.changed_at < v_now - p_event_age
            AND NOT EXISTS (
                SELECT FROM {schema}.token_holder AS token
                WHERE token.group_id = p_group || '/' || task.name AND token.session IS NOT NULL
            )
        LIMIT p_count
    ), reports AS (
        DELETE FROM {schema}.task_node AS gone
        USING old WHERE gone.group_id = p_group AND gone.task = old.name
    ), states AS (
        DELETE FROM {schema}.token_state AS gone
        USING old WHERE gone.group_id = p_group || '/' || old.name
    ), plans AS (
        DELETE FROM {schema}.schedule AS gone
        USING old WHERE gone.group_id = p_group || '/' || old.name
    )
    DELETE FROM {schema}.task AS gone
    USING old WHERE gone.group_id = p_group AND gone.name = old.name;
    GET DIAGNOSTICS v_gone = ROW_COUNT;
    RETURN v_all + v_gone;
END
$coord$;

REVOKE EXECUTE ON FUNCTION
    {schema}.coord_prune_before(text, integer, interval, bigint, interval, bigint) FROM PUBLIC;

-- The same by the limits that hold for every group; what a node may ask for.
CREATE FUNCTION {schema}.coord_prune(p_group text, p_count integer) RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $coord$
BEGIN
    PERFORM {schema}.coord_refuse_foreign(p_group);
    RETURN {schema}.coord_prune_before(
        p_group, least(p_count, 1000), interval '30 days', 100000, interval '400 days', 10000
    );
END
$coord$;

REVOKE EXECUTE ON FUNCTION {schema}.coord_prune(text, integer) FROM PUBLIC;

-- Delete a group of which no node lives; return why not, or NULL when it is gone. A node lives that
-- was not silent for its own interval, or that still holds a token. The rows of tokens stay, with
-- nobody in them, and so does what the group knows of its servers: a term must not start again.
-- Checkpoints are not deleted for a group's sake.
CREATE FUNCTION {schema}.coord_delete_group(p_group text) RETURNS text
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $coord$
DECLARE
    v_living text;
BEGIN
    PERFORM FROM {schema}.group_record AS record WHERE record.group_id = p_group FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 'there is no such group';
    END IF;
    PERFORM FROM {schema}.health_check AS node
    WHERE node.group_id = p_group
    ORDER BY node.task_id
    FOR UPDATE;
    SELECT string_agg(node.task_id, ', ' ORDER BY node.task_id) INTO v_living
    FROM {schema}.health_check AS node
    WHERE node.group_id = p_group AND node.session IS NOT NULL AND node.ended_at IS NULL
        AND (
            clock_timestamp() - node.last_heartbeat <= node.liveness_ms * interval '1 ms'
            OR EXISTS (
                SELECT FROM {schema}.token_holder AS token WHERE token.session = node.session
            )
        );
    IF v_living IS NOT NULL THEN
        RETURN 'these nodes live, or hold a token: ' || v_living;
    END IF;
    IF EXISTS (
        SELECT FROM {schema}.segment_group AS kept WHERE kept.group_id = p_group
    ) THEN
        RETURN 'it has checkpoints: delete them first';
    END IF;
    UPDATE {schema}.token_holder AS token
    SET session = NULL, released_at = clock_timestamp()
    WHERE token.session IS NOT NULL
        AND (
            token.group_id = p_group
            OR token.group_id >= p_group || '/' AND token.group_id < p_group || '0'
        );
    DELETE FROM {schema}.event AS gone
    WHERE gone.group_id = p_group
        OR gone.group_id >= p_group || '/' AND gone.group_id < p_group || '0';
    DELETE FROM {schema}.token_history AS gone
    WHERE gone.group_id = p_group
        OR gone.group_id >= p_group || '/' AND gone.group_id < p_group || '0';
    DELETE FROM {schema}.schedule AS gone
    WHERE gone.group_id = p_group
        OR gone.group_id >= p_group || '/' AND gone.group_id < p_group || '0';
    DELETE FROM {schema}.token_state AS gone
    WHERE gone.group_id = p_group
        OR gone.group_id >= p_group || '/' AND gone.group_id < p_group || '0';
    DELETE FROM {schema}.operation_node AS gone WHERE gone.group_id = p_group;
    DELETE FROM {schema}.operation_type AS gone WHERE gone.group_id = p_group;
    DELETE FROM {schema}.planned_change AS gone WHERE gone.group_id = p_group;
    DELETE FROM {schema}.webhook AS gone WHERE gone.group_id = p_group;
    DELETE FROM {schema}.observer_decision AS gone WHERE gone.group_id = p_group;
    DELETE FROM {schema}.task_node AS gone WHERE gone.group_id = p_group;
    DELETE FROM {schema}.task AS gone WHERE gone.group_id = p_group;
    DELETE FROM {schema}.health_check AS gone WHERE gone.group_id = p_group;
    DELETE FROM {schema}.group_record AS gone WHERE gone.group_id = p_group;
    RETURN NULL;
END
$coord$;

REVOKE EXECUTE ON FUNCTION {schema}.coord_delete_group(text) FROM PUBLIC;

-- End a session that still shows this beat, as the observer and a standby do (R1), and give back
-- the tokens that it holds. Return their number; NULL when it lives, or is another one.
CREATE FUNCTION {schema}.coord_end_holder(
    p_group text, p_node text, p_session uuid, p_beat bigint, p_who text, p_reason text
) RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $coord$
DECLARE
    v_beaten_at timestamptz;
    v_given bigint;
BEGIN
    UPDATE {schema}.health_check AS node
    SET ended_at = coalesce(node.ended_at, clock_timestamp()),
        end_reason = coalesce(node.end_reason, p_reason),
        standing = CASE
            WHEN node.hosts_tasks AND node.standing = 'member' THEN 'rehab' ELSE node.standing
        END
    WHERE node.group_id = p_group AND node.task_id = p_node
        AND node.session = p_session AND node.beat = p_beat
    RETURNING node.last_heartbeat INTO v_beaten_at;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    WITH given AS (
        UPDATE {schema}.token_holder AS token
        SET session = NULL, released_at = clock_timestamp()
        WHERE token.session = p_session
        RETURNING token.group_id, token.task_id, token.term
    ), closed AS (
        UPDATE {schema}.token_history AS held
        SET ended_at = clock_timestamp(),
            active_until = coalesce(held.active_until, v_beaten_at),
            end_how = 'release', end_reason = p_reason
        FROM given
        WHERE held.group_id = given.group_id AND held.term = given.term AND held.ended_at IS NULL
    ), noted AS (
        INSERT INTO {schema}.event (group_id, kind, task_id, session, term, reason, who)
        SELECT given.group_id, 'released', given.task_id, p_session, given.term, p_reason, p_who
        FROM given
    )
    SELECT count(*) INTO v_given FROM given;
    PERFORM {schema}.coord_raise_version(p_group, {schema}.coord_channel(p_group), true);
    PERFORM pg_notify({schema}.coord_channel(p_group), CAST(
        json_build_object('kind', 'released', 'node', p_node, 'term', 0) AS text
    ));
    RETURN v_given;
END
$coord$;

REVOKE EXECUTE ON FUNCTION
    {schema}.coord_end_holder(text, text, uuid, bigint, text, text) FROM PUBLIC;
