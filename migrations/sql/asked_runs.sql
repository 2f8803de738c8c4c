-- Runs of tasks by hand (docs/protocol.md, rules X): SELECT coord_ask_run('night', 'archive').
--
-- What is asked for is a slot of a record of its own, `_hand`, in the table of schedules: reserved
-- here, claimed and ended by the process that serves the task's schedule, under the task's token.

-- Ask for one run of a task, now; return its slot, by which it is known. Of two that ask at once the
-- second waits here for the first, and is refused.
CREATE FUNCTION {schema}.coord_ask_run(
    p_group text, p_task text, p_who text DEFAULT NULL, p_reason text DEFAULT NULL
) RETURNS timestamptz
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $coord$
DECLARE
    v_token text := p_group || '/' || p_task;
    v_who text := coalesce(p_who, CAST(session_user AS text));
    v_now timestamptz;
    v_task {schema}.task;
    v_known {schema}.schedule;
    v_runs text;
    v_slot timestamptz;
    v_refusal text;
BEGIN
    SELECT task.* INTO v_task
    FROM {schema}.task AS task
    WHERE task.group_id = p_group AND task.name = p_task AND NOT task.deleted;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'CF004', MESSAGE = p_group || ': there is no task ' || quote_literal(p_task);
    END IF;
    INSERT INTO {schema}.schedule (group_id, name, updated_at)
    VALUES (v_token, '_hand', clock_timestamp())
    ON CONFLICT (group_id, name) DO NOTHING;
    SELECT kept.* INTO v_known
    FROM {schema}.schedule AS kept
    WHERE kept.group_id = v_token AND kept.name = '_hand'
    FOR UPDATE;
    v_now := clock_timestamp();
    -- A run whose holding is over has ended, whether or not its end was written.
    SELECT token.task_id || ' since ' || to_char(
        kept.last_fire_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'
    ) INTO v_runs
    FROM {schema}.schedule AS kept
    JOIN {schema}.token_holder AS token ON token.group_id = kept.group_id
        AND token.term = kept.term AND token.session IS NOT NULL
    WHERE kept.group_id = v_token AND kept.name IN ('', '_hand') AND kept.last_outcome = 'running'
    LIMIT 1;
    IF v_task.spec -> 'trigger' IS NULL OR v_task.spec -> 'trigger' = 'null' THEN
        v_refusal := 'it has no trigger: its program runs all the time while the task is enabled'
            ' (`coord task disable` and `enable` start it anew)';
    ELSIF NOT v_task.enabled THEN
        v_refusal := 'it is disabled' || coalesce(' (' || v_task.end_reason || ')', '')
            || ': `coord task enable` comes first';
    ELSIF EXISTS (
        SELECT FROM {schema}.planned_change AS change
        WHERE change.group_id = p_group AND change.outcome IS NULL AND change.kind = 'pause work'
            AND (change.until_at IS NULL OR change.until_at > v_now)
    ) THEN
        v_refusal := 'the work of the group is paused: `coord resume ' || p_group || '` comes first';
    ELSIF NOT EXISTS (
        SELECT FROM {schema}.health_check AS node
        WHERE node.group_id = p_group AND node.session IS NOT NULL AND node.ended_at IS NULL
            AND node.hosts_tasks AND node.standing = 'member'
            AND v_now - node.last_heartbeat < node.liveness_ms * interval '1 ms'
            AND (v_task.nodes = '{}' OR node.task_id = ANY (v_task.nodes))
            AND (NOT v_task.pinned OR v_task.preferred IS NULL OR node.task_id = v_task.preferred)
    ) THEN
        v_refusal := 'no live member of the group may run it (`coord explain` says why)';
    ELSIF v_runs IS NOT NULL THEN
        v_refusal := 'it runs already, on ' || v_runs;
    ELSIF v_known.reserved_until > v_now
        AND (v_known.last_fire_at IS NULL OR v_known.last_fire_at < v_known.reserved_slot)
    THEN
        v_refusal := v_known.reserved_by || ' has asked for a run already, which has not begun yet';
    END IF;
    IF v_refusal IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'CF003', MESSAGE = v_token || ': ' || v_refusal;
    END IF;
    -- Above each earlier one; a record far ahead of the clock is begun anew by the claim (C4).
    v_slot := greatest(
        v_now,
        CASE
            WHEN v_known.last_fire_at <= v_now + interval '60 s'
                THEN v_known.last_fire_at + interval '1 us'
        END,
        CASE
            WHEN v_known.reserved_slot <= v_now + interval '60 s'
                THEN v_known.reserved_slot + interval '1 us'
        END
    );
    UPDATE {schema}.schedule AS kept
    SET reserved_slot = v_slot,
        reserved_by = left(v_who, 250),
        reserved_until = v_now + interval '10 minutes',
        updated_at = v_now
    WHERE kept.group_id = v_token AND kept.name = '_hand';
    INSERT INTO {schema}.event (group_id, kind, reason, who)
    VALUES (v_token, 'run asked', left(p_reason, 1000), left(v_who, 1000));
    PERFORM pg_notify({schema}.coord_channel(v_token), '{"kind": "run"}');
    RETURN v_slot;
END
$coord$;

REVOKE EXECUTE ON FUNCTION {schema}.coord_ask_run(text, text, text, text) FROM PUBLIC;
