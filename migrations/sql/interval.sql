-- The livenessCheckInterval of a group (docs/protocol.md, rules I): a planned change that stands.
--
-- A row of planned_change without an outcome counts. Until agreed_at is set, the value spreads: each
-- node writes it to its own row of health_check when it is safe to, and tells it by that. The row
-- that stood before ends when the new one is agreed on.

-- Return why a group cannot have an interval; NULL: it can. docs/protocol.md, rule T1, for each live
-- node: three heartbeats, and two within the lease 0.9 * (interval / 1.1 - 200 ms).
CREATE FUNCTION {schema}.coord_refused_interval(
    p_group text, p_value_ms integer, p_until timestamptz
) RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $coord$
DECLARE
    v_node record;
BEGIN
    IF p_until IS NOT NULL THEN
        RETURN 'a setting of the group has no end: it stands until another value is set';
    END IF;
    IF EXISTS (
        SELECT FROM {schema}.planned_change AS change
        WHERE change.group_id = p_group AND change.kind = 'livenessCheckInterval'
            AND change.outcome IS NULL AND change.value = p_value_ms
    ) THEN
        RETURN 'livenessCheckInterval is ' || p_value_ms / 1000.0::float8 || ' s already';
    END IF;
    SELECT node.task_id, node.heartbeat_ms, greatest(
        3.0::float8 * node.heartbeat_ms, 1.1::float8 * (2 * node.heartbeat_ms / 0.9::float8 + 200)
    ) AS least_ms INTO v_node
    FROM {schema}.health_check AS node
    WHERE node.group_id = p_group AND node.session IS NOT NULL AND node.ended_at IS NULL
        AND clock_timestamp() - node.last_heartbeat
        < greatest(node.liveness_ms, p_value_ms) * interval '1 ms'
    ORDER BY node.heartbeat_ms DESC, node.task_id
    LIMIT 1;
    IF FOUND AND p_value_ms < v_node.least_ms THEN
        RETURN 'livenessCheckInterval (' || p_value_ms / 1000.0::float8 || ' s) is too short for '
            || v_node.task_id || ', whose heartbeatFrequency is '
            || v_node.heartbeat_ms / 1000.0::float8 || ' s: '
            || ceil(v_node.least_ms / 10) / 100 || ' s is the least';
    END IF;
    RETURN NULL;
END
$coord$;

-- Say whether a live node has not told yet that it has an interval. A node counts as live until it
-- was silent for the longer of its own interval and the new one.
CREATE FUNCTION {schema}.coord_lacks_interval(p_group text, p_value_ms integer) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $coord$
BEGIN
    RETURN EXISTS (
        SELECT FROM {schema}.health_check AS node
        WHERE node.group_id = p_group AND node.session IS NOT NULL AND node.ended_at IS NULL
            AND node.liveness_ms <> p_value_ms
            AND clock_timestamp() - node.last_heartbeat
            < greatest(node.liveness_ms, p_value_ms) * interval '1 ms'
    );
END
$coord$;

-- Mark the interval that spreads as agreed on, if every live node has told that it has it. The
-- caller has locked the record of the group: of two that tell at once, the second sees the first.
CREATE FUNCTION {schema}.coord_agree_interval(p_group text) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $coord$
DECLARE
    v_change record;
BEGIN
    SELECT change.id, change.value INTO v_change
    FROM {schema}.planned_change AS change
    WHERE change.group_id = p_group AND change.kind = 'livenessCheckInterval'
        AND change.outcome IS NULL AND change.agreed_at IS NULL;
    IF NOT FOUND OR {schema}.coord_lacks_interval(p_group, v_change.value) THEN
        RETURN false;
    END IF;
    UPDATE {schema}.planned_change AS change
    SET outcome = 'done',
        outcome_reason = 'livenessCheckInterval is ' || v_change.value / 1000.0::float8
            || ' s from now on (change ' || v_change.id || ')'
    WHERE change.group_id = p_group AND change.kind = 'livenessCheckInterval'
        AND change.outcome IS NULL AND change.id <> v_change.id;
    UPDATE {schema}.planned_change AS change
    SET agreed_at = clock_timestamp()
    WHERE change.id = v_change.id;
    RETURN true;
END
$coord$;

-- Write the interval of a session to its row, unless another one was asked for since: what a node
-- asked for long ago may be carried out late. p_change 0: none was asked for.
CREATE FUNCTION {schema}.coord_tell_interval(
    p_group text, p_node text, p_session uuid, p_change bigint, p_liveness_ms integer,
    p_lease_ms integer
) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $coord$
BEGIN
    PERFORM FROM {schema}.group_record AS record
    WHERE record.group_id = p_group
    FOR NO KEY UPDATE;
    IF p_change <> coalesce((
        SELECT max(change.id) FROM {schema}.planned_change AS change
        WHERE change.group_id = p_group AND change.kind = 'livenessCheckInterval'
            AND change.outcome IS NULL
    ), 0) THEN
        RETURN false;
    END IF;
    UPDATE {schema}.health_check AS node
    SET liveness_ms = p_liveness_ms, lease_ms = p_lease_ms
    WHERE node.group_id = p_group AND node.task_id = p_node AND node.session = p_session
        AND node.ended_at IS NULL;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM {schema}.coord_agree_interval(p_group);
    RETURN true;
END
$coord$;
