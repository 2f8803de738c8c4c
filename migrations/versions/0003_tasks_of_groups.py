"""Tasks of groups: definitions, standings, decisions, cursors, and the views for people.

Also: names of nodes and tokens are checked when they are written, and not at every heartbeat. A
CHECK constraint runs its regular expression at every UPDATE of a row, whatever it changes. AFTER
triggers, because a BEFORE UPDATE trigger makes the server lock the row in a step (and a WAL
record) of its own, even when it never fires.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import re

import sqlalchemy as sa
from alembic import context, op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

WELL_FORMED = "length(<column>) <= 256 AND <column> ~ '^[A-Za-z0-9_.:@/-]+$'"
#: What keeps its names well-formed by triggers; those of 0001 had CHECK constraints.
NAMED = (
    ("token_holder", "group_id"),
    ("token_holder", "task_id"),
    ("health_check", "group_id"),
    ("health_check", "task_id"),
)

REFUSE_NAME = """
CREATE FUNCTION {schema}.coord_refuse_name() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $coord$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = 'check_violation',
        SCHEMA = TG_TABLE_SCHEMA,
        TABLE = TG_TABLE_NAME,
        CONSTRAINT = TG_NAME,
        MESSAGE = 'new row for relation ' || quote_ident(TG_TABLE_NAME)
            || ' violates check constraint ' || quote_ident(TG_NAME);
END
$coord$
"""

#: The condition is the server's own code: the function runs for a name that is refused only.
NAME_TRIGGER = """
CREATE TRIGGER <table>_<column>_check AFTER INSERT OR UPDATE OF <column> ON {schema}.<table>
FOR EACH ROW
WHEN (NOT (length(NEW.<column>) <= 256 AND NEW.<column> ~ '^[A-Za-z0-9_.:@/-]+$'))
EXECUTE FUNCTION {schema}.coord_refuse_name()
"""

#: What a node says of itself, and a heartbeat does not write: other groups' people see it, too.
#: A heartbeat's own moment is read with care instead.
VALUES_TRIGGER = """
CREATE TRIGGER health_check_values_check AFTER INSERT OR UPDATE OF ended_at, joined_at, started_at,
    liveness_ms, lease_ms, heartbeat_ms, standing, host, version, config_hash, isolation, end_reason
ON {schema}.health_check
FOR EACH ROW
WHEN (NOT (
    <shown NEW.ended_at, NEW.joined_at, NEW.started_at | NEW.host, NEW.version, NEW.config_hash,
    NEW.isolation, NEW.end_reason>
    AND NEW.liveness_ms >= 0 AND NEW.lease_ms >= 0 AND NEW.heartbeat_ms >= 0
    AND NEW.standing IN ('promotable', 'member', 'rehab')
))
EXECUTE FUNCTION {schema}.coord_refuse_name()
"""

TABLES = (
    """
ALTER TABLE {schema}.health_check
    ADD COLUMN caught_up boolean DEFAULT false NOT NULL,
    ADD COLUMN seen_version bigint,
    ADD COLUMN standing_version bigint DEFAULT 0 NOT NULL,
    ADD COLUMN hosts_tasks boolean DEFAULT false NOT NULL,
    ADD COLUMN capacity integer
""",
    # Who held a task's token when the group's present version was made: placement rests on it.
    """
ALTER TABLE {schema}.token_holder
    ADD COLUMN taken_version bigint,
    ADD COLUMN base_version bigint,
    ADD COLUMN base_node text COLLATE "C",
    ADD COLUMN base_taken_version bigint
""",
    """
ALTER TABLE {schema}.group_record
    ADD COLUMN hosts_tasks boolean DEFAULT false NOT NULL,
    ADD COLUMN suspended_at timestamptz,
    ADD COLUMN suspended_by text,
    ADD COLUMN suspend_reason text,
    ADD COLUMN spread_version bigint,
    ADD COLUMN to_member_ms bigint,
    ADD COLUMN late_within_ms bigint,
    ADD COLUMN observer_grace_ms bigint,
    ADD COLUMN late_max integer,
    ADD CONSTRAINT group_record_suspended_check CHECK (
        <shown suspended_at | suspended_by, suspend_reason>
    ),
    ADD CONSTRAINT group_record_policy_check CHECK (
        to_member_ms >= 0 AND late_max >= 0 AND late_within_ms > 0 AND observer_grace_ms >= 0
    )
""",
    """
CREATE TABLE {schema}.task (
    group_id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    revision bigint DEFAULT 1 NOT NULL,
    enabled boolean DEFAULT true NOT NULL,
    deleted boolean DEFAULT false NOT NULL,
    nodes text[] COLLATE "C" DEFAULT '{}'::text[] NOT NULL,
    preferred text COLLATE "C",
    pinned boolean DEFAULT false NOT NULL,
    failover boolean DEFAULT true NOT NULL,
    failback boolean DEFAULT true NOT NULL,
    on_partition text DEFAULT 'stop' NOT NULL,
    on_done text DEFAULT 'restart' NOT NULL,
    progress_ms bigint DEFAULT 0 NOT NULL,
    stop_timeout_ms bigint DEFAULT 0 NOT NULL,
    spec jsonb DEFAULT '{}'::jsonb NOT NULL,
    origin text DEFAULT 'cli' NOT NULL,
    end_reason text,
    created_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    changed_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    changed_by text,
    CONSTRAINT task_pkey PRIMARY KEY (group_id, name),
    CONSTRAINT task_name_check CHECK (
        length(group_id) + length(name) <= 255 AND name ~ '^[A-Za-z0-9.:@-][A-Za-z0-9_.:@-]*$'
    ),
    CONSTRAINT task_on_partition_check CHECK (on_partition IN ('stop', 'continue')),
    CONSTRAINT task_on_done_check CHECK (on_done IN ('restart', 'release', 'finish')),
    CONSTRAINT task_origin_check CHECK (origin IN ('cli', 'file', 'api')),
    CONSTRAINT task_nodes_check CHECK (
        array_position(nodes, NULL) IS NULL AND coalesce(array_ndims(nodes), 1) = 1
    ),
    CONSTRAINT task_times_check CHECK (progress_ms >= 0 AND stop_timeout_ms >= 0),
    CONSTRAINT task_values_check CHECK (
        <shown created_at, changed_at | preferred, end_reason, changed_by>
    )
)
""",
    """
CREATE TABLE {schema}.task_node (
    group_id text COLLATE "C" NOT NULL,
    task text COLLATE "C" NOT NULL,
    node text COLLATE "C" NOT NULL,
    state text,
    term bigint,
    error text,
    told_at timestamptz,
    failed_count integer DEFAULT 0 NOT NULL,
    CONSTRAINT task_node_pkey PRIMARY KEY (group_id, task, node),
    CONSTRAINT task_node_values_check CHECK (
        <shown told_at | group_id, task, node, state, error>
    )
)
""",
    """
CREATE INDEX task_node_failed_idx ON {schema}.task_node (group_id, task, node)
WHERE failed_count > 0
""",
    """
CREATE TABLE {schema}.task_cursor (
    group_id text COLLATE "C" NOT NULL,
    task text COLLATE "C" NOT NULL,
    cursor jsonb NOT NULL,
    term bigint NOT NULL,
    session uuid NOT NULL,
    saved_at timestamptz NOT NULL,
    save_count bigint DEFAULT 1 NOT NULL,
    CONSTRAINT task_cursor_pkey PRIMARY KEY (group_id, task),
    CONSTRAINT task_cursor_values_check CHECK (<shown saved_at | group_id, task>)
) WITH (fillfactor = 50)
""",
    """
CREATE TABLE {schema}.observer_decision (
    id bigint GENERATED ALWAYS AS IDENTITY,
    group_id text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    at timestamptz DEFAULT clock_timestamp() NOT NULL,
    observer text COLLATE "C" NOT NULL,
    term bigint NOT NULL,
    node text COLLATE "C" NOT NULL,
    kind text NOT NULL,
    before text NOT NULL,
    after text NOT NULL,
    reason text,
    CONSTRAINT observer_decision_pkey PRIMARY KEY (id),
    CONSTRAINT observer_decision_values_check CHECK (
        <shown at | group_id, observer, node, kind, before, after, reason>
    )
)
""",
    """
CREATE INDEX observer_decision_group_id_id_idx ON {schema}.observer_decision (group_id, id)
""",
)

CURSORS = (
    # The fence holds the token until the caller's commit, so there is one writer at a time.
    """
CREATE FUNCTION {schema}.coord_save_cursor(
    p_group text, p_task text, p_term bigint, p_session uuid, p_cursor jsonb
) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $coord$
BEGIN
    PERFORM {schema}.coord_fence(p_group || '/' || p_task, p_term, p_session);
    INSERT INTO {schema}.task_cursor AS kept (group_id, task, cursor, term, session, saved_at)
    VALUES (p_group, p_task, p_cursor, p_term, p_session, clock_timestamp())
    ON CONFLICT (group_id, task) DO UPDATE
    SET cursor = excluded.cursor, term = excluded.term, session = excluded.session,
        saved_at = excluded.saved_at, save_count = kept.save_count + 1;
END
$coord$
""",
    """
CREATE FUNCTION {schema}.coord_read_cursor(p_group text, p_task text) RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $coord$
    SELECT kept.cursor FROM {schema}.task_cursor AS kept
    WHERE kept.group_id = p_group AND kept.task = p_task
$coord$
""",
)

#: What a view calls runs as whoever looks, so policies apply to it, unlike to the view's own
#: tables: an error is a program's own text, and belongs to its group.
LAST_ERROR = """
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
$coord$
"""

#: A group that spreads tasks has no token of its own name: what its nodes race for is the
#: observer's. So its status tells who the observer is, and whether there is one.
#: The columns stay those of 0001.
HELD_BY_GROUP = (
    "token.group_id = node.group_id || CASE WHEN record.hosts_tasks THEN '/_observer' ELSE '' END"
)
COORD_NODES = """
CREATE OR REPLACE VIEW {schema}.coord_nodes AS
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
    seen.end_reason
FROM (
    SELECT
        node.group_id, node.task_id, node.session, node.liveness_ms, node.heartbeat_ms,
        node.lease_ms, node.host, node.pid, node.version, node.priority, node.standing,
        node.config_hash, node.isolation, node.started_at, node.joined_at, node.ended_at,
        node.end_reason,
        node.ended_at IS NOT NULL OR node.session IS NULL AS ended,
        COALESCE(
            node.ended_at IS NULL
            AND token.session = node.session
            AND token.task_id = node.task_id,
            false
        ) AS holds,
        CASE WHEN <shown node.last_heartbeat> THEN CAST(ROUND(CAST(GREATEST(0, EXTRACT(
            EPOCH FROM statement_timestamp() - node.last_heartbeat
        )) AS numeric), 3) AS double precision) END AS beat_age_s,
        CAST(ROUND(CAST(GREATEST(0, EXTRACT(
            EPOCH FROM statement_timestamp() - node.started_at
        )) AS numeric), 3) AS double precision) AS uptime_s
    FROM {schema}.health_check AS node
<token_of_group>
) AS seen
"""
TOKEN_OF_GROUP = {
    "0001": "    LEFT JOIN {schema}.token_holder AS token ON token.group_id = node.group_id",
    "0003": f"""\
    LEFT JOIN {{schema}}.group_record AS record ON record.group_id = node.group_id
    LEFT JOIN {{schema}}.token_holder AS token ON {HELD_BY_GROUP}""",
}

COORD_STATUS = """
CREATE OR REPLACE VIEW {schema}.coord_status AS
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
            CASE WHEN <shown last_holder.last_heartbeat> THEN last_holder.last_heartbeat END,
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
<token_of_group>
    LEFT JOIN {schema}.coord_nodes AS holder
        ON holder.group_id = grouped.group_id AND holder.role = 'active'
    LEFT JOIN {schema}.health_check AS last_holder
        ON last_holder.group_id = grouped.group_id
        AND last_holder.task_id = token.task_id
        AND last_holder.session = token.session
) AS judged
"""

#: For people, who look for `sys.ongoing_tasks`: store/schema/aliases.py shows it under that name.
VIEWS = {
    "nodes": """
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
    seen.session,
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
) AS held ON true
""",
    # 'stuck': held by a session that was ended, or that is silent for longer than its interval.
    "ongoing_tasks": """
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
        CASE WHEN <shown node.last_heartbeat> THEN node.last_heartbeat END AS last_heartbeat
    FROM {schema}.coord_nodes AS seen
    JOIN {schema}.health_check AS node
        ON node.group_id = seen.group_id AND node.task_id = seen.task_id
    WHERE seen.group_id = task.group_id
        AND seen.task_id = token.task_id
        AND seen.session = token.session
) AS holder ON true
LEFT JOIN {schema}.task_node AS told
    ON told.group_id = task.group_id AND told.task = task.name AND told.node = token.task_id
WHERE NOT task.deleted
""",
    "task_nodes": """
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
        -- It runs there without its token, and says so itself.
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
WHERE NOT task.deleted
""",
    "observer_decisions": """
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
FROM {schema}.observer_decision AS made
""",
}

#: In 0002 a token's holder was looked up in the group of the token's own name: no token below a
#: group had one. Only a live Member may hold a task (H1), by hand as well.
GUARD = """
CREATE OR REPLACE FUNCTION {schema}.coord_guard_token() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $coord$
DECLARE
    v_refusal text;
<group>BEGIN
    IF NEW.term < OLD.term OR NEW.term_floor < OLD.term_floor THEN
        v_refusal := 'a term never falls';
    ELSIF NEW.session IS NULL OR NEW.session IS NOT DISTINCT FROM OLD.session THEN
        IF NEW.term <> OLD.term THEN
            v_refusal := 'a term rises with a new holding only';
        END IF;
    ELSIF NEW.term <= greatest(OLD.term, OLD.term_floor) THEN
        v_refusal := 'a new holding needs a new term';
    ELSIF EXISTS (
        SELECT FROM {schema}.health_check AS node
        WHERE <of_holder>
            AND node.task_id = OLD.task_id
            AND node.session = OLD.session
            AND node.ended_at IS NULL
    ) THEN
        v_refusal := 'the session of its holder lives';
<member>    END IF;
    IF v_refusal IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'insufficient_privilege',
            MESSAGE = 'the token of ' || quote_literal(OLD.group_id) || ' may not be changed so: '
                || v_refusal;
    END IF;
    RETURN NEW;
END
$coord$
"""
GUARDED = {
    "0002": {"<group>": "", "<of_holder>": "node.group_id = OLD.group_id", "<member>": ""},
    "0003": {
        "<group>": "    v_group text := regexp_replace(OLD.group_id, '/[^/]*$', '');\n",
        "<of_holder>": "node.group_id IN (OLD.group_id, v_group)",
        "<member>": """\
    ELSIF EXISTS (
        SELECT FROM {schema}.task AS task
        WHERE task.group_id = v_group AND task.name = substr(OLD.group_id, length(v_group) + 2)
    ) AND NOT EXISTS (
        SELECT FROM {schema}.health_check AS node
        WHERE node.group_id = v_group
            AND node.task_id = NEW.task_id
            AND node.session = NEW.session
            AND node.ended_at IS NULL
            AND node.standing = 'member'
    ) THEN
        v_refusal := 'only a live Member may hold a task';
""",
    },
}

ADMITTED_TO = """EXISTS (
        SELECT FROM {schema}.group_role AS admitted
        WHERE admitted.role_name = CAST(session_user AS text)
            AND admitted.group_id = split_part(<table>.group_id, '/', 1)
        OFFSET 0
    )"""
#: A definition is a command that every node of the group runs, so no node's role may write one:
#: all that it may do is to mark a task of its group as finished. Definitions, errors and cursors
#: are read by their own group; the script of `coord db roles` lets people read them too.
BY_GROUP = {
    "task": ("SELECT",),
    "task_node": ("SELECT", "INSERT", "UPDATE"),
    "task_cursor": ("SELECT", "INSERT", "UPDATE"),
    "observer_decision": ("INSERT",),
}
POLICIES = (
    f"""
CREATE POLICY coord_update ON {{schema}}.task FOR UPDATE
USING ({ADMITTED_TO.replace("<table>", "task")})
WITH CHECK (NOT enabled AND {ADMITTED_TO.replace("<table>", "task")})
""",
    "CREATE POLICY coord_select ON {schema}.observer_decision FOR SELECT USING (true)",
)


def policies() -> list[str]:
    """Return one policy for each table and command; a command without one is refused."""
    made = []
    for table, commands in BY_GROUP.items():
        for command in commands:
            rule = "WITH CHECK" if command == "INSERT" else "USING"
            made.append(
                f"CREATE POLICY coord_{command.lower()} ON {{schema}}.{table}"
                f" FOR {command} {rule} (\n    {ADMITTED_TO.replace('<table>', table)}\n)"
            )
    return [*made, *POLICIES]


#: The token of task `t` of group `G` is the row `G/t`, which a group of that name would race for,
#: too. Names that begin with an underscore are our own. With the rights of the owner: who may add
#: a task may lock no token.
REFUSE_CLASH = """
CREATE FUNCTION {schema}.coord_refuse_clash() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $coord$
DECLARE
    v_token CONSTANT text := CASE
        WHEN TG_TABLE_NAME = 'task' THEN NEW.group_id || '/' || (to_jsonb(NEW) ->> 'name')
        ELSE NEW.group_id
    END;
    v_refusal text;
BEGIN
    IF TG_RELID <> ALL (ARRAY[
        CAST('{schema_in_text}.task' AS regclass),
        CAST('{schema_in_text}.group_record' AS regclass)
    ]) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'insufficient_privilege',
            MESSAGE = 'coord_refuse_clash: this is not a table of coord';
    END IF;
    -- The row that both would share, made and locked first: of two that come at the same time the
    -- second waits here, and then sees the first.
    INSERT INTO {schema}.token_holder (group_id) VALUES (v_token) ON CONFLICT DO NOTHING;
    PERFORM FROM {schema}.token_holder AS token WHERE token.group_id = v_token FOR NO KEY UPDATE;
    IF TG_TABLE_NAME = 'task' THEN
        IF EXISTS (
            SELECT FROM {schema}.group_record AS other
            WHERE other.group_id = NEW.group_id || '/' || NEW.name
        ) THEN
            v_refusal := 'there is a group ' || quote_literal(NEW.group_id || '/' || NEW.name);
        END IF;
    ELSIF NEW.group_id ~ '/_[^/]*$' THEN
        v_refusal := 'the name ' || quote_literal(NEW.group_id) || ' is reserved';
    ELSIF EXISTS (
        SELECT FROM {schema}.task AS other
        WHERE other.group_id || '/' || other.name = NEW.group_id AND NOT other.deleted
    ) THEN
        v_refusal := 'a task has the token ' || quote_literal(NEW.group_id);
    END IF;
    IF v_refusal IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'check_violation',
            SCHEMA = TG_TABLE_SCHEMA,
            TABLE = TG_TABLE_NAME,
            CONSTRAINT = TG_NAME,
            MESSAGE = v_refusal || ', which would share its token';
    END IF;
    RETURN NULL;
END
$coord$
"""
CLASHES = (
    # It runs with the owner's rights: nobody else may attach it to a table.
    "REVOKE EXECUTE ON FUNCTION {schema}.coord_refuse_clash() FROM PUBLIC",
    """
CREATE TRIGGER task_clash_check AFTER INSERT ON {schema}.task
FOR EACH ROW WHEN (NOT NEW.deleted)
EXECUTE FUNCTION {schema}.coord_refuse_clash()
""",
    """
CREATE TRIGGER task_clash_check_again AFTER UPDATE OF deleted ON {schema}.task
FOR EACH ROW WHEN (OLD.deleted AND NOT NEW.deleted)
EXECUTE FUNCTION {schema}.coord_refuse_clash()
""",
    """
CREATE TRIGGER group_record_clash_check AFTER INSERT ON {schema}.group_record
FOR EACH ROW WHEN (strpos(NEW.group_id, '/') > 0)
EXECUTE FUNCTION {schema}.coord_refuse_clash()
""",
)


def names() -> list[str]:
    """Return what replaces the CHECK constraints on names."""
    made = [REFUSE_NAME, "REVOKE EXECUTE ON FUNCTION {schema}.coord_refuse_name() FROM PUBLIC"]
    for table, column in NAMED:
        made.append(f"ALTER TABLE {{schema}}.{table} DROP CONSTRAINT {table}_{column}_check")
        made.append(NAME_TRIGGER.replace("<table>", table).replace("<column>", column))
    return [*made, VALUES_TRIGGER]


def names_before() -> list[str]:
    """Return what brings the CHECK constraints back."""
    made = ["DROP TRIGGER health_check_values_check ON {schema}.health_check"]
    for table, column in NAMED:
        name, rule = f"{table}_{column}_check", WELL_FORMED.replace("<column>", column)
        made.append(f"DROP TRIGGER {name} ON {{schema}}.{table}")
        made.append(f"ALTER TABLE {{schema}}.{table} ADD CONSTRAINT {name} CHECK ({rule})")
    return [*made, "DROP FUNCTION {schema}.coord_refuse_name()"]


def status_views(revision: str) -> list[str]:
    """Return the two views of 0001 as a revision has them."""
    found = TOKEN_OF_GROUP[revision]
    return [
        COORD_NODES.replace("<token_of_group>", found),
        COORD_STATUS.replace(
            "<token_of_group>", found.replace("node.group_id", "grouped.group_id")
        ),
    ]


def guard(revision: str) -> str:
    """Return the function behind the trigger of 0002 as a revision has it."""
    made = GUARD
    for place, text in GUARDED[revision].items():
        made = made.replace(place, text)
    return made


def upgrade() -> None:
    _execute(
        [
            *names(),
            *TABLES,
            *CURSORS,
            LAST_ERROR,
            *status_views("0003"),
            REFUSE_CLASH,
            *CLASHES,
            *VIEWS.values(),
            guard("0003"),
            *policies(),
        ]
    )


def downgrade() -> None:
    _execute(
        [
            *(f"DROP VIEW {{schema}}.sys_{view}" for view in reversed(VIEWS)),
            guard("0002"),
            *status_views("0001"),
            "DROP TRIGGER group_record_clash_check ON {schema}.group_record",
            "DROP FUNCTION {schema}.coord_last_error(text, text, text)",
            "DROP FUNCTION {schema}.coord_read_cursor(text, text)",
            "DROP FUNCTION {schema}.coord_save_cursor(text, text, bigint, uuid, jsonb)",
            *(f"DROP TABLE {{schema}}.{table}" for table in BY_GROUP),
            "DROP FUNCTION {schema}.coord_refuse_clash()",
            """
ALTER TABLE {schema}.group_record
    DROP COLUMN hosts_tasks,
    DROP CONSTRAINT group_record_suspended_check,
    DROP COLUMN suspended_at,
    DROP COLUMN suspended_by,
    DROP COLUMN suspend_reason,
    DROP COLUMN spread_version,
    DROP COLUMN to_member_ms,
    DROP COLUMN late_max,
    DROP COLUMN late_within_ms,
    DROP COLUMN observer_grace_ms
""",
            """
ALTER TABLE {schema}.health_check
    DROP COLUMN caught_up,
    DROP COLUMN seen_version,
    DROP COLUMN standing_version,
    DROP COLUMN hosts_tasks,
    DROP COLUMN capacity
""",
            """
ALTER TABLE {schema}.token_holder
    DROP COLUMN taken_version,
    DROP COLUMN base_version,
    DROP COLUMN base_node,
    DROP COLUMN base_taken_version
""",
            *names_before(),
        ]
    )


def _shown(match: re.Match[str]) -> str:
    """Return the conditions for "<shown moments | texts>"; see 0001."""
    moments, _, texts = match[1].partition("|")
    conditions = [
        f"{name.strip()} BETWEEN '0001-01-02 00:00:00+00'::timestamptz"
        " AND '9999-12-30 00:00:00+00'::timestamptz"
        for name in moments.split(",")
    ]
    conditions += [f"octet_length({name.strip()}) <= 1000000" for name in texts.split(",") if texts]
    return "\n        AND ".join(conditions)


def _execute(statements: list[str]) -> None:
    """Run the statements in the schema that the caller of alembic named."""
    schema: str = context.config.attributes["schema"]
    quoted = '"' + schema.replace('"', '""') + '"'
    in_text = quoted.replace("'", "''")
    for statement in statements:
        ddl = re.sub(r"<shown ([^>]*)>", _shown, statement)
        ddl = ddl.replace("{schema}", quoted).replace("{schema_in_text}", in_text)
        op.execute(sa.text(ddl.replace(":", r"\:")))
