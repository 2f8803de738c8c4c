-- The triggers that refuse or repair rows, and their functions.
--
-- A role that attached one of these functions to a table of its own would run it there. So EXECUTE
-- is revoked from everybody, and the functions that run with the owner's rights refuse other
-- tables.
--
-- Names are checked by AFTER triggers: with a BEFORE UPDATE trigger the server locks the row in a
-- step (and a WAL record) of its own, even when the trigger never fires.

-- Restore a token row that was deleted by hand, or lost when one table was restored, from the
-- history: still held by a session that may live, and never below its last term. Where the history
-- is lost too, nodes that have joined show that the group is not new. Its terms then go on from the
-- clock, and while one of its sessions lives, coord_take makes every node wait from released_at on.
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
            -- Only the nodes that race for this token.
            AND known.hosts_tasks = (NEW.group_id ~ '/_observer$');
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
$coord$;

REVOKE EXECUTE ON FUNCTION {schema}.coord_restore_token() FROM PUBLIC;

CREATE TRIGGER coord_restore_token BEFORE INSERT ON {schema}.token_holder
FOR EACH ROW
EXECUTE FUNCTION {schema}.coord_restore_token();

-- Refuse a change of a token that breaks the rules, where row level security is active. The holder
-- of the token of a task heartbeats in the group of the task. Only a live Member may hold a task
-- (H1), also when a person writes the row.
CREATE FUNCTION {schema}.coord_guard_token() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $coord$
DECLARE
    v_refusal text;
    v_group text := regexp_replace(OLD.group_id, '/[^/]*$', '');
BEGIN
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
        WHERE node.group_id IN (OLD.group_id, v_group)
            AND node.task_id = OLD.task_id
            AND node.session = OLD.session
            AND node.ended_at IS NULL
    ) THEN
        v_refusal := 'the session of its holder lives';
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
    END IF;
    IF v_refusal IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'insufficient_privilege',
            MESSAGE = 'the token of ' || quote_literal(OLD.group_id) || ' may not be changed so: '
                || v_refusal;
    END IF;
    RETURN NEW;
END
$coord$;

REVOKE EXECUTE ON FUNCTION {schema}.coord_guard_token() FROM PUBLIC;

CREATE TRIGGER coord_guard_token BEFORE UPDATE ON {schema}.token_holder
FOR EACH ROW
WHEN (row_security_active(CAST('{schema_in_text}.token_holder' AS regclass)))
EXECUTE FUNCTION {schema}.coord_guard_token();

-- Raise the error of a CHECK constraint that has the name of the trigger. The conditions of the
-- triggers are evaluated by the server itself: the function runs only when a row is refused.
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
$coord$;

REVOKE EXECUTE ON FUNCTION {schema}.coord_refuse_name() FROM PUBLIC;

CREATE TRIGGER token_holder_group_id_check
AFTER INSERT OR UPDATE OF group_id ON {schema}.token_holder
FOR EACH ROW
WHEN (NOT (length(NEW.group_id) <= 256 AND NEW.group_id ~ '^[A-Za-z0-9_.:@/-]+$'))
EXECUTE FUNCTION {schema}.coord_refuse_name();

CREATE TRIGGER token_holder_task_id_check
AFTER INSERT OR UPDATE OF task_id ON {schema}.token_holder
FOR EACH ROW
WHEN (NOT (length(NEW.task_id) <= 256 AND NEW.task_id ~ '^[A-Za-z0-9_.:@/-]+$'))
EXECUTE FUNCTION {schema}.coord_refuse_name();

CREATE TRIGGER health_check_group_id_check
AFTER INSERT OR UPDATE OF group_id ON {schema}.health_check
FOR EACH ROW
WHEN (NOT (length(NEW.group_id) <= 256 AND NEW.group_id ~ '^[A-Za-z0-9_.:@/-]+$'))
EXECUTE FUNCTION {schema}.coord_refuse_name();

CREATE TRIGGER health_check_task_id_check
AFTER INSERT OR UPDATE OF task_id ON {schema}.health_check
FOR EACH ROW
WHEN (NOT (length(NEW.task_id) <= 256 AND NEW.task_id ~ '^[A-Za-z0-9_.:@/-]+$'))
EXECUTE FUNCTION {schema}.coord_refuse_name();

-- Check what a node says of itself and no heartbeat writes; people of other groups see it, too. The
-- views check last_heartbeat when they read it.
CREATE TRIGGER health_check_values_check AFTER INSERT OR UPDATE OF ended_at, joined_at, started_at,
    liveness_ms, lease_ms, heartbeat_ms, standing, host, address, version, config_hash, isolation,
    end_reason
ON {schema}.health_check
FOR EACH ROW
WHEN (NOT (
    NEW.ended_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
    AND NEW.joined_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
    AND NEW.started_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
    AND octet_length(NEW.host) <= 1000000
    AND NEW.address ~ '^[!-~]{1,255}$'
    AND octet_length(NEW.version) <= 1000000
    AND octet_length(NEW.config_hash) <= 1000000
    AND octet_length(NEW.isolation) <= 1000000
    AND octet_length(NEW.end_reason) <= 1000000
    AND NEW.liveness_ms >= 0 AND NEW.lease_ms >= 0 AND NEW.heartbeat_ms >= 0
    AND NEW.standing IN ('promotable', 'member', 'rehab')
))
EXECUTE FUNCTION {schema}.coord_refuse_name();

-- Refuse a task and a group that would share a token: the token of task `t` of group `G` is the row
-- `G/t`, which a group of that name would race for, too. Names that begin with an underscore are
-- reserved for coord. The function runs with the rights of the owner: a role that may add a task
-- may not lock a token.
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
    -- Make and lock the row that both would share: of two transactions at the same time the second
    -- waits here, and then sees what the first has written.
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
$coord$;

REVOKE EXECUTE ON FUNCTION {schema}.coord_refuse_clash() FROM PUBLIC;

CREATE TRIGGER task_clash_check AFTER INSERT ON {schema}.task
FOR EACH ROW WHEN (NOT NEW.deleted)
EXECUTE FUNCTION {schema}.coord_refuse_clash();

CREATE TRIGGER task_clash_check_again AFTER UPDATE OF deleted ON {schema}.task
FOR EACH ROW WHEN (OLD.deleted AND NOT NEW.deleted)
EXECUTE FUNCTION {schema}.coord_refuse_clash();

CREATE TRIGGER group_record_clash_check AFTER INSERT ON {schema}.group_record
FOR EACH ROW WHEN (strpos(NEW.group_id, '/') > 0)
EXECUTE FUNCTION {schema}.coord_refuse_clash();
