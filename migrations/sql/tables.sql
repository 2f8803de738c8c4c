-- The tables, with their keys, checks and indexes.
--
-- A check refuses a moment that no client can show (infinite, before Christ, after the year 9999)
-- and a text of more than 1 MB: one such value would break every query that reads all groups.
--
-- token_holder and health_check have no checks on names here: PostgreSQL evaluates a CHECK at every
-- UPDATE of a row, whichever column changes, so each heartbeat would pay for it. The triggers in
-- guards.sql check names when they are written.

-- The token of a group, or of a task of a group: one row each. base_version, base_node and
-- base_taken_version: the holder of the token of a task at the time when the present version of the
-- group was made; the placement of tasks rests on it.
CREATE TABLE {schema}.token_holder (
    group_id text COLLATE "C" NOT NULL,
    task_id text COLLATE "C",
    term bigint DEFAULT 0 NOT NULL,
    session uuid,
    acquired_at timestamptz,
    released_at timestamptz,
    term_floor bigint DEFAULT 0 NOT NULL,
    taken_version bigint,
    base_version bigint,
    base_node text COLLATE "C",
    base_taken_version bigint,
    CONSTRAINT token_holder_pkey PRIMARY KEY (group_id),
    CONSTRAINT token_holder_values_check CHECK (
        acquired_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
        AND released_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
    )
) WITH (
    fillfactor = 30,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 200
);

CREATE INDEX token_holder_session_idx ON {schema}.token_holder (session);

-- One row for each node that has ever joined a group.
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
    caught_up boolean DEFAULT false NOT NULL,
    seen_version bigint,
    standing_version bigint DEFAULT 0 NOT NULL,
    hosts_tasks boolean DEFAULT false NOT NULL,
    capacity integer,
    ready boolean,
    address text,
    clock_ms bigint,
    file_liveness_ms integer,
    CONSTRAINT health_check_pkey PRIMARY KEY (group_id, task_id)
) WITH (
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000
);

-- One row for each group.
CREATE TABLE {schema}.group_record (
    group_id text COLLATE "C" NOT NULL,
    version bigint DEFAULT 1 NOT NULL,
    created_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    settled_branch uuid,
    settled_start bigint,
    terms_by_clock boolean DEFAULT false NOT NULL,
    hosts_tasks boolean DEFAULT false NOT NULL,
    suspended_at timestamptz,
    suspended_by text,
    suspend_reason text,
    spread_version bigint,
    to_member_ms bigint,
    late_within_ms bigint,
    observer_grace_ms bigint,
    late_max integer,
    CONSTRAINT group_record_pkey PRIMARY KEY (group_id),
    CONSTRAINT group_record_group_id_check CHECK (
        length(group_id) <= 256 AND group_id ~ '^[A-Za-z0-9_.:@/-]+$'
    ),
    CONSTRAINT group_record_values_check CHECK (
        created_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
    ),
    CONSTRAINT group_record_suspended_check CHECK (
        suspended_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
        AND octet_length(suspended_by) <= 1000000
        AND octet_length(suspend_reason) <= 1000000
    ),
    CONSTRAINT group_record_policy_check CHECK (
        to_member_ms >= 0 AND late_max >= 0 AND late_within_ms > 0 AND observer_grace_ms >= 0
    )
);

-- Every holding of every token, by term.
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
        acquired_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
        AND ended_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
        AND active_until BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
        AND octet_length(group_id) <= 1000000
        AND octet_length(task_id) <= 1000000
        AND octet_length(how) <= 1000000
        AND octet_length(reason) <= 1000000
        AND octet_length(end_how) <= 1000000
        AND octet_length(end_reason) <= 1000000
        AND octet_length(from_task) <= 1000000
    )
);

-- The servers that each group has seen. Each group has rows of its own: a shared row could be held
-- uncommitted by any of them.
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
        first_seen_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
        AND settled_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
        AND octet_length(group_id) <= 1000000
        AND octet_length(settled_by) <= 1000000
    )
);

-- The log of what happened in each group. xact: the transaction that wrote the event, by which
-- a reader knows what it has not seen yet.
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
    xact bigint DEFAULT CAST(CAST(pg_current_xact_id() AS text) AS bigint) NOT NULL,
    CONSTRAINT event_pkey PRIMARY KEY (id),
    CONSTRAINT event_values_check CHECK (
        at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
        AND octet_length(group_id) <= 1000000
        AND octet_length(kind) <= 1000000
        AND octet_length(task_id) <= 1000000
        AND octet_length(reason) <= 1000000
        AND octet_length(who) <= 1000000
    )
);

CREATE INDEX event_group_id_id_idx ON {schema}.event (group_id, id);
CREATE INDEX event_xact_idx ON {schema}.event (xact);

-- The state of the schedules of each group.
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
    ok_count bigint DEFAULT 0 NOT NULL,
    failed_count bigint DEFAULT 0 NOT NULL,
    stopped_count bigint DEFAULT 0 NOT NULL,
    died_count bigint DEFAULT 0 NOT NULL,
    denied_count bigint DEFAULT 0 NOT NULL,
    next_fire_at timestamptz,
    ended boolean DEFAULT false NOT NULL,
    end_reason text,
    terminated_at timestamptz,
    term bigint,
    updated_at timestamptz,
    reserved_slot timestamptz,
    reserved_by text COLLATE "C",
    reserved_until timestamptz,
    CONSTRAINT schedule_pkey PRIMARY KEY (group_id, name),
    CONSTRAINT schedule_values_check CHECK (
        last_fire_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
        AND last_finished_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
        AND next_fire_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
        AND terminated_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
        AND updated_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
        AND reserved_slot BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
        AND reserved_until BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
        AND octet_length(group_id) <= 1000000
        AND octet_length(name) <= 1000000
        AND octet_length(last_outcome) <= 1000000
        AND octet_length(last_error) <= 1000000
        AND octet_length(end_reason) <= 1000000
        AND octet_length(reserved_by) <= 1000000
    )
);

-- The groups that each role may write for, once the script of `coord db roles` has turned row level
-- security on.
CREATE TABLE {schema}.group_role (
    role_name text COLLATE "C" NOT NULL,
    group_id text COLLATE "C" NOT NULL,
    CONSTRAINT group_role_pkey PRIMARY KEY (role_name, group_id),
    CONSTRAINT group_role_group_id_check CHECK (
        length(group_id) <= 256 AND group_id ~ '^[A-Za-z0-9_.:@-]+$'
    )
);
