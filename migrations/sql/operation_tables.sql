-- The tables of operations, with their keys, checks and indexes; tables.sql says what the checks
-- refuse. Nobody writes them but the functions of operation_statements.sql and
-- operation_functions.sql.

-- The types of operations that the nodes of a group declare. Those with an empty group are coord's
-- own. options: for each key its kind, and what its values name.
CREATE TABLE {schema}.operation_type (
    group_id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    locations text[] NOT NULL,
    options jsonb DEFAULT '{}'::jsonb NOT NULL,
    result boolean DEFAULT false NOT NULL,
    CONSTRAINT operation_type_pkey PRIMARY KEY (group_id, name),
    CONSTRAINT operation_type_name_check CHECK (name ~ '^[A-Za-z_][A-Za-z0-9_]{0,62}$'),
    CONSTRAINT operation_type_locations_check CHECK (
        locations <@ ARRAY['SYSTEM', 'CLUSTER', 'NODE'] AND cardinality(locations) > 0
    ),
    CONSTRAINT operation_type_options_check CHECK (jsonb_typeof(options) = 'object')
);

-- The types that each node can run, and the channel on which its group listens.
CREATE TABLE {schema}.operation_node (
    group_id text COLLATE "C" NOT NULL,
    node text COLLATE "C" NOT NULL,
    session uuid NOT NULL,
    types text[] COLLATE "C" NOT NULL,
    channel text NOT NULL,
    CONSTRAINT operation_node_pkey PRIMARY KEY (group_id, node)
);

-- The operations. place: the name of the cluster or node; NULL for SYSTEM.
CREATE TABLE {schema}.operation (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    name text,
    type text COLLATE "C" NOT NULL,
    kind text DEFAULT 'user' NOT NULL,
    location text NOT NULL,
    place text,
    options jsonb DEFAULT '{}'::jsonb NOT NULL,
    groups text[] COLLATE "C" NOT NULL,
    result boolean DEFAULT false NOT NULL,
    state text DEFAULT 'PENDING' NOT NULL,
    waits_for uuid,
    created_by text NOT NULL,
    created_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    started_at timestamptz,
    finished_at timestamptz,
    cancelled_by text,
    error text,
    CONSTRAINT operation_pkey PRIMARY KEY (id),
    CONSTRAINT operation_kind_check CHECK (kind IN ('user', 'system')),
    CONSTRAINT operation_location_check CHECK (
        location IN ('SYSTEM', 'CLUSTER', 'NODE') AND (place IS NULL) = (location = 'SYSTEM')
    ),
    CONSTRAINT operation_state_check CHECK (
        state IN (
            'PENDING', 'RUNNING', 'CANCELLING',
            'COMPLETE', 'COMPLETE_WITH_ERRORS', 'FAILED', 'CANCELLED'
        )
        AND (finished_at IS NULL) = (state IN ('PENDING', 'RUNNING', 'CANCELLING'))
    ),
    CONSTRAINT operation_values_check CHECK (
        created_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
        AND started_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
        AND finished_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
        AND octet_length(name) <= 1000000
        AND octet_length(place) <= 1000000
        AND octet_length(created_by) <= 1000000
        AND octet_length(cancelled_by) <= 1000000
        AND octet_length(error) <= 1000000
    )
);

CREATE UNIQUE INDEX operation_name_idx ON {schema}.operation (name) WHERE finished_at IS NULL;

CREATE INDEX operation_waits_for_idx ON {schema}.operation (waits_for)
WHERE waits_for IS NOT NULL;

-- The subtasks of each operation. One of kind 'plan' for each group makes those of kind 'work'.
-- (owner, session, term) is the claim: a token of its own. reports and moves count what its worker
-- told, and how often that was something new; avoided is the node on which it hung.
CREATE TABLE {schema}.operation_subtask (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    operation uuid NOT NULL,
    group_id text COLLATE "C" NOT NULL,
    kind text DEFAULT 'work' NOT NULL,
    entity text NOT NULL,
    node text COLLATE "C",
    argument jsonb DEFAULT '{}'::jsonb NOT NULL,
    state text DEFAULT 'PENDING' NOT NULL,
    version bigint DEFAULT 1 NOT NULL,
    owner text COLLATE "C",
    session uuid,
    term bigint DEFAULT 0 NOT NULL,
    attempt integer DEFAULT 0 NOT NULL,
    units bigint DEFAULT 0 NOT NULL,
    units_failed bigint DEFAULT 0 NOT NULL,
    units_total bigint DEFAULT 0 NOT NULL,
    size bigint DEFAULT 0 NOT NULL,
    size_total bigint DEFAULT 0 NOT NULL,
    reports bigint DEFAULT 0 NOT NULL,
    moves bigint DEFAULT 0 NOT NULL,
    avoided text COLLATE "C",
    reason text,
    result jsonb,
    created_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    started_at timestamptz,
    reported_at timestamptz,
    finished_at timestamptz,
    CONSTRAINT operation_subtask_pkey PRIMARY KEY (id),
    CONSTRAINT operation_subtask_entity_key UNIQUE (operation, group_id, kind, entity),
    CONSTRAINT operation_subtask_kind_check CHECK (kind IN ('plan', 'work')),
    CONSTRAINT operation_subtask_state_check CHECK (
        state IN ('PENDING', 'RUNNING', 'DONE', 'SKIPPED', 'LOST', 'FAILED')
        AND (finished_at IS NULL) = (state IN ('PENDING', 'RUNNING'))
        AND (state <> 'RUNNING' OR session IS NOT NULL AND owner IS NOT NULL)
    ),
    CONSTRAINT operation_subtask_texts_check CHECK (
        octet_length(entity) <= 1000 AND octet_length(reason) <= 10000
    ),
    CONSTRAINT operation_subtask_values_check CHECK (
        created_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
        AND started_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
        AND reported_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
        AND finished_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
    )
);

CREATE INDEX operation_subtask_open_idx ON {schema}.operation_subtask (group_id, operation)
WHERE finished_at IS NULL;

-- The built-in types, as coordinator/protocol/operations/types.py and their modules declare them.
INSERT INTO {schema}.operation_type (group_id, name, locations, options, result) VALUES
(
    '', 'rebuild', ARRAY['SYSTEM', 'CLUSTER'],
    '{
        "node": {"kind": "string", "names": "node"},
        "segment_groups": {"kind": "list", "names": "segment group"},
        "table_id": {"kind": "string", "names": "table id"}
    }', true
),
(
    '', 'check_disk', ARRAY['SYSTEM', 'CLUSTER', 'NODE'],
    '{
        "fix": {"kind": "boolean", "names": ""},
        "sample": {"kind": "boolean", "names": ""},
        "only_unhealthy": {"kind": "boolean", "names": ""},
        "storage_ids": {"kind": "list", "names": "storage id"}
    }', false
),
('', 'rebalance', ARRAY['SYSTEM', 'CLUSTER'], '{}', true);

CREATE POLICY coord_select ON {schema}.operation_type FOR SELECT USING (true);
CREATE POLICY coord_select ON {schema}.operation_node FOR SELECT USING (true);
CREATE POLICY coord_select ON {schema}.operation FOR SELECT USING (true);
CREATE POLICY coord_select ON {schema}.operation_subtask FOR SELECT USING (true);
