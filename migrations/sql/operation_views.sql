-- The views of operations for people; coordinator/store/schema/aliases.py shows them as sys.tasks
-- and so on. Figures are sums over the subtasks; a rate is of the time since the work began.

-- Subtasks of operations, with owner, progress and outcome.
CREATE VIEW {schema}.sys_subtasks AS
SELECT
    part.id,
    part.operation AS parent_id,
    made.name AS parent_name,
    made.type,
    part.kind,
    part.group_id,
    part.entity,
    part.node,
    part.state,
    part.owner,
    part.session,
    part.term,
    part.attempt,
    part.units_failed AS progress_failed,
    part.units AS progress_completed,
    part.units_total AS progress_total,
    part.size AS bytes_completed,
    part.size_total AS bytes_total,
    CASE WHEN ran.seconds > 0 THEN CAST(round(CAST(part.size / ran.seconds AS numeric)) AS bigint)
        END AS bytes_per_s,
    CASE WHEN part.state = 'RUNNING' AND ran.seconds > 0 THEN CAST(round(CAST(CASE
        WHEN part.size > 0 AND part.size_total > 0
            THEN greatest(0, part.size_total - part.size) * ran.seconds / part.size
        WHEN part.units > 0
            THEN greatest(0, part.units_total - part.units) * ran.seconds / part.units
    END AS numeric), 1) AS double precision) END AS eta_s,
    -- Why nobody runs it.
    CASE WHEN part.state = 'PENDING' THEN CASE
        WHEN made.waits_for IS NOT NULL THEN 'task ' || CAST(made.waits_for AS text)
        WHEN part.node IS NOT NULL AND NOT EXISTS (
            SELECT FROM {schema}.coord_nodes AS known
            WHERE known.group_id = part.group_id AND known.task_id = part.node
                AND known.state IN ('ok', 'late')
        ) THEN 'node ' || part.node || ', which is not live'
        WHEN NOT EXISTS (
            SELECT FROM {schema}.operation_node AS offered
            JOIN {schema}.coord_nodes AS known
                ON known.group_id = offered.group_id AND known.task_id = offered.node
            WHERE offered.group_id = part.group_id AND made.type = ANY (offered.types)
                AND known.state IN ('ok', 'late')
        ) THEN 'a live node of ' || part.group_id || ' that offers ' || made.type
    END END AS waits_for,
    part.reason,
    part.result,
    part.created_at,
    part.started_at,
    part.reported_at,
    part.finished_at
FROM {schema}.operation_subtask AS part
JOIN {schema}.operation AS made ON made.id = part.operation
CROSS JOIN LATERAL (
    SELECT CAST(EXTRACT(
        EPOCH FROM coalesce(part.finished_at, statement_timestamp()) - part.started_at
    ) AS double precision) AS seconds
) AS ran;

-- Operations (CREATE TASK), with progress and outcome.
CREATE VIEW {schema}.sys_tasks AS
SELECT
    made.id,
    made.name,
    made.type,
    made.kind,
    made.location AS location_type,
    made.place AS location,
    made.options,
    made.state,
    made.state IN ('PENDING', 'RUNNING') AS is_abortable,
    made.waits_for,
    made.groups AS clusters,
    coalesce(counted.subtasks, 0) AS subtasks,
    coalesce(counted.ended, 0) AS subtasks_completed,
    coalesce(counted.running, 0) AS subtasks_running,
    coalesce(counted.bad, 0) AS subtasks_failed,
    coalesce(counted.units_failed, 0) AS progress_failed,
    coalesce(counted.units, 0) AS progress_completed,
    coalesce(counted.units_total, 0) AS progress_total,
    coalesce(counted.size, 0) AS bytes_completed,
    coalesce(counted.size_total, 0) AS bytes_total,
    CASE WHEN ran.seconds > 0
        THEN CAST(round(CAST(counted.size / ran.seconds AS numeric)) AS bigint) END AS bytes_per_s,
    CASE WHEN made.finished_at IS NULL AND ran.seconds > 0 THEN CAST(round(CAST(CASE
        WHEN counted.size > 0 AND counted.size_total > 0
            THEN greatest(0, counted.size_total - counted.size) * ran.seconds / counted.size
        WHEN counted.ended > 0
            THEN (counted.subtasks - counted.ended) * ran.seconds / counted.ended
    END AS numeric), 1) AS double precision) END AS eta_s,
    made.created_by,
    made.created_at,
    made.started_at,
    made.finished_at,
    made.cancelled_by,
    made.error
FROM {schema}.operation AS made
LEFT JOIN LATERAL (
    SELECT
        count(*) FILTER (WHERE part.kind = 'work') AS subtasks,
        count(*) FILTER (WHERE part.kind = 'work' AND part.finished_at IS NOT NULL) AS ended,
        count(*) FILTER (WHERE part.state = 'RUNNING') AS running,
        count(*) FILTER (WHERE part.state IN ('LOST', 'FAILED')) AS bad,
        CAST(sum(part.units) AS bigint) AS units,
        CAST(sum(part.units_failed) AS bigint) AS units_failed,
        CAST(sum(part.units_total) AS bigint) AS units_total,
        CAST(sum(part.size) AS bigint) AS size,
        CAST(sum(part.size_total) AS bigint) AS size_total
    FROM {schema}.operation_subtask AS part
    WHERE part.operation = made.id
) AS counted ON true
CROSS JOIN LATERAL (
    SELECT CAST(EXTRACT(
        EPOCH FROM coalesce(made.finished_at, statement_timestamp()) - made.started_at
    ) AS double precision) AS seconds
) AS ran;

-- One row for each operation with a result, from its creation: rebuild and rebalance.
CREATE VIEW {schema}.sys_result_cache AS
SELECT
    made.id,
    made.name,
    made.type,
    made.state,
    counted.done,
    counted.skipped,
    counted.lost,
    counted.failed,
    counted.pending,
    counted.size AS bytes_completed,
    counted.plans,
    made.error,
    made.created_by,
    made.created_at,
    made.finished_at
FROM {schema}.operation AS made
CROSS JOIN LATERAL (
    SELECT
        count(*) FILTER (WHERE part.kind = 'work' AND part.state = 'DONE') AS done,
        count(*) FILTER (WHERE part.kind = 'work' AND part.state = 'SKIPPED') AS skipped,
        count(*) FILTER (WHERE part.kind = 'work' AND part.state = 'LOST') AS lost,
        count(*) FILTER (WHERE part.state = 'FAILED') AS failed,
        count(*) FILTER (WHERE part.finished_at IS NULL) AS pending,
        coalesce(CAST(sum(part.size) AS bigint), 0) AS size,
        jsonb_object_agg(part.group_id, part.result) FILTER (
            WHERE part.kind = 'plan' AND part.result IS NOT NULL
        ) AS plans
    FROM {schema}.operation_subtask AS part
    WHERE part.operation = made.id
) AS counted
WHERE made.result;

-- Groups, as operations name them: their nodes, and the types of operations that they offer.
CREATE VIEW {schema}.sys_clusters AS
SELECT
    record.group_id AS cluster,
    CASE WHEN record.hosts_tasks THEN 'tasks' ELSE 'program' END AS kind,
    coalesce(counted.nodes, 0) AS nodes,
    coalesce(counted.live, 0) AS live_nodes,
    coalesce(counted.members, 0) AS live_members,
    coalesce(offered.types, '{}') AS task_types,
    record.version,
    record.created_at
FROM {schema}.group_record AS record
LEFT JOIN LATERAL (
    SELECT
        count(*) AS nodes,
        count(*) FILTER (WHERE known.state IN ('ok', 'late')) AS live,
        count(*) FILTER (
            WHERE known.state IN ('ok', 'late') AND known.standing = 'member'
        ) AS members
    FROM {schema}.coord_nodes AS known
    WHERE known.group_id = record.group_id
) AS counted ON true
LEFT JOIN LATERAL (
    SELECT array_agg(DISTINCT listed.type ORDER BY listed.type) AS types
    FROM {schema}.operation_node AS told, unnest(told.types) AS listed (type)
    WHERE told.group_id = record.group_id
) AS offered ON true;
