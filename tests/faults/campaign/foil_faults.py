"""The same ground and the same judge for the origin's pattern: what it loses, and how."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.faults.campaign.ground import NAMES, SITE, UNITS, Ground, boottime
from tests.faults.campaign.history import Span
from tests.faults.campaign.limits import HEARTBEAT_S, LIVENESS_S
from tests.support.nodes.processes import Bed, RunningNode, bed
from tests.support.servers.postgres import Server

NODE = Path(__file__).with_name("foil_node.py")
TABLES = """
CREATE TABLE origin_token (group_id text PRIMARY KEY, task_id text, term bigint,
    acquired_at timestamptz);
CREATE TABLE origin_health (group_id text, task_id text, last_heartbeat timestamptz,
    PRIMARY KEY (group_id, task_id))
"""
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
HOLDER = "SELECT task_id, term FROM origin_token"


@contextmanager
def origin(path: Path, rng: random.Random) -> Iterator[Ground]:
    """Ground of three nodes that coordinate as the origin did, on one server."""
    with ExitStack() as stack:
        server = Server.create()
        stack.callback(server.remove)
        made = stack.enter_context(bed(path, server.conninfo(), "public"))
        made.liveness_s, made.heartbeat_s = LIVENESS_S, HEARTBEAT_S
        server.query(TABLES)
        server.query(UNITS.replace("{schema}", "public"))
        ground = Ground(made, server, "coord", rng, lambda name: _launch(made, server, name))
        ground.judged_terms = False
        ground.whole = _whole
        for name in NAMES:
            ground.launch(name)
        ground.history.began_at = ground.wait_for_whole()
        yield ground


def _launch(made: Bed, server: Server, name: str) -> RunningNode:
    times = (str(LIVENESS_S), str(HEARTBEAT_S))
    command = [sys.executable, "-S", str(NODE), name, str(made.record), str(SITE)]
    log = made.path / f"{name}.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [*command, server.conninfo(), *times], stdout=out, stderr=out, start_new_session=True
        )
    made.nodes[name] = RunningNode(name, process, log)
    return made.nodes[name]


def _whole(ground: Ground) -> bool:
    """Tell whether the group is whole.

    Three nodes have beaten just now, and for a heartbeat only the one that the row names writes.
    At the start several take the token at once, and each believes in it until its next reading.
    """
    fresh = ground.ask(
        "SELECT count(*) FROM origin_health"
        " WHERE clock_timestamp() - last_heartbeat < make_interval(secs => %s)",
        1.5 * HEARTBEAT_S,
    )
    since = boottime() - HEARTBEAT_S
    writing = [(run.node, run.term) for run in ground.read().runs if run.end > since]
    return fresh == [(len(NAMES),)] and len(writing) == 1 and writing == ground.ask(HOLDER)


def simultaneous_takeover(ground: Ground) -> None:
    """The fault of database_faults.lock_token: both standbys wait at the row, and both win."""
    holding = ground.holder()
    node = ground.node(holding.node)
    with ground.server.connect() as other, ground.outage():
        other.execute("BEGIN")
        other.execute("SELECT FROM origin_token FOR UPDATE")
        node.process.kill()
        node.process.wait(5)
        ground.wait(lambda: ground.ask(WAITING) == [(2,)], "both standbys want the row")
        other.execute("ROLLBACK")
    ground.wait_for_run(after=holding.term)
    ground.pass_time(2 * HEARTBEAT_S)


def paused_holder(ground: Ground) -> None:
    """SIGSTOP for longer than the others wait, then SIGCONT: it works on until its next look."""
    holding = ground.holder()
    pid = ground.node(holding.node).process.pid
    os.kill(pid, signal.SIGSTOP)
    since = boottime()
    ground.wait_for_run(after=holding.term)
    ground.history.frozen.append(Span(since, boottime(), holding.node, True))
    os.kill(pid, signal.SIGCONT)
    ground.pass_time(2 * HEARTBEAT_S)
