"""A task group of real nodes: who runs what, and what becomes of it when something dies."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections import Counter

import pytest

from coordinator.protocol.messages.group_record import OnDone, TaskDef
from coordinator.protocol.rules.timing import lease_of
from tests.support.bounds import within
from tests.support.nodes.processes import eventually
from tests.support.nodes.task_nodes import TaskBed, overlapping, task_bed

NODES = ("A", "B", "C")
#: Time that two shared cores may add to any bound: scheduling, not the protocol.
MACHINE_S = 1.0
#: The livenessCheckInterval where no node dies.
CALM_S = 20.0


@pytest.fixture
def tasks(tmp_path, database):
    with task_bed(tmp_path, database.conninfo, database.schema) as made:
        yield made


@pytest.fixture
def calm(tasks):
    """No node of it dies, and a busy machine makes none seem dead."""
    tasks.liveness_s = CALM_S
    return tasks


def boottime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def group_of(tasks: TaskBed, count: int, *nodes: str) -> None:
    """Start nodes, wait until they are Members, add tasks, wait until all run."""
    for node in nodes:
        tasks.member(node)
    tasks.wait_for_members(*nodes)
    tasks.add(*(TaskDef(name=f"t{number}", spec=tasks.spec()) for number in range(count)))
    wait_until_all_run(tasks, count)


def wait_until_all_run(tasks: TaskBed, count: int, within_s: float = 15.0) -> dict[str, str]:
    """Wait until every task has a beacon that writes; return who runs each."""

    def running() -> dict[str, str]:
        fresh = {run.task: run.node for run in tasks.task_runs() if boottime() - run.last < 0.3}
        return fresh if len(fresh) == count else {}

    found = eventually(running, within_s, lambda: f"{count} tasks run{tasks.story()}")
    assert isinstance(found, dict)
    return found


def test_tasks_spread_and_a_dead_nodes_tasks_move_alone(tasks):
    """H2, K5: only the dead node's tasks move, within the bound, and nobody overlaps."""
    group_of(tasks, 12, *NODES)
    before = tasks.where()
    victim = max(NODES, key=lambda node: list(before.values()).count(node))
    assert set(before.values()) == set(NODES)

    tasks.nodes[victim].send(signal.SIGKILL, "all")
    killed_at = boottime()

    eventually(
        lambda: len(tasks.where()) == 12 and victim not in tasks.where().values(),
        tasks.liveness_s + tasks.heartbeat_s + 10,
        lambda: f"all tasks run without {victim}{tasks.story()}",
    )
    wait_until_all_run(tasks, 12)
    moved = [run for run in tasks.task_runs() if run.first > killed_at]
    assert {run.task for run in moved} == {task for task, node in before.items() if node == victim}
    assert overlapping(tasks.task_runs()) == []
    latest = max(run.first for run in moved)
    bound_s = tasks.liveness_s + 2 * tasks.heartbeat_s + MACHINE_S
    within(latest - killed_at, bound_s)
    assert tasks.standings()[victim] == "rehab"


def test_a_dead_nodes_task_is_stuck_before_it_is_taken(tasks):
    """K5: running, stuck, running, as anybody sees it in SQL; the history says why."""
    group_of(tasks, 3, *NODES)
    # Not the observer's: another node watches it for a whole interval.
    observer = tasks.ask(
        "SELECT task_id FROM {schema}.token_holder WHERE group_id = 'G/_observer'"
    )[0]["task_id"]
    task, victim = next(pair for pair in tasks.where().items() if pair[1] != observer)
    seen: list[tuple[str, str]] = []

    def look() -> bool:
        row = tasks.ask(
            "SELECT state, node FROM {schema}.sys_ongoing_tasks WHERE task = %(t)s", t=task
        )[0]
        if not seen or seen[-1] != (row["state"], row["node"]):
            seen.append((row["state"], row["node"]))
        return row["state"] == "running" and row["node"] != victim

    eventually(lambda: look() or seen[-1] == ("running", victim), 5, f"it is told: {seen}")
    tasks.nodes[victim].send(signal.SIGKILL, "all")
    eventually(look, 15, lambda: f"it runs elsewhere: {seen}{tasks.story()}")

    states = [state for state, _ in seen if state != "starting"]
    assert states == ["running", "stuck", "running"], seen
    how = tasks.ask(
        "SELECT how, from_task FROM {schema}.token_history WHERE group_id = %(token)s AND term = 2",
        token=f"G/{task}",
    )
    assert (how[0]["how"], how[0]["from_task"]) == ("takeover", victim)


def test_a_returning_node_gets_its_share_back_one_by_one(tasks):
    """H5, P4: Rehab, caught up, Member, and three of nine tasks; nothing else moves."""
    group_of(tasks, 9, *NODES)

    tasks.nodes["B"].send(signal.SIGKILL, "all")
    eventually(lambda: tasks.standings()["B"] == "rehab", 10, lambda: f"B in Rehab{tasks.story()}")
    tasks.nodes["B"].process.wait(5)
    between = wait_until_all_run(tasks, 9)
    tasks.member("B")

    tasks.wait_for_members("B")
    even = {"A": 3, "B": 3, "C": 3}
    eventually(lambda: Counter(tasks.where().values()) == even, 15, lambda: f"even{tasks.story()}")
    after = wait_until_all_run(tasks, 9)
    assert {task: node for task, node in after.items() if node != "B"}.items() <= between.items()
    assert overlapping(tasks.task_runs()) == []


def test_killing_the_observer_stops_nothing_else(tasks):
    """H10: its own tasks move, all others run on, and somebody else observes."""
    group_of(tasks, 6, *NODES)
    before = tasks.where()
    observer = tasks.ask(
        "SELECT task_id FROM {schema}.token_holder WHERE group_id = 'G/_observer'"
    )[0]["task_id"]

    tasks.nodes[observer].send(signal.SIGKILL, "all")

    eventually(
        lambda: len(tasks.where()) == 6 and observer not in tasks.where().values(),
        15,
        lambda: f"the tasks of {observer} moved{tasks.story()}",
    )
    wait_until_all_run(tasks, 6)
    runs = tasks.task_runs()
    others = {task for task, node in before.items() if node != observer}
    assert all(len([run for run in runs if run.task == task]) == 1 for task in others)
    assert overlapping(runs) == []
    now = tasks.ask("SELECT task_id FROM {schema}.token_holder WHERE group_id = 'G/_observer'")
    assert now[0]["task_id"] != observer


def test_a_graceful_stop_hands_the_tasks_over_at_once(tasks):
    group_of(tasks, 6, *NODES)

    stopped_at = boottime()
    tasks.nodes["A"].process.terminate()

    assert tasks.nodes["A"].process.wait(10) == 0
    eventually(lambda: "A" not in wait_until_all_run(tasks, 6).values(), 10, tasks.story())
    later = [run for run in tasks.task_runs() if run.first > stopped_at]
    within(max(run.first for run in later) - stopped_at, tasks.liveness_s)
    assert overlapping(tasks.task_runs()) == []


def test_a_preferred_and_a_pinned_task_go_where_they_belong(tasks):
    """H7: the preferred node while it is a Member; the pinned one or nobody."""
    for node in NODES:
        tasks.member(node)
    tasks.wait_for_members(*NODES)
    tasks.add(
        TaskDef(name="preferred", preferred="C", spec=tasks.spec()),
        TaskDef(name="pinned", preferred="C", pinned=True, spec=tasks.spec()),
        TaskDef(name="unknown", preferred="Z", spec=tasks.spec()),
    )
    assert wait_until_all_run(tasks, 3).items() >= {"preferred": "C", "pinned": "C"}.items()

    tasks.nodes["C"].send(signal.SIGKILL, "all")

    eventually(
        lambda: tasks.where().get("preferred") in ("A", "B"), 10, lambda: f"it moved{tasks.story()}"
    )
    assert tasks.where().get("pinned") in (None, "C")
    assert len([run for run in tasks.task_runs() if run.task == "pinned"]) == 1
    tasks.nodes["C"].process.wait(5)
    tasks.member("C")
    eventually(
        lambda: {"preferred": "C", "pinned": "C"}.items() <= wait_until_all_run(tasks, 3).items(),
        20,
        lambda: f"both are back{tasks.story()}",
    )
    assert overlapping(tasks.task_runs()) == []


def test_a_task_without_failover_waits_for_its_node(tasks):
    """H8: it waits for the return of the node that held it last."""
    for node in NODES:
        tasks.member(node)
    tasks.wait_for_members(*NODES)
    tasks.add(TaskDef(name="home", failover=False, spec=tasks.spec()))
    home = wait_until_all_run(tasks, 1)["home"]

    tasks.nodes[home].send(signal.SIGKILL, "all")
    eventually(
        lambda: tasks.standings()[home] == "rehab", 10, lambda: f"{home} is dead{tasks.story()}"
    )
    tasks.nodes[home].process.wait(5)
    tasks.member(home)

    eventually(lambda: len(tasks.task_runs()) == 2, 20, lambda: f"it runs again{tasks.story()}")
    assert {run.node for run in tasks.task_runs()} == {home}
    assert overlapping(tasks.task_runs()) == []


def test_a_task_that_crashes_at_once_moves_on_and_disturbs_nobody(calm):
    """It alone backs off; after so many failed starts its token goes to the next node."""
    group_of(calm, 3, *NODES)
    bad = f'{{"command": "echo $COORD_NODE >> {calm.path}/tried; exit 3", "shell": true}}'

    calm.add(TaskDef(name="bad", spec=bad))

    def tried() -> set[str]:
        path = calm.path / "tried"
        return set(path.read_text().split()) if path.exists() else set()

    eventually(lambda: len(tried()) >= 2, 30, lambda: f"a second node tries{calm.story()}")
    runs = calm.task_runs()
    assert len(runs) == 3, "the others were not touched"
    rows = calm.ask(
        "SELECT * FROM {schema}.sys_ongoing_tasks WHERE group_id = 'G' AND task = 'bad'"
    )
    assert "3" in rows[0]["last_error"]


def test_a_hung_task_loses_only_its_own_token(calm):
    """K7: nine report progress, one stops to; it is killed and started elsewhere."""
    for node in NODES:
        calm.member(node)
    calm.wait_for_members(*NODES)
    reporter = (
        "import os, socket, sys, time\n"
        "address = os.environ['NOTIFY_SOCKET'].replace('@', chr(0), 1)\n"
        "line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "record = open(sys.argv[1], 'a', buffering=1)\n"
        "hangs = os.environ['COORD_TASK'] == 'p0' and int(os.environ['COORD_TERM']) == 1\n"
        "while True:\n"
        "    now = time.clock_gettime(time.CLOCK_BOOTTIME)\n"
        "    name, node, term = (os.environ['COORD_' + key] for key in ('TASK', 'NODE', 'TERM'))\n"
        "    record.write(f'{name} {node} {term} {os.getpid()} {now:.6f}\\n')\n"
        "    if not hangs:\n"
        "        line.sendto(b'WATCHDOG=1', address)\n"
        "    time.sleep(0.2)\n"
    )
    script = calm.path / "reporter.py"
    script.write_text(reporter)
    spec = json.dumps({"command": [sys.executable, "-S", str(script), str(calm.record)]})

    calm.add(*(TaskDef(name=f"p{number}", progress_s=6.0, spec=spec) for number in range(10)))

    eventually(
        lambda: [run for run in calm.task_runs() if run.task == "p0" and run.term > 1],
        20,
        lambda: f"the hung task runs under a new term{calm.story()}",
    )
    by_task = {run.task: 0 for run in calm.task_runs()}
    for run in calm.task_runs():
        by_task[run.task] += 1
    assert by_task.pop("p0") == 2
    assert set(by_task.values()) == {1}
    assert overlapping(calm.task_runs()) == []


def test_a_task_that_is_changed_while_it_runs_is_started_anew(calm):
    group_of(calm, 2, "A", "B")
    with calm.operator() as operator:
        operator.change("G", TaskDef(name="t0", spec=calm.spec(30)), who="test")

    eventually(
        lambda: len([run for run in calm.task_runs() if run.task == "t0"]) == 2,
        10,
        lambda: f"t0 was started again{calm.story()}",
    )
    assert len([run for run in calm.task_runs() if run.task == "t1"]) == 1
    assert overlapping(calm.task_runs()) == []


def test_a_task_that_is_done_is_never_started_again(calm):
    for node in ("A", "B"):
        calm.member(node)
    calm.wait_for_members("A", "B")
    spec = f'{{"command": "echo ran >> {calm.path}/once", "shell": true}}'

    calm.add(TaskDef(name="once", on_done=OnDone.FINISH, spec=spec))

    eventually(
        lambda: calm.ask(
            "SELECT 1 AS done FROM {schema}.sys_ongoing_tasks"
            " WHERE task = 'once' AND state = 'disabled'"
        ),
        10,
        lambda: f"it is done{calm.story()}",
    )
    calm.nodes["A"].process.terminate()
    calm.nodes["A"].process.wait(10)
    assert (calm.path / "once").read_text() == "ran\n"


def test_a_frozen_nodes_programs_are_dead_before_anybody_takes_over(tasks):
    """The agent hangs: its guardian stops every program at its deadline."""
    group_of(tasks, 6, *NODES)

    tasks.nodes["B"].send(signal.SIGSTOP, "agent")
    frozen_at = boottime()

    eventually(
        lambda: "B" not in tasks.where().values(), 15, lambda: f"B lost its tasks{tasks.story()}"
    )
    wait_until_all_run(tasks, 6)
    assert overlapping(tasks.task_runs()) == []
    old = [run for run in tasks.task_runs() if run.node == "B" and run.first < frozen_at]
    within(max(run.last for run in old) - frozen_at, lease_of(tasks.liveness_s) + MACHINE_S)


@pytest.mark.parametrize("shape", [(1, 40), (8, 1)], ids=["1x40", "8x1"])
def test_any_number_of_nodes_and_tasks(tasks, shape):
    """K1."""
    node_count, task_count = shape
    nodes = tuple(f"n{number}" for number in range(node_count))
    tasks.liveness_s, tasks.heartbeat_s = 6.0, 1.0

    for node in nodes:
        tasks.member(node)
    tasks.wait_for_members(*nodes, within_s=60)
    tasks.add(*(TaskDef(name=f"t{number}", spec=tasks.spec(50)) for number in range(task_count)))

    wait_until_all_run(tasks, task_count, within_s=30)
    runs = tasks.task_runs()
    assert len(runs) == task_count, "nothing was started twice"


def test_a_spec_that_nobody_can_read_stops_that_task_alone(calm):
    """No node dies of a row that somebody wrote into the table by hand."""
    group_of(calm, 2, "A", "B")

    calm.add(TaskDef(name="broken", spec='{"nothing": "to run"}'))

    def told() -> bool:
        rows = calm.ask("SELECT last_error FROM {schema}.sys_ongoing_tasks WHERE task = 'broken'")
        return "cannot be read" in str(rows[0]["last_error"])

    eventually(told, 10, lambda: f"the reason is shown{calm.story()}")
    assert len(calm.task_runs()) == 2
    assert all(node.process.poll() is None for node in calm.nodes.values())


def test_a_scheduled_task_that_fails_ends_for_the_whole_group(calm):
    """C5: one run, no other node; everybody can read why."""
    for node in ("A", "B"):
        calm.member(node)
    calm.wait_for_members("A", "B")
    command = ["sh", "-c", f"echo $COORD_NODE >> {calm.record}.runs; exit 4"]
    spec = json.dumps({"command": command, "trigger": {"interval": 0.2}})

    calm.add(TaskDef(name="job", on_done=OnDone.FINISH, spec=spec))

    eventually(
        lambda: calm.ask("SELECT FROM {schema}.task WHERE NOT enabled") and not calm.where(),
        20,
        lambda: f"the task is ended{calm.story()}",
    )
    (task,) = calm.ask("SELECT end_reason FROM {schema}.task")
    assert task["end_reason"] == "run 1 failed: exit code 4 (errorPolicy LOG_AND_TERMINATE)"
    (told,) = calm.ask("SELECT error FROM {schema}.task_node WHERE error <> ''")
    assert told["error"] == "sh: exit code 4"
    with open(f"{calm.record}.runs") as runs:
        assert len(runs.readlines()) == 1
    terms = calm.ask("SELECT term FROM {schema}.token_holder WHERE group_id = 'G/job'")
    assert [row["term"] for row in terms] == [1]


def test_a_scheduled_command_ends_before_its_task_moves(calm):
    """H5: a run that is going on is waited for, and the next node runs no other beside it."""
    for node in ("A", "B"):
        calm.member(node)
    calm.wait_for_members("A", "B")
    script = (
        f"echo begin $COORD_NODE >> {calm.record}.runs;"
        f" while [ ! -e {calm.record}.moved ]; do sleep 0.02; done;"
        f" echo end $COORD_NODE >> {calm.record}.runs"
    )
    spec = json.dumps({"command": ["sh", "-c", script], "trigger": {"interval": 3600}})
    calm.add(TaskDef(name="job", on_done=OnDone.FINISH, stop_timeout_s=14.0, spec=spec))
    eventually(lambda: os.path.exists(f"{calm.record}.runs"), 20, calm.story)
    (first,) = calm.where().values()

    with calm.operator() as operator:
        other = {"A": "B", "B": "A"}[first]
        operator.move(calm.group, "job", preferred=other, who="test")
    eventually(lambda: "told to stop: run 1 has" in calm.nodes[first].said(), 20, calm.story)
    open(f"{calm.record}.moved", "w").close()

    eventually(
        lambda: calm.where().get("job") not in (None, first), 20, lambda: f"moved{calm.story()}"
    )
    with open(f"{calm.record}.runs") as runs:
        assert runs.read().splitlines()[:2] == [f"begin {first}", f"end {first}"]
    (row,) = calm.ask(
        "SELECT last_outcome, fired_count FROM {schema}.schedule WHERE name <> '_hand'"
    )
    assert row == {"last_outcome": "ok", "fired_count": 1}
