-- The exchange of a process that holds tokens for its own code: give back, take, and look, in one
-- statement. coordinator/store/node/holders.py explains the steps and their order.
--
-- READ COMMITTED: each statement below has a snapshot of its own. A free token is locked as it is
-- read. A held one is read first, and then locked and taken only under the term that was read: a
-- session that was seen to have ended never lives again, and a token that somebody took meanwhile
-- has another term.

-- Give tokens of a process back, take others, and look at more, in one transaction.
CREATE FUNCTION {schema}.coord_exchange(
    p_system bigint, p_branch uuid, p_group text, p_node text, p_mine uuid, p_channel text,
    p_waits boolean,
    p_given text[], p_given_channels text[], p_given_terms bigint[], p_given_reasons text[],
    p_given_ms bigint[],
    p_wanted text[], p_least_terms bigint[], p_silent_nodes text[], p_silent uuid[],
    p_silent_beats bigint[], p_watched_ms bigint[], p_looked text[], p_own boolean,
    OUT v_served_by integer, OUT v_lives boolean, OUT v_passed_over boolean, OUT v_taken text[],
    OUT v_terms bigint[], OUT v_tokens json
)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $coord$
DECLARE
    v_told text;
    v_clock_ms bigint;
    v_token text;
    v_is_free boolean;
    v_seen record;
    v_term bigint;
    v_how text;
    v_reason text;
    v_from text;
    v_active_until timestamptz;
BEGIN
    v_served_by := pg_backend_pid();
    v_passed_over := false;
    v_taken := ARRAY[]::text[];
    v_terms := ARRAY[]::bigint[];
    PERFORM FROM {schema}.health_check AS own
    WHERE own.group_id = p_group AND own.task_id = p_node
        AND own.session = p_mine AND own.ended_at IS NULL;
    v_lives := FOUND;

    FOR v_i IN 1 .. coalesce(array_length(p_given, 1), 0) LOOP
        IF p_waits THEN
            UPDATE {schema}.token_holder AS token
            SET session = NULL, released_at = clock_timestamp()
            WHERE token.group_id = p_given[v_i]
                AND token.session = p_mine AND token.term = p_given_terms[v_i];
        ELSE
            UPDATE {schema}.token_holder AS token
            SET session = NULL, released_at = clock_timestamp()
            FROM (
                SELECT held.group_id FROM {schema}.token_holder AS held
                WHERE held.group_id = p_given[v_i]
                    AND held.session = p_mine AND held.term = p_given_terms[v_i]
                FOR UPDATE SKIP LOCKED
            ) AS mine
            WHERE token.group_id = mine.group_id;
        END IF;
        IF NOT FOUND THEN
            v_passed_over := v_passed_over OR EXISTS (
                SELECT FROM {schema}.token_holder AS held
                WHERE held.group_id = p_given[v_i]
                    AND held.session = p_mine AND held.term = p_given_terms[v_i]
            );
            CONTINUE;
        END IF;
        UPDATE {schema}.token_history AS held
        SET ended_at = clock_timestamp(),
            active_until = clock_timestamp() - p_given_ms[v_i] * interval '1 millisecond',
            end_how = 'release', end_reason = p_given_reasons[v_i]
        WHERE held.group_id = p_given[v_i] AND held.term = p_given_terms[v_i]
            AND held.ended_at IS NULL;
        INSERT INTO {schema}.event (group_id, kind, task_id, session, term, reason, who)
        VALUES (
            p_given[v_i], 'released', p_node, p_mine, p_given_terms[v_i], p_given_reasons[v_i],
            p_node
        );
        -- Assigned, not performed: an expression without a table needs no query of its own.
        v_told := pg_notify(p_channel, p_given[v_i]);
        v_told := pg_notify(p_given_channels[v_i], CAST(json_build_object(
            'kind', 'released', 'node', p_node, 'term', p_given_terms[v_i]
        ) AS text));
    END LOOP;

    IF v_lives AND array_length(p_wanted, 1) > 0 THEN
        -- NULL unless this server is settled for the group, on the branch that the caller has seen.
        v_clock_ms := {schema}.coord_term_clock(p_system, p_branch, p_group);
    END IF;
    FOR v_i IN 1 .. coalesce(array_length(p_wanted, 1), 0) LOOP
        EXIT WHEN v_clock_ms IS NULL;
        v_token := p_wanted[v_i];
        -- A free token has no holder to look at. It is locked by the look: what follows holds for
        -- the row as it stays until it is taken.
        SELECT
            token.term, token.task_id, token.session, token.released_at, false AS known,
            false AS ended, CAST(NULL AS timestamptz) AS last_heartbeat
        INTO v_seen
        FROM {schema}.token_holder AS token
        WHERE token.group_id = v_token AND token.session IS NULL
        FOR UPDATE SKIP LOCKED;
        v_is_free := FOUND;
        IF NOT v_is_free THEN
            SELECT
                token.term, token.task_id, token.session, token.released_at,
                holder.task_id IS NOT NULL AS known,
                coalesce(
                    holder.ended_at IS NOT NULL
                        OR holder.session IS DISTINCT FROM token.session,
                    false
                ) AS ended,
                CASE WHEN holder.session = token.session THEN holder.last_heartbeat END
                    AS last_heartbeat
            INTO v_seen
            FROM {schema}.token_holder AS token
            LEFT JOIN LATERAL (
                -- A node that holds one token for a command beats in a group that has its name.
                SELECT * FROM {schema}.health_check AS node
                WHERE node.group_id IN (p_group, token.group_id) AND node.task_id = token.task_id
                ORDER BY node.session = token.session DESC NULLS LAST
                LIMIT 1
            ) AS holder ON true
            WHERE token.group_id = v_token;
            IF NOT FOUND THEN
                -- Another transaction may make the row as well; the next look shows it.
                INSERT INTO {schema}.token_holder (group_id) VALUES (v_token)
                ON CONFLICT DO NOTHING;
                SELECT
                    token.term, token.task_id, token.session, token.released_at, false AS known,
                    false AS ended, CAST(NULL AS timestamptz) AS last_heartbeat
                INTO v_seen
                FROM {schema}.token_holder AS token WHERE token.group_id = v_token;
                CONTINUE WHEN NOT FOUND;
            END IF;
        END IF;
        PERFORM FROM {schema}.task AS task
        WHERE task.group_id = p_group AND NOT task.deleted
            AND task.name = substr(v_token, length(p_group) + 2);
        CONTINUE WHEN FOUND;
        -- Planned changes are of the group's own token: nobody takes it in a pause (A2, A3).
        CONTINUE WHEN v_token = p_group AND NOT {schema}.coord_may_take(p_group, p_node, false);
        -- A row that was made anew does not name its holder: wait for the longest liveness.
        IF v_seen.task_id IS NULL AND v_seen.released_at IS NOT NULL THEN
            CONTINUE WHEN clock_timestamp() < v_seen.released_at + (
                SELECT coalesce(max(node.liveness_ms), 0) * interval '1 millisecond'
                FROM {schema}.health_check AS node
                WHERE node.group_id = p_group
                    AND node.session IS NOT NULL AND node.ended_at IS NULL
            );
        END IF;

        v_how := CASE
            WHEN v_seen.session IS NOT NULL THEN 'takeover'
            WHEN v_seen.term > 0 THEN 'release'
            ELSE 'first'
        END;
        v_reason := '';
        IF v_seen.session IS NOT NULL AND NOT (v_seen.known AND v_seen.ended) THEN
            CONTINUE WHEN p_silent[v_i] IS DISTINCT FROM v_seen.session;
            v_reason := 'no heartbeat of ' || p_silent_nodes[v_i] || ' for '
                || round(p_watched_ms[v_i] / 1000.0, 2) || ' s';
            IF v_seen.known THEN
                UPDATE {schema}.health_check AS node
                SET ended_at = clock_timestamp(), end_reason = v_reason
                WHERE node.group_id IN (p_group, v_token) AND node.task_id = p_silent_nodes[v_i]
                    AND node.session = p_silent[v_i]
                    AND node.beat = p_silent_beats[v_i]  -- a further beat shows that it lives
                    AND node.ended_at IS NULL;
                CONTINUE WHEN NOT FOUND;
            END IF;
        ELSIF v_seen.session IS NOT NULL THEN
            v_reason := 'the session of ' || v_seen.task_id || ' had ended';
        END IF;

        IF NOT v_is_free THEN
            PERFORM FROM {schema}.token_holder AS token
            WHERE token.group_id = v_token AND token.term = v_seen.term
                AND token.session IS NOT DISTINCT FROM v_seen.session
            FOR UPDATE SKIP LOCKED;
            IF NOT FOUND THEN
                v_passed_over := v_passed_over OR v_how = 'takeover';
                CONTINUE;
            END IF;
        END IF;
        UPDATE {schema}.token_holder AS token
        SET task_id = p_node,
            session = p_mine,
            term = {schema}.coord_granted_term(
                v_token, p_least_terms[v_i], token.term_floor, token.term, v_clock_ms
            ),
            acquired_at = clock_timestamp(),
            released_at = NULL
        WHERE token.group_id = v_token
        RETURNING token.term INTO v_term;
        v_from := CASE WHEN v_seen.term > 0 THEN v_seen.task_id END;
        IF v_how = 'takeover' THEN
            v_active_until := v_seen.last_heartbeat;
            UPDATE {schema}.token_history AS held
            SET ended_at = clock_timestamp(),
                active_until = coalesce(held.active_until, v_active_until),
                end_how = CASE WHEN v_seen.ended THEN 'session ended' ELSE 'takeover' END,
                end_reason = coalesce(held.end_reason, v_reason)
            WHERE held.group_id = v_token AND held.term = v_seen.term AND held.ended_at IS NULL;
        END IF;
        INSERT INTO {schema}.token_history (
            group_id, term, task_id, session, acquired_at, how, reason, from_task, detected_ms
        )
        VALUES (
            v_token, v_term, p_node, p_mine, clock_timestamp(), v_how, v_reason, v_from,
            p_watched_ms[v_i]
        );
        INSERT INTO {schema}.event (group_id, kind, task_id, session, term, reason, who)
        VALUES (v_token, 'taken', p_node, p_mine, v_term, v_reason, p_node);
        v_taken := array_append(v_taken, v_token);
        v_terms := array_append(v_terms, v_term);
    END LOOP;

    -- What was taken is known; the rest is shown as it is now.
    IF NOT p_own AND coalesce(array_length(p_wanted || p_looked, 1), 0)
        = coalesce(array_length(v_taken, 1), 0)
    THEN
        RETURN;
    END IF;
    v_tokens := (
        SELECT json_agg(json_build_array(
            asked.token, coalesce(token.term, 0), token.task_id, token.session,
            holder.task_id IS NOT NULL,
            coalesce(
                holder.ended_at IS NOT NULL OR holder.session IS DISTINCT FROM token.session, false
            ),
            coalesce(holder.beat, 0), coalesce(holder.liveness_ms, 0),
            coalesce(holder.heartbeat_ms, 1000),
            greatest(0, date_part('epoch', clock_timestamp() - holder.last_heartbeat)),
            holder.host || ':' || holder.pid,
            EXISTS (
                SELECT FROM {schema}.task AS task
                WHERE task.group_id = p_group AND NOT task.deleted
                    AND task.name = substr(asked.token, length(p_group) + 2)
            )
        ))
        FROM (
            SELECT unnest(p_wanted || p_looked)
            UNION
            SELECT own.group_id FROM {schema}.token_holder AS own
            WHERE p_own AND own.session = p_mine
            EXCEPT
            SELECT unnest(v_taken)
        ) AS asked (token)
        LEFT JOIN {schema}.token_holder AS token ON token.group_id = asked.token
        LEFT JOIN LATERAL (
            SELECT * FROM {schema}.health_check AS node
            WHERE node.group_id IN (p_group, token.group_id) AND node.task_id = token.task_id
            ORDER BY node.session = token.session DESC NULLS LAST
            LIMIT 1
        ) AS holder ON true
    );
END
$coord$;
