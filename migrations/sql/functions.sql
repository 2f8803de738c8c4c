-- The functions that programs, views and the race call.
--
-- They run with the rights of their caller. All but the one that reads are VOLATILE, so that they
-- see what their caller has just written.

-- Raise CF001 unless p_term is the current term of the token. The row lock on the token, and so the
-- answer, last until the caller's transaction ends.
CREATE FUNCTION {schema}.coord_fence(
    p_group text, p_term bigint, p_session uuid DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $coord$
DECLARE
    v_token record;
    v_refusal text;
BEGIN
    -- Before the row lock: a takeover that has to end fenced transactions finds them in pg_locks by
    -- this lock. Its number depends on the backend, and nothing waits for it: any login may hold
    -- any advisory lock, but not all of them.
    PERFORM pg_try_advisory_xact_lock_shared(hashtextextended(
        'coord_fence:' || {schema_text} || ':' || p_group || ':' || pg_backend_pid(), 0
    ));
    SELECT token.task_id, token.term, token.session INTO v_token
    FROM {schema}.token_holder AS token
    WHERE token.group_id = p_group
    FOR SHARE;
    IF NOT FOUND THEN
        v_refusal := 'there is no such group';
    ELSIF v_token.session IS NULL THEN
        v_refusal := 'the token was released after term ' || v_token.term;
    ELSIF v_token.term IS DISTINCT FROM p_term THEN
        v_refusal := 'the token is in term ' || v_token.term;
    ELSIF p_session IS NOT NULL AND v_token.session <> p_session THEN
        v_refusal := 'the token belongs to another session';
    ELSIF NOT EXISTS (
        -- The token of a task is named group/task; its holder beats in the group itself.
        SELECT FROM {schema}.health_check AS node
        WHERE node.group_id IN (p_group, regexp_replace(p_group, '/[^/]*$', ''))
            AND node.task_id = v_token.task_id
            AND node.session = v_token.session
            AND node.ended_at IS NULL
    ) THEN
        v_refusal := 'the session of its holder has ended';
    END IF;
    IF v_refusal IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'CF001',
            MESSAGE = 'coord_fence: term ' || COALESCE(CAST(p_term AS text), 'NULL')
                || ' of group ' || COALESCE(quote_literal(p_group), 'NULL')
                || ' is not current: ' || v_refusal,
            HINT = 'Roll this transaction back and stop: another node may be active.';
    END IF;
END
$coord$;

-- Return the last error of a task, on one node or on any. An error is a program's own text and
-- belongs to its group. A function in a view runs with the rights of the reader, so that the
-- policies of task_node apply; on the tables of a view itself they apply as to the view's owner.
CREATE FUNCTION {schema}.coord_last_error(p_group text, p_task text, p_node text) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $coord$
    SELECT known.error
    FROM {schema}.task_node AS known
    WHERE known.group_id = p_group AND known.task = p_task AND known.error <> ''
        AND (p_node IS NULL OR known.node = p_node)
    ORDER BY known.told_at DESC
    LIMIT 1
$coord$;

-- Return the view of a group and a token, in the order that coordinator/store/sql/view.py reads.
-- LIMIT 1 keeps the planner from reading the holder's row by group_id alone, as it does while it
-- believes the group to be small. The holder of a token below a group may be a process of that
-- group that holds it for its own code.
CREATE FUNCTION {schema}.coord_view(p_system bigint, p_group text, p_token text) RETURNS json
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $coord$
BEGIN
    RETURN (
        SELECT json_build_array(
            server.timeline,
            server.started_at,
            epoch.branch,
            coalesce(state.settled, false),
            CASE
                WHEN epoch.settled THEN 2147483647
                WHEN state.settled THEN epoch.waited_ms
                ELSE coalesce((
                    SELECT max(watched.waited_ms) FROM {schema}.database_epoch AS watched
                    WHERE watched.system_identifier = p_system
                        AND watched.timeline = server.timeline
                        AND watched.started_at = server.started_at
                ), 0)
            END,
            CASE
                WHEN state.settled THEN 0
                ELSE coalesce((
                    SELECT max(near.liveness_ms) FROM {schema}.health_check AS near
                    WHERE near.group_id = p_group
                        AND near.last_heartbeat > (
                            SELECT max(known.last_heartbeat) FROM {schema}.health_check AS known
                            WHERE known.group_id = p_group
                        ) - interval '10 minutes'
                ), 0)
            END,
            record.version,
            token.term,
            token.task_id,
            token.session,
            token.term_floor,
            node.task_id,
            node.session,
            node.beat,
            node.liveness_ms,
            node.ended_at IS NOT NULL OR node.session IS NULL,
            greatest(0, date_part('epoch', clock_timestamp() - node.last_heartbeat)),
            node.heartbeat_ms,
            node.host,
            node.pid,
            coalesce(
                epoch.first_branch AND NOT record.terms_by_clock
                    AND EXISTS (SELECT FROM pg_stat_get_wal_senders()),
                false
            ),
            (
                SELECT CASE WHEN count(*) > 0 THEN json_build_array(
                    CAST(date_part('epoch', clock_timestamp()) * 1e6 AS bigint),
                    json_agg(json_build_array(
                        change.id, change.kind, change.node, change.asked_by, change.reason,
                        greatest(0, date_part('epoch', change.due_at - clock_timestamp())),
                        date_part('epoch', change.until_at - clock_timestamp()), change.value,
                        change.agreed_at IS NOT NULL
                    ) ORDER BY change.id)
                ) END
                FROM {schema}.planned_change AS change
                WHERE change.group_id = p_group AND change.outcome IS NULL
            ),
            EXISTS (
                SELECT FROM {schema}.operation_subtask AS part
                WHERE part.group_id = p_group AND part.finished_at IS NULL
            ),
            node.address
        )
        FROM (
            SELECT
                CAST(CAST(
                    'x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) AS bit(32)
                ) AS integer) AS timeline,
                CAST(date_part('epoch', pg_postmaster_start_time()) * 1e6 AS bigint) AS started_at
        ) AS server
        LEFT JOIN {schema}.token_holder AS token ON token.group_id = p_token
        LEFT JOIN {schema}.group_record AS record ON record.group_id = p_group
        LEFT JOIN LATERAL (
            SELECT * FROM {schema}.health_check AS holder
            WHERE holder.group_id IN (p_group, regexp_replace(p_token, '/[^/]*$', ''))
                AND holder.task_id = token.task_id
            ORDER BY holder.session = token.session DESC NULLS LAST
            LIMIT 1
        ) AS node ON true
        LEFT JOIN {schema}.database_epoch AS epoch
            ON epoch.system_identifier = p_system
            AND epoch.timeline = server.timeline
            AND epoch.started_at = server.started_at
            AND epoch.group_id = p_group
        CROSS JOIN LATERAL (
            SELECT
                epoch.settled
                OR record.settled_branch = epoch.branch
                AND record.settled_start = epoch.started_at AS settled
        ) AS state
    );
END
$coord$;

-- Raise the version of a group and return it; 0 where a pooler led to a server without the group.
-- Of the rows that a transaction locks, this is the last.
CREATE FUNCTION {schema}.coord_raise_version(p_group text, p_channel text, p_hosts_tasks boolean)
RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $coord$
DECLARE
    v_version bigint;
BEGIN
    UPDATE {schema}.group_record AS record
    SET version = record.version + 1
    WHERE record.group_id = p_group
    RETURNING record.version INTO v_version;
    IF FOUND AND p_hosts_tasks THEN
        PERFORM pg_notify(p_channel, CAST(
            json_build_object('kind', 'group', 'version', v_version) AS text
        ));
    END IF;
    RETURN coalesce(v_version, 0);
END
$coord$;

-- Return the least value of a new term: the server's clock in milliseconds, or 0 on the first
-- branch of a database of which no copy is made. Return NULL where no token may be taken: the
-- database is not settled for the group, or its branch is not the one that the caller has seen. A
-- copy of a server has the rows of the original, so the running server is compared as well.
CREATE FUNCTION {schema}.coord_term_clock(p_system bigint, p_branch uuid, p_group text)
RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $coord$
BEGIN
    RETURN (
        SELECT CASE
            WHEN epoch.first_branch AND NOT coalesce(record.terms_by_clock, false)
                AND NOT EXISTS (SELECT FROM pg_stat_get_wal_senders()) THEN 0
            ELSE CAST(floor(1000 * date_part('epoch', clock_timestamp())) AS bigint)
        END
        FROM {schema}.database_epoch AS epoch
        LEFT JOIN {schema}.group_record AS record ON record.group_id = p_group
        WHERE epoch.system_identifier = p_system
            AND epoch.group_id = p_group
            AND epoch.timeline = CAST(CAST(
                'x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) AS bit(32)
            ) AS integer)
            AND epoch.started_at
                = CAST(date_part('epoch', pg_postmaster_start_time()) * 1e6 AS bigint)
            AND epoch.branch = p_branch
            AND (
                epoch.settled
                OR record.settled_branch = epoch.branch
                AND record.settled_start = epoch.started_at
            )
            AND p_system = (pg_control_system()).system_identifier
    );
END
$coord$;

-- Return the term of a new holding: above the row, above what any node remembers and above the
-- history, since a row that was set back by hand must not reach a term that the history has. It is
-- not below what the caller computed. Once a term was the clock's, all later ones are (N1).
CREATE FUNCTION {schema}.coord_granted_term(
    p_token text, p_least bigint, p_floor bigint, p_term bigint, p_clock_ms bigint
)
RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $coord$
DECLARE
    v_least bigint := greatest(p_least, p_floor + 1, p_term + 1, p_clock_ms, (
        SELECT max(held.term) + 1 FROM {schema}.token_history AS held
        WHERE held.group_id = p_token
    ));
BEGIN
    -- No term that is counted from 1 comes to 10^12 (coordinator/protocol/rules/terms.py).
    IF v_least < 1000000000000 THEN
        RETURN v_least;
    END IF;
    RETURN greatest(v_least, CAST(floor(1000 * date_part('epoch', clock_timestamp())) AS bigint));
END
$coord$;
