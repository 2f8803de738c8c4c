-- Row level security: which role may write for which group.
--
-- The policies take effect when the script of `coord db roles` enables row level security. They
-- never apply to a superuser or to the owner of the tables. A command without a policy is refused.
--
-- A role writes for the groups that it was admitted to (group_role), and for the tokens below them:
-- the token `orders/nightly` belongs to the group `orders`. The login counts, whatever SET ROLE
-- says. OFFSET 0 keeps the planner from hashing all groups of the role for one row.

-- Every role that has the privilege may read these tables.
CREATE POLICY coord_select ON {schema}.token_holder FOR SELECT USING (true);
CREATE POLICY coord_select ON {schema}.health_check FOR SELECT USING (true);
CREATE POLICY coord_select ON {schema}.group_record FOR SELECT USING (true);
CREATE POLICY coord_select ON {schema}.token_history FOR SELECT USING (true);
CREATE POLICY coord_select ON {schema}.event FOR SELECT USING (true);
CREATE POLICY coord_select ON {schema}.schedule FOR SELECT USING (true);
CREATE POLICY coord_select ON {schema}.database_epoch FOR SELECT USING (true);
CREATE POLICY coord_select ON {schema}.observer_decision FOR SELECT USING (true);

CREATE POLICY coord_insert ON {schema}.token_holder FOR INSERT WITH CHECK (
    EXISTS (
        SELECT FROM {schema}.group_role AS admitted
        WHERE admitted.role_name = CAST(session_user AS text)
            AND admitted.group_id = split_part(token_holder.group_id, '/', 1)
        OFFSET 0
    )
);

CREATE POLICY coord_update ON {schema}.token_holder FOR UPDATE USING (
    EXISTS (
        SELECT FROM {schema}.group_role AS admitted
        WHERE admitted.role_name = CAST(session_user AS text)
            AND admitted.group_id = split_part(token_holder.group_id, '/', 1)
        OFFSET 0
    )
);

CREATE POLICY coord_insert ON {schema}.health_check FOR INSERT WITH CHECK (
    EXISTS (
        SELECT FROM {schema}.group_role AS admitted
        WHERE admitted.role_name = CAST(session_user AS text)
            AND admitted.group_id = split_part(health_check.group_id, '/', 1)
        OFFSET 0
    )
);

-- The check on last_heartbeat stands here and not in the table, where every heartbeat of every node
-- would pay for it. The group of a row cannot change: no role may update group_id.
CREATE POLICY coord_update ON {schema}.health_check FOR UPDATE USING (
    EXISTS (
        SELECT FROM {schema}.group_role AS admitted
        WHERE admitted.role_name = CAST(session_user AS text)
            AND admitted.group_id = split_part(health_check.group_id, '/', 1)
        OFFSET 0
    )
) WITH CHECK (
    last_heartbeat IS NULL
    OR last_heartbeat BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
);

CREATE POLICY coord_insert ON {schema}.group_record FOR INSERT WITH CHECK (
    EXISTS (
        SELECT FROM {schema}.group_role AS admitted
        WHERE admitted.role_name = CAST(session_user AS text)
            AND admitted.group_id = split_part(group_record.group_id, '/', 1)
        OFFSET 0
    )
);

CREATE POLICY coord_update ON {schema}.group_record FOR UPDATE USING (
    EXISTS (
        SELECT FROM {schema}.group_role AS admitted
        WHERE admitted.role_name = CAST(session_user AS text)
            AND admitted.group_id = split_part(group_record.group_id, '/', 1)
        OFFSET 0
    )
);

-- A holding is recorded by the transaction that has taken the token.
CREATE POLICY coord_insert ON {schema}.token_history FOR INSERT WITH CHECK (
    EXISTS (
        SELECT FROM {schema}.group_role AS admitted
        WHERE admitted.role_name = CAST(session_user AS text)
            AND admitted.group_id = split_part(token_history.group_id, '/', 1)
        OFFSET 0
    )
    AND EXISTS (
        SELECT FROM {schema}.token_holder AS token
        WHERE token.group_id = token_history.group_id
            AND token.term = token_history.term
            AND token.session = token_history.session
            AND token.task_id = token_history.task_id
    )
);

CREATE POLICY coord_update ON {schema}.token_history FOR UPDATE USING (
    EXISTS (
        SELECT FROM {schema}.group_role AS admitted
        WHERE admitted.role_name = CAST(session_user AS text)
            AND admitted.group_id = split_part(token_history.group_id, '/', 1)
        OFFSET 0
    )
);

CREATE POLICY coord_insert ON {schema}.event FOR INSERT WITH CHECK (
    EXISTS (
        SELECT FROM {schema}.group_role AS admitted
        WHERE admitted.role_name = CAST(session_user AS text)
            AND admitted.group_id = split_part(event.group_id, '/', 1)
        OFFSET 0
    )
);

CREATE POLICY coord_insert ON {schema}.schedule FOR INSERT WITH CHECK (
    EXISTS (
        SELECT FROM {schema}.group_role AS admitted
        WHERE admitted.role_name = CAST(session_user AS text)
            AND admitted.group_id = split_part(schedule.group_id, '/', 1)
        OFFSET 0
    )
);

CREATE POLICY coord_update ON {schema}.schedule FOR UPDATE USING (
    EXISTS (
        SELECT FROM {schema}.group_role AS admitted
        WHERE admitted.role_name = CAST(session_user AS text)
            AND admitted.group_id = split_part(schedule.group_id, '/', 1)
        OFFSET 0
    )
);

-- Other groups read how long a group has watched a server, so a role may write rows of the running
-- server only: a row that was made in advance would have waited before its server existed.
--
-- A row that is settled from the start is allowed in two cases. Nothing is known of another run,
-- and a settled row exists or no token was ever taken. Or the server was started with the
-- cluster_name of a restart in place on its command line, which neither SQL nor a configuration
-- file can imitate: see coordinator/store/node/epoch.py.
CREATE POLICY coord_insert ON {schema}.database_epoch FOR INSERT WITH CHECK (
    EXISTS (
        SELECT FROM {schema}.group_role AS admitted
        WHERE admitted.role_name = CAST(session_user AS text)
            AND admitted.group_id = split_part(database_epoch.group_id, '/', 1)
        OFFSET 0
    )
    AND system_identifier = (
        SELECT control.system_identifier FROM pg_control_system() AS control
    )
    AND started_at = CAST(date_part('epoch', pg_postmaster_start_time()) * 1e6 AS bigint)
    AND timeline = CAST(CAST(
        'x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) AS bit(32)
    ) AS integer)
    AND (
        NOT settled AND (NOT first_branch OR timeline = 1)
        OR timeline = 1
            AND NOT EXISTS (
                SELECT FROM {schema}.database_epoch AS other
                WHERE (other.system_identifier, other.timeline, other.started_at) IS DISTINCT FROM (
                    database_epoch.system_identifier,
                    database_epoch.timeline,
                    database_epoch.started_at
                )
            )
            AND (
                EXISTS (SELECT FROM {schema}.database_epoch AS other WHERE other.settled)
                OR NOT EXISTS (SELECT FROM {schema}.token_history)
            )
        OR EXISTS (
            SELECT FROM pg_catalog.pg_settings AS setting
            WHERE setting.name = 'cluster_name'
                AND setting.setting = 'coord-in-place'
                AND setting.source = 'command line'
        )
    )
    AND waited_ms = 0
);

-- Every node waits by its own clock. This policy checks the wait once more by the server's clock,
-- less the difference in rate that two clocks may have. After the server's clock was set back, the
-- wait is at most twice as long.
CREATE POLICY coord_update ON {schema}.database_epoch FOR UPDATE
USING (
    EXISTS (
        SELECT FROM {schema}.group_role AS admitted
        WHERE admitted.role_name = CAST(session_user AS text)
            AND admitted.group_id = split_part(database_epoch.group_id, '/', 1)
        OFFSET 0
    )
    AND system_identifier = (
        SELECT control.system_identifier FROM pg_control_system() AS control
    )
    AND started_at = CAST(date_part('epoch', pg_postmaster_start_time()) * 1e6 AS bigint)
    AND timeline = CAST(CAST(
        'x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) AS bit(32)
    ) AS integer)
)
WITH CHECK (
    clock_timestamp() NOT BETWEEN first_seen_at
        AND first_seen_at + 0.8 * waited_ms * interval '1 millisecond'
);

-- Definitions and errors are read by their own group; the script of `coord db roles` lets
-- people read them, too.
CREATE POLICY coord_select ON {schema}.task FOR SELECT USING (
    EXISTS (
        SELECT FROM {schema}.group_role AS admitted
        WHERE admitted.role_name = CAST(session_user AS text)
            AND admitted.group_id = split_part(task.group_id, '/', 1)
        OFFSET 0
    )
);

-- Every node of a group runs the command in a definition, so the role of a node may not write one.
-- It may mark a task of its group as finished, and nothing else.
CREATE POLICY coord_update ON {schema}.task FOR UPDATE
USING (
    EXISTS (
        SELECT FROM {schema}.group_role AS admitted
        WHERE admitted.role_name = CAST(session_user AS text)
            AND admitted.group_id = split_part(task.group_id, '/', 1)
        OFFSET 0
    )
)
WITH CHECK (
    NOT enabled
    AND EXISTS (
        SELECT FROM {schema}.group_role AS admitted
        WHERE admitted.role_name = CAST(session_user AS text)
            AND admitted.group_id = split_part(task.group_id, '/', 1)
        OFFSET 0
    )
);

CREATE POLICY coord_select ON {schema}.task_node FOR SELECT USING (
    EXISTS (
        SELECT FROM {schema}.group_role AS admitted
        WHERE admitted.role_name = CAST(session_user AS text)
            AND admitted.group_id = split_part(task_node.group_id, '/', 1)
        OFFSET 0
    )
);

CREATE POLICY coord_insert ON {schema}.task_node FOR INSERT WITH CHECK (
    EXISTS (
        SELECT FROM {schema}.group_role AS admitted
        WHERE admitted.role_name = CAST(session_user AS text)
            AND admitted.group_id = split_part(task_node.group_id, '/', 1)
        OFFSET 0
    )
);

CREATE POLICY coord_update ON {schema}.task_node FOR UPDATE USING (
    EXISTS (
        SELECT FROM {schema}.group_role AS admitted
        WHERE admitted.role_name = CAST(session_user AS text)
            AND admitted.group_id = split_part(task_node.group_id, '/', 1)
        OFFSET 0
    )
);

CREATE POLICY coord_insert ON {schema}.observer_decision FOR INSERT WITH CHECK (
    EXISTS (
        SELECT FROM {schema}.group_role AS admitted
        WHERE admitted.role_name = CAST(session_user AS text)
            AND admitted.group_id = split_part(observer_decision.group_id, '/', 1)
        OFFSET 0
    )
);
