"""Pictures of the page for docs/images, drawn from rows that look like an ordinary day.

python -m tests.browser.pictures      what `make pictures` runs
"""

from __future__ import annotations

import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb

from coordinator.store.schema import migrate
from tests.support.servers.page import served
from tests.support.servers.postgres import Server

IMAGES = Path(__file__).parents[2] / "docs/images"
SCHEMA = "coord"
#: Picture, group, scheme of colours, size of the window; None: as high as the page.
PICTURES = (
    ("page-light", "orders", "light", (1280, 1060)),
    ("page-dark", "night", "dark", (1280, 1060)),
    ("page-phone", "reports", "light", (390, 844)),
)
GROUPS = {"billing": 3, "night": 4, "orders": 3, "reports": 3}
SILENT = ("reports", "node-3")
BEAT_EVERY_S = 0.2

NODE = """
INSERT INTO health_check (
    task_id, group_id, last_heartbeat, session, beat, liveness_ms, lease_ms, heartbeat_ms,
    host, pid, version, config_hash, isolation, joined_at, started_at, standing, caught_up,
    seen_version, hosts_tasks
) VALUES (
    %s, %s, now(), %s, 7, 6000, 4800, 1000, %s, %s, '0.1.0', 'a91f', 'cgroup',
    now() - interval '3 hours', now() - interval '3 hours', 'member', true, 12, %s
)
"""
TOKEN = """
INSERT INTO token_holder (group_id, task_id, term, session, acquired_at)
VALUES (%s, %s, %s, %s, now() - make_interval(mins => %s))
ON CONFLICT (group_id) DO UPDATE SET task_id = excluded.task_id, term = excluded.term,
    session = excluded.session, acquired_at = excluded.acquired_at, released_at = NULL
"""
TERM = """
INSERT INTO token_history (
    group_id, term, task_id, session, acquired_at, ended_at, how, reason, end_how, end_reason,
    from_task, active_until, detected_ms
) VALUES (
    %(group)s, %(term)s, %(node)s, %(session)s, now() - make_interval(secs => %(age)s),
    now() - make_interval(secs => %(end)s), %(how)s, %(reason)s, %(end_how)s, %(end_reason)s,
    %(previous)s, now() - make_interval(secs => %(end)s), 0
)
"""
TOLD = """
INSERT INTO task_node (group_id, task, node, state, term, told_at)
VALUES ('night', %s, %s, 'running', %s, now() - interval '30 minutes')
"""
TASK = "INSERT INTO task (group_id, name, spec) VALUES ('night', %s, %s)"
DECISION = """
INSERT INTO observer_decision (
    group_id, version, at, observer, term, node, kind, before, after, reason
) VALUES ('night', %s, now() - make_interval(mins => %s), 'node-1', 3, %s, %s, %s, %s, %s)
"""
SCHEDULE = """
INSERT INTO schedule (
    group_id, fired_count, skipped_count, last_fire_at, last_finished_at, last_outcome, last_error,
    last_duration_ms, next_fire_at, ended
) VALUES (%s, %s, 2, now() - interval '40 minutes', now() - interval '39 minutes', %s, %s, %s,
    now() + interval '20 minutes', false)
"""
#: A beat is as old as its node's number makes it; the silent node's only grows.
BEATS = """
UPDATE health_check SET last_heartbeat =
    now() - make_interval(secs => 0.15 + 0.25 * right(task_id, 1)::int)
WHERE (group_id, task_id) <> (%s, %s)
"""
SILENCE = """
UPDATE health_check SET last_heartbeat = now() - interval '6.4 seconds'
WHERE (group_id, task_id) = (%s, %s)
"""
#: Terms of orders: node, minutes from now to its begin, gap before, and how it began.
TERMS = (
    ("node-1", 170, None, "first", None),
    ("node-2", 121, 6.21, "takeover", "no heartbeat of node-1 for 6.04 s"),
    ("node-3", 104, 0.35, "release", "switchover to node-3 by ana@web-1: kernel update"),
    ("node-1", 97, 6.63, "takeover", "no heartbeat of node-3 for 6.02 s"),
    ("node-3", 61, 0.12, "release", "SIGTERM"),
    ("node-2", 44, 6.18, "takeover", "no heartbeat of node-3 for 6.03 s"),
    ("node-1", 29, 0.41, "release", "switchover to node-1 by ana@web-1: rolling upgrade"),
    ("node-2", 14, 7.40, "takeover", "no heartbeat of node-1 for 6.05 s"),
)
TASKS = ("archive", "billing-export", "copy", "digest", "fetch", "index", "mail", "probe", "report")


def fill(sql: psycopg.Connection[tuple[object, ...]]) -> None:
    """Write an ordinary day."""
    sessions: dict[tuple[str, str], uuid.UUID] = {}
    for group, count in GROUPS.items():
        sql.execute(
            "INSERT INTO group_record (group_id, version, hosts_tasks) VALUES (%s, 12, %s)",
            (group, group == "night"),
        )
        for place in range(1, count + 1):
            name, session = f"node-{place}", uuid.uuid4()
            sessions[group, name] = session
            sql.execute(NODE, (name, group, session, f"web-{place}", 400 + place, group == "night"))
    for token, node, term, minutes in (
        ("orders", "node-2", 8, 14),
        ("billing", "node-1", 3, 2900),
        ("reports", "node-3", 5, 32),
        ("night/_observer", "node-1", 3, 55),
    ):
        group = token.partition("/")[0]
        sql.execute(TOKEN, (token, node, term, sessions[group, node], minutes))
    _terms(sql, sessions)
    for place, name in enumerate(TASKS):
        node = f"node-{place % 4 + 1}"
        spec = {"command": ["poll"], "trigger": {"interval": 3600.0}}
        sql.execute(TASK, (name, Jsonb(spec)))
        if name != "mail":
            sql.execute(TOKEN, (f"night/{name}", node, place + 1, sessions["night", node], 30))
            sql.execute(TOLD, (name, node, place + 1))
    for name, outcome, error, took in (
        ("night/archive", "ok", None, 5400),
        ("night/report", "failed", "exit code 3", 800),
    ):
        sql.execute(SCHEDULE, (name, 168, outcome, error, took))
    for version, minutes, node, kind, before, after, reason in (
        (10, 55, "node-4", "end", "live", "ended", "no heartbeat for 6 s"),
        (11, 48, "node-4", "standing", "rehab", "member", "live for 12 s"),
    ):
        sql.execute(DECISION, (version, minutes, node, kind, before, after, reason))


def _terms(
    sql: psycopg.Connection[tuple[object, ...]], sessions: dict[tuple[str, str], uuid.UUID]
) -> None:
    for place, (node, minutes, _, how, reason) in enumerate(TERMS):
        later = TERMS[place + 1] if place + 1 < len(TERMS) else None
        ended_s = None if later is None else later[1] * 60 + (later[2] or 0.0)
        row = {
            "group": "orders",
            "term": place + 1,
            "node": node,
            "session": sessions["orders", node],
            "age": minutes * 60,
            "end": ended_s,
            "how": how,
            "reason": reason,
            "end_how": None if later is None else later[3],
            "end_reason": None if later is None else later[4],
            "previous": TERMS[place - 1][0] if place else None,
        }
        sql.execute(TERM, row)


@contextmanager
def beating(conninfo: str) -> Iterator[None]:
    """Keep the heartbeats young for the body of a `with`."""
    over = threading.Event()

    def beat() -> None:
        with psycopg.connect(conninfo, autocommit=True) as sql:
            while not over.wait(BEAT_EVERY_S):
                sql.execute(BEATS, SILENT)
                sql.execute(SILENCE, SILENT)

    thread = threading.Thread(target=beat, name="heartbeats")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def draw(url: str) -> None:
    """Write all pictures."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        for name, group, scheme, (width, height) in PICTURES:
            tab = chromium.new_page(
                viewport={"width": width, "height": height}, color_scheme=scheme
            )
            tab.goto(f"{url}#group={group}")
            tab.wait_for_function(
                "(name) => document.getElementById('name').textContent === name", arg=group
            )
            tab.wait_for_selector("body:not(.old) #terms svg")
            tab.screenshot(path=IMAGES / f"{name}.png")
        chromium.close()


def main() -> None:
    """Start a server, fill it, and draw."""
    IMAGES.mkdir(exist_ok=True)
    server = Server.create()
    try:
        server.query("CREATE DATABASE shop")
        conninfo = server.conninfo("shop")
        migrate.upgrade(conninfo, SCHEMA)
        placed = make_conninfo(conninfo, options=f"-c search_path={SCHEMA}")
        with psycopg.connect(placed) as sql:
            fill(sql)
        with (
            tempfile.TemporaryDirectory() as home,
            beating(placed),
            served(conninfo, SCHEMA, Path(home)) as page,
        ):
            draw(page.url)
    finally:
        server.remove()


if __name__ == "__main__":
    main()
