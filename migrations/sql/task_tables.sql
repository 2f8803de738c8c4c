-- The tables of tasks, with their keys, checks and indexes; tables.sql says what the checks refuse.

-- The definitions of the tasks of a group.
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
        created_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
        AND changed_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
        AND octet_length(preferred) <= 1000000
        AND octet_length(end_reason) <= 1000000
        AND octet_length(changed_by) <= 1000000
    )
);

-- What each node reports of each task.
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
        told_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
        AND octet_length(group_id) <= 1000000
        AND octet_length(task) <= 1000000
        AND octet_length(node) <= 1000000
        AND octet_length(state) <= 1000000
        AND octet_length(error) <= 1000000
    )
);

CREATE INDEX task_node_failed_idx ON {schema}.task_node (group_id, task, node)
WHERE failed_count > 0;

-- The decisions of the observers, with their reasons.
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
        at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
        AND octet_length(group_id) <= 1000000
        AND octet_length(observer) <= 1000000
        AND octet_length(node) <= 1000000
        AND octet_length(kind) <= 1000000
        AND octet_length(before) <= 1000000
        AND octet_length(after) <= 1000000
        AND octet_length(reason) <= 1000000
    )
);

CREATE INDEX observer_decision_group_id_id_idx ON {schema}.observer_decision (group_id, id);
