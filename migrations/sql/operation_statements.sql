-- CREATE TASK and CANCEL TASK, with every rule but their syntax. They run with the owner's rights;
-- the script of `coord db roles` lets system administrators call them, and nobody else.
--
-- A refusal names the argument that is wrong in its field COLUMN, so that `coord sql` can show the
-- place in the statement. All checks come before anything is created.

-- Say whether something of a name exists: p_names says what, in which of the groups.
CREATE FUNCTION {schema}.coord_operation_exists(p_names text, p_groups text[], p_value text)
RETURNS boolean
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $coord$
BEGIN
    RETURN CASE p_names
        WHEN 'node' THEN EXISTS (
            SELECT FROM {schema}.health_check AS known
            WHERE known.task_id = p_value AND known.group_id = ANY (p_groups)
        )
        WHEN 'segment group' THEN EXISTS (
            SELECT FROM {schema}.segment_group AS known
            WHERE CAST(known.id AS text) = p_value AND known.group_id = ANY (p_groups)
        )
        WHEN 'storage id' THEN EXISTS (
            SELECT FROM {schema}.segment AS known
            WHERE CAST(known.id AS text) = lower(p_value) AND known.group_id = ANY (p_groups)
        )
        WHEN 'table id' THEN EXISTS (
            SELECT FROM {schema}.segment_group AS known
            WHERE known.token = p_value AND known.group_id = ANY (p_groups)
        ) OR EXISTS (
            SELECT FROM {schema}.token_holder AS known
            WHERE known.group_id = p_value
                AND (
                    known.group_id = ANY (p_groups)
                    OR regexp_replace(known.group_id, '/[^/]*$', '') = ANY (p_groups)
                )
        )
        ELSE true
    END;
END
$coord$;

-- Check one option against its declaration, with what its values name.
CREATE FUNCTION {schema}.coord_check_option(
    p_type text, p_declared jsonb, p_groups text[], p_place text, p_key text, p_value jsonb
) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $coord$
DECLARE
    v_kind text := p_declared -> p_key ->> 'kind';
    v_names text := coalesce(p_declared -> p_key ->> 'names', '');
    v_given text := CASE jsonb_typeof(p_value) WHEN 'array' THEN 'list'
        ELSE jsonb_typeof(p_value) END;
    v_item jsonb;
    v_text text;
BEGIN
    IF v_kind IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', COLUMN = 'options.' || p_key,
            MESSAGE = 'type ' || p_type || ' has no option ' || p_key,
            HINT = CASE WHEN p_declared = '{}' THEN 'It has no options.' ELSE 'Its options are '
                || (SELECT string_agg(key, ', ' ORDER BY key) FROM jsonb_object_keys(p_declared)
                    AS declared (key)) || '; keys are case sensitive.' END;
    ELSIF v_given <> v_kind THEN
        RAISE EXCEPTION USING ERRCODE = '22023', COLUMN = 'options.' || p_key,
            MESSAGE = 'option ' || p_key || ' of type ' || p_type || ' is a ' || v_kind
                || ', not a ' || v_given,
            HINT = 'Write ' || p_key || ' = ' || CASE v_kind
                WHEN 'list' THEN '[ ... ]' WHEN 'string' THEN '''...'''
                WHEN 'boolean' THEN 'true or false' ELSE 'a number' END || '.';
    ELSIF v_kind = 'list' AND p_value = '[]' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', COLUMN = 'options.' || p_key,
            MESSAGE = 'the list of option ' || p_key || ' is empty',
            HINT = 'Leave the option out for no limit.';
    END IF;
    FOR v_item IN
        SELECT item FROM jsonb_array_elements(
            CASE v_kind WHEN 'list' THEN p_value ELSE jsonb_build_array(p_value) END
        ) AS listed (item)
    LOOP
        IF jsonb_typeof(v_item) NOT IN ('string', 'number', 'boolean') THEN
            RAISE EXCEPTION USING ERRCODE = '22023', COLUMN = 'options.' || p_key,
                MESSAGE = 'an item of option ' || p_key || ' is no text and no number',
                HINT = 'Write ' || p_key || ' = [ ''a'', ''b'' ].';
        END IF;
        v_text := v_item #>> '{}';
        CONTINUE WHEN {schema}.coord_operation_exists(v_names, p_groups, v_text);
        IF p_place IS NOT NULL AND v_names = 'node' AND {schema}.coord_operation_exists(
            'node', (SELECT array_agg(DISTINCT known.group_id) FROM {schema}.health_check AS known),
            v_text
        ) THEN
            RAISE EXCEPTION USING ERRCODE = '22023', COLUMN = 'options.' || p_key,
                MESSAGE = 'node ' || quote_literal(v_text) || ' is not in cluster '
                    || quote_literal(p_place),
                HINT = 'sys.nodes shows the nodes of each group.';
        END IF;
        RAISE EXCEPTION USING ERRCODE = '42704', COLUMN = 'options.' || p_key,
            MESSAGE = 'there is no ' || v_names || ' ' || quote_literal(v_text)
                || CASE WHEN p_place IS NULL THEN '' ELSE ' in ' || quote_literal(p_place) END,
            HINT = CASE v_names WHEN 'node' THEN 'sys.nodes' WHEN 'storage id' THEN 'sys.segments'
                ELSE 'sys.segment_groups' END || ' shows those that exist.';
    END LOOP;
END
$coord$;

-- Return the groups that a location means. Errors for a location that is not allowed or unknown.
CREATE FUNCTION {schema}.coord_operation_groups(p_type text, p_location text, p_place text)
RETURNS text[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $coord$
DECLARE
    v_groups text[];
BEGIN
    IF p_location IN ('CLUSTER', 'NODE') AND coalesce(p_place, '') = '' THEN
        RAISE EXCEPTION USING ERRCODE = '42601', COLUMN = 'location',
            MESSAGE = 'LOCATION ' || p_location || ' needs a name',
            HINT = 'Write LOCATION ' || p_location || ' name.';
    ELSIF p_location = 'SYSTEM' AND p_place IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', COLUMN = 'location',
            MESSAGE = 'LOCATION SYSTEM has no name', HINT = 'Leave the location out.';
    ELSIF p_location NOT IN ('SYSTEM', 'CLUSTER', 'NODE') THEN
        RAISE EXCEPTION USING ERRCODE = '22023', COLUMN = 'location',
            MESSAGE = 'there is no location ' || quote_literal(p_location),
            HINT = 'It is SYSTEM, CLUSTER or NODE.';
    ELSIF NOT EXISTS (
        SELECT FROM {schema}.operation_type AS known
        WHERE known.name = p_type AND p_location = ANY (known.locations)
    ) THEN
        RAISE EXCEPTION USING ERRCODE = '0A000', COLUMN = 'location',
            MESSAGE = 'type ' || p_type || ' is not supported on LOCATION ' || p_location,
            HINT = CASE WHEN p_location = 'NODE' AND EXISTS (
                SELECT FROM {schema}.operation_type AS known
                WHERE known.name = p_type AND known.options -> 'node' IS NOT NULL
            ) THEN 'Use LOCATION CLUSTER '
                || coalesce((
                    SELECT quote_literal(min(known.group_id)) FROM {schema}.health_check AS known
                    WHERE known.task_id = p_place
                ), 'name')
                || ' OPTIONS node = ' || quote_literal(p_place) || '.'
            ELSE 'Use LOCATION ' || (
                SELECT string_agg(DISTINCT listed.allowed, ' or ')
                FROM {schema}.operation_type AS known, unnest(known.locations) AS listed (allowed)
                WHERE known.name = p_type
            ) || '.' END;
    ELSIF p_location = 'CLUSTER' THEN
        IF NOT EXISTS (
            SELECT FROM {schema}.group_record AS known WHERE known.group_id = p_place
        ) THEN
            RAISE EXCEPTION USING ERRCODE = '42704', COLUMN = 'location',
                MESSAGE = 'there is no cluster ' || quote_literal(p_place),
                HINT = 'A cluster is a group of nodes; sys.clusters shows them.';
        END IF;
        RETURN ARRAY[p_place];
    ELSIF p_location = 'NODE' THEN
        SELECT array_agg(known.group_id ORDER BY known.group_id) INTO v_groups
        FROM {schema}.health_check AS known
        WHERE known.task_id = p_place OR known.group_id || '/' || known.task_id = p_place;
        IF v_groups IS NULL THEN
            RAISE EXCEPTION USING ERRCODE = '42704', COLUMN = 'location',
                MESSAGE = 'there is no node ' || quote_literal(p_place),
                HINT = 'sys.nodes shows them.';
        ELSIF cardinality(v_groups) > 1 THEN
            RAISE EXCEPTION USING ERRCODE = '42704', COLUMN = 'location',
                MESSAGE = 'more than one group has a node ' || quote_literal(p_place),
                HINT = 'Name the group, too: '
                    || quote_literal(v_groups[1] || '/' || p_place) || '.';
        END IF;
        RETURN v_groups;
    END IF;
    -- SYSTEM: the groups of nodes that exist and offer the type.
    RETURN ARRAY(
        SELECT DISTINCT offered.group_id
        FROM {schema}.operation_node AS offered
        JOIN {schema}.health_check AS known
            ON known.group_id = offered.group_id AND known.task_id = offered.node
        WHERE p_type = ANY (offered.types)
        ORDER BY offered.group_id
    );
END
$coord$;

-- Create an operation and return its id. Its subtasks are planned by the nodes, in the background.
CREATE FUNCTION {schema}.sys_create_task(
    p_type text, p_location_type text DEFAULT 'SYSTEM', p_location text DEFAULT NULL,
    p_options jsonb DEFAULT '{}', p_name text DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $coord$
DECLARE
    v_id uuid;
    v_groups text[];
    v_looked text[];
    v_location text := upper(coalesce(p_location_type, 'SYSTEM'));
    v_place text := p_location;
    v_options jsonb := coalesce(p_options, '{}');
    v_declared jsonb;
    v_key text;
BEGIN
    IF p_name IS NOT NULL AND (
        p_name = '' OR octet_length(p_name) > 255 OR p_name ~ '[[:cntrl:]]'
        OR p_name ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
    ) THEN
        RAISE EXCEPTION USING ERRCODE = '22023', COLUMN = 'name',
            MESSAGE = quote_literal(left(p_name, 60)) || ' is no name of a task',
            HINT = 'A name has 1 to 255 bytes, no control characters, and is not the form of an id.';
    ELSIF coalesce(p_type, '') = '' THEN
        RAISE EXCEPTION USING ERRCODE = '42601', COLUMN = 'type', MESSAGE = 'TYPE is missing',
            HINT = 'Write CREATE TASK TYPE type.';
    END IF;
    -- One statement of a type at a time: the next one sees what it may have to wait for.
    PERFORM FROM {schema}.operation_type AS known
    WHERE known.name = p_type ORDER BY known.group_id LIMIT 1 FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = '22023', COLUMN = 'type',
            MESSAGE = 'there is no type ' || quote_literal(p_type),
            HINT = 'Types are ' || (
                SELECT string_agg(DISTINCT known.name, ', ') FROM {schema}.operation_type AS known
            ) || '; they are case sensitive.';
    END IF;
    v_groups := {schema}.coord_operation_groups(p_type, v_location, p_location);
    IF v_location = 'NODE' AND v_groups[1] || '/' = left(p_location, length(v_groups[1]) + 1) THEN
        v_place := substr(p_location, length(v_groups[1]) + 2);
    END IF;
    IF jsonb_typeof(v_options) <> 'object' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', COLUMN = 'options',
            MESSAGE = 'options are no JSON object', HINT = 'Write {"key": value}.';
    END IF;
    -- What an option names may be of any group, for the whole system.
    v_looked := CASE WHEN v_location = 'SYSTEM' THEN ARRAY(
        SELECT known.group_id FROM {schema}.group_record AS known
    ) ELSE v_groups END;
    FOR v_declared IN
        SELECT known.options
        FROM {schema}.operation_type AS known
        WHERE known.name = p_type AND (known.group_id = '' OR known.group_id = ANY (v_looked))
    LOOP
        FOR v_key IN SELECT listed FROM jsonb_object_keys(v_options) AS given (listed) ORDER BY 1
        LOOP
            PERFORM {schema}.coord_check_option(
                p_type, v_declared, v_looked, p_location, v_key, v_options -> v_key
            );
        END LOOP;
    END LOOP;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = '22023', COLUMN = 'type',
            MESSAGE = 'no node of ' || quote_literal(p_location) || ' has declared type ' || p_type,
            HINT = 'Its nodes need the plug-in; they declare its types when they start.';
    END IF;
    IF p_name IS NOT NULL AND EXISTS (
        SELECT FROM {schema}.operation AS known
        WHERE known.name = p_name AND known.finished_at IS NULL
    ) THEN
        RAISE EXCEPTION USING ERRCODE = '42710', COLUMN = 'name',
            MESSAGE = 'an unfinished task is named ' || quote_literal(p_name),
            HINT = 'Cancel it, wait for it, or choose another name.';
    END IF;
    INSERT INTO {schema}.operation AS made
        (name, type, location, place, options, groups, result, created_by, waits_for)
    SELECT p_name, p_type, v_location, v_place, v_options, v_groups,
        coalesce(bool_or(known.result), false), session_user, (
            SELECT before.id FROM {schema}.operation AS before
            WHERE before.type = p_type AND before.location = v_location
                AND (before.location = 'SYSTEM' OR before.groups = v_groups)
                AND before.place IS NOT DISTINCT FROM v_place AND before.finished_at IS NULL
            ORDER BY before.created_at DESC, before.id LIMIT 1
        )
    FROM {schema}.operation_type AS known
    WHERE known.name = p_type
    RETURNING made.id INTO v_id;
    PERFORM {schema}.coord_begin_operation(v_id);
    RETURN v_id;
EXCEPTION
    WHEN unique_violation THEN
        RAISE EXCEPTION USING ERRCODE = '42710', COLUMN = 'name',
            MESSAGE = 'an unfinished task is named ' || quote_literal(p_name),
            HINT = 'Cancel it, wait for it, or choose another name.';
END
$coord$;
