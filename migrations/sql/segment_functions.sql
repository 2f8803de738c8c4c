-- The functions that delete rows of checkpoints. A right to delete is a right to lock the table,
-- which would stop every group: so they run with the owner's rights, and ask whose rows they are.

-- Refuse a login that was not admitted to the group, once row level security is active.
CREATE FUNCTION {schema}.coord_refuse_foreign(p_group text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $coord$
BEGIN
    IF (
        SELECT class.relrowsecurity FROM pg_class AS class
        WHERE class.oid = CAST(quote_ident({schema_text}) || '.segment' AS regclass)
    ) AND NOT EXISTS (
        SELECT FROM {schema}.group_role AS admitted
        WHERE admitted.role_name = CAST(session_user AS text)
            AND admitted.group_id = split_part(p_group, '/', 1)
    ) AND NOT EXISTS (
        SELECT FROM pg_roles AS login
        WHERE login.rolname = session_user AND login.rolsuper
    ) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'insufficient_privilege',
            MESSAGE = 'this login was not admitted to group ' || quote_literal(p_group);
    END IF;
END
$coord$;

-- Delete checkpoints that are not COMMITTED, and write down their files, which are deleted later.
-- One that is being written goes only when a holding of a higher term is recorded, or when the
-- token was given back: its writer can never commit it. Return the number of checkpoints.
CREATE FUNCTION {schema}.coord_forget_checkpoints(
    p_group text, p_checkpoints bigint[], p_late_ms bigint
) RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $coord$
DECLARE
    v_going bigint[];
BEGIN
    PERFORM {schema}.coord_refuse_foreign(p_group);
    SELECT array_agg(locked.id) INTO v_going
    FROM (
        SELECT made.id
        FROM {schema}.segment_group AS made
        WHERE made.group_id = p_group
            AND made.id = ANY (p_checkpoints)
            AND (
                made.state = 'EXPIRED'
                OR made.state = 'WRITING' AND EXISTS (
                    SELECT FROM {schema}.token_holder AS token
                    WHERE token.group_id = made.token
                        AND (token.term, token.session) IS DISTINCT FROM (made.term, made.session)
                )
            )
        FOR UPDATE
    ) AS locked;
    INSERT INTO {schema}.segment_leaving (segment, device, group_id, leaves_at)
    SELECT kept.id, kept.device, p_group,
        clock_timestamp() + p_late_ms * interval '1 millisecond'
    FROM {schema}.segment AS kept
    WHERE kept.segment_group = ANY (v_going)
    -- An older note may be about to be forgotten, because the segment was placed there until now.
    ON CONFLICT (segment, device) DO UPDATE
    SET leaves_at = excluded.leaves_at, subtask = NULL, subtask_term = NULL;
    DELETE FROM {schema}.segment AS kept WHERE kept.segment_group = ANY (v_going);
    DELETE FROM {schema}.checkpoint_row AS kept WHERE kept.segment_group = ANY (v_going);
    DELETE FROM {schema}.segment_group AS made WHERE made.id = ANY (v_going);
    RETURN coalesce(array_length(v_going, 1), 0);
END
$coord$;

-- Delete the notes of files that are gone from a device, as they were seen: one that was noted anew
-- meanwhile stays.
CREATE FUNCTION {schema}.coord_forget_leaving(
    p_group text, p_device uuid, p_segments uuid[], p_leave_at timestamptz[]
) RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $coord$
BEGIN
    PERFORM {schema}.coord_refuse_foreign(p_group);
    DELETE FROM {schema}.segment_leaving AS leaving
    USING unnest(p_segments, p_leave_at) AS seen (segment, leaves_at)
    WHERE leaving.group_id = p_group
        AND leaving.device = p_device
        AND leaving.segment = seen.segment
        AND leaving.leaves_at = seen.leaves_at;
END
$coord$;

REVOKE EXECUTE ON FUNCTION {schema}.coord_forget_checkpoints(text, bigint[], bigint) FROM PUBLIC;

REVOKE EXECUTE ON FUNCTION {schema}.coord_forget_leaving(text, uuid, uuid[], timestamptz[])
FROM PUBLIC;
