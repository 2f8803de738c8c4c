"""Rows in the tables of checkpoints and disks, as a node of a group writes them."""

from __future__ import annotations

import uuid
from typing import Any

import psycopg

#: In the order in which a node comes to write them.
ROWS = (
    "INSERT INTO storage_key (group_id, key) VALUES (%(group)s, sha256('x'))",
    """INSERT INTO storage_node (group_id, node, address, fingerprint)
       VALUES (%(group)s, 'h', '127.0.0.1:1', 'f')""",
    """INSERT INTO storage_device (id, group_id, node, url)
       VALUES (%(device)s, %(group)s, 'h', 'file:///x')""",
    """INSERT INTO segment_group (group_id, token, term, session, sequence, node, state, form,
           data_count, parity_count, block_bytes, length, digest)
       VALUES (%(group)s, %(group)s, 1, %(session)s, 1, 'h', 'COMMITTED', 'bytes', 1, 1, 65536, 9,
           '\\x00')""",
    """INSERT INTO segment (id, segment_group, group_id, place, device, state)
       SELECT %(segment)s, id, group_id, 0, %(device)s, 'INTACT'
       FROM segment_group WHERE group_id = %(group)s""",
    """INSERT INTO segment_leaving (segment, device, group_id, leaves_at)
       VALUES (%(segment)s, %(device)s, %(group)s, now())""",
    """INSERT INTO checkpoint_row (segment_group, place, group_id, content)
       SELECT id, 0, group_id, 'x' FROM segment_group WHERE group_id = %(group)s""",
    """INSERT INTO check_disk_result (group_id, node, device, segment, state_before, verdict,
           block_count, blocks_checked, state_after)
       VALUES (%(group)s, 'h', %(device)s, %(segment)s, 'INTACT', 'INTACT', 1, 1, 'INTACT')""",
)


def write_segment_rows(connection: psycopg.Connection[Any], group: str) -> None:
    """Write one row into each table."""
    values = {name: str(uuid.uuid4()) for name in ("device", "segment", "session")}
    for row in ROWS:
        connection.execute(row, {"group": group, **values})
