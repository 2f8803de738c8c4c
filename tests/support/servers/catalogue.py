"""The clusters, nodes and segments that the examples of statements name."""

from __future__ import annotations

from typing import Any

ID = "529a2e9d-d06c-46cd-a93b-624d3bed1c08"
CLUSTER = "my_lts_cluster1"

ROWS = f"""
INSERT INTO group_record (group_id) VALUES ('{CLUSTER}'), ('other'), ('{ID}');
INSERT INTO health_check (group_id, task_id, session, last_heartbeat, liveness_ms, heartbeat_ms)
SELECT told.group_id, told.node, gen_random_uuid(), clock_timestamp(), 3600000, 1000000
FROM (VALUES ('{CLUSTER}', 'my_node1'), ('{CLUSTER}', 'twin'), ('other', 'twin'),
    ('other', 'their_node'), ('{ID}', 'program_node')) AS told (group_id, node);
INSERT INTO token_holder (group_id) VALUES ('{ID}');
INSERT INTO segment_group (id, group_id, token, term, session, sequence, node, form, data_count,
    parity_count, block_bytes, length)
VALUES (53, '{CLUSTER}', '{CLUSTER}', 1, gen_random_uuid(), 1, 'my_node1', 'bytes', 1, 1, 65536, 9);
INSERT INTO segment (id, segment_group, group_id, place, device)
VALUES ('{ID}', 53, '{CLUSTER}', 0, gen_random_uuid());
"""


def fill_catalogue(database: Any) -> None:
    """Write what the examples name; nobody lives behind it."""
    with database.connect() as connection:
        for statement in ROWS.split(";"):
            if statement.strip():
                connection.execute(statement)


def offer(database: Any, group: str = CLUSTER, node: str = "my_node1") -> str:
    """Let a node offer the built-in types; return its session."""
    with database.connect() as connection:
        row = connection.execute(
            "SELECT session::text FROM health_check WHERE group_id = %s AND task_id = %s",
            (group, node),
        ).fetchone()
        types = "[" + ",".join(f'{{"name": "{name}"}}' for name in BUILT_IN) + "]"
        connection.execute(
            "SELECT coord_offer_operations(%s, %s, %s, %s, %s)",
            (group, node, row[0], f"channel_{group}", types),
        )
    return str(row[0])


BUILT_IN = ("rebuild", "check_disk", "rebalance")
