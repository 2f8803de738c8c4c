-- The race in one call: take and give back a token, and answer with the view of the group.
--
-- A take is ten statements, each of which needs the one before. Over a slow network, sent one by
-- one, they would take longer than a session may be silent. Here the server runs them in one call,
-- with cached plans. The functions run with the rights of their caller and neither begin nor end a
-- transaction: the transaction, its isolation level and its end are the caller's.

-- Take a token. coordinator/store/node/race.py explains the steps and their order.
CREATE FUNCTION {schema}.coord_take(
    p_system bigint, p_branch uuid, p_group text, p_token text, p_node text, p_mine uuid,
    p_seen_node text, p_seen uuid, p_seen_beat bigint, p_seen_term bigint, p_next_term bigint,
    p_how text, p_reason text, p_detected_ms bigint, p_channel text, p_hosts_tasks boolean,
    p_waits boolean, OUT v_passed_over boolean, OUT v_term bigint, OUT v_view json
)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $coord$
DECLARE
    v_ends CONSTANT boolean := p_seen IS NOT NULL AND p_seen_beat IS NOT NULL;
    v_above CONSTANT text := regexp_replace(p_token, '/[^/]*$', '');
    v_before text;
    v_after text;
    v_active_until timestamptz;
    v_reason text;
    v_taken bigint;
    v_clock_ms bigint;
    v_version bigint;
BEGIN
    v_passed_over := false;

    UPDATE {schema}.health_check AS node
    SET beat = node.beat + 1, last_heartbeat = clock_timestamp()
    WHERE node.group_id = p_group AND node.task_id = p_node
        AND node.session = p_mine AND node.ended_at IS NULL;
    IF NOT FOUND THEN
        RETURN;
    END IF;

    -- While the observer of the group is suspended, no session is ended.
    IF v_ends AND p_hosts_tasks AND EXISTS (
        SELECT FROM {schema}.group_record AS record
        WHERE record.group_id = p_group AND record.suspended_at IS NOT NULL
    ) THEN
        RETURN;
    END IF;

    IF NOT {schema}.coord_may_take(p_group, p_node, p_hosts_tasks) THEN
        RETURN;
    END IF;

    IF v_ends THEN
        SELECT node.standing INTO v_before FROM {schema}.health_check AS node
        WHERE node.group_id = p_group AND node.task_id = p_seen_node;
        UPDATE {schema}.health_check AS node
        SET ended_at = clock_timestamp(), end_reason = p_reason,
            standing = CASE
                WHEN p_hosts_tasks AND node.standing = 'member' THEN 'rehab' ELSE node.standing
            END
        WHERE node.group_id IN (p_group, v_above) AND node.task_id = p_seen_node
            AND node.session = p_seen
            AND node.beat = p_seen_beat  -- a further beat shows that it lives
            AND node.ended_at IS NULL
        RETURNING node.standing, node.last_heartbeat INTO v_after, v_active_until;
        IF NOT FOUND THEN
            RETURN;
        END IF;
    END IF;

    -- Read until when the holder was active, before the row changes. There is no row when the token
    -- has moved on nor, without p_waits, while another transaction has locked it.
    IF p_waits THEN
        SELECT coalesce(v_active_until, node.last_heartbeat) INTO v_active_until
        FROM {schema}.token_holder AS token
        LEFT JOIN {schema}.health_check AS node
            ON node.group_id = p_group
            AND node.task_id = token.task_id
            AND node.session = token.session
        WHERE token.group_id = p_token
            AND token.term = p_seen_term
            AND token.session IS NOT DISTINCT FROM p_seen
        FOR UPDATE OF token;
    ELSE
        SELECT coalesce(v_active_until, node.last_heartbeat) INTO v_active_until
        FROM {schema}.token_holder AS token
        LEFT JOIN {schema}.health_check AS node
            ON node.group_id = p_group
            AND node.task_id = token.task_id
            AND node.session = token.session
        WHERE token.group_id = p_token
            AND token.term = p_seen_term
            AND token.session IS NOT DISTINCT FROM p_seen
        FOR UPDATE OF token SKIP LOCKED;
    END IF;
    IF NOT FOUND THEN
        v_passed_over := true;
        RETURN;
    END IF;

    -- NULL unless this server is settled for the group, on the branch that the caller has seen.
    v_clock_ms := {schema}.coord_term_clock(p_system, p_branch, p_group);
    IF v_clock_ms IS NULL THEN
        RETURN;
    END IF;

    UPDATE {schema}.token_holder AS token
    SET task_id = p_node,
        session = p_mine,
        term = {schema}.coord_granted_term(
            p_token, p_next_term, token.term_floor, token.term, v_clock_ms
        ),
        acquired_at = clock_timestamp(),
        released_at = NULL
    WHERE token.group_id = p_token
        AND token.term = p_seen_term
        AND token.session IS NOT DISTINCT FROM p_seen
        AND (
            token.session IS NULL
            OR NOT EXISTS (
                -- The holder may be a node of a group that has the name of the token, or a process
                -- of the group above that holds it for its own code.
                SELECT FROM {schema}.health_check AS node
                WHERE node.group_id IN (p_group, p_token, v_above)
                    AND node.task_id = token.task_id
                    AND node.session = token.session
                    AND node.ended_at IS NULL
            )
        )
        AND (
            -- A row that was made anew does not name its holder: wait for the longest liveness.
            token.task_id IS NOT NULL
            OR token.released_at IS NULL
            OR clock_timestamp() >= token.released_at + (
                SELECT coalesce(max(node.liveness_ms), 0) * interval '1 millisecond'
                FROM {schema}.health_check AS node
                WHERE node.group_id = p_group
                    AND node.session IS NOT NULL AND node.ended_at IS NULL
            )
        )
    RETURNING token.term INTO v_taken;
    IF NOT FOUND THEN
        RETURN;
    END IF;

    UPDATE {schema}.token_history AS held
    SET ended_at = clock_timestamp(),
        active_until = coalesce(held.active_until, v_active_until),
        end_how = CASE WHEN v_ends THEN 'takeover' ELSE 'session ended' END,
        end_reason = coalesce(held.end_reason, p_reason)
    WHERE held.group_id = p_token AND held.term = p_seen_term AND held.ended_at IS NULL
    RETURNING held.end_reason INTO v_reason;
    IF NOT FOUND THEN
        -- Its holder closed it when it gave the token back, and said why.
        SELECT held.end_reason INTO v_reason FROM {schema}.token_history AS held
        WHERE held.group_id = p_token AND held.term = p_seen_term;
    END IF;
    INSERT INTO {schema}.token_history (
        group_id, term, task_id, session, acquired_at, how, reason, from_task, detected_ms
    )
    VALUES (
        p_token, v_taken, p_node, p_mine, clock_timestamp(), p_how,
        coalesce(nullif(p_reason, ''), v_reason, ''), p_seen_node, p_detected_ms
    );
    INSERT INTO {schema}.event (group_id, kind, task_id, session, term, reason, who)
    VALUES (p_token, 'taken', p_node, p_mine, v_taken, p_reason, p_node);
    PERFORM pg_notify(p_channel, CAST(
        json_build_object('kind', 'taken', 'node', p_node, 'term', v_taken) AS text
    ));

    -- In a group that spreads tasks, ending the session is a decision of the new observer.
    IF v_ends AND p_hosts_tasks THEN
        v_version := {schema}.coord_raise_version(p_group, p_channel, true);
        INSERT INTO {schema}.observer_decision (
            group_id, version, observer, term, node, kind, before, after, reason
        )
        VALUES (
            p_group, v_version, p_node, v_taken, p_seen_node, 'ended',
            coalesce(v_before, v_after), v_after, p_reason
        );
        INSERT INTO {schema}.event (group_id, kind, task_id, session, term, reason, who)
        VALUES (
            p_group, 'ended', p_seen_node, p_seen, NULL,
            CASE
                WHEN v_before <> v_after THEN v_before || ' -> ' || v_after || ': ' || p_reason
                ELSE p_reason
            END,
            p_node
        );
        INSERT INTO {schema}.event (group_id, kind, task_id, session, term, reason, who)
        SELECT token.group_id, 'stuck', token.task_id, token.session, token.term, p_reason, p_node
        FROM {schema}.token_holder AS token
        WHERE token.session = p_seen AND token.group_id <> p_token;
    END IF;

    PERFORM {schema}.coord_end_handover(p_group, p_node, p_seen_node, v_taken, v_ends);
    v_term := v_taken;
    v_view := {schema}.coord_view(p_system, p_group, p_token);
END
$coord$;

-- Give back one term of the group's token or, with p_term NULL, every token of the session; return
-- the number of tokens. Without p_waits, return NULL and write nothing while another transaction
-- has locked one of them. For the tokens of tasks the group is notified once: the server drops a
-- notification that repeats another.
CREATE FUNCTION {schema}.coord_give_back(
    p_token text, p_node text, p_mine uuid, p_term bigint, p_reason text, p_channel text,
    p_waits boolean, p_ended_term bigint, p_ended_ms bigint
) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $coord$
DECLARE
    v_held bigint;
    v_locked bigint;
    v_given bigint;
BEGIN
    IF NOT p_waits THEN
        SELECT count(*) INTO v_held
        FROM {schema}.token_holder AS token
        WHERE token.session = p_mine
            AND (p_term IS NULL OR token.group_id = p_token AND token.term = p_term);
        PERFORM FROM {schema}.token_holder AS token
        WHERE token.session = p_mine
            AND (p_term IS NULL OR token.group_id = p_token AND token.term = p_term)
        FOR UPDATE SKIP LOCKED;
        GET DIAGNOSTICS v_locked = ROW_COUNT;
        IF v_locked < v_held THEN
            RETURN NULL;
        END IF;
    END IF;
    WITH given AS (
        UPDATE {schema}.token_holder AS token
        SET session = NULL, released_at = clock_timestamp()
        WHERE token.session = p_mine
            AND (p_term IS NULL OR token.group_id = p_token AND token.term = p_term)
        RETURNING token.group_id, token.task_id, token.term
    ), closed AS (
        UPDATE {schema}.token_history AS held
        SET ended_at = clock_timestamp(),
            active_until = clock_timestamp() - CASE
                WHEN held.group_id = p_token AND held.term = p_ended_term THEN p_ended_ms ELSE 0
            END * interval '1 millisecond',
            end_how = 'release', end_reason = p_reason
        FROM given
        WHERE held.group_id = given.group_id AND held.term = given.term AND held.ended_at IS NULL
    ), noted AS (
        INSERT INTO {schema}.event (group_id, kind, task_id, session, term, reason, who)
        SELECT given.group_id, 'released', given.task_id, p_mine, given.term, p_reason, p_node
        FROM given
    )
    SELECT count(*) INTO v_given
    FROM given
    CROSS JOIN LATERAL pg_notify(p_channel, CAST(CASE
        WHEN given.group_id = p_token THEN
            json_build_object('kind', 'released', 'node', given.task_id, 'term', given.term)
        ELSE json_build_object('kind', 'freed')
    END AS text)) AS told;
    RETURN v_given;
END
$coord$;

-- Release a token of a session that holds it, and show what the caller sees afterwards.
CREATE FUNCTION {schema}.coord_release(
    p_system bigint, p_group text, p_token text, p_node text, p_mine uuid, p_term bigint,
    p_reason text, p_channel text, p_waits boolean, p_ended_term bigint, p_ended_ms bigint,
    OUT v_passed_over boolean, OUT v_done boolean, OUT v_view json
)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $coord$
DECLARE
    v_given CONSTANT bigint := {schema}.coord_give_back(
        p_token, p_node, p_mine, p_term, p_reason, p_channel, p_waits, p_ended_term, p_ended_ms
    );
BEGIN
    v_passed_over := v_given IS NULL;
    v_done := coalesce(v_given, 0) > 0;
    v_view := {schema}.coord_view(p_system, p_group, p_token);
END
$coord$;

-- End a session and give back all its tokens. The row of the session is locked first, as in a
-- takeover: the opposite order would deadlock with it.
CREATE FUNCTION {schema}.coord_leave(
    p_system bigint, p_group text, p_token text, p_node text, p_mine uuid, p_reason text,
    p_channel text, p_hosts_tasks boolean, p_waits boolean, p_ended_term bigint,
    p_ended_ms bigint, OUT v_passed_over boolean, OUT v_done boolean, OUT v_view json
)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $coord$
BEGIN
    PERFORM FROM {schema}.health_check AS node
    WHERE node.group_id = p_group AND node.task_id = p_node
        AND node.session = p_mine AND node.ended_at IS NULL
    FOR NO KEY UPDATE;
    v_done := FOUND;
    v_passed_over := v_done AND {schema}.coord_give_back(
        p_token, p_node, p_mine, NULL, p_reason, p_channel, p_waits, p_ended_term, p_ended_ms
    ) IS NULL;
    IF v_passed_over THEN
        v_done := false;
    ELSIF v_done THEN
        UPDATE {schema}.health_check AS node
        SET ended_at = clock_timestamp(), end_reason = p_reason
        WHERE node.group_id = p_group AND node.task_id = p_node AND node.session = p_mine;
        INSERT INTO {schema}.event (group_id, kind, task_id, session, reason, who)
        VALUES (p_group, 'left', p_node, p_mine, p_reason, p_node);
        PERFORM pg_notify(p_channel, CAST(
            json_build_object('kind', 'left', 'node', p_node) AS text
        ));
        PERFORM {schema}.coord_raise_version(p_group, p_channel, p_hosts_tasks);
    END IF;
    v_view := {schema}.coord_view(p_system, p_group, p_token);
END
$coord$;
