-- Planned changes as people and nodes see them: policies and a view.

-- Everybody who has the privilege reads. A node records ends for its own group and asks for
-- nothing; the script of `coord db roles` lets administrators ask.
CREATE POLICY coord_select ON {schema}.planned_change FOR SELECT USING (true);
CREATE POLICY coord_update ON {schema}.planned_change FOR UPDATE USING (
    EXISTS (
        SELECT FROM {schema}.group_role AS admitted
        WHERE admitted.role_name = CAST(session_user AS text)
            AND admitted.group_id = split_part(planned_change.group_id, '/', 1)
        OFFSET 0
    )
);

-- Planned changes with their state: waiting, open, or the outcome.
CREATE VIEW {schema}.sys_planned_changes AS
SELECT
    change.id,
    change.group_id,
    change.kind,
    change.node,
    change.value,
    CASE
        WHEN change.outcome IS NOT NULL THEN change.outcome
        WHEN change.due_at > clock_timestamp() THEN 'waiting'
        WHEN change.agreed_at IS NOT NULL THEN 'in force'
        ELSE 'open'
    END AS state,
    change.asked_at,
    change.asked_by,
    change.reason,
    change.due_at,
    change.until_at,
    change.ended_at,
    change.ended_by,
    change.outcome_reason,
    change.agreed_at
FROM {schema}.planned_change AS change;
