"""The race in one call: take and give back a token, with what every answer shows.

A take is ten statements, each of which needs the one before. Sent one by one over a slow path they
take longer than a session may be silent; here the server goes from one to the next, with plans that
it keeps. The functions run with the rights of their caller, and neither begin nor end anything: the
transaction, its level and its end are the caller's.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op

from coordinator.store.schema.aliases import for_each_alias

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

#: VOLATILE, like all of them, so that it sees what its caller has just written. The order of the
#: columns is that of the statements of the running node that read a view.
#: OFFSET 0 keeps the planner from reading the holder's row by group_id alone, as it does while it
#: believes the group to be small.
VIEW = """
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
            coalesce(<settled>, false),
            CASE
                WHEN epoch.settled THEN 2147483647
                WHEN <settled> THEN epoch.waited_ms
                ELSE coalesce((
                    SELECT max(watched.waited_ms) FROM {schema}.database_epoch AS watched
                    WHERE watched.system_identifier = p_system
                        AND watched.timeline = server.timeline
                        AND watched.started_at = server.started_at
                ), 0)
            END,
            CASE
                WHEN <settled> THEN 0
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
            )
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
            WHERE holder.group_id = p_group AND holder.task_id = token.task_id
            OFFSET 0
        ) AS node ON true
        LEFT JOIN {schema}.database_epoch AS epoch
            ON epoch.system_identifier = p_system
            AND epoch.timeline = server.timeline
            AND epoch.started_at = server.started_at
            AND epoch.group_id = p_group
    );
END
$coord$
""".replace(
    "<settled>",
    "(epoch.settled OR record.settled_branch = epoch.branch"
    " AND record.settled_start = epoch.started_at)",
)

#: The last row that a transaction locks; 0 where a pooler led to a server that lost it.
RAISE_VERSION = """
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
$coord$
"""

#: What a term is never below, where tokens may be taken now: the server's clock in milliseconds, or
#: 0 on the first branch of a database that nobody copies. NULL where nothing may be taken: it is
#: not settled for the group, or not the branch that the asker has seen; a copy of a server has the
#: rows as well.
TERM_CLOCK = """
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
            AND p_system = (SELECT system_identifier FROM pg_control_system())
    );
END
$coord$
"""

#: The order of the steps, and why each is as it is: coordinator/store/node/race.py.
TAKE = """
CREATE FUNCTION {schema}.coord_take(
    p_system bigint, p_branch uuid, p_group text, p_token text, p_node text, p_mine uuid,
    p_seen_node text, p_seen uuid, p_seen_beat bigint, p_seen_term bigint, p_next_term bigint,
    p_how text, p_reason text, p_detected_ms bigint, p_channel text, p_hosts_tasks boolean,
    p_waits boolean, OUT v_passed_over boolean, OUT v_term bigint, OUT v_view json
)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $coord$
DECLARE
    v_ends CONSTANT boolean := p_seen IS NOT NULL AND p_seen_beat IS NOT NULL;
    v_before text;
    v_after text;
    v_active_until timestamptz;
    v_reason text;
    v_taken bigint;
    v_clock_ms bigint;
    v_version bigint;
BEGIN
    v_passed_over := false;

    UPDATE {schema}.health_check AS node
    SET beat = node.beat + 1, last_heartbeat = clock_timestamp()
    WHERE node.group_id = p_group AND node.task_id = p_node
        AND node.session = p_mine AND node.ended_at IS NULL;
    IF NOT FOUND THEN
        RETURN;
    END IF;

    -- While the observer is suspended, nobody ends its session either.
    IF v_ends AND p_hosts_tasks AND EXISTS (
        SELECT FROM {schema}.group_record AS record
        WHERE record.group_id = p_group AND record.suspended_at IS NOT NULL
    ) THEN
        RETURN;
    END IF;

    IF v_ends THEN
        SELECT node.standing INTO v_before FROM {schema}.health_check AS node
        WHERE node.group_id = p_group AND node.task_id = p_seen_node;
        UPDATE {schema}.health_check AS node
        SET ended_at = clock_timestamp(), end_reason = p_reason,
            standing = CASE
                WHEN p_hosts_tasks AND node.standing = 'member' THEN 'rehab' ELSE node.standing
            END
        WHERE node.group_id = p_group AND node.task_id = p_seen_node
            AND node.session = p_seen
            AND node.beat = p_seen_beat  -- one more beat and it lives
            AND node.ended_at IS NULL
        RETURNING node.standing, node.last_heartbeat INTO v_after, v_active_until;
        IF NOT FOUND THEN
            RETURN;
        END IF;
    END IF;

    -- Until when the holder was active, before the row changes. No row when the token has moved on,
    -- nor, unless it is to be waited for, while it is locked.
    IF p_waits THEN
        SELECT <active_until> INTO v_active_until <seen_token> FOR UPDATE OF token;
    ELSE
        SELECT <active_until> INTO v_active_until <seen_token> FOR UPDATE OF token SKIP LOCKED;
    END IF;
    IF NOT FOUND THEN
        v_passed_over := true;
        RETURN;
    END IF;

    -- Settled for the group, on the branch that the asker has seen, and on no copy of that server.
    v_clock_ms := {schema}.coord_term_clock(p_system, p_branch, p_group);
    IF v_clock_ms IS NULL THEN
        RETURN;
    END IF;

    -- The term never falls behind what the asker computed, what any node remembers, the row, or
    -- the history: a row that was set back by hand must not meet a term that the history has.
    UPDATE {schema}.token_holder AS token
    SET task_id = p_node,
        session = p_mine,
        term = greatest(p_next_term, token.term_floor + 1, token.term + 1, v_clock_ms, (
            SELECT max(held.term) + 1 FROM {schema}.token_history AS held
            WHERE held.group_id = p_token
        )),
        acquired_at = clock_timestamp(),
        released_at = NULL
    WHERE token.group_id = p_token
        AND token.term = p_seen_term
        AND token.session IS NOT DISTINCT FROM p_seen
        AND (
            token.session IS NULL
            OR NOT EXISTS (
                -- A holder that this group does not know is no dead one.
                SELECT FROM {schema}.health_check AS node
                WHERE node.group_id IN (p_group, p_token)
                    AND node.task_id = token.task_id
                    AND node.session = token.session
                    AND node.ended_at IS NULL
            )
        )
        AND (
            -- Made anew, of a holder that nobody knows: it is over when the longest interval is.
            token.task_id IS NOT NULL
            OR token.released_at IS NULL
            OR clock_timestamp() >= token.released_at + (
                SELECT coalesce(max(node.liveness_ms), 0) * interval '1 millisecond'
                FROM {schema}.health_check AS node
                WHERE node.group_id = p_group
                    AND node.session IS NOT NULL AND node.ended_at IS NULL
            )
        )
    RETURNING token.term INTO v_taken;
    IF NOT FOUND THEN
        RETURN;
    END IF;

    UPDATE {schema}.token_history AS held
    SET ended_at = clock_timestamp(),
        active_until = coalesce(held.active_until, v_active_until),
        end_how = CASE WHEN v_ends THEN 'takeover' ELSE 'session ended' END,
        end_reason = coalesce(held.end_reason, p_reason)
    WHERE held.group_id = p_token AND held.term = p_seen_term AND held.ended_at IS NULL
    RETURNING held.end_reason INTO v_reason;
    INSERT INTO {schema}.token_history (
        group_id, term, task_id, session, acquired_at, how, reason, from_task, detected_ms
    )
    VALUES (
        p_token, v_taken, p_node, p_mine, clock_timestamp(), p_how,
        coalesce(nullif(p_reason, ''), v_reason, ''), p_seen_node, p_detected_ms
    );
    INSERT INTO {schema}.event (group_id, kind, task_id, session, term, reason, who)
    VALUES (p_token, 'taken', p_node, p_mine, v_taken, p_reason, p_node);
    PERFORM pg_notify(p_channel, CAST(
        json_build_object('kind', 'taken', 'node', p_node, 'term', v_taken) AS text
    ));

    -- Where tasks are spread, that was the first decision of the observer to be.
    IF v_ends AND p_hosts_tasks THEN
        v_version := {schema}.coord_raise_version(p_group, p_channel, true);
        INSERT INTO {schema}.observer_decision (
            group_id, version, observer, term, node, kind, before, after, reason
        )
        VALUES (
            p_group, v_version, p_node, v_taken, p_seen_node, 'ended',
            coalesce(v_before, v_after), v_after, p_reason
        );
        INSERT INTO {schema}.event (group_id, kind, task_id, session, term, reason, who)
        VALUES (
            p_group, 'ended', p_seen_node, p_seen, NULL,
            CASE
                WHEN v_before <> v_after THEN v_before || ' -> ' || v_after || ': ' || p_reason
                ELSE p_reason
            END,
            p_node
        );
        INSERT INTO {schema}.event (group_id, kind, task_id, session, term, reason, who)
        SELECT token.group_id, 'stuck', token.task_id, token.session, token.term, p_reason, p_node
        FROM {schema}.token_holder AS token
        WHERE token.session = p_seen AND token.group_id <> p_token;
    END IF;

    v_term := v_taken;
    v_view := {schema}.coord_view(p_system, p_group, p_token);
END
$coord$
""".replace(
    "<active_until>",
    "coalesce(v_active_until, node.last_heartbeat)",
).replace(
    "<seen_token>",
    """FROM {schema}.token_holder AS token
        LEFT JOIN {schema}.health_check AS node
            ON node.group_id = p_group
            AND node.task_id = token.task_id
            AND node.session = token.session
        WHERE token.group_id = p_token
            AND token.term = p_seen_term
            AND token.session IS NOT DISTINCT FROM p_seen""",
)

#: One term of the group's token, or, with p_term NULL, whatever the session holds; returns how many
#: were given back. Unless it is to wait: NULL, and nothing is written, while one of them is locked.
#: Of the tokens of tasks the group is told once: the server drops a notification that repeats
#: another.
GIVE_BACK = """
CREATE FUNCTION {schema}.coord_give_back(
    p_token text, p_node text, p_mine uuid, p_term bigint, p_reason text, p_channel text,
    p_waits boolean, p_ended_term bigint, p_ended_ms bigint
) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $coord$
DECLARE
    v_held bigint;
    v_locked bigint;
    v_given bigint;
BEGIN
    IF NOT p_waits THEN
        SELECT count(*) INTO v_held <mine>;
        PERFORM <mine> FOR UPDATE SKIP LOCKED;
        GET DIAGNOSTICS v_locked = ROW_COUNT;
        IF v_locked < v_held THEN
            RETURN NULL;
        END IF;
    END IF;
    WITH given AS (
        UPDATE {schema}.token_holder AS token
        SET session = NULL, released_at = clock_timestamp()
        WHERE token.session = p_mine
            AND (p_term IS NULL OR token.group_id = p_token AND token.term = p_term)
        RETURNING token.group_id, token.task_id, token.term
    ), closed AS (
        UPDATE {schema}.token_history AS held
        SET ended_at = clock_timestamp(),
            active_until = clock_timestamp() - CASE
                WHEN held.group_id = p_token AND held.term = p_ended_term THEN p_ended_ms ELSE 0
            END * interval '1 millisecond',
            end_how = 'release', end_reason = p_reason
        FROM given
        WHERE held.group_id = given.group_id AND held.term = given.term AND held.ended_at IS NULL
    ), noted AS (
        INSERT INTO {schema}.event (group_id, kind, task_id, session, term, reason, who)
        SELECT given.group_id, 'released', given.task_id, p_mine, given.term, p_reason, p_node
        FROM given
    )
    SELECT count(*) INTO v_given
    FROM given
    CROSS JOIN LATERAL pg_notify(p_channel, CAST(CASE
        WHEN given.group_id = p_token THEN
            json_build_object('kind', 'released', 'node', given.task_id, 'term', given.term)
        ELSE json_build_object('kind', 'freed')
    END AS text)) AS told;
    RETURN v_given;
END
$coord$
""".replace(
    "<mine>",
    """FROM {schema}.token_holder AS token
        WHERE token.session = p_mine
            AND (p_term IS NULL OR token.group_id = p_token AND token.term = p_term)""",
)

RELEASE = """
CREATE FUNCTION {schema}.coord_release(
    p_system bigint, p_group text, p_token text, p_node text, p_mine uuid, p_term bigint,
    p_reason text, p_channel text, p_waits boolean, p_ended_term bigint, p_ended_ms bigint,
    OUT v_passed_over boolean, OUT v_done boolean, OUT v_view json
)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $coord$
DECLARE
    v_given CONSTANT bigint := {schema}.coord_give_back(
        p_token, p_node, p_mine, p_term, p_reason, p_channel, p_waits, p_ended_term, p_ended_ms
    );
BEGIN
    v_passed_over := v_given IS NULL;
    v_done := coalesce(v_given, 0) > 0;
    v_view := {schema}.coord_view(p_system, p_group, p_token);
END
$coord$
"""

#: The session's row is locked first, as in a takeover: the other order would meet it in a deadlock.
LEAVE = """
CREATE FUNCTION {schema}.coord_leave(
    p_system bigint, p_group text, p_token text, p_node text, p_mine uuid, p_reason text,
    p_channel text, p_hosts_tasks boolean, p_waits boolean, p_ended_term bigint,
    p_ended_ms bigint, OUT v_passed_over boolean, OUT v_done boolean, OUT v_view json
)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $coord$
BEGIN
    PERFORM FROM {schema}.health_check AS node
    WHERE node.group_id = p_group AND node.task_id = p_node
        AND node.session = p_mine AND node.ended_at IS NULL
    FOR NO KEY UPDATE;
    v_done := FOUND;
    v_passed_over := v_done AND {schema}.coord_give_back(
        p_token, p_node, p_mine, NULL, p_reason, p_channel, p_waits, p_ended_term, p_ended_ms
    ) IS NULL;
    IF v_passed_over THEN
        v_done := false;
    ELSIF v_done THEN
        UPDATE {schema}.health_check AS node
        SET ended_at = clock_timestamp(), end_reason = p_reason
        WHERE node.group_id = p_group AND node.task_id = p_node AND node.session = p_mine;
        INSERT INTO {schema}.event (group_id, kind, task_id, session, reason, who)
        VALUES (p_group, 'left', p_node, p_mine, p_reason, p_node);
        PERFORM pg_notify(p_channel, CAST(
            json_build_object('kind', 'left', 'node', p_node) AS text
        ));
        PERFORM {schema}.coord_raise_version(p_group, p_channel, p_hosts_tasks);
    END IF;
    v_view := {schema}.coord_view(p_system, p_group, p_token);
END
$coord$
"""

DROPS = (
    "DROP FUNCTION {schema}.coord_leave("
    "bigint, text, text, text, uuid, text, text, boolean, boolean, bigint, bigint)",
    "DROP FUNCTION {schema}.coord_release("
    "bigint, text, text, text, uuid, bigint, text, text, boolean, bigint, bigint)",
    "DROP FUNCTION {schema}.coord_give_back("
    "text, text, uuid, bigint, text, text, boolean, bigint, bigint)",
    "DROP FUNCTION {schema}.coord_take("
    "bigint, uuid, text, text, text, uuid, text, uuid, bigint, bigint, bigint, text, text,"
    " bigint, text, boolean, boolean)",
    "DROP FUNCTION {schema}.coord_term_clock(bigint, uuid, text)",
    "DROP FUNCTION {schema}.coord_raise_version(text, text, boolean)",
    "DROP FUNCTION {schema}.coord_view(bigint, text, text)",
)


def upgrade() -> None:
    _execute((VIEW, RAISE_VERSION, TERM_CLOCK, TAKE, GIVE_BACK, RELEASE, LEAVE))


def downgrade() -> None:
    schema: str = context.config.attributes["schema"]
    op.execute(sa.text(for_each_alias(schema, "DROP VIEW %1$I.%2$I").replace(":", r"\:")))
    _execute(DROPS)


def _execute(statements: tuple[str, ...]) -> None:
    """Run the statements in the schema that the caller of alembic named."""
    schema: str = context.config.attributes["schema"]
    quoted = '"' + schema.replace('"', '""') + '"'
    for statement in statements:
        op.execute(sa.text(statement.replace("{schema}", quoted).replace(":", r"\:")))
