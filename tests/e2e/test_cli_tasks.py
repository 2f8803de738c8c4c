"""`coord task`, `nodes`, `observer` and `evict` on rows that SQL put there, and on real nodes.

What each form prints is in the transcripts of tests/e2e/commands.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conftest import Database
from tests.e2e.rows import NIGHT_UUIDS, fill_night, fill_program_group
from tests.support.nodes.processes import bed, eventually

pytestmark = pytest.mark.real


@pytest.fixture
def night(database: Database) -> Database:
    """A task group with a node of each standing and a task of each state; one of one program."""
    fill_night(database)
    fill_program_group(database)
    return database


def coord(
    database: Database, *arguments: str, env: Mapping[str, str] | None = None
) -> tuple[int, str, str]:
    """Run a command on the test's schema; `env` as a program sees it that a node runs."""
    clean = {
        key: value for key, value in os.environ.items() if not key.startswith(("COORD_", "PG"))
    }
    answer = subprocess.run(
        [sys.executable, "-m", "coordinator.cli", *arguments],
        env=clean
        | {"COORD_DATABASE_URL": database.conninfo, "COORD_DATABASE_SCHEMA": database.schema}
        | (env or {}),
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return answer.returncode, answer.stdout, answer.stderr


def task(database: Database, name: str) -> dict[str, object]:
    """Return what `coord task show` says about a task of the group."""
    code, said, trouble = coord(database, "task", "show", name, "-g", "night", "-o", "json")
    assert (code, trouble) == (0, "")
    found: dict[str, object] = json.loads(said)
    return found


def version(database: Database) -> object:
    return database.query("SELECT version FROM group_record WHERE group_id = 'night'")[0][0]


def test_a_task_is_added_with_everything_that_its_flags_say(night: Database) -> None:
    code, said, trouble = coord(
        *(night, "task", "add", "sync", "-g", "night", "--every", "90s", "--node", "node-1"),
        *("--node", "node-2", "--preferred", "node-2", "--pinned", "--no-failover"),
        *("--no-failback", "--on-partition", "continue", "--on-done", "release"),
        *("--progress-timeout", "30s", "--stop-timeout", "2", "--env", "A=b=c", "--cwd", "/srv"),
        *("--options", '{"deep": [1]}', "--shell", "--", "cat", "|", "wc"),
    )

    assert (code, trouble) == (0, "")
    assert said == "night/sync: added; node-2: pinned\n"
    found = task(night, "sync")
    assert {key: found[key] for key in ("enabled", "nodes", "preferred", "pinned")} == {
        "enabled": True,
        "nodes": ["node-1", "node-2"],
        "preferred": "node-2",
        "pinned": True,
    }
    assert (found["failover"], found["failback"]) == (False, False)
    assert (found["onPartition"], found["onDone"]) == ("continue", "release")
    assert (found["progressTimeout"], found["stopTimeout"]) == (30.0, 2.0)
    assert (found["origin"], found["revision"], found["state"]) == ("cli", 1, "waiting")
    assert found["spec"] == {
        "command": "cat | wc",
        "shell": True,
        "cwd": "/srv",
        "env": {"A": "b=c"},
        "options": {"deep": [1]},
        "trigger": {"interval": 90.0},
    }


def test_every_change_raises_the_version_that_all_nodes_look_at(night: Database) -> None:
    """H3: whatever changes the record makes every node evaluate all tasks again."""
    seen = [version(night)]
    for arguments in (
        ("task", "add", "sync", "--", "true"),
        ("task", "add", "sync", "--replace", "--", "false"),
        ("task", "disable", "sync", "--reason", "deploy 4711"),
        ("task", "enable", "sync"),
        ("task", "move", "sync", "--to", "node-2", "--pin"),
        ("task", "delete", "sync", "--yes"),
        ("observer", "suspend", "--reason", "maintenance"),
        ("observer", "resume"),
        ("evict", "node-5", "--yes"),
    ):
        code, _, trouble = coord(night, "-g", "night", *arguments)
        assert (code, trouble) == (0, ""), arguments
        seen.append(version(night))

    assert seen == sorted(set(seen))


def test_a_changed_definition_has_a_new_revision(night: Database) -> None:
    coord(night, "task", "add", "sync", "-g", "night", "--", "true")
    code, said, _ = coord(night, "task", "add", "sync", "-g", "night", "--replace", "--", "false")

    assert (code, said.split(";")[0]) == (0, "night/sync: defined")
    assert (task(night, "sync")["revision"], task(night, "sync")["spec"]) == (
        2,
        {"command": ["false"]},
    )


def test_a_changed_task_stays_disabled_and_a_finished_one_begins_again(night: Database) -> None:
    coord(night, "task", "disable", "copy", "-g", "night")

    for name in ("copy", "once"):
        coord(night, "task", "add", name, "-g", "night", "--replace", "--", "false")

    assert (task(night, "copy")["enabled"], task(night, "once")["enabled"]) == (False, True)


def test_a_disabled_task_runs_nowhere_and_is_enabled_again(night: Database) -> None:
    code, said, _ = coord(night, "task", "disable", "archive", "-g", "night", "--reason", "why not")
    assert (code, said) == (0, "night/archive: disabled\n")
    assert task(night, "archive")["state"] == "disabled"

    code, said, _ = coord(night, "task", "enable", "archive", "-g", "night")
    assert code == 0
    assert said.startswith("night/archive: enabled; node-")


def test_a_moved_task_prefers_its_new_node(night: Database) -> None:
    code, said, trouble = coord(night, "task", "move", "archive", "-g", "night", "--to", "node-2")

    assert (code, said, trouble) == (
        0,
        "night/archive: prefers node-2; node-2: preferred\n",
        "",
    )
    assert (task(night, "archive")["preferred"], task(night, "archive")["pinned"]) == (
        "node-2",
        False,
    )
    coord(night, "task", "move", "archive", "-g", "night", "--to", "node-1", "--pin")
    assert task(night, "archive")["pinned"] is True
    coord(night, "task", "move", "archive", "-g", "night", "--to", "node-2")
    assert task(night, "archive")["pinned"] is True  # nobody said otherwise


@pytest.mark.parametrize(
    "arguments",
    [
        ("task", "add", "sync", "--preferred", "node-9", "--", "true"),
        ("task", "move", "copy", "--to", "node-9"),
    ],
)
def test_an_unknown_preferred_node_is_kept_with_a_warning(
    arguments: tuple[str, ...], night: Database
) -> None:
    code, _, trouble = coord(night, "-g", "night", *arguments)

    assert code == 0
    assert trouble.startswith("coord: warning: ")
    assert "node-9" in trouble
    assert len(trouble.splitlines()) == 1
    assert task(night, arguments[2])["preferred"] == "node-9"


def test_a_deleted_task_is_gone_but_its_terms_go_on(night: Database) -> None:
    code, said, trouble = coord(night, "task", "delete", "fetch", "-g", "night", "--yes")

    assert (code, said, trouble) == (0, "night/fetch: deleted\n", "")
    assert coord(night, "task", "show", "fetch", "-g", "night")[0] == 4
    assert night.query("SELECT term FROM token_holder WHERE group_id = 'night/fetch'") == [(7,)]
    coord(night, "task", "add", "fetch", "-g", "night", "--", "true")
    assert (task(night, "fetch")["term"], task(night, "fetch")["revision"]) == (7, 2)


def test_nobody_deletes_without_being_asked(night: Database) -> None:
    for arguments in (("task", "delete", "copy"), ("evict", "node-5")):
        code, said, trouble = coord(night, *arguments, "-g", "night")

        assert (code, said) == (2, "")
        assert "--yes" in trouble
    assert task(night, "copy")["enabled"] is True


@pytest.mark.parametrize(("answer", "code", "left"), [("n", 1, 4), ("y", 0, 3)])
def test_a_person_at_a_terminal_is_asked(
    answer: str, code: int, left: int, night: Database
) -> None:
    person, terminal = os.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "coordinator.cli", "task", "delete", "copy", "-g", "night"],
            env=os.environ
            | {"COORD_DATABASE_URL": night.conninfo, "COORD_DATABASE_SCHEMA": night.schema},
            cwd="/",
            stdin=terminal,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.write(person, f"{answer}\n".encode())
        _, asked = process.communicate(timeout=60)
    finally:
        os.close(person)
        os.close(terminal)

    assert process.returncode == code
    assert "Delete task copy of night?" in asked
    assert night.query("SELECT count(*) FROM task WHERE enabled AND NOT deleted") == [(left,)]


def test_a_task_of_a_group_without_nodes_waits_for_the_first(database: Database) -> None:
    code, said, trouble = coord(database, "task", "add", "sync", "-g", "night", "--", "true")

    assert (code, trouble) == (0, "")
    assert said == "night/sync: added; nobody may: no live Member\n"
    assert task(database, "sync")["state"] == "waiting"


def test_observer_can_be_suspended_and_says_by_whom_and_why(night: Database) -> None:
    code, said, _ = coord(night, "observer", "suspend", "-g", "night", "--reason", "new switch")
    assert (code, said) == (0, "night: the observer is suspended\n")

    _, said, _ = coord(night, "observer", "status", "-g", "night", "-o", "json")
    assert json.loads(said)["suspended"]["reason"] == "new switch"
    assert json.loads(said)["suspended"]["by"]
    _, said, _ = coord(night, "observer", "suspend", "-g", "night")
    assert said == "night: the observer was already suspended\n"

    coord(night, "observer", "resume", "-g", "night")
    _, said, _ = coord(night, "observer", "-g", "night", "-o", "json")
    assert json.loads(said)["suspended"] is None


def test_the_policy_of_a_group_is_shown_and_changed_for_all_nodes(night: Database) -> None:
    """H3"""
    before = version(night)
    arguments = ("observer", "policy", "-g", "night")
    code, said, _ = coord(night, *arguments, "toMember=10s", "lateMax=0", "--reason", "slow disks")
    assert (code, said) == (0, "night: the policy is changed\n")
    assert version(night) == before + 1  # type: ignore[operator]

    _, said, _ = coord(night, *arguments, "-o", "json")

    policy = {"toMember": 10.0, "lateMax": 0, "lateWithin": None, "observerGrace": None}
    assert json.loads(said)["policy"] == policy
    _, said, _ = coord(night, *arguments, "toMember=10")
    assert said == "night: the policy is unchanged\n"
    coord(night, *arguments, "toMember=default", "lateMax=default")
    _, said, _ = coord(night, *arguments, "-o", "tsv")
    assert said.splitlines()[:2] == ["key\tvalue", "toMember\t"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("toMember", "'toMember' is not KEY=VALUE"),
        ("member=3", "the keys are toMember, lateMax, lateWithin, observerGrace"),
        ("lateMax=-1", "lateMax: '-1' is not a number from 0 to 1000000"),
        ("lateWithin=0", "lateWithin: '0' is not a time"),
        ("toMember=soon", "toMember: 'soon' is not a time"),
    ],
)
def test_a_policy_that_cannot_be_is_refused_in_words(
    night: Database, change: str, told: str
) -> None:
    code, _, trouble = coord(night, "observer", "policy", change, "-g", "night")

    assert code == 2
    assert told in " ".join(trouble.split())


def test_decisions_of_another_time_are_left_out(night: Database) -> None:
    code, said, _ = coord(night, "observer", "decisions", "-g", "night", "--since", "1ms")

    assert (code, said) == (0, "no decisions in this time\n")


def test_an_evicted_node_is_forgotten(night: Database) -> None:
    code, said, _ = coord(night, "evict", "node-5", "-g", "night", "--yes")

    assert (code, said) == (0, "night: node-5 is removed\n")
    _, said, _ = coord(night, "nodes", "night", "-o", "json")
    assert [node["taskId"] for node in json.loads(said)["nodes"]] == [
        *("node-1", "node-2", "node-3", "node-4", "node-6"),
    ]


def test_a_cursor_is_saved_under_its_term_and_read_by_anybody(night: Database) -> None:
    """H12: what a stale holder would save is refused."""
    environment = {"COORD_GROUP": "night", "COORD_NODE": "node-1", "COORD_TASK": "archive"}
    environment |= {"COORD_SESSION": NIGHT_UUIDS[1]}

    assert coord(night, "task", "cursor", "archive", "-g", "night")[:2] == (0, "null\n")
    save = ("task", "cursor", "--save", '{"upto": 4711}')
    code, said, trouble = coord(night, *save, env=environment | {"COORD_TERM": "8"})
    assert (code, said, trouble) == (0, "", "")

    code, said, _ = coord(night, "task", "cursor", env=environment | {"COORD_TERM": "9"})
    assert (code, json.loads(said)) == (0, {"upto": 4711})
    for stale in ({"COORD_TERM": "7"}, {"COORD_TERM": "8", "COORD_SESSION": NIGHT_UUIDS[2]}):
        code, said, trouble = coord(night, "task", "cursor", "--save", "1", env=environment | stale)
        assert (code, said) == (76, "")
        assert len(trouble.splitlines()) == 1
    _, said, _ = coord(night, "task", "cursor", "archive", "-g", "night", "-o", "json")
    assert (json.loads(said)["cursor"], json.loads(said)["saveCount"]) == ({"upto": 4711}, 1)


BAD = (
    (("task", "list", "-g", "nope"), 4, "there is no group 'nope'"),
    (("nodes", "nope"), 4, "there is no group 'nope'"),
    (("observer", "-g", "nope"), 4, "there is no group 'nope'"),
    (("observer", "decisions", "-g", "nope"), 4, "there is no group 'nope'"),
    (("observer", "suspend", "-g", "nope"), 4, "there is no group 'nope'"),
    (("evict", "node-1", "--yes", "-g", "nope"), 4, "there is no group 'nope'"),
    (("task", "show", "nope", "-g", "night"), 4, "there is no task 'nope'"),
    (("task", "show", "gone", "-g", "night"), 4, "there is no task 'gone'"),
    (("task", "enable", "nope", "-g", "night"), 4, "there is no task 'nope'"),
    (("task", "disable", "nope", "-g", "night"), 4, "there is no task 'nope'"),
    (("task", "delete", "nope", "--yes", "-g", "night"), 4, "there is no task 'nope'"),
    (("task", "move", "nope", "--to", "node-1", "-g", "night"), 4, "there is no task 'nope'"),
    (("task", "cursor", "nope", "-g", "night"), 4, "there is no task 'nope'"),
    (("evict", "nope", "--yes", "-g", "night"), 4, "there is no node 'nope'"),
    (("task", "add", "copy", "-g", "night", "--", "true"), 2, "there is a task 'copy' already"),
    (("task", "add", "a/b", "-g", "night", "--", "true"), 2, "argument NAME: must be"),
    (("task", "add", "_a", "-g", "night", "--", "true"), 2, "argument NAME: must be"),
    (("task", "add", "a", "-g", "night"), 2, "give a COMMAND after --, or --callable"),
    (
        ("task", "add", "a", "-g", "night", "--callable", "x", "--", "true"),
        2,
        "--callable: must be",
    ),
    (
        ("task", "add", "a", "-g", "night", "--cron", "* *", "--", "true"),
        2,
        "--cron: must be five cron fields",
    ),
    (
        ("task", "add", "a", "-g", "night", "--every", "-5", "--", "true"),
        2,
        "--every: must not be negative",
    ),
    (
        ("task", "add", "a", "-g", "night", "--every", "5", "--cron", "* * * * *", "--", "true"),
        2,
        "--cron: cannot be combined with interval",
    ),
    (
        ("task", "add", "a", "-g", "night", "--progress-timeout", "soon", "--", "true"),
        2,
        "--progress-timeout: must be seconds",
    ),
    (
        ("task", "add", "a", "-g", "night", "--pinned", "--", "true"),
        2,
        "--pinned: needs preferred",
    ),
    (
        ("task", "add", "a", "-g", "night", "--env", "COORD_X=1", "--", "true"),
        2,
        "--env: must have no name",
    ),
    (("task", "add", "a", "-g", "night", "--env", "A", "--", "true"), 2, "--env: must"),
    (
        ("task", "add", "a", "-g", "night", "--options", "{", "--", "true"),
        2,
        "--options: must be JSON",
    ),
    (
        ("task", "add", "a", "-g", "night", "--options", "[]", "--", "true"),
        2,
        "--options: must be a table",
    ),
    (("task", "move", "copy", "--to", "a/b", "-g", "night"), 2, "--to: must be"),
    (("task", "add", "a", "-g", "orders", "--", "true"), 2, "orders: its nodes run one program"),
    (("evict", "node-1", "--yes", "-g", "night"), 3, "node-1"),
    (("task", "add", "a", "--on-partition", "run", "--", "true"), 2, "'run'"),
    (("task", "add"), 2, "NAME"),
    (("task", "move", "copy"), 2, "--to"),
    (("task", "cursor"), 2, "COORD_TASK"),
    (("task", "cursor", "copy", "-g", "night", "--save", "1"), 2, "COORD_TERM"),
    (("task", "cursor", "copy", "-g", "night", "--save", "{"), 2, "--save: must be"),
    (("observer", "decisions", "--since", "soon"), 2, "soon"),
    (("nodes", "night", "-g", "other"), 2, "differ"),
    (("run", "--tasks", "--", "true"), 2, "cannot be combined with [program] (command line)"),
    (("run", "--tasks", "-n"), 2, "--nonblock: cannot be combined with tasks"),
)


@pytest.mark.parametrize(("arguments", "code", "said"), BAD, ids=[" ".join(row[0]) for row in BAD])
def test_bad_input_has_its_code_and_one_line_and_changes_nothing(
    arguments: tuple[str, ...], code: int, said: str, night: Database
) -> None:
    before = version(night)

    found, out, trouble = coord(night, *arguments)

    assert (found, out) == (code, "")
    assert said in trouble
    assert "Traceback" not in trouble
    if code != 2:
        assert len(trouble.splitlines()) == 1
    assert version(night) == before


def test_a_group_of_one_program_has_nodes_too(night: Database) -> None:
    assert coord(night, "nodes", "orders")[0] == 0
    assert coord(night, "task", "list", "-g", "orders")[0] == 0


def test_what_others_wrote_cannot_command_the_terminal(night: Database) -> None:
    night.query("UPDATE task_node SET error = E'\\x1b[31mred'")

    for arguments in (("task", "list"), ("task", "show", "copy")):
        _, said, _ = coord(night, *arguments, "-g", "night", "--color", "always")

        assert "\x1b[31mred" not in said
        assert "?[31mred" in said


def test_status_checks_that_a_task_group_has_an_observer(night: Database) -> None:
    assert coord(night, "status", "night", "--check")[0] == 0

    night.query("UPDATE token_holder SET session = NULL WHERE group_id = 'night/_observer'")

    assert coord(night, "status", "night", "--check")[0] == 3


def test_the_view_for_people_is_the_list(night: Database) -> None:
    _, said, _ = coord(night, "task", "list", "-g", "night", "-o", "json")

    rows = night.query(
        f"SELECT task, state, node, term FROM {night.schema}.sys_ongoing_tasks ORDER BY 1"
    )
    assert rows == [
        tuple(each[key] for key in ("name", "state", "node", "term"))
        for each in json.loads(said)["tasks"]
    ]


def test_a_schema_without_tables_is_exit_code_78_and_says_what_to_do(unmigrated: Database) -> None:
    for arguments in (("task", "list"), ("nodes",), ("observer",), ("task", "add", "a", "true")):
        code, said, trouble = coord(unmigrated, *arguments)

        assert (code, said) == (78, "")
        assert "coord db upgrade" in trouble
        assert len(trouble.splitlines()) == 1


#: Arguments of a node of the group; the first one also defines a task.
HOST = """
hostsTasks = true
[tasksPolicy]
toMember = 0.3
"""
FILED = f"""
{HOST}
[[tasks]]
name = "filed"
command = ["sleep", "600"]
preferred = "node-1"
"""
#: A program in shell that goes on where the last holder was.
COUNTING = """
seen=$($0 -m coordinator.cli task cursor)
$0 -m coordinator.cli task cursor --save "$((${seen#null} + 1))"
echo "$COORD_NODE term $COORD_TERM cursor $($0 -m coordinator.cli task cursor)" >> RECORD
sleep 600
"""


def test_tasks_of_real_nodes_are_added_moved_and_taken_over(
    database: Database, tmp_path: Path
) -> None:
    """H1, H7, H12: from a file and from the command line, with a cursor, through a death."""

    def runs(name: str, node: str) -> bool:
        found = task(database, name)
        return (found["state"], found["node"]) == ("running", node)

    def live() -> set[object]:
        _, said, _ = coord(database, "nodes", "night", "-o", "json")
        return {each["taskId"] for each in json.loads(said)["nodes"] if each["state"] != "ended"}

    record = tmp_path / "counted"
    program = COUNTING.replace("RECORD", str(record)).replace("$0", sys.executable)
    with bed(tmp_path, database.conninfo, database.schema, group="night") as made:
        made.start("node-1", "--pass-database", config=FILED)
        made.start("node-2", "--pass-database", config=HOST)
        # The group itself comes with the first of them.
        eventually(lambda: coord(database, "nodes", "night")[0] == 0, 20, "a group")
        eventually(lambda: live() == {"node-1", "node-2"}, 20, "two nodes")
        code, _, trouble = coord(
            *(database, "task", "add", "count", "-g", "night", "--preferred", "node-2"),
            *("--shell", "--", program),
        )
        assert (code, trouble) == (0, "")
        eventually(lambda: runs("filed", "node-1"), 20, "the file's task on its node")
        eventually(lambda: record.exists(), 20, "the added task on its node")

        coord(database, "task", "move", "filed", "-g", "night", "--to", "node-2")
        eventually(lambda: runs("filed", "node-2"), 20, "the file's task on the other node")

        made.nodes["node-2"].send(signal.SIGKILL, "all")
        eventually(lambda: runs("filed", "node-1"), 20, "the file's task where a node is left")
        eventually(lambda: record.read_text().count("\n") == 2, 20, "the other task too")

        assert record.read_text() == "node-2 term 1 cursor 1\nnode-1 term 2 cursor 2\n"
        assert (task(database, "filed")["term"], task(database, "filed")["origin"]) == (3, "file")
        assert coord(database, "evict", "node-1", "-g", "night", "--yes")[0] == 3
        assert coord(database, "evict", "node-2", "-g", "night", "--yes")[0] == 0
        assert live() == {"node-1"}
