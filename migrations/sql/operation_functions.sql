-- The life of operations and their subtasks (rules Q). Nodes call these functions; each is one
-- transaction, whose changes are compare-and-set on the subtask's version or on its claim.
--
-- They run with the owner's rights and ask whose group it is. All of them lock the operation before
-- its subtasks.

-- Raise CF001 unless (term, session) is the claim of the subtask, and the session lives. The lock
-- on the subtask, and so the answer, last until the caller's transaction ends.
CREATE FUNCTION {schema}.coord_fence_subtask(p_subtask uuid, p_term bigint, p_session uuid)
RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $coord$
DECLARE
    v_group text;
BEGIN
    SELECT claimed.group_id INTO v_group
    FROM {schema}.operation_subtask AS claimed
    WHERE claimed.id = p_subtask AND claimed.term = p_term AND claimed.session = p_session
        AND claimed.state = 'RUNNING'
        AND EXISTS (
            SELECT FROM {schema}.health_check AS node
            WHERE node.group_id = claimed.group_id AND node.task_id = claimed.owner
                AND node.session = p_session AND node.ended_at IS NULL
        )
    FOR SHARE OF claimed;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'CF001',
            MESSAGE = 'coord_fence_subtask: term ' || coalesce(CAST(p_term AS text), 'NULL')
                || ' of subtask ' || coalesce(CAST(p_subtask AS text), 'NULL')
                || ' is not current',
            HINT = 'Roll this transaction back and stop: another node may run the subtask.';
    END IF;
    PERFORM {schema}.coord_refuse_foreign(v_group);
END
$coord$;

-- Tell the nodes of an operation that there is work, or that it is cancelled.
CREATE FUNCTION {schema}.coord_tell_operation(p_operation uuid) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $coord$
BEGIN
    PERFORM pg_notify(told.channel, '{"kind": "operation"}')
    FROM (
        SELECT DISTINCT offered.channel
        FROM {schema}.operation AS made
        JOIN {schema}.operation_node AS offered ON offered.group_id = ANY (made.groups)
        WHERE made.id = p_operation
    ) AS told;
END
$coord$;

-- Finish an operation of which no subtask is open, and let the one that waits for it begin.
CREATE FUNCTION {schema}.coord_settle_operation(p_operation uuid) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $coord$
DECLARE
    v_state text;
    v_waits_for uuid;
    v_waiting uuid;
BEGIN
    SELECT made.state, made.waits_for INTO v_state, v_waits_for
    FROM {schema}.operation AS made
    WHERE made.id = p_operation AND made.finished_at IS NULL
    FOR NO KEY UPDATE;
    IF NOT FOUND OR EXISTS (
        SELECT FROM {schema}.operation_subtask AS part
        WHERE part.operation = p_operation AND part.finished_at IS NULL
    ) THEN
        RETURN;
    END IF;
    UPDATE {schema}.operation AS made
    SET finished_at = clock_timestamp(),
        waits_for = NULL,
        state = CASE
            WHEN v_state = 'CANCELLING' THEN 'CANCELLED'
            WHEN ended.bad = 0 THEN 'COMPLETE'
            WHEN ended.good = 0 THEN 'FAILED'
            ELSE 'COMPLETE_WITH_ERRORS'
        END,
        error = coalesce(made.error, CASE WHEN v_state <> 'CANCELLING' THEN ended.error END)
    FROM (
        SELECT
            count(*) FILTER (WHERE part.state IN ('LOST', 'FAILED')) AS bad,
            count(*) FILTER (WHERE part.kind = 'work' AND part.state IN ('DONE', 'SKIPPED'))
                AS good,
            min(part.entity || ': ' || part.reason) FILTER (
                WHERE part.state IN ('LOST', 'FAILED')
            ) AS error
        FROM {schema}.operation_subtask AS part
        WHERE part.operation = p_operation
    ) AS ended
    WHERE made.id = p_operation;
    -- What waited for this one waits for the one before it, if this one never began.
    FOR v_waiting IN
        UPDATE {schema}.operation AS after SET waits_for = v_waits_for
        WHERE after.waits_for = p_operation RETURNING after.id
    LOOP
        PERFORM {schema}.coord_tell_operation(v_waiting);
    END LOOP;
END
$coord$;

-- Make the subtasks that plan an operation: one for each of its groups.
CREATE FUNCTION {schema}.coord_begin_operation(p_operation uuid) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $coord$
BEGIN
    -- A group of which nothing lives is told of at the end, where the whole system was meant: it
    -- must not keep the others from their end. A cluster or a node that was named is waited for.
    INSERT INTO {schema}.operation_subtask
        (operation, group_id, kind, entity, state, reason, finished_at)
    SELECT made.id, target.group_id, 'plan', target.group_id,
        CASE WHEN target.waits THEN 'PENDING' ELSE 'FAILED' END,
        CASE WHEN NOT target.waits THEN 'no live node of this group offers ' || made.type END,
        CASE WHEN NOT target.waits THEN clock_timestamp() END
    FROM {schema}.operation AS made
    CROSS JOIN LATERAL (
        SELECT listed.group_id, made.location <> 'SYSTEM' OR EXISTS (
            SELECT FROM {schema}.operation_node AS offered
            JOIN {schema}.health_check AS node
                ON node.group_id = offered.group_id AND node.task_id = offered.node
            WHERE offered.group_id = listed.group_id AND made.type = ANY (offered.types)
                AND node.ended_at IS NULL
                AND node.last_heartbeat
                    > clock_timestamp() - node.liveness_ms * interval '1 millisecond'
        ) AS waits
        FROM unnest(made.groups) AS listed (group_id)
    ) AS target
    WHERE made.id = p_operation;
    IF NOT FOUND THEN
        UPDATE {schema}.operation SET error = 'no node of any group offers ' || type
        WHERE id = p_operation;
    END IF;
    PERFORM {schema}.coord_tell_operation(p_operation);
    PERFORM {schema}.coord_settle_operation(p_operation);
END
$coord$;

-- Claim a subtask that is still as it was seen. Return the term of the claim, or NULL. Only a
-- Member that lives claims; a cancelled operation, and one that waits, is not claimed from.
CREATE FUNCTION {schema}.coord_claim_subtask(
    p_group text, p_node text, p_session uuid, p_subtask uuid, p_version bigint
) RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $coord$
DECLARE
    v_operation uuid;
    v_term bigint;
BEGIN
    PERFORM {schema}.coord_refuse_foreign(p_group);
    SELECT made.id INTO v_operation
    FROM {schema}.operation AS made
    JOIN {schema}.operation_subtask AS part ON part.operation = made.id
    WHERE part.id = p_subtask AND part.group_id = p_group
        AND made.state IN ('PENDING', 'RUNNING') AND made.waits_for IS NULL
    FOR NO KEY UPDATE OF made;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    UPDATE {schema}.operation_subtask AS part
    SET state = 'RUNNING', owner = p_node, session = p_session, term = part.term + 1,
        attempt = part.attempt + 1, version = part.version + 1,
        started_at = clock_timestamp(), reported_at = clock_timestamp(),
        units = 0, units_failed = 0, size = 0, reason = NULL
    WHERE part.id = p_subtask AND part.version = p_version AND part.state = 'PENDING'
        AND (part.node IS NULL OR part.node = p_node)
        AND EXISTS (
            SELECT FROM {schema}.health_check AS node
            WHERE node.group_id = p_group AND node.task_id = p_node AND node.session = p_session
                AND node.ended_at IS NULL AND node.standing = 'member'
        )
    RETURNING part.term INTO v_term;
    IF v_term IS NOT NULL THEN
        UPDATE {schema}.operation AS made
        SET state = 'RUNNING', started_at = clock_timestamp()
        WHERE made.id = v_operation AND made.state = 'PENDING';
    END IF;
    RETURN v_term;
END
$coord$;

-- Write the progress of a claim. Return 'run', 'stop' when the operation is cancelled, or 'lost'.
CREATE FUNCTION {schema}.coord_report_subtask(
    p_subtask uuid, p_term bigint, p_session uuid,
    p_units bigint, p_failed bigint, p_size bigint, p_units_total bigint
) RETURNS text
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $coord$
DECLARE
    v_operation uuid;
    v_group text;
BEGIN
    UPDATE {schema}.operation_subtask AS part
    SET reports = part.reports + 1,
        moves = part.moves + CASE WHEN (part.units, part.units_failed, part.size)
            IS DISTINCT FROM (p_units, p_failed, p_size) THEN 1 ELSE 0 END,
        units = p_units, units_failed = p_failed, size = p_size,
        units_total = coalesce(p_units_total, part.units_total),
        reported_at = clock_timestamp()
    WHERE part.id = p_subtask AND part.term = p_term AND part.session = p_session
        AND part.state = 'RUNNING'
    RETURNING part.operation, part.group_id INTO v_operation, v_group;
    IF NOT FOUND THEN
        RETURN 'lost';
    END IF;
    PERFORM {schema}.coord_refuse_foreign(v_group);
    RETURN (
        SELECT CASE WHEN made.state = 'CANCELLING' THEN 'stop' ELSE 'run' END
        FROM {schema}.operation AS made WHERE made.id = v_operation
    );
END
$coord$;

-- End a claim, and with it perhaps the operation. State PENDING gives the subtask back. p_subtasks
-- are those that a plan has found. Return false when the claim is no longer this one: nothing is
-- written then.
CREATE FUNCTION {schema}.coord_end_subtask(
    p_subtask uuid, p_term bigint, p_session uuid,
    p_state text, p_reason text, p_result jsonb, p_subtasks jsonb
) RETURNS boolean
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $coord$
DECLARE
    v_operation uuid;
    v_group text;
    v_cancelled boolean;
    v_state text;
BEGIN
    SELECT made.id, part.group_id, made.state = 'CANCELLING'
    INTO v_operation, v_group, v_cancelled
    FROM {schema}.operation AS made
    JOIN {schema}.operation_subtask AS part ON part.operation = made.id
    WHERE part.id = p_subtask
    FOR NO KEY UPDATE OF made;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM {schema}.coord_refuse_foreign(v_group);
    v_state := CASE WHEN v_cancelled AND p_state = 'PENDING' THEN 'SKIPPED' ELSE p_state END;
    UPDATE {schema}.operation_subtask AS part
    SET state = v_state, version = part.version + 1,
        owner = CASE WHEN v_state = 'PENDING' THEN NULL ELSE part.owner END,
        session = CASE WHEN v_state = 'PENDING' THEN NULL ELSE part.session END,
        reason = CASE WHEN v_state = 'SKIPPED' AND v_cancelled THEN 'cancelled'
            ELSE left(nullif(p_reason, ''), 2000) END,
        result = p_result,
        finished_at = CASE WHEN v_state <> 'PENDING' THEN clock_timestamp() END
    WHERE part.id = p_subtask AND part.term = p_term AND part.session = p_session
        AND part.state = 'RUNNING';
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO {schema}.operation_subtask
        (operation, group_id, entity, node, argument, units_total, size_total,
         state, reason, finished_at)
    SELECT v_operation, v_group, planned.entity, planned.node, planned.argument,
        planned.units, planned.size,
        CASE WHEN v_cancelled THEN 'SKIPPED' ELSE 'PENDING' END,
        CASE WHEN v_cancelled THEN 'cancelled' END,
        CASE WHEN v_cancelled THEN clock_timestamp() END
    FROM jsonb_to_recordset(coalesce(p_subtasks, '[]')) AS planned (
        entity text, node text, argument jsonb, units bigint, size bigint
    )
    ON CONFLICT (operation, group_id, kind, entity) DO NOTHING;
    IF FOUND AND NOT v_cancelled THEN
        PERFORM {schema}.coord_tell_operation(v_operation);
    END IF;
    PERFORM {schema}.coord_settle_operation(v_operation);
    RETURN true;
END
$coord$;
