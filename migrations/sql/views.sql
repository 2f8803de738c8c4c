-- The views for people.
--
-- A group that spreads tasks has no token of its own name: its nodes race for the token of the
-- observer. The status of such a group shows the observer.
--
-- coordinator/store/schema/aliases.py shows the views sys_* under the names that people look for,
-- as sys.ongoing_tasks.

-- Nodes of all groups, with role, state (ok, late, dead, ended) and the age of the last heartbeat.
CREATE VIEW {schema}.coord_nodes AS
SELECT
    seen.group_id,
    seen.task_id,
    CASE WHEN seen.holds THEN 'active' ELSE 'standby' END AS role,
    CASE
        WHEN seen.ended THEN 'ended'
        WHEN seen.beat_age_s <= 2.0 * seen.heartbeat_ms / 1000.0
             AND seen.beat_age_s <= seen.liveness_ms / 1000.0 THEN 'ok'
        WHEN seen.beat_age_s <= seen.liveness_ms / 1000.0 THEN 'late'
        ELSE 'dead'
    END AS state,
    seen.beat_age_s,
    CAST(seen.liveness_ms / 1000.0 AS double precision) AS liveness_s,
    CAST(seen.heartbeat_ms / 1000.0 AS double precision) AS heartbeat_s,
    CAST(seen.lease_ms / 1000.0 AS double precision) AS lease_s,
    seen.host,
    seen.pid,
    seen.version,
    seen.priority,
    seen.standing,
    seen.config_hash,
    seen.isolation,
    CASE WHEN NOT seen.ended THEN seen.uptime_s END AS uptime_s,
    seen.session,
    seen.started_at,
    seen.joined_at,
    seen.ended_at,
    seen.end_reason,
    CASE WHEN NOT seen.ended AND NOT seen.holds THEN seen.ready END AS ready,
    seen.address,
    CAST(CASE WHEN NOT seen.ended THEN seen.clock_ms / 1000.0 END AS float8) AS clock_offset_s,
    CAST(seen.file_liveness_ms / 1000.0 AS double precision) AS file_liveness_s
FROM (
    SELECT
        node.group_id, node.task_id, node.session, node.liveness_ms, node.heartbeat_ms,
        node.lease_ms, node.host, node.pid, node.version, node.standing,
        COALESCE(chosen.value, node.priority) AS priority,
        node.config_hash, node.isolation, node.started_at, node.joined_at, node.ended_at,
        node.end_reason, node.ready, node.address, node.clock_ms, node.file_liveness_ms,
        node.ended_at IS NOT NULL OR node.session IS NULL AS ended,
        COALESCE(
            node.ended_at IS NULL
            AND token.session = node.session
            AND token.task_id = node.task_id,
            false
        ) AS holds,
        CASE
            WHEN node.last_heartbeat BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
                THEN CAST(ROUND(CAST(GREATEST(0, EXTRACT(
                    EPOCH FROM statement_timestamp() - node.last_heartbeat
                )) AS numeric), 3) AS double precision)
        END AS beat_age_s,
        CAST(ROUND(CAST(GREATEST(0, EXTRACT(
            EPOCH FROM statement_timestamp() - node.started_at
        )) AS numeric), 3) AS double precision) AS uptime_s
    FROM {schema}.health_check AS node
    LEFT JOIN {schema}.planned_change AS chosen
        ON chosen.group_id = node.group_id AND chosen.node = node.task_id
        AND chosen.kind = 'priority' AND chosen.outcome IS NULL
    LEFT JOIN {schema}.group_record AS record ON record.group_id = node.group_id
    LEFT JOIN {schema}.token_holder AS token
        ON token.group_id = node.group_id
            || CASE WHEN record.hosts_tasks THEN '/_observer' ELSE '' END
) AS seen;

-- Groups: active, leaderless or idle, the active node, and what is left of its lease.
CREATE VIEW {schema}.coord_status AS
SELECT
    judged.group_id,
    judged.state,
    CASE WHEN judged.state = 'active' THEN judged.last_task_id END AS task_id,
    judged.term,
    CASE WHEN judged.state = 'active' THEN judged.acquired_at ELSE judged.vacant_at END AS since,
    judged.standby_count,
    judged.beat_age_s,
    CASE
        WHEN judged.state = 'active' THEN GREATEST(0, judged.lease_s - judged.beat_age_s)
    END AS lease_left_s,
    CASE judged.state
        WHEN 'active' THEN CAST(0 AS double precision)
        WHEN 'leaderless' THEN CAST(ROUND(CAST(GREATEST(0, EXTRACT(
            EPOCH FROM statement_timestamp() - judged.vacant_at
        )) AS numeric), 3) AS double precision)
    END AS leaderless_s,
    judged.liveness_s,
    judged.last_task_id,
    judged.session,
    judged.acquired_at,
    judged.released_at,
    judged.host,
    judged.pid
FROM (
    SELECT
        grouped.group_id,
        CASE
            WHEN holder.state IN ('ok', 'late') THEN 'active'
            WHEN grouped.live_count > 0 THEN 'leaderless'
            -- Nobody released it, and nobody is there to take it: that is an outage, too.
            WHEN holder.state = 'dead' THEN 'leaderless'
            ELSE 'idle'
        END AS state,
        token.task_id AS last_task_id,
        COALESCE(token.term, 0) AS term,
        token.session,
        token.acquired_at,
        token.released_at,
        -- The last moment at which a node was certainly active.
        COALESCE(
            CASE WHEN token.session IS NULL THEN token.released_at END,
            CASE
                WHEN last_holder.last_heartbeat
                    BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
                    THEN last_holder.last_heartbeat
            END,
            token.acquired_at,
            grouped.created_at
        ) AS vacant_at,
        grouped.live_count
            - CASE WHEN holder.state IN ('ok', 'late') THEN 1 ELSE 0 END AS standby_count,
        holder.beat_age_s,
        holder.lease_s,
        holder.liveness_s,
        holder.host,
        holder.pid
    FROM (
        SELECT
            named.group_id,
            MIN(named.created_at) AS created_at,
            COUNT(node.task_id) FILTER (
                WHERE node.state IN ('ok', 'late')
                    AND (node.role = 'active' OR node.isolation IS DISTINCT FROM 'in-process')
            ) AS live_count
        FROM (
            SELECT record.group_id, record.created_at FROM {schema}.group_record AS record
            UNION
            SELECT known.group_id, record.created_at
            FROM {schema}.health_check AS known
            LEFT JOIN {schema}.group_record AS record ON record.group_id = known.group_id
        ) AS named
        LEFT JOIN {schema}.coord_nodes AS node ON node.group_id = named.group_id
        GROUP BY named.group_id
    ) AS grouped
    LEFT JOIN {schema}.group_record AS record ON record.group_id = grouped.group_id
    LEFT JOIN {schema}.token_holder AS token
        ON token.group_id = grouped.group_id
            || CASE WHEN record.hosts_tasks THEN '/_observer' ELSE '' END
    LEFT JOIN {schema}.coord_nodes AS holder
        ON holder.group_id = grouped.group_id AND holder.role = 'active'
    LEFT JOIN {schema}.health_check AS last_holder
        ON last_holder.group_id = grouped.group_id
        AND last_holder.task_id = token.task_id
        AND last_holder.session = token.session
) AS judged;

-- Holdings of all tokens: term, from and to whom, why, the gap before (gap_s), how each ended.
CREATE VIEW {schema}.coord_history AS
SELECT
    held.*,
    -- The time between the end of the previous holding, as far as it is known, and this one; below
    -- 0 where both were active. NULL where the previous term is not of the node that was followed.
    CAST(EXTRACT(EPOCH FROM held.acquired_at - before.active_until) AS double precision) AS gap_s,
    CAST(held.detected_ms / 1000.0 AS double precision) AS detected_s
FROM {schema}.token_history AS held
LEFT JOIN LATERAL (
    SELECT last.task_id, last.active_until
    FROM {schema}.token_history AS last
    WHERE last.group_id = held.group_id AND last.term < held.term
    ORDER BY last.term DESC
    LIMIT 1
) AS before ON before.task_id = held.from_task;

-- Nodes of all groups, with standing, number of tasks, and whether they have caught up.
CREATE VIEW {schema}.sys_nodes AS
SELECT
    seen.group_id,
    seen.task_id AS node,
    seen.standing,
    seen.state,
    seen.beat_age_s,
    COALESCE(held.task_count, 0) AS task_count,
    seen.role = 'active' AND record.hosts_tasks AS observer,
    seen.host,
    seen.pid,
    seen.version,
    seen.priority,
    node.caught_up,
    node.seen_version,
    record.version AS group_version,
    seen.liveness_s,
    seen.heartbeat_s,
    seen.uptime_s,
    seen.clock_offset_s, seen.session,
    seen.joined_at,
    seen.ended_at,
    seen.end_reason
FROM {schema}.coord_nodes AS seen
JOIN {schema}.health_check AS node
    ON node.group_id = seen.group_id AND node.task_id = seen.task_id
LEFT JOIN {schema}.group_record AS record ON record.group_id = seen.group_id
LEFT JOIN LATERAL (
    SELECT COUNT(*) AS task_count
    FROM {schema}.token_holder AS token
    JOIN {schema}.task AS task
        ON task.group_id = seen.group_id
        AND task.name = substr(token.group_id, length(seen.group_id) + 2)
    WHERE token.session = seen.session
) AS held ON true;

-- A task is 'stuck' while its token is held by a session that has ended, or that has been silent
-- for longer than its interval.
CREATE VIEW {schema}.sys_ongoing_tasks AS
SELECT
    task.group_id,
    task.name AS task,
    CASE
        WHEN NOT task.enabled THEN 'disabled'
        WHEN token.session IS NULL THEN 'waiting'
        WHEN holder.state IS NULL OR holder.state IN ('dead', 'ended') THEN 'stuck'
        WHEN told.state = 'running' AND told.term = token.term THEN 'running'
        ELSE 'starting'
    END AS state,
    CASE WHEN token.session IS NOT NULL THEN token.task_id END AS node,
    holder.standing,
    COALESCE(token.term, 0) AS term,
    CASE
        WHEN token.session IS NULL THEN COALESCE(token.released_at, task.created_at)
        WHEN holder.state IS NULL OR holder.state IN ('dead', 'ended')
            THEN COALESCE(holder.ended_at, holder.last_heartbeat, token.acquired_at)
        ELSE token.acquired_at
    END AS since,
    task.enabled,
    task.preferred,
    task.pinned,
    task.failover,
    task.failback,
    task.on_partition,
    {schema}.coord_last_error(task.group_id, task.name, NULL) AS last_error,
    task.nodes,
    CASE WHEN token.session IS NOT NULL THEN told.state END AS told,
    token.task_id AS last_node,
    task.on_done,
    task.revision,
    task.origin,
    task.end_reason,
    task.changed_at,
    task.changed_by
FROM {schema}.task AS task
LEFT JOIN {schema}.token_holder AS token ON token.group_id = task.group_id || '/' || task.name
LEFT JOIN LATERAL (
    SELECT seen.state, seen.standing, seen.ended_at,
        CASE
            WHEN node.last_heartbeat BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
                THEN node.last_heartbeat
        END AS last_heartbeat
    FROM {schema}.coord_nodes AS seen
    JOIN {schema}.health_check AS node
        ON node.group_id = seen.group_id AND node.task_id = seen.task_id
    WHERE seen.group_id = task.group_id
        AND seen.task_id = token.task_id
        AND seen.session = token.session
) AS holder ON true
LEFT JOIN {schema}.task_node AS told
    ON told.group_id = task.group_id AND told.task = task.name AND told.node = token.task_id
WHERE NOT task.deleted;

-- Tasks by node: where each runs, in which state, and how often it failed there.
CREATE VIEW {schema}.sys_task_nodes AS
SELECT
    task.group_id,
    task.name AS task,
    seen.task_id AS node,
    CASE
        WHEN token.session = seen.session AND seen.state IN ('dead', 'ended') THEN 'stuck'
        WHEN token.session = seen.session AND told.term = token.term AND told.state <> 'idle'
            THEN told.state
        WHEN token.session = seen.session THEN 'starting'
        -- The node reports that the task runs there without its token.
        WHEN told.state = 'apart' AND seen.state IN ('ok', 'late') THEN 'apart'
        ELSE 'NotOnThisNode'
    END AS state,
    CASE
        WHEN told.error <> ''
            THEN {schema}.coord_last_error(task.group_id, task.name, seen.task_id)
    END AS last_error,
    told.told_at,
    COALESCE(told.failed_count, 0) AS failed_count,
    seen.standing,
    seen.state AS node_state
FROM {schema}.task AS task
JOIN {schema}.coord_nodes AS seen ON seen.group_id = task.group_id AND seen.session IS NOT NULL
LEFT JOIN {schema}.token_holder AS token ON token.group_id = task.group_id || '/' || task.name
LEFT JOIN {schema}.task_node AS told
    ON told.group_id = task.group_id AND told.task = task.name AND told.node = seen.task_id
WHERE NOT task.deleted;

-- Decisions of observers, with their reasons.
CREATE VIEW {schema}.sys_observer_decisions AS
SELECT
    made.id,
    made.group_id,
    made.version,
    made.at,
    made.observer,
    made.term,
    made.node,
    made.kind,
    made.before,
    made.after,
    made.reason
FROM {schema}.observer_decision AS made;
