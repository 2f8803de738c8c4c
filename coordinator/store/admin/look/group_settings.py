"""Settings of a group for all its nodes, and the values of each node."""

from __future__ import annotations

from typing import LiteralString

#: No row: there is no such group.
GROUP: LiteralString = "SELECT FROM {schema}.group_record WHERE group_id = %(group)s"

#: Live nodes with the interval in their rows and the one of their files.
NODES: LiteralString = """
SELECT node.task_id AS node, node.liveness_s, node.file_liveness_s, node.heartbeat_s, node.version
FROM {schema}.coord_nodes AS node
WHERE node.group_id = %(group)s AND node.state IN ('ok', 'late')
ORDER BY node.task_id
"""
