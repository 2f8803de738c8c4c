-- Claims that are given back because their owner is gone, and the cancelling of an operation.

-- Give back the claims of a group whose sessions are over, and those of the caller's own session:
-- its earlier worker is dead when it calls. An owner's program is dead when its session is over
-- (rules T1 and L3). One that was lost too often has failed. Return the number given back.
CREATE FUNCTION {schema}.coord_return_subtasks(
    p_group text, p_session uuid, p_attempts_max integer
) RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $coord$
DECLARE
    v_operation uuid;
    v_cancelled boolean;
    v_count bigint := 0;
    v_changed bigint;
BEGIN
    PERFORM {schema}.coord_refuse_foreign(p_group);
    FOR v_operation IN
        SELECT DISTINCT part.operation
        FROM {schema}.operation_subtask AS part
        LEFT JOIN {schema}.health_check AS node
            ON node.group_id = part.group_id AND node.task_id = coalesce(part.owner, part.node)
        WHERE part.group_id = p_group AND part.finished_at IS NULL
            AND CASE part.state
                WHEN 'RUNNING' THEN node.session IS DISTINCT FROM part.session
                    OR node.ended_at IS NOT NULL OR part.session = p_session
                ELSE part.node IS NOT NULL AND node.task_id IS NULL
            END
        ORDER BY part.operation
    LOOP
        SELECT made.state = 'CANCELLING' INTO v_cancelled
        FROM {schema}.operation AS made WHERE made.id = v_operation FOR NO KEY UPDATE;
        UPDATE {schema}.operation_subtask AS part
        SET state = next.state, version = part.version + 1,
            owner = CASE WHEN next.state = 'PENDING' THEN NULL ELSE part.owner END,
            session = CASE WHEN next.state = 'PENDING' THEN NULL ELSE part.session END,
            reason = next.reason,
            finished_at = CASE WHEN next.state <> 'PENDING' THEN clock_timestamp() END
        FROM (
            SELECT open.id, open.version, CASE
                WHEN v_cancelled THEN 'SKIPPED'
                WHEN open.state = 'PENDING' OR open.attempt >= p_attempts_max THEN 'FAILED'
                ELSE 'PENDING'
            END AS state, CASE
                WHEN v_cancelled THEN 'cancelled'
                WHEN open.state = 'PENDING' THEN 'node ' || open.node || ' was removed'
                WHEN open.attempt >= p_attempts_max
                    THEN 'its owner was lost ' || open.attempt || ' times'
                ELSE 'owner ' || open.owner || ' was lost'
            END AS reason
            FROM {schema}.operation_subtask AS open
            LEFT JOIN {schema}.health_check AS node
                ON node.group_id = open.group_id AND node.task_id = coalesce(open.owner, open.node)
            WHERE open.operation = v_operation AND open.group_id = p_group
                AND open.finished_at IS NULL
                AND CASE open.state
                    WHEN 'RUNNING' THEN node.session IS DISTINCT FROM open.session
                        OR node.ended_at IS NOT NULL OR open.session = p_session
                    ELSE open.node IS NOT NULL AND node.task_id IS NULL
                END
        ) AS next
        WHERE part.id = next.id AND part.version = next.version;
        GET DIAGNOSTICS v_changed = ROW_COUNT;
        v_count := v_count + v_changed;
        PERFORM {schema}.coord_settle_operation(v_operation);
    END LOOP;
    RETURN v_count;
END
$coord$;

-- Write what a node offers. The types of coord itself are not a node's to declare.
CREATE FUNCTION {schema}.coord_offer_operations(
    p_group text, p_node text, p_session uuid, p_channel text, p_types jsonb
) RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $coord$
BEGIN
    PERFORM {schema}.coord_refuse_foreign(p_group);
    IF p_group = '' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'a group has a name';
    END IF;
    INSERT INTO {schema}.operation_type AS known (group_id, name, locations, options, result)
    SELECT p_group, told.name, told.locations, told.options, told.result
    FROM jsonb_to_recordset(p_types) AS told (
        name text, locations text[], options jsonb, result boolean
    )
    WHERE NOT EXISTS (
        SELECT FROM {schema}.operation_type AS ours
        WHERE ours.group_id = '' AND ours.name = told.name
    )
    ON CONFLICT (group_id, name) DO UPDATE
    SET locations = excluded.locations, options = excluded.options, result = excluded.result;
    INSERT INTO {schema}.operation_node AS known (group_id, node, session, types, channel)
    SELECT p_group, p_node, p_session, coalesce(array_agg(told.name ORDER BY told.name), '{}'),
        p_channel
    FROM jsonb_to_recordset(p_types) AS told (name text)
    ON CONFLICT (group_id, node) DO UPDATE
    SET session = excluded.session, types = excluded.types, channel = excluded.channel;
END
$coord$;

-- Delete what finished long ago of a group: operations of people after 90 days, the system's own
-- after 7. Return the number of operations.
CREATE FUNCTION {schema}.coord_forget_operations(p_group text) RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $coord$
DECLARE
    v_old uuid[];
BEGIN
    PERFORM {schema}.coord_refuse_foreign(p_group);
    -- Some at a time, so that nobody waits for a long deletion.
    SELECT array_agg(old.id) INTO v_old
    FROM (
        SELECT made.id FROM {schema}.operation AS made
        WHERE p_group = ANY (made.groups)
            AND made.finished_at < clock_timestamp()
                - CASE made.kind WHEN 'user' THEN interval '90 days' ELSE interval '7 days' END
        ORDER BY made.finished_at
        LIMIT 10
        FOR UPDATE SKIP LOCKED
    ) AS old;
    DELETE FROM {schema}.operation_subtask AS part WHERE part.operation = ANY (v_old);
    DELETE FROM {schema}.operation AS made WHERE made.id = ANY (v_old);
    RETURN coalesce(array_length(v_old, 1), 0);
END
$coord$;

-- Return the operation that a name, an id, or the id of a subtask means; NULL for none. Of several
-- operations of a name it is the unfinished one, or the last.
CREATE FUNCTION {schema}.coord_find_operation(p_ref text) RETURNS uuid
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $coord$
    SELECT found.id FROM (
        SELECT made.id, 1 AS place, made.finished_at, made.created_at
        FROM {schema}.operation AS made WHERE made.name = p_ref
        UNION ALL
        SELECT made.id, 0, made.finished_at, made.created_at
        FROM {schema}.operation AS made WHERE CAST(made.id AS text) = lower(p_ref)
        UNION ALL
        SELECT part.operation, 0, NULL, part.created_at
        FROM {schema}.operation_subtask AS part WHERE CAST(part.id AS text) = lower(p_ref)
    ) AS found
    ORDER BY found.place, found.finished_at DESC NULLS FIRST, found.created_at DESC
    LIMIT 1
$coord$;

-- Cancel an operation and return its id; one that is being cancelled, or was, stays as it is.
-- Subtasks that nobody runs end here; those that run are told, and end soon.
CREATE FUNCTION {schema}.sys_cancel_task(p_ref text) RETURNS uuid
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $coord$
DECLARE
    v_id uuid;
    v_state text;
BEGIN
    IF coalesce(p_ref, '') = '' THEN
        RAISE EXCEPTION USING ERRCODE = '42601', COLUMN = 'ref',
            MESSAGE = 'CANCEL TASK needs the name or the id of a task',
            HINT = 'Write CANCEL TASK ''name or id''.';
    END IF;
    v_id := {schema}.coord_find_operation(p_ref);
    SELECT made.state INTO v_state
    FROM {schema}.operation AS made WHERE made.id = v_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = '42704', COLUMN = 'ref',
            MESSAGE = 'there is no task ' || quote_literal(left(p_ref, 100)),
            HINT = 'sys.tasks shows their names and ids.';
    ELSIF v_state IN ('CANCELLING', 'CANCELLED') THEN
        RETURN v_id;
    ELSIF v_state NOT IN ('PENDING', 'RUNNING') THEN
        RAISE EXCEPTION USING ERRCODE = '55000', COLUMN = 'ref',
            MESSAGE = 'task ' || quote_literal(p_ref) || ' is finished: ' || v_state,
            HINT = 'Only a task that is PENDING or RUNNING can be cancelled.';
    END IF;
    UPDATE {schema}.operation AS made
    SET state = 'CANCELLING', cancelled_by = session_user
    WHERE made.id = v_id;
    UPDATE {schema}.operation_subtask AS part
    SET state = 'SKIPPED', reason = 'cancelled', version = part.version + 1,
        finished_at = clock_timestamp()
    WHERE part.operation = v_id AND part.state = 'PENDING';
    PERFORM {schema}.coord_tell_operation(v_id);
    PERFORM {schema}.coord_settle_operation(v_id);
    RETURN v_id;
END
$coord$;

REVOKE ALL ON FUNCTION
    {schema}.sys_create_task(text, text, text, jsonb, text),
    {schema}.sys_cancel_task(text),
    {schema}.coord_fence_subtask(uuid, bigint, uuid),
    {schema}.coord_claim_subtask(text, text, uuid, uuid, bigint),
    {schema}.coord_report_subtask(uuid, bigint, uuid, bigint, bigint, bigint, bigint),
    {schema}.coord_end_subtask(uuid, bigint, uuid, text, text, jsonb, jsonb),
    {schema}.coord_return_subtasks(text, uuid, integer),
    {schema}.coord_offer_operations(text, text, uuid, text, jsonb),
    {schema}.coord_forget_operations(text)
FROM PUBLIC;
