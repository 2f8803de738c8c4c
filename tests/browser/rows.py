"""Rows for the page: many groups and nodes, written by SQL."""

from __future__ import annotations

import uuid

from tests.conftest import Database

#: A name that would run a script where it is read as HTML. Nodes and triggers refuse it, so such a
#: row comes from somebody who may do anything; the page must not trust it all the same.
HOSTILE = "<img src=x onerror=\"document.title='owned'\">"

NODE = """
INSERT INTO health_check (
    task_id, group_id, last_heartbeat, session, beat, liveness_ms, lease_ms, heartbeat_ms,
    host, pid, version, config_hash, isolation, joined_at, started_at
) VALUES (
    %s, %s, now() + interval '1 hour', %s, 7, 6000, 4800, 1000, %s, 402, '1.4.0', 'a91f', 'plain',
    now() - interval '3 hours', now() - interval '3 hours'
)
"""
TOKEN = """
INSERT INTO token_holder (group_id, task_id, term, session, acquired_at)
VALUES (%s, %s, 1, %s, now() - interval '14 minutes')
"""
HISTORY = """
INSERT INTO token_history (group_id, term, task_id, session, acquired_at, how, reason)
VALUES (%s, 1, %s, %s, now() - interval '14 minutes', 'first', %s)
"""


def fill(database: Database, *, groups: int, nodes: int, hostile: bool = False) -> None:
    """Write groups of live nodes, whose first one is active."""
    with database.connect() as sql, sql.transaction():
        if hostile:  # the triggers refuse such names
            sql.execute("SET LOCAL session_replication_role = replica")
        for number in range(groups):
            group = f"group-{number:02}"
            sql.execute("INSERT INTO group_record (group_id) VALUES (%s)", (group,))
            for place in range(nodes):
                name = HOSTILE if hostile and place == 0 else f"node-{place:02}"
                session = uuid.uuid4()
                sql.execute(NODE, (name, group, session, HOSTILE if hostile else f"web-{place}"))
                if place == 0:
                    sql.execute(TOKEN, (group, name, session))
                    sql.execute(HISTORY, (group, name, session, HOSTILE if hostile else None))
