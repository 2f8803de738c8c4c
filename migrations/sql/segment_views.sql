-- The views of checkpoints and disks for people, and the policies of their tables.
--
-- A segment that is INTACT in the catalogue is shown as MISSING while its node or its device is
-- offline: that is derived from heartbeats, and written nowhere.

-- A device whose node is not live, or which was not reported for longer than its reporter allows, is
-- offline, whatever its row says: nobody can reach it.
CREATE VIEW {schema}.sys_storage_devices AS
SELECT
    device.id AS storage_device,
    device.group_id,
    device.node,
    device.url,
    CASE WHEN seen.fault IS NULL THEN device.state ELSE 'offline' END AS state,
    device.total_bytes,
    device.free_bytes,
    COALESCE(held.segment_count, 0) AS segment_count,
    COALESCE(held.segment_bytes, 0) AS segment_bytes,
    served.address,
    served.fingerprint,
    COALESCE(seen.fault, device.error) AS error,
    device.reported_at
FROM {schema}.storage_device AS device
LEFT JOIN {schema}.coord_nodes AS known
    ON known.group_id = device.group_id AND known.task_id = device.node
LEFT JOIN {schema}.storage_node AS served
    ON served.group_id = device.group_id AND served.node = device.node
LEFT JOIN (
    SELECT
        kept.device,
        COUNT(*) AS segment_count,
        CAST(SUM(kept.file_bytes) AS bigint) AS segment_bytes
    FROM {schema}.segment AS kept
    WHERE kept.state <> 'WRITING'
    GROUP BY kept.device
) AS held ON held.device = device.id
CROSS JOIN LATERAL (
    SELECT CASE
        WHEN known.state IS NULL OR known.state IN ('dead', 'ended') THEN 'its node is not live'
        WHEN device.reported_at
            < statement_timestamp() - device.silent_ms * interval '1 millisecond'
            THEN 'the process that serves it has said nothing for '
                || device.silent_ms / 1000 || ' s'
    END AS fault
) AS seen;

-- Segments of checkpoints: where each lies, and when it was last checked.
CREATE VIEW {schema}.sys_segments AS
SELECT
    kept.id AS storage_id,
    kept.segment_group,
    kept.group_id,
    made.token AS table_id,
    kept.place,
    CASE WHEN kept.place < made.data_count THEN 'data' ELSE 'parity' END AS kind,
    CASE
        WHEN kept.state IN ('INTACT', 'DAMAGED') AND COALESCE(device.state, 'offline') = 'offline'
            THEN 'MISSING'
        ELSE kept.state
    END AS status,
    kept.state AS recorded_status,
    device.node,
    kept.device AS storage_device,
    device.url,
    kept.file_bytes,
    encode(kept.digest, 'hex') AS digest,
    kept.owner,
    kept.owner_term,
    kept.checked_at,
    kept.changed_at,
    kept.version
FROM {schema}.segment AS kept
JOIN {schema}.segment_group AS made ON made.id = kept.segment_group
LEFT JOIN {schema}.sys_storage_devices AS device ON device.storage_device = kept.device;

-- The status of a group is the worst of its segments; LOST where fewer than data_count have a block.
-- What is DAMAGED and not readable has too few whole segments: their blocks may suffice (V8), which
-- `coord checkpoint verify` and a rebuild tell.
CREATE VIEW {schema}.sys_segment_groups AS
SELECT
    made.id AS segment_group,
    made.group_id,
    made.token AS table_id,
    CASE
        WHEN made.state <> 'COMMITTED' THEN made.state
        WHEN made.data_count = 0 THEN 'INTACT'
        WHEN COALESCE(seen.intact + seen.damaged, 0) < made.data_count THEN 'LOST'
        WHEN seen.damaged > 0 THEN 'DAMAGED'
        WHEN seen.missing > 0 THEN 'MISSING'
        WHEN seen.rebuilding > 0 THEN 'REBUILDING'
        WHEN seen.nodes < made.data_count + made.parity_count THEN 'DEGRADED_PLACEMENT'
        ELSE 'INTACT'
    END AS status,
    made.state,
    COALESCE(seen.intact, 0) AS intact,
    COALESCE(seen.damaged, 0) AS damaged,
    COALESCE(seen.missing, 0) AS missing,
    COALESCE(seen.rebuilding, 0) AS rebuilding,
    made.state = 'COMMITTED' AND COALESCE(seen.intact, 0) >= made.data_count AS readable,
    made.data_count,
    made.parity_count,
    made.length,
    made.form,
    made.term,
    made.sequence,
    made.node,
    encode(made.digest, 'hex') AS digest,
    made.created_at,
    made.committed_at,
    made.expired_at
FROM {schema}.segment_group AS made
LEFT JOIN (
    SELECT
        shown.segment_group,
        COUNT(*) FILTER (WHERE shown.status = 'INTACT') AS intact,
        COUNT(*) FILTER (WHERE shown.status = 'DAMAGED') AS damaged,
        COUNT(*) FILTER (WHERE shown.status = 'MISSING') AS missing,
        COUNT(*) FILTER (WHERE shown.status = 'REBUILDING') AS rebuilding,
        COUNT(DISTINCT shown.node) AS nodes
    FROM {schema}.sys_segments AS shown
    GROUP BY shown.segment_group
) AS seen ON seen.segment_group = made.id;

-- Findings of check_disk, one for each segment that was read.
CREATE VIEW {schema}.sys_check_disk_results AS
SELECT
    found.id,
    found.operation AS task_id,
    found.group_id,
    found.node,
    found.device AS storage_device,
    found.segment AS storage_id,
    found.segment_group,
    found.at,
    found.state_before,
    found.verdict,
    found.block_count,
    found.blocks_checked,
    encode(found.stored_digest, 'hex') AS stored_digest,
    encode(found.computed_digest, 'hex') AS computed_digest,
    found.state_after,
    found.detail
FROM {schema}.check_disk_result AS found;

-- Row level security, as policies.sql has it: all of these rows belong to one group each.

CREATE POLICY coord_all ON {schema}.storage_key USING (
    EXISTS (
        SELECT FROM {schema}.group_role AS admitted
        WHERE admitted.role_name = CAST(session_user AS text)
            AND admitted.group_id = split_part(storage_key.group_id, '/', 1)
        OFFSET 0
    )
);

CREATE POLICY coord_all ON {schema}.storage_node USING (
    EXISTS (
        SELECT FROM {schema}.group_role AS admitted
        WHERE admitted.role_name = CAST(session_user AS text)
            AND admitted.group_id = split_part(storage_node.group_id, '/', 1)
        OFFSET 0
    )
);

CREATE POLICY coord_all ON {schema}.storage_device USING (
    EXISTS (
        SELECT FROM {schema}.group_role AS admitted
        WHERE admitted.role_name = CAST(session_user AS text)
            AND admitted.group_id = split_part(storage_device.group_id, '/', 1)
        OFFSET 0
    )
);

CREATE POLICY coord_all ON {schema}.segment_group USING (
    EXISTS (
        SELECT FROM {schema}.group_role AS admitted
        WHERE admitted.role_name = CAST(session_user AS text)
            AND admitted.group_id = split_part(segment_group.group_id, '/', 1)
        OFFSET 0
    )
);

CREATE POLICY coord_all ON {schema}.segment USING (
    EXISTS (
        SELECT FROM {schema}.group_role AS admitted
        WHERE admitted.role_name = CAST(session_user AS text)
            AND admitted.group_id = split_part(segment.group_id, '/', 1)
        OFFSET 0
    )
);

CREATE POLICY coord_all ON {schema}.segment_leaving USING (
    EXISTS (
        SELECT FROM {schema}.group_role AS admitted
        WHERE admitted.role_name = CAST(session_user AS text)
            AND admitted.group_id = split_part(segment_leaving.group_id, '/', 1)
        OFFSET 0
    )
);

CREATE POLICY coord_all ON {schema}.checkpoint_row USING (
    EXISTS (
        SELECT FROM {schema}.group_role AS admitted
        WHERE admitted.role_name = CAST(session_user AS text)
            AND admitted.group_id = split_part(checkpoint_row.group_id, '/', 1)
        OFFSET 0
    )
);

CREATE POLICY coord_all ON {schema}.check_disk_result USING (
    EXISTS (
        SELECT FROM {schema}.group_role AS admitted
        WHERE admitted.role_name = CAST(session_user AS text)
            AND admitted.group_id = split_part(check_disk_result.group_id, '/', 1)
        OFFSET 0
    )
);
