-- Deliveries of a group's events to its webhook: one sender at a time, and a durable mark.
--
-- The number of an event is given before its transaction ends, so a smaller number may appear after
-- a larger one. So the mark is no number: it is a snapshot, and an event that was not visible in it
-- is still to be delivered. Events are delivered in batches, each of them the difference of two
-- snapshots, in the order of their numbers.
--
-- A sender claims the group for the time that one delivery can take at most, by the clock of the
-- server. Its process dies before that time is over, so two senders never send at the same time.

-- read_to, read_id: all that this snapshot shows was delivered; the greatest number in it.
-- reading, reading_id: the same of the present batch, of which delivered_id was the last delivered.
-- The snapshots are texts of the type pg_snapshot.
CREATE TABLE {schema}.webhook (
    group_id text COLLATE "C" NOT NULL,
    read_to text NOT NULL,
    read_id bigint DEFAULT 0 NOT NULL,
    reading text NOT NULL,
    reading_id bigint DEFAULT 0 NOT NULL,
    delivered_id bigint DEFAULT 0 NOT NULL,
    delivered_at timestamptz,
    sender uuid,
    sending_until timestamptz,
    failed_count integer DEFAULT 0 NOT NULL,
    failed_since timestamptz,
    next_at timestamptz,
    error text,
    CONSTRAINT webhook_pkey PRIMARY KEY (group_id),
    CONSTRAINT webhook_values_check CHECK (
        delivered_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
        AND sending_until BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
        AND failed_since BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
        AND next_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
        AND octet_length(group_id) <= 1000000
        AND octet_length(error) <= 1000000
    )
);

CREATE POLICY coord_select ON {schema}.webhook FOR SELECT USING (true);

-- The present snapshot, and the greatest number of an event that it shows.
CREATE FUNCTION {schema}.coord_webhook_now(OUT o_snapshot text, OUT o_id bigint)
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $coord$
    SELECT CAST(pg_current_snapshot() AS text), coalesce(max(told.id), 0)
    FROM {schema}.event AS told
$coord$;

REVOKE EXECUTE ON FUNCTION {schema}.coord_webhook_now() FROM PUBLIC;

-- The next events of a batch, as JSON; NULL when there are none. p_after: the last one delivered.
--
-- What is numbered above p_read_id is new, whatever the snapshot says of it: a database that was
-- restored into another server counts its transactions anew.
CREATE FUNCTION {schema}.coord_webhook_batch(
    p_group text, p_read_to text, p_read_id bigint, p_reading text, p_after bigint,
    p_count integer
) RETURNS jsonb
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $coord$
    SELECT jsonb_agg(
        jsonb_build_object(
            'id', next.id,
            'at', to_char(next.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
            'token', next.group_id,
            'event', left(next.kind, 200),
            'taskId', left(next.task_id, 1000),
            'term', next.term,
            'reason', left(next.reason, 4000),
            'by', left(next.who, 1000)
        )
        ORDER BY next.id
    )
    FROM (
        SELECT told.*
        FROM {schema}.event AS told
        WHERE told.id > greatest(p_read_id, p_after)
            AND (
                told.group_id = p_group
                OR told.group_id >= p_group || '/' AND told.group_id < p_group || '0'
            )
            AND pg_visible_in_snapshot(
                CAST(CAST(told.xact AS text) AS xid8), CAST(p_reading AS pg_snapshot)
            )
        UNION ALL
        SELECT told.*
        FROM {schema}.event AS told
        WHERE told.xact >= CAST(
                CAST(pg_snapshot_xmin(CAST(p_read_to AS pg_snapshot)) AS text) AS bigint
            )
            AND told.id > p_after
            AND told.id <= p_read_id
            AND (
                told.group_id = p_group
                OR told.group_id >= p_group || '/' AND told.group_id < p_group || '0'
            )
            AND pg_visible_in_snapshot(
                CAST(CAST(told.xact AS text) AS xid8), CAST(p_reading AS pg_snapshot)
            )
            AND NOT pg_visible_in_snapshot(
                CAST(CAST(told.xact AS text) AS xid8), CAST(p_read_to AS pg_snapshot)
            )
        ORDER BY id
        LIMIT p_count
    ) AS next
$coord$;

REVOKE EXECUTE ON FUNCTION
    {schema}.coord_webhook_batch(text, text, bigint, text, bigint, integer) FROM PUBLIC;

-- Claim the group for p_seconds and return its next events; or say why there are none:
--
-- 'ended': the session does not hold the group's token (in a task group, the observer's).
-- 'other': another sender has claimed it, for wait_s more. 'waiting': a delivery has failed, and is
-- tried again in wait_s. 'idle': everything was delivered; then nothing is written.
-- The first call makes the mark: what happened before is not delivered.
CREATE FUNCTION {schema}.coord_webhook_claim(
    p_group text, p_session uuid, p_sender uuid, p_seconds double precision, p_count integer
) RETURNS jsonb
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $coord$
DECLARE
    v_mark {schema}.webhook;
    v_now timestamptz;
    v_snapshot text;
    v_id bigint;
    v_events jsonb;
BEGIN
    PERFORM {schema}.coord_refuse_foreign(p_group);
    IF NOT EXISTS (
        SELECT FROM {schema}.token_holder AS token
        WHERE token.group_id IN (p_group, p_group || '/_observer') AND token.session = p_session
    ) THEN
        RETURN jsonb_build_object('state', 'ended');
    END IF;
    SELECT * INTO v_mark FROM {schema}.webhook AS mark WHERE mark.group_id = p_group FOR UPDATE;
    IF NOT FOUND THEN
        SELECT o_snapshot, o_id INTO v_snapshot, v_id FROM {schema}.coord_webhook_now();
        INSERT INTO {schema}.webhook (group_id, read_to, read_id, reading, reading_id)
        VALUES (p_group, v_snapshot, v_id, v_snapshot, v_id)
        ON CONFLICT DO NOTHING;
        RETURN jsonb_build_object('state', 'idle');
    END IF;
    v_now := clock_timestamp();
    IF v_mark.sender IS DISTINCT FROM p_sender AND v_mark.sending_until > v_now THEN
        RETURN jsonb_build_object(
            'state', 'other', 'wait_s', date_part('epoch', v_mark.sending_until - v_now)
        );
    ELSIF v_mark.next_at > v_now THEN
        RETURN jsonb_build_object(
            'state', 'waiting', 'wait_s', date_part('epoch', v_mark.next_at - v_now)
        );
    END IF;
    v_events := {schema}.coord_webhook_batch(
        p_group, v_mark.read_to, v_mark.read_id, v_mark.reading, v_mark.delivered_id,
        least(p_count, 1000)
    );
    IF v_events IS NULL THEN
        SELECT o_snapshot, o_id INTO v_snapshot, v_id FROM {schema}.coord_webhook_now();
        v_mark.read_to := v_mark.reading;
        v_mark.read_id := v_mark.reading_id;
        v_mark.reading := v_snapshot;
        v_mark.reading_id := v_id;
        v_mark.delivered_id := 0;
        v_events := {schema}.coord_webhook_batch(
            p_group, v_mark.read_to, v_mark.read_id, v_mark.reading, v_mark.delivered_id,
            least(p_count, 1000)
        );
        IF v_events IS NULL THEN
            RETURN jsonb_build_object('state', 'idle');
        END IF;
    END IF;
    IF v_mark.sender IS DISTINCT FROM p_sender AND v_mark.sending_until IS NOT NULL THEN
        -- The last sender has died, as one does that cannot end a delivery.
        v_mark.failed_count := v_mark.failed_count + 1;
        v_mark.failed_since := coalesce(v_mark.failed_since, v_mark.sending_until);
        v_mark.error := 'was not reached: a sender has ended before its delivery';
    END IF;
    UPDATE {schema}.webhook AS mark
    SET read_to = v_mark.read_to, read_id = v_mark.read_id,
        reading = v_mark.reading, reading_id = v_mark.reading_id,
        delivered_id = v_mark.delivered_id,
        failed_count = v_mark.failed_count, failed_since = v_mark.failed_since,
        error = v_mark.error,
        sender = p_sender, sending_until = v_now + least(p_seconds, 600) * interval '1 s'
    WHERE mark.group_id = p_group;
    RETURN jsonb_build_object(
        'state', 'sending', 'events', v_events, 'failed', v_mark.failed_count,
        'now_s', date_part('epoch', v_now)
    );
END
$coord$;

REVOKE EXECUTE ON FUNCTION
    {schema}.coord_webhook_claim(text, uuid, uuid, double precision, integer) FROM PUBLIC;

-- Move the mark behind an event that was delivered, and claim the group for p_seconds more; with 0
-- the claim is given back. False: another sender has claimed the group, and delivers the event once more.
CREATE FUNCTION {schema}.coord_webhook_delivered(
    p_group text, p_sender uuid, p_event bigint, p_seconds double precision
) RETURNS boolean
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $coord$
BEGIN
    PERFORM {schema}.coord_refuse_foreign(p_group);
    UPDATE {schema}.webhook AS mark
    SET delivered_id = greatest(mark.delivered_id, p_event), delivered_at = clock_timestamp(),
        sending_until = CASE WHEN p_seconds > 0 THEN
            clock_timestamp() + least(p_seconds, 600) * interval '1 s'
        END,
        failed_count = 0, failed_since = NULL, next_at = NULL, error = NULL
    WHERE mark.group_id = p_group AND mark.sender = p_sender;
    RETURN FOUND;
END
$coord$;

REVOKE EXECUTE ON FUNCTION
    {schema}.coord_webhook_delivered(text, uuid, bigint, double precision) FROM PUBLIC;

-- Note a delivery that has failed, and when it is tried again; the claim is over.
CREATE FUNCTION {schema}.coord_webhook_failed(
    p_group text, p_sender uuid, p_error text, p_seconds double precision
) RETURNS boolean
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $coord$
BEGIN
    PERFORM {schema}.coord_refuse_foreign(p_group);
    UPDATE {schema}.webhook AS mark
    SET failed_count = mark.failed_count + 1,
        failed_since = coalesce(mark.failed_since, clock_timestamp()),
        next_at = clock_timestamp() + least(p_seconds, 3600) * interval '1 s',
        error = left(p_error, 500), sending_until = NULL
    WHERE mark.group_id = p_group AND mark.sender = p_sender;
    RETURN FOUND;
END
$coord$;

REVOKE EXECUTE ON FUNCTION
    {schema}.coord_webhook_failed(text, uuid, text, double precision) FROM PUBLIC;

-- Give the claim of a sender back.
CREATE FUNCTION {schema}.coord_webhook_leave(p_group text, p_sender uuid) RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $coord$
BEGIN
    PERFORM {schema}.coord_refuse_foreign(p_group);
    UPDATE {schema}.webhook AS mark SET sending_until = NULL
    WHERE mark.group_id = p_group AND mark.sender = p_sender AND mark.sending_until IS NOT NULL;
END
$coord$;

REVOKE EXECUTE ON FUNCTION {schema}.coord_webhook_leave(text, uuid) FROM PUBLIC;
