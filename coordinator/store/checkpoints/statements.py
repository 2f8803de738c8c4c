"""Statements of the catalogue; `group` is the group of all rows that they touch."""

from __future__ import annotations

from typing import LiteralString

#: Two of one token at the same time get one number: a unique index refuses the second.
INSERT_CHECKPOINT: LiteralString = """
INSERT INTO {schema}.segment_group (
    group_id, token, term, session, sequence, node, state, form, data_count, parity_count,
    block_bytes, length, digest, committed_at
)
SELECT
    %(group)s, %(token)s, %(term)s, %(session)s::uuid,
    1 + coalesce((
        SELECT max(before.sequence) FROM {schema}.segment_group AS before
        WHERE before.group_id = %(group)s AND before.token = %(token)s
    ), 0),
    %(node)s, %(state)s, %(form)s, %(data_count)s, %(parity_count)s, %(block_bytes)s, %(length)s,
    %(digest)s, CASE WHEN %(state)s::text = 'COMMITTED' THEN clock_timestamp() END
RETURNING id, sequence
"""

INSERT_SEGMENT: LiteralString = """
INSERT INTO {schema}.segment (id, segment_group, group_id, place, device, state)
VALUES (%(segment)s::uuid, %(checkpoint)s, %(group)s, %(place)s, %(device)s::uuid, 'WRITING')
"""

INSERT_ROW: LiteralString = """
INSERT INTO {schema}.checkpoint_row (segment_group, place, group_id, content)
VALUES (%(checkpoint)s, %(place)s, %(group)s, %(content)s)
"""

COMMIT_CHECKPOINT: LiteralString = """
UPDATE {schema}.segment_group
SET state = 'COMMITTED', digest = %(digest)s, committed_at = clock_timestamp()
WHERE id = %(checkpoint)s AND group_id = %(group)s AND token = %(token)s
    AND term = %(term)s AND session = %(session)s::uuid AND state = 'WRITING'
"""

COMMIT_SEGMENT: LiteralString = """
UPDATE {schema}.segment
SET state = 'INTACT', version = version + 1, digest = %(digest)s, file_bytes = %(file_bytes)s,
    changed_at = clock_timestamp()
WHERE id = %(segment)s::uuid AND segment_group = %(checkpoint)s AND state = 'WRITING'
"""

EXPIRE: LiteralString = """
UPDATE {schema}.segment_group
SET state = 'EXPIRED', expired_at = clock_timestamp()
WHERE group_id = %(group)s AND id = ANY (%(checkpoints)s::bigint[])
    AND state = ANY (%(states)s::text[])
RETURNING id
"""

FORGET: LiteralString = """
SELECT {schema}.coord_forget_checkpoints(
    %(group)s, %(checkpoints)s::bigint[], %(late_ms)s::bigint
) AS forgotten
"""

#: Intents of holdings that are over, and what has expired: all that may be forgotten.
FORGETTABLE: LiteralString = """
SELECT made.id
FROM {schema}.segment_group AS made
LEFT JOIN {schema}.token_holder AS token ON token.group_id = made.token
WHERE made.group_id = %(group)s
    AND (
        made.state = 'EXPIRED'
        OR made.state = 'WRITING'
            AND (token.term, token.session) IS DISTINCT FROM (made.term, made.session)
    )
ORDER BY made.id
"""

#: A change rests on the version that was seen (V4). A segment without an owner has none.
CHANGE_SEGMENT: LiteralString = """
UPDATE {schema}.segment
SET state = %(state)s, version = version + 1, owner = %(owner)s, owner_term = %(owner_term)s,
    device = coalesce(%(device)s::uuid, device),
    checked_at = CASE WHEN %(checked)s THEN clock_timestamp() ELSE checked_at END,
    changed_at = clock_timestamp()
WHERE id = %(segment)s::uuid AND group_id = %(group)s AND version = %(version)s
"""

#: The file may be there from now on without the catalogue placing it there. With a claim of a
#: subtask it is due when that is over, and no sooner: nobody places it there any more.
NOTE_LEAVING: LiteralString = """
INSERT INTO {schema}.segment_leaving (segment, device, group_id, leaves_at, subtask, subtask_term)
VALUES (
    %(segment)s::uuid, %(device)s::uuid, %(group)s,
    clock_timestamp() + %(late_ms)s::bigint * interval '1 millisecond',
    %(subtask)s::uuid, %(subtask_term)s::bigint
)
ON CONFLICT (segment, device) DO UPDATE
SET leaves_at = excluded.leaves_at, subtask = excluded.subtask, subtask_term = excluded.subtask_term
"""

#: Notes that are due: the file is to be deleted, unless the catalogue places it there (V5). The
#: note itself goes once no deposed writer can be left that makes the file anew (V3).
DUE: LiteralString = """
SELECT
    leaving.segment::text AS segment,
    leaving.leaves_at,
    placed.here AS placed,
    placed.here OR leaving.leaves_at
        < clock_timestamp() - %(writer_max_ms)s::bigint * interval '1 millisecond' AS forgettable
FROM {schema}.segment_leaving AS leaving
CROSS JOIN LATERAL (
    SELECT EXISTS (
        SELECT FROM {schema}.segment AS kept
        WHERE kept.id = leaving.segment AND kept.device = leaving.device
    ) AS here
) AS placed
WHERE leaving.group_id = %(group)s AND leaving.device = %(device)s::uuid
    AND (leaving.leaves_at, leaving.segment) > (
        coalesce(%(after)s::timestamptz, '-infinity'),
        coalesce(%(after_segment)s::uuid, '00000000-0000-0000-0000-000000000000')
    )
    AND CASE WHEN leaving.subtask IS NULL THEN leaving.leaves_at <= clock_timestamp()
        ELSE NOT EXISTS (
            SELECT FROM {schema}.operation_subtask AS part
            WHERE part.id = leaving.subtask AND part.term = leaving.subtask_term
                AND part.state = 'RUNNING'
        )
    END
ORDER BY leaving.leaves_at, leaving.segment
LIMIT 200
"""

FORGET_LEAVING: LiteralString = """
SELECT {schema}.coord_forget_leaving(
    %(group)s, %(device)s::uuid, %(segments)s::uuid[], %(leave_at)s::timestamptz[]
)
"""

CHECKPOINTS: LiteralString = """
SELECT
    made.id, made.token, made.term, made.session::text AS session, made.sequence, made.node,
    made.state, made.form, made.data_count, made.parity_count, made.block_bytes, made.length,
    made.digest, made.created_at, made.committed_at,
    greatest(0, date_part('epoch', clock_timestamp() - made.committed_at)) AS age_s
FROM {schema}.segment_group AS made
WHERE made.group_id = %(group)s
    AND (%(token)s::text IS NULL OR made.token = %(token)s)
    AND (%(checkpoint)s::bigint IS NULL OR made.id = %(checkpoint)s)
    AND made.state = ANY (%(states)s::text[])
ORDER BY made.token, made.sequence DESC
"""

KNOWN_GROUP: LiteralString = """
SELECT 1 FROM {schema}.group_record WHERE group_id = %(group)s
UNION ALL SELECT 1 FROM {schema}.token_holder WHERE group_id = %(group)s
LIMIT 1
"""

#: With the state that heartbeats tell of, the node, and where it serves.
SEGMENTS: LiteralString = """
SELECT
    kept.id::text AS segment, kept.segment_group AS checkpoint, kept.place,
    kept.device::text AS device, kept.state, kept.version, kept.digest, kept.file_bytes,
    kept.owner, kept.owner_term, shown.status, shown.node, shown.url,
    served.address, served.fingerprint
FROM {schema}.segment AS kept
JOIN {schema}.sys_segments AS shown ON shown.storage_id = kept.id
LEFT JOIN {schema}.storage_node AS served
    ON served.group_id = kept.group_id AND served.node = shown.node
WHERE kept.group_id = %(group)s
    AND (%(checkpoint)s::bigint IS NULL OR kept.segment_group = %(checkpoint)s)
    AND (%(device)s::uuid IS NULL OR kept.device = %(device)s::uuid)
ORDER BY kept.segment_group, kept.place
"""

CONTENT: LiteralString = """
SELECT kept.content
FROM {schema}.checkpoint_row AS kept
WHERE kept.group_id = %(group)s AND kept.segment_group = %(checkpoint)s AND kept.place = %(place)s
"""

DEVICES: LiteralString = """
SELECT
    shown.storage_device::text AS device, shown.node, shown.url, shown.state, shown.free_bytes,
    shown.segment_count, shown.segment_bytes, shown.address, shown.fingerprint, shown.error
FROM {schema}.sys_storage_devices AS shown
WHERE shown.group_id = %(group)s
ORDER BY shown.node, shown.url
"""

#: One node, under one URL, has a device: another one takes it over when nothing was reported for as
#: long. No row is returned where it is in use, or is another group's.
REPORT_DEVICE: LiteralString = """
INSERT INTO {schema}.storage_device AS known (
    id, group_id, node, url, state, total_bytes, free_bytes, error, silent_ms, reported_at
)
VALUES (
    %(device)s::uuid, %(group)s, %(node)s, %(url)s, %(state)s, %(total_bytes)s, %(free_bytes)s,
    %(error)s, %(silent_ms)s, clock_timestamp()
)
ON CONFLICT (id) DO UPDATE
SET node = excluded.node, url = excluded.url, state = excluded.state,
    total_bytes = excluded.total_bytes, free_bytes = excluded.free_bytes, error = excluded.error,
    silent_ms = excluded.silent_ms, reported_at = excluded.reported_at
WHERE known.group_id = excluded.group_id
    AND (
        (known.node, known.url) = (excluded.node, excluded.url)
        OR known.state = 'offline'
        OR known.reported_at
            < clock_timestamp() - %(takeover_ms)s::bigint * interval '1 millisecond'
    )
RETURNING id
"""

REPORT_NODE: LiteralString = """
INSERT INTO {schema}.storage_node (group_id, node, address, fingerprint, reported_at)
VALUES (%(group)s, %(node)s, %(address)s, %(fingerprint)s, clock_timestamp())
ON CONFLICT (group_id, node) DO UPDATE
SET address = excluded.address, fingerprint = excluded.fingerprint,
    reported_at = excluded.reported_at
"""

MAKE_KEY: LiteralString = """
INSERT INTO {schema}.storage_key (group_id, key) VALUES (%(group)s, %(key)s)
ON CONFLICT (group_id) DO NOTHING
"""

KEY: LiteralString = (
    "SELECT kept.key FROM {schema}.storage_key AS kept WHERE kept.group_id = %(group)s"
)

NOTE_CHECK: LiteralString = """
INSERT INTO {schema}.check_disk_result (
    operation, group_id, node, device, segment, segment_group, state_before, verdict, block_count,
    blocks_checked, stored_digest, computed_digest, state_after, detail
)
VALUES (
    %(operation)s::uuid, %(group)s, %(node)s, %(device)s::uuid, %(segment)s::uuid, %(checkpoint)s,
    %(state_before)s, %(verdict)s, %(block_count)s, %(blocks_checked)s, %(stored_digest)s,
    %(computed_digest)s, %(state_after)s, %(detail)s
)
"""

#: A segment of which the catalogue knows anything at all.
KNOWN: LiteralString = """
SELECT 1 AS known FROM {schema}.segment AS kept WHERE kept.id = %(segment)s::uuid
UNION ALL
SELECT 1 FROM {schema}.segment_leaving AS leaving WHERE leaving.segment = %(segment)s::uuid
"""

#: Only the owner of the tables may name a number. The digest over all segments is not known.
ADMIT_CHECKPOINT: LiteralString = """
INSERT INTO {schema}.segment_group (
    id, group_id, token, term, session, sequence, node, state, form, data_count, parity_count,
    block_bytes, length, digest, committed_at
)
VALUES (
    %(checkpoint)s, %(group)s, %(token)s, %(term)s, %(session)s::uuid, %(sequence)s, %(node)s,
    'COMMITTED', %(form)s, %(data_count)s, %(parity_count)s, %(block_bytes)s, %(length)s, '',
    clock_timestamp()
)
ON CONFLICT DO NOTHING
"""

ADMIT_SEGMENT: LiteralString = """
INSERT INTO {schema}.segment (
    id, segment_group, group_id, place, device, state, file_bytes, digest, checked_at
)
SELECT
    %(segment)s::uuid, made.id, made.group_id, %(place)s, %(device)s::uuid, 'INTACT',
    %(file_bytes)s, %(digest)s, clock_timestamp()
FROM {schema}.segment_group AS made
WHERE made.id = %(checkpoint)s AND made.group_id = %(group)s AND made.token = %(token)s
    AND made.sequence = %(sequence)s AND made.state = 'COMMITTED'
ON CONFLICT DO NOTHING
RETURNING id
"""

#: New checkpoints are numbered above those that were told by files.
NUMBER_ON: LiteralString = """
SELECT setval(
    pg_get_serial_sequence(quote_ident(%(schema)s::text) || '.segment_group', 'id'),
    greatest(1, (SELECT max(made.id) FROM {schema}.segment_group AS made))
)
"""
