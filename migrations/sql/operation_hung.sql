-- Give back a claim that hangs (rule Q9), if it still shows what was seen of it: the number of its
-- reports, or that of its moves. Its owner comes last for the next claim. Return false otherwise.
CREATE FUNCTION {schema}.coord_return_hung_subtask(
    p_group text, p_subtask uuid, p_version bigint, p_reports bigint, p_moves bigint,
    p_attempts_max integer
) RETURNS boolean
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $coord$
DECLARE
    v_operation uuid;
    v_cancelled boolean;
BEGIN
    PERFORM {schema}.coord_refuse_foreign(p_group);
    SELECT made.id, made.state = 'CANCELLING' INTO v_operation, v_cancelled
    FROM {schema}.operation AS made
    JOIN {schema}.operation_subtask AS part ON part.operation = made.id
    WHERE part.id = p_subtask AND part.group_id = p_group
    FOR NO KEY UPDATE OF made;
    IF NOT FOUND OR p_reports IS NULL AND p_moves IS NULL THEN
        RETURN false;
    END IF;
    UPDATE {schema}.operation_subtask AS part
    SET state = next.state, version = part.version + 1, avoided = part.owner,
        owner = CASE WHEN next.state = 'PENDING' THEN NULL ELSE part.owner END,
        session = CASE WHEN next.state = 'PENDING' THEN NULL ELSE part.session END,
        reason = CASE
            WHEN next.state = 'SKIPPED' THEN 'cancelled'
            WHEN next.state = 'FAILED' THEN 'its owners were lost ' || part.attempt || ' times'
            WHEN p_reports IS NOT NULL THEN 'owner ' || part.owner || ' reported nothing any more'
            ELSE 'owner ' || part.owner || ' made no progress'
        END,
        finished_at = CASE WHEN next.state <> 'PENDING' THEN clock_timestamp() END
    FROM (
        SELECT open.id, CASE
            WHEN v_cancelled THEN 'SKIPPED'
            WHEN open.attempt >= p_attempts_max THEN 'FAILED'
            ELSE 'PENDING'
        END AS state
        FROM {schema}.operation_subtask AS open
        WHERE open.id = p_subtask
    ) AS next
    WHERE part.id = next.id AND part.version = p_version AND part.state = 'RUNNING'
        AND part.reports = coalesce(p_reports, part.reports)
        AND part.moves = coalesce(p_moves, part.moves);
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM {schema}.coord_tell_operation(v_operation);
    PERFORM {schema}.coord_settle_operation(v_operation);
    RETURN true;
END
$coord$;

REVOKE ALL ON FUNCTION
    {schema}.coord_return_hung_subtask(text, uuid, bigint, bigint, bigint, integer)
FROM PUBLIC;
