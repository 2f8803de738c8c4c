"""Rows as nodes leave them: groups, nodes, tokens and tasks, for the tests of commands."""

from __future__ import annotations

from tests.conftest import Database

GROUP = """
INSERT INTO group_record (group_id, created_at) VALUES (%s, now() - interval '9 days')
"""
NODE = """
INSERT INTO health_check (
    task_id, group_id, last_heartbeat, session, beat, liveness_ms, lease_ms, heartbeat_ms, ended_at,
    end_reason, host, pid, version, config_hash, isolation, joined_at, started_at
) VALUES (
    %s, %s, now() - make_interval(secs => %s), %s, 7, 60000, 48900, 30000,
    CASE WHEN %s THEN now() - interval '2 hours' END, NULL, %s, %s, %s, %s, 'plain',
    now() - interval '3 hours', now() - interval '3 hours'
)
"""
TOKEN = """
INSERT INTO token_holder (group_id, task_id, term, session, acquired_at, released_at)
VALUES (%s, %s, %s, %s, now() - interval '14 minutes', CASE WHEN %s THEN now() END)
"""
TERM = """
INSERT INTO token_history (
    group_id, term, task_id, session, acquired_at, ended_at, how, reason, end_how, end_reason,
    from_task, active_until, detected_ms
) VALUES ('orders', %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
UUIDS = [f"00000000-0000-4000-8000-{number:012}" for number in range(9)]
NIGHT_UUIDS = [f"00000000-0000-4000-8000-{number:012}" for number in range(100, 109)]
NIGHT_GROUP = """
INSERT INTO group_record (group_id, created_at, version, hosts_tasks)
VALUES (%s, now() - interval '9 days', 12, %s)
"""
NIGHT_NODE = """
INSERT INTO health_check (
    task_id, group_id, last_heartbeat, session, beat, liveness_ms, lease_ms, heartbeat_ms, ended_at,
    end_reason, host, pid, version, config_hash, isolation, joined_at, started_at, standing,
    caught_up, seen_version, hosts_tasks
) VALUES (
    %s, 'night', now() - make_interval(secs => %s), %s, 7, 60000, 48900, 30000,
    CASE WHEN %s THEN now() - interval '2 hours' END, CASE WHEN %s THEN 'no heartbeat' END,
    %s, %s, '1.4.0', 'a91f', 'plain', now() - interval '3 hours', now() - interval '3 hours',
    %s, %s, %s, true
)
"""
PROGRAM_NODE = """
INSERT INTO health_check (
    task_id, group_id, last_heartbeat, session, beat, liveness_ms, lease_ms, heartbeat_ms,
    joined_at, started_at
) VALUES ('node-1', 'orders', now(), %s, 7, 60000, 48900, 30000, now(), now())
"""
NIGHT_TOKEN = """
INSERT INTO token_holder (group_id, task_id, term, session, acquired_at, released_at)
VALUES (%s, %s, %s, %s, now() - interval '14 minutes',
        CASE WHEN %s::uuid IS NULL THEN now() - interval '14 minutes' END)
"""
TASK = """
INSERT INTO task (
    group_id, name, enabled, deleted, preferred, pinned, failover, on_partition, on_done, spec,
    end_reason, created_at
) VALUES ('night', %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, now() - interval '3 hours')
"""
TOLD = """
INSERT INTO task_node (group_id, task, node, state, term, error, told_at, failed_count)
VALUES ('night', %s, %s, %s, %s, %s, now() - interval '14 minutes', %s)
"""
DECISION = """
INSERT INTO observer_decision (
    group_id, version, at, observer, term, node, kind, before, after, reason
) VALUES ('night', %s, now() - make_interval(hours => %s), 'node-1', 3, %s, %s, %s, %s, %s)
"""
EVENT = """
INSERT INTO event (at, group_id, kind, task_id, term, reason, who)
VALUES (now() - make_interval(secs => %s), %s, %s, %s, %s, %s, %s)
"""
SCHEDULE = """
INSERT INTO schedule (
    group_id, fired_count, skipped_count, last_fire_at, last_finished_at, last_outcome, last_error,
    last_duration_ms, next_fire_at, ended, end_reason
) VALUES (
    %s, 7, 2, now() - interval '20 seconds', now(), %s, %s, 1500,
    now() + make_interval(secs => %s), %s, %s
)
"""


def fill_orders(database: Database) -> None:
    """Two groups: orders has a holder, two standbys and one that left; reports has nobody."""
    with database.connect() as sql:
        for group in ("orders", "reports"):
            sql.execute(GROUP, (group,))
        for row in (
            ("node-1", "orders", 0.2, UUIDS[1], False, "web-1", 402, "1.4.0", "a91f"),
            ("node-2", "orders", 0.2, UUIDS[2], False, "web-2", 811, "1.4.0", "a91f"),
            ("node-3", "orders", 40.0, UUIDS[3], False, "web-3", 97, "1.3.9", "77c2"),
            ("node-4", "orders", 8000.0, UUIDS[4], True, "web-4", 5, "1.3.9", "77c2"),
            ("node-1", "reports", 300.0, UUIDS[5], False, "web-1", 403, "1.4.0", "a91f"),
        ):
            sql.execute(NODE, row)
        sql.execute("UPDATE health_check SET address = '10.0.0.7' WHERE host = 'web-2'")
        sql.execute(TOKEN, ("orders", "node-2", 8, UUIDS[2], False))
        sql.execute(TOKEN, ("reports", "node-1", 3, UUIDS[5], False))
        began, moved, crashed = (
            "2026-11-18 08:15:40.5Z",
            "2026-11-19 11:00Z",
            "2026-11-20 13:48:02Z",
        )
        # The gaps before terms 7 and 8: 0.02 s and 6.41 s.
        left, silent = "2026-11-19 10:59:59.98Z", "2026-11-20 13:47:55.59Z"
        stop, crash = ("release", "SIGTERM"), ("takeover", "no heartbeat")
        for term in (
            (6, "node-3", UUIDS[3], began, moved, "first", None, *stop, None, left, 0),
            (7, "node-1", UUIDS[1], moved, crashed, *stop, *crash, "node-3", silent, 0),
            (8, "node-2", UUIDS[2], crashed, None, *crash, None, None, "node-1", None, 6120),
        ):
            sql.execute(TERM, term)


def fill_night(database: Database) -> None:
    """A task group with a node of each standing and a task of each state."""
    with database.connect() as sql:
        sql.execute(NIGHT_GROUP, ("night", True))
        for row in (
            ("node-1", 0.2, NIGHT_UUIDS[1], False, False, "web-1", 402, "member", True, 12),
            ("node-2", 0.2, NIGHT_UUIDS[2], False, False, "web-2", 811, "member", True, 11),
            ("node-3", 0.2, NIGHT_UUIDS[3], False, False, "web-3", 97, "rehab", False, None),
            ("node-4", 300.0, NIGHT_UUIDS[4], False, False, "web-4", 5, "member", True, 9),
            ("node-5", 8000.0, NIGHT_UUIDS[5], True, True, "web-5", 5, "rehab", False, 4),
            ("node-6", 0.2, NIGHT_UUIDS[6], False, False, "web-6", 6, "promotable", True, 12),
        ):
            sql.execute(NIGHT_NODE, row)
        for task, node, term, session in (
            ("_observer", "node-1", 3, NIGHT_UUIDS[1]),
            ("archive", "node-1", 8, NIGHT_UUIDS[1]),
            ("copy", "node-2", 2, NIGHT_UUIDS[2]),
            ("probe", "node-4", 5, NIGHT_UUIDS[4]),
            ("fetch", "node-5", 7, None),
        ):
            sql.execute(NIGHT_TOKEN, (f"night/{task}", node, term, session, session))
        every = '{"callable":"shop.jobs:archive","trigger":{"interval":5.0}}'
        loop = '{"command":["poll","a b"],"env":{"LEVEL":"3"}}'
        for row in (
            ("archive", True, False, None, False, True, "stop", "finish", every, None),
            ("copy", True, False, "node-3", False, True, "continue", "restart", loop, None),
            ("probe", True, False, "node-4", True, True, "stop", "release", loop, None),
            ("fetch", True, False, None, False, False, "stop", "restart", loop, None),
            ("once", False, False, None, False, True, "stop", "finish", loop, "done"),
            ("gone", False, True, None, False, True, "stop", "restart", loop, "deleted"),
        ):
            sql.execute(TASK, row)
        sql.execute(TOLD, ("archive", "node-1", "running", 8, "", 0))
        sql.execute(TOLD, ("copy", "node-4", "idle", 1, "exit status 3, " + "x" * 60, 2))
        for row in (
            (10, 3, "node-5", "end", "live", "ended", "no heartbeat for 6 s"),
            (11, 2, "node-2", "standing", "rehab", "member", "live for 12 s"),
        ):
            sql.execute(DECISION, row)


def fill_program_group(database: Database) -> None:
    """A group of one program, whose node-1 lives."""
    with database.connect() as sql:
        sql.execute(NIGHT_GROUP, ("orders", False))
        sql.execute(PROGRAM_NODE, (UUIDS[7],))


def fill_told(database: Database) -> None:
    """Events of two groups and of a task, and three schedules."""
    with database.connect() as sql:
        for row in (
            (7200.0, "orders", "taken", "node-1", 7, "no heartbeat", "node-1"),
            (60.0, "orders", "released", "node-1", 7, "SIGTERM", "node-1"),
            (50.0, "orders/nightly", "taken", "node-2", 1, None, "node-2"),
            (40.0, "ordersother", "joined", "node-9", None, None, "node-9"),
        ):
            sql.execute(EVENT, row)
        sql.execute(SCHEDULE, ("orders", "ok", None, 40, False, None))
        sql.execute(SCHEDULE, ("orders/nightly", "failed", "exit code 3", -9, False, None))
        sql.execute(SCHEDULE, ("reports", "ok", None, 40, True, "maxCount is reached"))
