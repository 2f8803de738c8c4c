"""Tokens, heartbeats, history, epochs, events, schedules, and the views that people read.

Revision ID: 0001
Revises:
"""

from __future__ import annotations

import re

import sqlalchemy as sa
from alembic import context, op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

#: What every reader can show: a moment that is infinite, or before Christ, would break a look at
#: all groups, and so would a text that no reader takes.
SHOWN = (
    "<moment> BETWEEN '0001-01-02 00:00:00+00'::timestamptz"
    " AND '9999-12-30 00:00:00+00'::timestamptz"
)
TEXT_BYTES_MAX = 1_000_000

#: In the order of creation. `{schema}` is replaced by the quoted schema, `{schema_text}` by its
#: name as an SQL text. No percent sign may appear: offline SQL would double it.
STATEMENTS = (
    """
CREATE TABLE {schema}.token_holder (
    group_id text COLLATE "C" NOT NULL,
    task_id text COLLATE "C",
    term bigint DEFAULT 0 NOT NULL,
    session uuid,
    acquired_at timestamptz,
    released_at timestamptz,
    term_floor bigint DEFAULT 0 NOT NULL,
    CONSTRAINT token_holder_pkey PRIMARY KEY (group_id),
    CONSTRAINT token_holder_group_id_check CHECK (
        length(group_id) <= 256 AND group_id ~ '^[A-Za-z0-9_.:@/-]+$'
    ),
    CONSTRAINT token_holder_task_id_check CHECK (
        length(task_id) <= 256 AND task_id ~ '^[A-Za-z0-9_.:@/-]+$'
    ),
    CONSTRAINT token_holder_values_check CHECK (
        <shown acquired_at, released_at>
    )
) WITH (
    fillfactor = 30,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 200
)
""",
    "CREATE INDEX token_holder_session_idx ON {schema}.token_holder (session)",
    """
CREATE TABLE {schema}.health_check (
    task_id text COLLATE "C" NOT NULL,
    group_id text COLLATE "C" NOT NULL,
    last_heartbeat timestamptz,
    session uuid,
    beat bigint DEFAULT 0 NOT NULL,
    liveness_ms integer DEFAULT 0 NOT NULL,
    lease_ms integer DEFAULT 0 NOT NULL,
    heartbeat_ms integer DEFAULT 0 NOT NULL,
    ended_at timestamptz,
    end_reason text,
    standing text DEFAULT 'member' NOT NULL,
    priority integer DEFAULT 1 NOT NULL,
    host text,
    pid integer,
    version text,
    config_hash text,
    isolation text,
    joined_at timestamptz,
    started_at timestamptz,
    CONSTRAINT health_check_pkey PRIMARY KEY (group_id, task_id),
    CONSTRAINT health_check_group_id_check CHECK (
        length(group_id) <= 256 AND group_id ~ '^[A-Za-z0-9_.:@/-]+$'
    ),
    CONSTRAINT health_check_task_id_check CHECK (
        length(task_id) <= 256 AND task_id ~ '^[A-Za-z0-9_.:@/-]+$'
    )
) WITH (
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000
)
""",
    """
CREATE TABLE {schema}.group_record (
    group_id text COLLATE "C" NOT NULL,
    version bigint DEFAULT 1 NOT NULL,
    created_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    settled_branch uuid,
    settled_start bigint,
    terms_by_clock boolean DEFAULT false NOT NULL,
    CONSTRAINT group_record_pkey PRIMARY KEY (group_id),
    CONSTRAINT group_record_group_id_check CHECK (
        length(group_id) <= 256 AND group_id ~ '^[A-Za-z0-9_.:@/-]+$'
    ),
    CONSTRAINT group_record_values_check CHECK (<shown created_at>)
)
""",
    """
CREATE TABLE {schema}.token_history (
    group_id text COLLATE "C" NOT NULL,
    term bigint NOT NULL,
    task_id text COLLATE "C" NOT NULL,
    session uuid NOT NULL,
    acquired_at timestamptz NOT NULL,
    ended_at timestamptz,
    how text NOT NULL,
    reason text,
    end_how text,
    end_reason text,
    from_task text COLLATE "C",
    active_until timestamptz,
    detected_ms bigint,
    CONSTRAINT token_history_pkey PRIMARY KEY (group_id, term),
    CONSTRAINT token_history_values_check CHECK (
        <shown acquired_at, ended_at, active_until | group_id, task_id, how, reason, end_how,
        end_reason, from_task>
    )
)
""",
    # A row that was deleted by hand, or lost by a restore of one table, comes back as the history
    # knows it: still held by a session that may live, and never below its last term. Where the
    # history is lost too, nodes that have joined tell that the group is not new: its terms go on
    # from the clock, and where a session lives coord_take makes everybody wait from released_at on.
    """
CREATE FUNCTION {schema}.coord_restore_token() RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $coord$
DECLARE
    v_last record;
    v_living boolean;
BEGIN
    IF TG_RELID <> CAST(quote_ident({schema_text}) || '.token_holder' AS regclass) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'insufficient_privilege',
            MESSAGE = 'coord_restore_token: this is not a table of coord';
    END IF;
    SELECT held.* INTO v_last
    FROM {schema}.token_history AS held
    WHERE held.group_id = NEW.group_id
    ORDER BY held.term DESC
    LIMIT 1;
    IF FOUND AND NEW.term < v_last.term THEN
        NEW.term := v_last.term;
        NEW.task_id := v_last.task_id;
        NEW.acquired_at := v_last.acquired_at;
        NEW.session := CASE WHEN v_last.ended_at IS NULL THEN v_last.session END;
        NEW.released_at := v_last.ended_at;
    ELSIF NOT FOUND AND NEW.term = 0 THEN
        SELECT bool_or(known.ended_at IS NULL) INTO v_living
        FROM {schema}.health_check AS known
        WHERE known.group_id = regexp_replace(NEW.group_id, '/_observer$', '')
            AND known.session IS NOT NULL
            -- Of those that race for this token; the column comes with tasks.
            AND coalesce(CAST(to_jsonb(known) ->> 'hosts_tasks' AS boolean), false)
                = (NEW.group_id ~ '/_observer$');
        IF v_living IS NOT NULL THEN
            NEW.term_floor := greatest(
                NEW.term_floor,
                CAST(floor(1000 * date_part('epoch', clock_timestamp())) AS bigint)
            );
            NEW.released_at := CASE WHEN v_living THEN clock_timestamp() END;
        END IF;
    END IF;
    RETURN NEW;
END
$coord$
""",
    """
CREATE TRIGGER coord_restore_token BEFORE INSERT ON {schema}.token_holder
FOR EACH ROW
EXECUTE FUNCTION {schema}.coord_restore_token()
""",
    # It runs with the owner's rights: nobody else may attach it to a table.
    "REVOKE EXECUTE ON FUNCTION {schema}.coord_restore_token() FROM PUBLIC",
    # One row of each group: a row that groups shared could be held uncommitted by any of them.
    """
CREATE TABLE {schema}.database_epoch (
    group_id text COLLATE "C" NOT NULL,
    system_identifier bigint NOT NULL,
    timeline integer NOT NULL,
    started_at bigint DEFAULT 0 NOT NULL,
    branch uuid DEFAULT gen_random_uuid() NOT NULL,
    first_branch boolean DEFAULT false NOT NULL,
    settled boolean DEFAULT false NOT NULL,
    waited_ms integer DEFAULT 0 NOT NULL,
    first_seen_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    settled_by text,
    settled_at timestamptz,
    CONSTRAINT database_epoch_pkey PRIMARY KEY (system_identifier, timeline, started_at, group_id),
    CONSTRAINT database_epoch_values_check CHECK (
        <shown first_seen_at, settled_at | group_id, settled_by>
    )
)
""",
    """
CREATE TABLE {schema}.event (
    id bigint GENERATED ALWAYS AS IDENTITY,
    at timestamptz DEFAULT clock_timestamp() NOT NULL,
    group_id text COLLATE "C" NOT NULL,
    kind text NOT NULL,
    task_id text COLLATE "C",
    session uuid,
    term bigint,
    reason text,
    who text,
    CONSTRAINT event_pkey PRIMARY KEY (id),
    CONSTRAINT event_values_check CHECK (
        <shown at | group_id, kind, task_id, reason, who>
    )
)
""",
    "CREATE INDEX event_group_id_id_idx ON {schema}.event (group_id, id)",
    """
CREATE TABLE {schema}.schedule (
    group_id text COLLATE "C" NOT NULL,
    name text COLLATE "C" DEFAULT '' NOT NULL,
    fired_count bigint DEFAULT 0 NOT NULL,
    last_fire_at timestamptz,
    last_finished_at timestamptz,
    last_outcome text,
    last_error text,
    last_duration_ms bigint,
    skipped_count bigint DEFAULT 0 NOT NULL,
    next_fire_at timestamptz,
    ended boolean DEFAULT false NOT NULL,
    end_reason text,
    terminated_at timestamptz,
    term bigint,
    updated_at timestamptz,
    CONSTRAINT schedule_pkey PRIMARY KEY (group_id, name),
    CONSTRAINT schedule_values_check CHECK (
        <shown last_fire_at, last_finished_at, next_fire_at, terminated_at, updated_at | group_id,
        name, last_outcome, last_error, end_reason>
    )
)
""",
    """
CREATE VIEW {schema}.coord_nodes AS
SELECT
    seen.group_id,
    seen.task_id,
    CASE WHEN seen.holds THEN 'active' ELSE 'standby' END AS role,
    CASE
        WHEN seen.ended THEN 'ended'
        WHEN seen.beat_age_s <= 2 * seen.heartbeat_ms / 1000.0
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
    seen.end_reason
FROM (
    SELECT
        node.*,
        node.ended_at IS NOT NULL OR node.session IS NULL AS ended,
        COALESCE(
            node.ended_at IS NULL
            AND token.session = node.session
            AND token.task_id = node.task_id,
            false
        ) AS holds,
        CAST(ROUND(CAST(GREATEST(0, EXTRACT(
            EPOCH FROM statement_timestamp() - node.last_heartbeat
        )) AS numeric), 3) AS double precision) AS beat_age_s,
        CAST(ROUND(CAST(GREATEST(0, EXTRACT(
            EPOCH FROM statement_timestamp() - node.started_at
        )) AS numeric), 3) AS double precision) AS uptime_s
    FROM {schema}.health_check AS node
    LEFT JOIN {schema}.token_holder AS token ON token.group_id = node.group_id
) AS seen
""",
    """
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
            -- Nobody gave it back, and nobody is there to take it: that is an outage too.
            WHEN holder.state = 'dead' THEN 'leaderless'
            ELSE 'idle'
        END AS state,
        token.task_id AS last_task_id,
        COALESCE(token.term, 0) AS term,
        token.session,
        token.acquired_at,
        token.released_at,
        -- When it was last certain that somebody was active.
        COALESCE(
            CASE WHEN token.session IS NULL THEN token.released_at END,
            last_held.active_until,
            last_holder.last_heartbeat,
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
            COUNT(node.task_id) FILTER (WHERE node.state IN ('ok', 'late')) AS live_count
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
    LEFT JOIN {schema}.token_holder AS token ON token.group_id = grouped.group_id
    LEFT JOIN {schema}.coord_nodes AS holder
        ON holder.group_id = grouped.group_id AND holder.role = 'active'
    LEFT JOIN {schema}.health_check AS last_holder
        ON last_holder.group_id = token.group_id
        AND last_holder.task_id = token.task_id
        AND last_holder.session = token.session
    LEFT JOIN {schema}.token_history AS last_held
        ON last_held.group_id = token.group_id AND last_held.term = token.term
) AS judged
""",
    """
CREATE VIEW {schema}.coord_history AS
SELECT
    held.*,
    -- From the moment until which the holding before was active, as far as anybody knows; below 0
    -- where both were active. NULL where the holding before is not the one that was followed.
    CAST(EXTRACT(EPOCH FROM held.acquired_at - before.active_until) AS double precision) AS gap_s,
    CAST(held.detected_ms / 1000.0 AS double precision) AS detected_s
FROM {schema}.token_history AS held
LEFT JOIN LATERAL (
    SELECT last.task_id, last.active_until
    FROM {schema}.token_history AS last
    WHERE last.group_id = held.group_id AND last.term < held.term
    ORDER BY last.term DESC
    LIMIT 1
) AS before ON before.task_id = held.from_task
""",
    """
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
    -- Before the row lock: by this lock a takeover that has to push fenced transactions aside finds
    -- them in pg_locks. It is not waited for, and its number is this backend's: any login may hold
    -- a lock of any number, but not of all.
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
$coord$
""",
)

DROPS = (
    "DROP FUNCTION {schema}.coord_fence(text, bigint, uuid)",
    "DROP VIEW {schema}.coord_history",
    "DROP VIEW {schema}.coord_status",
    "DROP VIEW {schema}.coord_nodes",
    "DROP TABLE {schema}.schedule",
    "DROP TABLE {schema}.event",
    "DROP TABLE {schema}.database_epoch",
    "DROP TABLE {schema}.token_history",
    "DROP TABLE {schema}.group_record",
    "DROP TABLE {schema}.health_check",
    "DROP TABLE {schema}.token_holder",
    "DROP FUNCTION {schema}.coord_restore_token()",
)


def upgrade() -> None:
    _execute(STATEMENTS)


def downgrade() -> None:
    _execute(DROPS)


def shown(match: re.Match[str]) -> str:
    """Return the conditions for "<shown moments | texts>"."""
    moments, _, texts = match[1].partition("|")
    conditions = [SHOWN.replace("<moment>", name.strip()) for name in moments.split(",")]
    conditions += [
        f"octet_length({name.strip()}) <= {TEXT_BYTES_MAX}" for name in texts.split(",") if texts
    ]
    return "\n        AND ".join(conditions)


def _execute(statements: tuple[str, ...]) -> None:
    """Run the statements in the schema that the caller of alembic named."""
    schema: str = context.config.attributes["schema"]
    quoted = '"' + schema.replace('"', '""') + '"'
    as_text = "'" + schema.replace("'", "''") + "'"
    for statement in statements:
        ddl = re.sub(r"<shown ([^>]*)>", shown, statement)
        ddl = ddl.replace("{schema}", quoted).replace("{schema_text}", as_text)
        op.execute(sa.text(ddl.replace(":", r"\:")))
