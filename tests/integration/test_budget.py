"""The budget, in counts that do not depend on the machine's mood: what a node may cost."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

import coordinator
from coordinator.protocol.messages.requests import Beat, Join
from coordinator.protocol.node.events import StopAsked
from coordinator.protocol.node.state.node import Node, Policy
from coordinator.protocol.rules.timing import Timing
from coordinator.runtime.agent.loop import Agent
from coordinator.runtime.linux.clock import BoottimeClock
from coordinator.store.connection.postgres import PostgresStore
from coordinator.store.node.group_record import READ_RECORD
from coordinator.store.schema import migrate
from coordinator.store.sql.statement import named
from tests.conformance.worlds import GROUP, facts_of
from tests.conftest import Database
from tests.support.nodes.processes import bed
from tests.support.nodes.store_nodes import connected_node, joined_nodes
from tests.support.servers.postgres import Server, wait_until

pytestmark = pytest.mark.real

BEATS = 200
HOT_SHARE_MIN = 0.9
WAITING_BEATS, PAUSE_S = 5, 0.5
TURNS = 300
MANY_TASKS = 500
#: Modules of the guardian's process beyond a bare interpreter: each one costs every node memory
#: and start-up time. Raise these only for a reason that is worth that.
#: Three of them are the gate at which a prepared program waits; one is the word by which it hears
#: of another lease, and one says when a run is killed again.
GUARDIAN_MODULES_MAX = 98
GUARDIAN_OWN_MODULES_MAX = 43
#: Modules that a running node must never load: the command line, the migrations, the schedules.
NOT_IN_THE_AGENT = ("sqlalchemy", "alembic", "pydantic", "apscheduler", "typer", "rich", "tenacity")
NOT_IN_THE_AGENT += ("prometheus_client",)  # before somebody asks for metrics


@pytest.fixture(scope="module")
def talking_server():
    """A server that writes down every statement, and who sent it."""
    server = Server.create(log_statement="all", log_line_prefix="%a|")
    yield server
    server.remove()


@pytest.fixture
def talking(talking_server):
    name = f"budget_{uuid.uuid4().hex[:8]}"
    talking_server.query(f"CREATE DATABASE {name}")
    migrate.upgrade(talking_server.conninfo(name), "app")
    yield Database(talking_server.conninfo(name), "app")
    talking_server.query(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_node_has_one_connection_and_each_beat_is_one_statement_and_one_row(
    talking, talking_server, tmp_path
):
    """The whole process is counted, not its statements one by one: whatever it may send, it pays.

    A new member is a reason to read the roster once; so counting begins after all have beaten on.
    """
    with bed(tmp_path, talking.conninfo, talking.schema) as nodes:
        nodes.heartbeat_s = 0.1
        for name in ("node-1", "node-2"):
            nodes.start(name)
        nodes.wait_for_run()
        nodes.wait_for_standbys(1)
        _beaten_on(talking, 20)

        # Beats are read first and last, so that no counter saw one that they did not.
        beats_before = _beats(talking)
        start, xid = talking_server.log.stat().st_size, _next_xid(talking)
        _beaten_on(talking, 60)
        xids, end = _next_xid(talking) - xid, talking_server.log.stat().st_size
        beats = _beats(talking) - beats_before

        said = _said_by_coord(talking_server, start, end)
        connections = talking_server.query(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'coord'"
            " AND datname = %s",
            _name_of(talking),
        )

    assert connections == [(2,)]
    # A beat of each node may be under way; the server's own housekeeping has transactions too.
    assert len(said) <= beats + 2, said
    assert len(said) >= 50
    assert xids <= beats + 4


def test_a_backend_wakes_for_nothing_but_its_beats(database):
    """A statement_timeout shorter than the pause would ring in each of them: one wake more.

    Beside itself without that limit: whether it waits for its disk is not this test's business.
    """
    with connected_node(database, "a", timeout_s=PAUSE_S) as node:
        session = str(uuid.uuid4())
        node.connection.ask(Join(session=session, previous=None), PAUSE_S)

        def wakes() -> int:
            pid = int(node.connection._connection.info.backend_pid)
            before = _wakes(pid)
            for _ in range(WAITING_BEATS):
                assert node.connection.ask(Beat(session=session), PAUSE_S).done
                threading.Event().wait(PAUSE_S)
            return _wakes(pid) - before

        limited = wakes()
        node.connection._connection.execute("SET statement_timeout = 0")
        free = wakes()

    assert free >= WAITING_BEATS
    assert limited < free + WAITING_BEATS / 2


def test_beats_of_a_group_stay_hot_while_others_join(database):
    """A join writes other columns; the room that beats need is made by beats alone."""
    names = [f"node-{number}" for number in range(10)]
    with joined_nodes(database, *names) as nodes:
        nodes[0].win()
        for _ in range(BEATS // 10):
            for node in nodes:
                assert node.ask(Beat(session=node.session)).done
            late = nodes[-1]
            previous, late.session = late.session, str(uuid.uuid4())
            assert late.ask(Join(session=late.session, previous=previous)).done

    query = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_all_tables WHERE relname='health_check'"
    wait_until(lambda: database.query(query)[0][0] >= BEATS)
    updated, hot = database.query(query)[0]
    assert hot / updated >= HOT_SHARE_MIN


def test_the_guardian_imports_no_more_than_it_did():
    """Without `site`: what an editable install or a .pth file loads is not the guardian's."""
    loaded = modules_of("coordinator.runtime.guardian.__main__", "-S") - modules_of("sys", "-S")

    ours = {name for name in loaded if name.partition(".")[0] == "coordinator"}
    foreign = {
        name for name in loaded - ours if name.partition(".")[0] not in sys.stdlib_module_names
    }
    assert foreign == set()
    assert len(ours) <= GUARDIAN_OWN_MODULES_MAX, sorted(ours)
    assert len(loaded) <= GUARDIAN_MODULES_MAX, sorted(loaded)


def test_the_agent_loads_nothing_of_the_command_line():
    loaded = {name.partition(".")[0] for name in modules_of("coordinator.app.node.compose")}

    assert loaded.isdisjoint(NOT_IN_THE_AGENT)


def test_a_running_agent_has_mapped_nothing_of_the_command_line(database, tmp_path):
    """A late import shows in the memory of the process, not in a fresh import."""
    with bed(tmp_path, database.conninfo, database.schema) as nodes:
        node = nodes.start("node-1")
        nodes.wait_for_run()
        maps = {
            who: Path(f"/proc/{node.pid_of(who)}/maps").read_text() for who in ("guardian", "agent")
        }

    assert "psycopg" in maps["agent"]
    assert "psycopg" not in maps["guardian"]
    for name in ("sqlalchemy", "pydantic", "greenlet"):
        assert name not in maps["agent"]


def test_what_wakes_the_loop_alone_costs_no_step(database):
    """A guardian echoes several times a second; a step of a node with many tasks is dear."""
    facts = facts_of("node-1", hosts_tasks=True)
    program = Wakeful()
    agent = Agent(
        Node(policy=Policy(node="node-1", group=GROUP, priority=0, seed="s"), timing=Timing()),
        PostgresStore(database.conninfo, database.schema, facts),
        program,
        BoottimeClock(),
        lambda *_: None,
    )

    agent.run()
    agent.inbox.close()

    assert program.turns >= TURNS
    assert program.steps < TURNS / 5


def test_reading_many_tasks_looks_each_up_once_whatever_the_planner_believes(database):
    """K1: what it knows may be older than the tasks; then it believes in two of them."""
    database.query("ANALYZE task, token_holder")
    database.query("INSERT INTO group_record (group_id) VALUES (%s)", GROUP)
    database.query(
        "INSERT INTO task (group_id, name, spec)"
        " SELECT %s, 't' || n, '{}' FROM generate_series(1, %s) AS n",
        GROUP,
        MANY_TASKS,
    )
    database.query(
        "INSERT INTO token_holder (group_id)"
        " SELECT %s || '/t' || n FROM generate_series(1, %s) AS n ON CONFLICT DO NOTHING",
        GROUP,
        MANY_TASKS,
    )
    with database.connect() as connection:
        statement = b"EXPLAIN (ANALYZE, FORMAT JSON) " + named(READ_RECORD, database.schema)
        row = connection.execute(statement, {"group": GROUP}).fetchone()

    touched = _rows_touched(row[0][0]["Plan"])
    assert MANY_TASKS < touched <= 5 * MANY_TASKS


# --- counting ---------------------------------------------------------------------------------


class Wakeful:
    """A program port that has nothing to say, and wakes the loop again and again."""

    def __init__(self) -> None:
        self.turns = self.steps = 0

    def fileno(self) -> None:
        return None

    def events(self) -> list[StopAsked]:
        return [StopAsked(BoottimeClock().now(), "enough")] if self.turns == TURNS else []

    def tick(self, now: float) -> tuple[float, tuple[()]]:
        self.turns += 1
        return now + 0.001, ()

    def changed(self, _node: Node) -> None:
        self.steps += 1


def _rows_touched(plan: dict) -> float:
    """Return how many rows the nodes of a plan have handed on or thrown away."""
    seen = plan["Actual Rows"] + sum(n for key, n in plan.items() if key.startswith("Rows Removed"))
    return seen * plan["Actual Loops"] + sum(map(_rows_touched, plan.get("Plans", ())))


def _beats(database) -> int:
    return int(str(database.query("SELECT sum(beat)::bigint FROM health_check")[0][0]))


def _beaten_on(database, count: int) -> None:
    """Wait until so many more beats have been written."""
    enough = _beats(database) + count
    wait_until(lambda: _beats(database) >= enough)


def _wakes(pid: int) -> int:
    """Return how often a process has waited for something and gone on."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])


def _next_xid(database) -> int:
    statement = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
    return int(str(database.query(statement)[0][0]))


def _said_by_coord(server: Server, start: int, end: int) -> list[str]:
    with server.log.open("rb") as log:
        log.seek(start)
        lines = log.read(end - start).decode().splitlines()
    return [
        line
        for line in lines
        if line.startswith("coord|LOG:") and ("execute" in line or "statement:" in line)
    ]


def _name_of(database) -> str:
    return str(conninfo_to_dict(database.conninfo)["dbname"])


def modules_of(module: str, *options: str) -> set[str]:
    """Return what a fresh interpreter has loaded after importing a module."""
    done = subprocess.run(
        [sys.executable, *options, "-c", f"import sys, {module}; print(*sys.modules)"],
        env={**os.environ, "PYTHONPATH": str(Path(coordinator.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())
