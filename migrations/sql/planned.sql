-- Planned changes (docs/protocol.md, rules A): what an administrator asks of a group.
--
-- Asking is one INSERT, ending one UPDATE of `outcome`; docs/planned.md has the statements. A row
-- without an outcome is open. The nodes read the open ones with their view of the group, carry them
-- out, and record the end. The triggers raise the version of the group, notify it, and write the
-- event, whoever asks or ends.

-- Changes that an administrator asked for: one row each, without an outcome while it counts.
CREATE TABLE {schema}.planned_change (
    id bigint GENERATED ALWAYS AS IDENTITY,
    group_id text COLLATE "C" NOT NULL,
    kind text NOT NULL,
    node text COLLATE "C",
    value integer,
    asked_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    asked_by text DEFAULT session_user NOT NULL,
    reason text,
    due_at timestamptz,
    until_at timestamptz,
    ended_at timestamptz,
    ended_by text,
    outcome text,
    outcome_reason text,
    agreed_at timestamptz,
    CONSTRAINT planned_change_pkey PRIMARY KEY (id),
    CONSTRAINT planned_change_kind_check CHECK (
        kind IN (
            'switchover', 'resign', 'pause work', 'pause takeovers', 'drain', 'priority',
            'livenessCheckInterval'
        )
    ),
    CONSTRAINT planned_change_node_check CHECK (
        CASE
            WHEN kind = 'switchover' THEN true
            WHEN kind IN ('pause work', 'pause takeovers', 'livenessCheckInterval')
                THEN node IS NULL
            ELSE node IS NOT NULL
        END
    ),
    CONSTRAINT planned_change_due_check CHECK (due_at IS NULL OR kind = 'switchover'),
    CONSTRAINT planned_change_value_check CHECK (
        CASE
            WHEN kind = 'priority' THEN value IS NOT NULL AND value >= 0
            WHEN kind = 'livenessCheckInterval' THEN value IS NOT NULL AND value > 0
            ELSE value IS NULL
        END
    ),
    CONSTRAINT planned_change_agreed_check CHECK (
        agreed_at IS NULL OR kind = 'livenessCheckInterval'
    ),
    CONSTRAINT planned_change_outcome_check CHECK (
        outcome IN ('done', 'refused', 'expired', 'cancelled')
    ),
    CONSTRAINT planned_change_values_check CHECK (
        asked_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
        AND due_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
        AND until_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
        AND ended_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
        AND agreed_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
        AND octet_length(group_id) <= 1000
        AND octet_length(node) <= 1000
        AND octet_length(asked_by) <= 1000
        AND octet_length(reason) <= 1000
        AND octet_length(ended_by) <= 1000
        AND octet_length(outcome_reason) <= 1000
    )
);

-- Every reading of a group looks here; as a rule nothing is there.
CREATE INDEX planned_change_open_idx ON {schema}.planned_change (group_id)
WHERE outcome IS NULL;

-- Of two that are asked for at once the second is refused.
CREATE UNIQUE INDEX planned_change_handover_idx ON {schema}.planned_change (group_id)
WHERE outcome IS NULL AND kind IN ('switchover', 'resign');
CREATE UNIQUE INDEX planned_change_pause_idx ON {schema}.planned_change (group_id)
WHERE outcome IS NULL AND kind IN ('pause work', 'pause takeovers');
CREATE UNIQUE INDEX planned_change_node_idx ON {schema}.planned_change (group_id, kind, node)
WHERE outcome IS NULL AND kind IN ('drain', 'priority');
CREATE UNIQUE INDEX planned_change_setting_idx ON {schema}.planned_change (group_id, kind)
WHERE outcome IS NULL AND kind = 'livenessCheckInterval' AND agreed_at IS NULL;

-- Return the NOTIFY channel of a group; coordinator/store/connection/opening.py has the same.
CREATE FUNCTION {schema}.coord_channel(p_group text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $coord$
    SELECT 'coord_' || encode(substr(sha256(
        convert_to({schema_text}, 'UTF8') || decode('00', 'hex') || convert_to(p_group, 'UTF8')
    ), 1, 10), 'hex')
$coord$;

-- Say whether planned changes leave a node the right to take the token that it races for: nobody
-- takes the token of a program in a pause, and a draining node takes none (rules A2, A3, A7).
CREATE FUNCTION {schema}.coord_may_take(p_group text, p_node text, p_of_tasks boolean)
RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $coord$
BEGIN
    RETURN NOT EXISTS (
        SELECT FROM {schema}.planned_change AS change
        WHERE change.group_id = p_group AND change.outcome IS NULL
            AND (change.until_at IS NULL OR change.until_at > clock_timestamp())
            AND (
                change.kind IN ('pause work', 'pause takeovers') AND NOT p_of_tasks
                OR change.kind = 'drain' AND change.node = p_node
            )
    );
END
$coord$;

-- End the switchover that is due, in the transaction that takes the token: the token has gone to
-- whom it was to go to, or the target left it to others for too long. Where a silent holder was
-- followed (p_followed), one that is not done yet is the new holder's to carry out (rule A5).
CREATE FUNCTION {schema}.coord_end_handover(
    p_group text, p_node text, p_last text, p_term bigint, p_followed boolean
) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $coord$
BEGIN
    UPDATE {schema}.planned_change AS change
    SET outcome = CASE WHEN made.well THEN 'done' ELSE 'expired' END,
        outcome_reason = p_node || ' has the token, term ' || p_term || CASE
            WHEN made.well THEN '' ELSE ': nobody else took it in time'
        END,
        ended_by = p_node
    FROM (
        SELECT known.id, CASE
            WHEN known.kind = 'resign' THEN p_node <> known.node
            WHEN known.node IS NULL THEN p_node IS DISTINCT FROM p_last
            ELSE p_node = known.node
        END AS well
        FROM {schema}.planned_change AS known
        WHERE known.group_id = p_group AND known.outcome IS NULL
            AND known.kind IN ('switchover', 'resign')
            AND (known.due_at IS NULL OR known.due_at <= clock_timestamp())
    ) AS made
    WHERE change.id = made.id AND change.outcome IS NULL AND (made.well OR NOT p_followed);
END
$coord$;

-- Refuse what cannot be carried out whatever happens until then: an unknown group or node, a second
-- one of its kind, a group of the other kind, the last node that could work. What depends on the
-- moment (is the target alive?) is decided by the holder when it is due. Of two requests the second
-- waits here for the first.
CREATE FUNCTION {schema}.coord_ask_planned() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $coord$
DECLARE
    v_of_tasks boolean;
    v_open record;
    v_refusal text;
BEGIN
    NEW.ended_at := NULL;
    NEW.ended_by := NULL;
    NEW.outcome := NULL;
    NEW.outcome_reason := NULL;
    NEW.agreed_at := NULL;
    NEW.asked_at := clock_timestamp();
    IF NEW.kind IN ('switchover', 'resign') THEN
        NEW.until_at := coalesce(
            NEW.until_at, coalesce(NEW.due_at, NEW.asked_at) + interval '10 minutes'
        );
    END IF;
    SELECT record.hosts_tasks INTO v_of_tasks
    FROM {schema}.group_record AS record
    WHERE record.group_id = NEW.group_id
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'CF004',
            MESSAGE = 'there is no group ' || quote_literal(NEW.group_id);
    END IF;
    IF NEW.node IS NOT NULL AND NOT EXISTS (
        SELECT FROM {schema}.health_check AS known
        WHERE known.group_id = NEW.group_id AND known.task_id = NEW.node
            AND known.session IS NOT NULL
    ) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'CF004',
            MESSAGE = 'there is no node ' || quote_literal(NEW.node) || ' in group '
                || quote_literal(NEW.group_id);
    END IF;
    SELECT change.* INTO v_open
    FROM {schema}.planned_change AS change
    WHERE change.group_id = NEW.group_id AND change.outcome IS NULL
        AND change.agreed_at IS NULL
        AND CASE
            WHEN NEW.kind IN ('switchover', 'resign') THEN change.kind IN ('switchover', 'resign')
            WHEN NEW.kind IN ('pause work', 'pause takeovers')
                THEN change.kind IN ('pause work', 'pause takeovers')
            ELSE change.kind = NEW.kind AND change.node IS NOT DISTINCT FROM NEW.node
        END;
    IF FOUND THEN
        v_refusal := 'a ' || v_open.kind || ' by ' || v_open.asked_by || ' is open already';
    ELSIF NEW.kind IN ('switchover', 'resign') AND v_of_tasks THEN
        v_refusal := 'the group spreads tasks: move one, or drain a node';
    ELSIF NEW.kind = 'livenessCheckInterval' THEN
        v_refusal := {schema}.coord_refused_interval(NEW.group_id, NEW.value, NEW.until_at);
    ELSIF NEW.until_at <= greatest(NEW.asked_at, NEW.due_at) THEN
        v_refusal := 'it would be over before it begins';
    ELSIF (NEW.kind = 'drain' OR NEW.kind = 'priority' AND NEW.value = 0) AND NOT EXISTS (
        SELECT FROM {schema}.health_check AS other
        WHERE other.group_id = NEW.group_id AND other.task_id <> NEW.node
            AND other.session IS NOT NULL AND other.ended_at IS NULL
            AND clock_timestamp() - other.last_heartbeat < other.liveness_ms * interval '1 ms'
            AND coalesce((
                SELECT change.value FROM {schema}.planned_change AS change
                WHERE change.group_id = NEW.group_id AND change.outcome IS NULL
                    AND change.kind = 'priority' AND change.node = other.task_id
            ), other.priority) > 0
            AND NOT EXISTS (
                SELECT FROM {schema}.planned_change AS change
                WHERE change.group_id = NEW.group_id AND change.outcome IS NULL
                    AND change.kind = 'drain' AND change.node = other.task_id
            )
    ) THEN
        v_refusal := 'no other live node could do the work of ' || NEW.node;
    END IF;
    IF v_refusal IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'CF003', MESSAGE = NEW.group_id || ': ' || v_refusal;
    END IF;
    RETURN NEW;
END
$coord$;

-- Complete an end, and refuse a second one.
CREATE FUNCTION {schema}.coord_end_planned() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $coord$
BEGIN
    IF OLD.outcome IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'CF003',
            MESSAGE = OLD.group_id || ': the ' || OLD.kind || ' is over: ' || OLD.outcome;
    END IF;
    IF NEW.agreed_at IS DISTINCT FROM OLD.agreed_at AND (
        OLD.agreed_at IS NOT NULL
        OR {schema}.coord_lacks_interval(OLD.group_id, OLD.value)
    ) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'CF003',
            MESSAGE = OLD.group_id || ': the nodes themselves say when the ' || OLD.kind
                || ' is agreed on';
    END IF;
    IF NEW.value IS DISTINCT FROM OLD.value OR NEW.kind <> OLD.kind THEN
        RAISE EXCEPTION USING
            ERRCODE = 'CF003',
            MESSAGE = OLD.group_id || ': ask for another value by a row of its own';
    END IF;
    IF NEW.outcome IS NOT NULL THEN
        NEW.ended_at := clock_timestamp();
        NEW.ended_by := coalesce(NEW.ended_by, session_user);
    END IF;
    RETURN NEW;
END
$coord$;

-- Let all nodes look, and write the event. A node that is not drained any more gets its share of
-- the tasks again, as one that has become a Member.
CREATE FUNCTION {schema}.coord_tell_planned() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $coord$
DECLARE
    v_version bigint;
BEGIN
    INSERT INTO {schema}.event (group_id, kind, task_id, reason, who)
    VALUES (
        NEW.group_id,
        NEW.kind || ' ' || coalesce(
            NEW.outcome, CASE WHEN NEW.agreed_at IS NULL THEN 'asked' ELSE 'agreed' END
        ),
        NEW.node,
        CASE WHEN NEW.outcome IS NULL THEN NEW.reason ELSE NEW.outcome_reason END,
        CASE WHEN NEW.outcome IS NULL THEN NEW.asked_by ELSE NEW.ended_by END
    );
    IF NEW.kind = 'drain' AND NEW.outcome IS NOT NULL THEN
        UPDATE {schema}.group_record AS record
        SET version = record.version + 1,
            spread_version = CASE
                WHEN record.hosts_tasks THEN record.version + 1 ELSE record.spread_version
            END
        WHERE record.group_id = NEW.group_id
        RETURNING record.version INTO v_version;
    ELSE
        UPDATE {schema}.group_record AS record
        SET version = record.version + 1
        WHERE record.group_id = NEW.group_id
        RETURNING record.version INTO v_version;
    END IF;
    PERFORM pg_notify({schema}.coord_channel(NEW.group_id), CAST(
        json_build_object('kind', 'group', 'version', v_version) AS text
    ));
    -- Where no live node has another value, it is agreed on at once.
    IF NEW.kind = 'livenessCheckInterval' AND TG_OP = 'INSERT' THEN
        PERFORM {schema}.coord_agree_interval(NEW.group_id);
    END IF;
    RETURN NULL;
END
$coord$;

REVOKE EXECUTE ON FUNCTION {schema}.coord_ask_planned() FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION {schema}.coord_end_planned() FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION {schema}.coord_tell_planned() FROM PUBLIC;

CREATE TRIGGER coord_ask_planned BEFORE INSERT ON {schema}.planned_change
FOR EACH ROW
EXECUTE FUNCTION {schema}.coord_ask_planned();
CREATE TRIGGER coord_end_planned BEFORE UPDATE ON {schema}.planned_change
FOR EACH ROW
EXECUTE FUNCTION {schema}.coord_end_planned();
CREATE TRIGGER coord_tell_planned AFTER INSERT OR UPDATE ON {schema}.planned_change
FOR EACH ROW
EXECUTE FUNCTION {schema}.coord_tell_planned();
