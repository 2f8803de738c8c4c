"""A task's spec becomes orders for the guardian, or a refusal, and never anything else."""

from __future__ import annotations

import json
import signal

import pytest

from coordinator.app.config.settings import NodeSettings, ProgramSettings, TasksPolicySettings
from coordinator.app.node.one_off.launcher import HANDED
from coordinator.app.node.program_orders import SECRETS, task_orders
from coordinator.app.node.program_orders import orders as program_orders
from coordinator.errors import CommandNotExecutableError, CoordError
from coordinator.protocol.messages.group_record import TaskDef
from coordinator.protocol.node.events import StartProgram
from coordinator.runtime.agent.guardian_link import Orders

SETTINGS = NodeSettings(task_id="n", group_id="G", hosts_tasks=True)


def test_a_program_gets_the_signals_that_its_definition_names():
    named = orders('{"command": ["a"], "forwardSignals": ["HUP", "USR2"]}')

    assert named.forward == (signal.SIGHUP, signal.SIGUSR2)
    assert orders('{"command": ["a"]}').forward == ()
    for wrong in ('["KILL"]', '"HUP"', "[1]", "null"):
        with pytest.raises(CommandNotExecutableError):
            orders(f'{{"command": ["a"], "forwardSignals": {wrong}}}')


def orders(spec: str, settings: NodeSettings = SETTINGS, notify: str | None = None) -> Orders:
    definition = TaskDef(name="t", spec=spec, progress_s=2.0)
    command = StartProgram(1, 7, 10.0, "t")
    return task_orders(settings, 5, command, "session", definition, notify, 1.5)


def test_a_command_is_started_with_its_holding_in_the_environment():
    found = orders('{"command": ["echo", "a"], "env": {"A": "1"}, "options": {"b": 2}}')

    assert found.argv == ("echo", "a")
    assert found.env.items() >= {"A": "1", "COORD_TASK": "t", "COORD_TERM": "7"}.items()
    assert json.loads(found.env["COORD_OPTIONS"]) == {"b": 2}
    assert found.stop_timeout_s == 1.5
    assert "PGPASSWORD" in found.unset


def test_a_task_cannot_name_another_holding_in_its_environment():
    assert orders('{"command": ["a"], "env": {"COORD_TERM": "99"}}').env["COORD_TERM"] == "7"


def test_who_is_to_report_progress_hears_where_and_how_often():
    env = orders('{"command": ["a"]}', notify="@here").env

    assert (env["NOTIFY_SOCKET"], env["WATCHDOG_USEC"]) == ("@here", "2000000")


def test_what_a_node_was_told_as_the_program_of_another_is_not_its_programs():
    """A node in the program of a task: its own program is no task, and has no state there."""
    given = NodeSettings(task_id="n", group_id="G", program=ProgramSettings(argv=("a",)))

    unset = program_orders(given, 5, 7, "session").unset

    assert {"COORD_TASK", "COORD_TASK_SPEC", "COORD_STATE_FILE", "COORD_SCHEDULED_AT"} <= {*unset}
    assert {*HANDED}.isdisjoint({*unset} - {*SECRETS})


@pytest.mark.parametrize(
    "spec",
    [
        "{}",
        "[]",
        "7",
        "not json",
        '{"command": []}',
        '{"command": ["a"], "env": null}',
        '{"command": ["a"], "env": [1]}',
        '{"command": ["a"], "env": {"A": 1}}',
        '{"command": [1, 2]}',
        '{"command": ["a"], "cwd": 5}',
        '{"command": {"a": 1}}',
        '{"callable": 5}',
        '{"command": ["a"], "trigger": {"every": 1}}',
        '{"command": ["a"], "trigger": 7}',
        '{"command": ["a"], "trigger": {}}',
        '{"command": ["a"], "trigger": {"interval": 0}}',
        '{"command": ["a"], "trigger": {"at": "soon"}}',
        '{"command": ["a"], "options": ' + "[" * 60_000 + "]" * 60_000 + "}",
    ],
)
def test_what_cannot_be_read_is_refused(spec):
    """Somebody wrote it by hand: that stops this task alone, and no node."""
    with pytest.raises(CoordError, match="cannot be read"):
        orders(spec)


def test_a_node_that_runs_listed_commands_only_runs_its_own_file():
    listed = TasksPolicySettings(commands="listed")
    own = TaskDef(name="t", spec='{"command": ["mine"]}')
    settings = NodeSettings(
        task_id="n", group_id="G", hosts_tasks=True, tasks=(own,), tasks_policy=listed
    )
    nobodys = NodeSettings(task_id="n", group_id="G", hosts_tasks=True, tasks_policy=listed)

    assert orders('{"command": ["theirs"]}', settings).argv == ("mine",)
    with pytest.raises(CoordError, match="only the"):
        orders('{"command": ["theirs"]}', nobodys)
