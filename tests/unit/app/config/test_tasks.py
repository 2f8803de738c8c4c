"""Tasks in Config.toml: what they mean, what is refused with place and rule, how they travel."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.app.config.loader import load, show
from coordinator.app.config.settings import NodeSettings, TasksPolicySettings, from_json, to_json
from coordinator.app.config.template import config_text
from coordinator.app.node.tasks import policy_said
from coordinator.errors import ConfigError
from coordinator.protocol.messages.group_record import (
    NO_POLICY,
    OnDone,
    OnPartition,
    TaskDef,
    TasksPolicy,
)

FULL = """
taskId = "node-1"
groupId = "night"
heartbeatFrequency = 1
livenessCheckInterval = 30

[tasksPolicy]
failover = false
toMember = "3s"
lateMax = 5
lateWithin = 40
observerGrace = 0
commands = "listed"

[[tasks]]
name = "archive"
command = ["tar", "a b"]
env = { LEVEL = 3, NAME = "é" }
options = { keep = 7, since = 2026-01-02 }
cwd = "/srv"
nodes = ["node-2", "node-1", "node-2"]
preferred = "node-2"
pinned = true
failback = false
onPartition = "continue"
progressTimeout = "30s"
stopTimeout = 4
enabled = false
[tasks.trigger]
cron = "*/5 * * * *"
maxCount = 3
endTime = "2000-01-01"

[[tasks]]
name = "copy"
command = "while :; do date; done"
shell = true
failover = true
onDone = "release"
"""
TASK = '[[tasks]]\nname = "a"\ncommand = "x"\n'


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def loaded(text: str, argv: tuple[str, ...] = (), **flags: object) -> NodeSettings:
    Path("Config.toml").write_text(text)
    return load(None, flags=flags, environ={}, argv=argv)


def refused(text: str, argv: tuple[str, ...] = (), **flags: object) -> str:
    with pytest.raises(ConfigError) as error:
        loaded(text, argv, **flags)
    assert error.value.exit_code == (2 if str(error.value).startswith("--") else 78)
    return str(error.value)


def test_every_key_of_a_task_arrives_in_its_definition():
    settings = loaded(FULL)

    archive, copy = settings.tasks
    assert settings.hosts_tasks
    assert archive == TaskDef(
        name="archive",
        enabled=False,
        nodes=("node-2", "node-1"),
        preferred="node-2",
        pinned=True,
        failover=False,
        failback=False,
        on_partition=OnPartition.CONTINUE,
        on_done=OnDone.FINISH,
        progress_s=30.0,
        stop_timeout_s=4.0,
        spec='{"command":["tar","a b"],"cwd":"/srv","env":{"LEVEL":"3","NAME":"é"},'
        '"options":{"keep":7,"since":"2026-01-02"},"trigger":{"cron":"*/5 * * * *",'
        '"endTime":"2000-01-01T00:00:00+00:00","maxCount":3}}',
    )
    assert copy == TaskDef(
        name="copy",
        on_done=OnDone.RELEASE,
        spec='{"command":"while :; do date; done","shell":true}',
    )
    assert settings.tasks_policy == TasksPolicySettings(
        failover=False,
        to_member_s=3.0,
        late_max=5,
        late_within_s=40.0,
        grace_s=0.0,
        commands="listed",
    )


def test_a_node_of_a_task_group_needs_no_task_of_its_own():
    settings = loaded("hostsTasks = true\nlivenessCheckInterval = 6\nheartbeatFrequency = 0.5\n")

    assert (settings.hosts_tasks, settings.tasks, settings.program) == (True, (), None)
    assert settings.tasks_policy == TasksPolicySettings(
        to_member_s=12.0, late_max=3, late_within_s=60.0, grace_s=1.0
    )
    assert loaded("", hostsTasks=True).origins["hostsTasks"] == "flag --tasks"
    assert not loaded('[program]\ncommand = "x"', hostsTasks=False).hosts_tasks


def test_a_task_defaults_to_running_again_for_ever_wherever_it_can():
    (task,) = loaded(TASK).tasks

    assert task == TaskDef(name="a", spec='{"command":["x"]}')


def test_the_settings_of_tasks_survive_the_way_to_the_agent():
    made = loaded(FULL)

    assert from_json(to_json(made)) == made
    assert isinstance(from_json(to_json(made)).tasks[0].on_partition, OnPartition)


def test_every_task_is_shown_with_the_line_where_it_begins():
    rows = {key: (value, origin) for key, value, origin in show(loaded(FULL))}

    assert rows["tasks.archive"] == (
        "tar 'a b', cron */5 * * * *, until 2000-01-01T00:00:00+00:00, 3 times",
        "Config.toml:15",
    )
    assert rows["tasks.copy"] == ("sh: while :; do date; done", "Config.toml:34")
    assert rows["hostsTasks"] == ("true", "Config.toml:15")
    assert rows["tasksPolicy.toMember"] == ("3", "Config.toml:9")


def test_the_hash_knows_neither_what_commands_a_node_admits_nor_what_is_the_record_s():
    plain, strict = loaded(FULL), loaded(FULL.replace('"listed"', '"any"'))

    assert plain.config_hash == strict.config_hash
    assert loaded(FULL.replace("lateMax = 5", "lateMax = 6")).config_hash == plain.config_hash
    assert loaded(FULL.replace("failover = false", "")).config_hash != plain.config_hash


def test_a_file_says_of_the_policy_what_it_names_and_no_defaults():
    """B11"""
    assert policy_said(loaded(FULL)) == TasksPolicy(
        to_member_s=3.0, late_max=5, late_within_s=40.0, grace_s=0.0
    )
    assert policy_said(loaded("hostsTasks = true\n[tasksPolicy]\nlateMax = 3")) == TasksPolicy(
        late_max=3
    )
    assert policy_said(loaded("hostsTasks = true")) == NO_POLICY


def test_the_example_of_the_template_is_a_task():
    text = config_text()
    block = text[text.index("##   [[tasks]]") : text.index("# [tasksPolicy]")]
    lines = [line[5:] for line in block.splitlines() if line.startswith("##   ")]

    (task,) = loaded("\n".join(re.sub(r" {3,}.*$", "", line) for line in lines)).tasks

    assert (task.name, task.preferred) == ("archive", "node-1")
    assert json.loads(task.spec)["trigger"] == {"interval": 5.0}


BAD_TASKS = (
    ('[[tasks]]\nname = "a"', "Config.toml:1: tasks[0]: needs command or callable"),
    ('[[tasks]]\ncommand = "x"', "Config.toml:1: tasks[0].name: is missing"),
    (
        '[[tasks]]\nname = "_a"\ncommand = "x"',
        "Config.toml:2: tasks[0].name: must be 1 to 127 of ASCII letters, digits and _ . : @ -,"
        " no _ first (it is reserved, as '/' is) (got '_a')",
    ),
    (
        '[[tasks]]\nname = "a/b"\ncommand = "x"',
        "Config.toml:2: tasks[0].name: must be 1 to 127 of ASCII letters, digits and _ . : @ -,"
        " no _ first (it is reserved, as '/' is) (got 'a/b')",
    ),
    (
        f"{TASK}\n{TASK}",
        "Config.toml:6: tasks[1].name: is the name of another task already (Config.toml:2)"
        " (got 'a')",
    ),
    (
        f'[program]\ncommand = "x"\n{TASK}',
        "Config.toml:3: tasks: cannot be combined with [program] (Config.toml:2): a group has one"
        " program, or tasks",
    ),
    (
        'hostsTasks = true\n[program]\ncallable = "a:b"',
        "Config.toml:1: hostsTasks: cannot be combined with [program] (Config.toml:3): a group has"
        " one program, or tasks",
    ),
    (
        f"hostsTasks = false\n{TASK}",
        "Config.toml:1: hostsTasks: must not be false beside [[tasks]]",
    ),
    (
        '[tasks]\nname = "a"',
        "Config.toml:1: tasks: must be tables, each begun with [[tasks]]",
    ),
    ("tasks = [1]", "Config.toml:1: tasks[0]: must be a table"),
    (f"{TASK}comand = 1", "Config.toml:4: tasks[0].comand: unknown key; did you mean 'command'?"),
    (
        f"{TASK}interval = 5",
        "Config.toml:4: tasks[0].interval: unknown key; did you mean 'tasks.trigger.interval'?",
    ),
    (
        f"{TASK}[tasks.trigger]\nintervall = 5",
        "Config.toml:5: tasks[0].trigger.intervall: unknown key; did you mean 'interval'?",
    ),
    (
        f"{TASK}[tasks.trigger]\nmaxCount = 5",
        "Config.toml:4: tasks[0].trigger: needs interval, cron or at",
    ),
    (
        f'{TASK}[tasks.trigger]\ncron = "* *"',
        "Config.toml:5: tasks[0].trigger.cron: must be five cron fields: 2 fields, but a cron line"
        " has 5 (got '* *')",
    ),
    (
        f"{TASK}progressTimeout = -1",
        "Config.toml:4: tasks[0].progressTimeout: must be greater than or equal to 0 (got -1)",
    ),
    (
        f"{TASK}pinned = true",
        "Config.toml:4: tasks[0].pinned: needs preferred: the node that it is pinned to",
    ),
    (
        f'{TASK}preferred = "n1"\nnodes = ["n2"]',
        "Config.toml:4: tasks[0].preferred: must be one of nodes",
    ),
    (
        f'{TASK}onPartition = "run"',
        "Config.toml:4: tasks[0].onPartition: must be 'stop' or 'continue' (got 'run')",
    ),
    (
        f'{TASK}onDone = "stop"',
        "Config.toml:4: tasks[0].onDone: must be 'restart', 'release' or 'finish' (got 'stop')",
    ),
    (
        f'{TASK}env = {{ "A B" = "x" }}',
        "Config.toml:4: tasks[0].env: must have names of ASCII letters, digits and _, no digit"
        " first",
    ),
    (
        f'{TASK}env = {{ COORD_TERM = "x" }}',
        "Config.toml:4: tasks[0].env: must have no name that begins with COORD_: those are the"
        " node's",
    ),
    (
        f"{TASK}env = {{ A = 1.5 }}",
        "Config.toml:4: tasks[0].env: must have texts or whole numbers as values (A has another)",
    ),
    (
        f"{TASK}options = {{ a = inf }}",
        "Config.toml:4: tasks[0].options: must hold what JSON can say: no infinity, nothing"
        " endless",
    ),
    (
        f'{TASK}cwd = "a\\u0000b"',
        "Config.toml:4: tasks[0].cwd: must be Unicode text without NUL",
    ),
    (
        f'hostsTasks = true\n[tasksPolicy]\ncommands = "listed"\n# {TASK[:3]}',
        "Config.toml:3: tasksPolicy.commands: 'listed' needs [[tasks]]: this node would run"
        " nothing",
    ),
    (
        f'[[tasks]]\nname = "a"\ncommand = "{"x" * 70_000}"',
        "Config.toml:1: tasks[0]: must not be longer than 65536 letters of JSON",
    ),
    (
        "[tasksPolicy]\nfailOver = 1",
        "Config.toml:2: tasksPolicy.failOver: unknown key; did you mean 'failover'?",
    ),
    (
        "[tasksPolicy]\ntoMember = -1",
        "Config.toml:2: tasksPolicy.toMember: must be greater than or equal to 0 (got -1)",
    ),
)


@pytest.mark.parametrize(("text", "line"), BAD_TASKS, ids=[line[12:60] for _, line in BAD_TASKS])
def test_a_task_that_cannot_be_is_refused_with_place_key_and_rule(text: str, line: str):
    assert refused(text) == line


def test_the_command_line_cannot_give_a_task_group_a_program():
    assert refused(TASK, ("true",)) == (
        "Config.toml:1: tasks: cannot be combined with [program] (command line): a group has one"
        " program, or tasks"
    )
    assert refused('[program]\ncommand = "x"', hostsTasks=True) == (
        "--tasks: cannot be combined with [program] (Config.toml:2): a group has one"
        " program, or tasks"
    )


def test_there_is_no_token_of_a_task_group_to_wait_for():
    assert refused("", hostsTasks=True, wait="3") == (
        "--wait: cannot be combined with tasks: there is no one token to wait for"
    )


def test_a_task_whose_time_is_over_does_not_keep_its_node_from_starting():
    """The other tasks of the file are none the worse for it; one program would be."""
    over = 'endTime = "2000-01-01"\n'

    assert loaded(f"{TASK}[tasks.trigger]\ninterval = 5\n{over}").tasks
    assert "is over" in refused(f'[program]\ncommand = "x"\n[trigger]\ninterval = 5\n{over}')


TEXTS = st.sampled_from(["", "a", "_", "a/b", "\0", "'", "{pid}", "x" * 300, "COORD_X", "é", "5s"])
SCALARS = st.booleans() | st.integers(-2, 2**65) | st.floats() | TEXTS | st.dates()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)
KEYS = ("name", "command", "callable", "shell", "trigger", "enabled", "nodes", "preferred")
MORE = ("pinned", "onPartition", "onDone", "progressTimeout", "env", "options", "cwd", "other")


@settings(max_examples=300)
@given(st.lists(st.dictionaries(st.sampled_from(KEYS + MORE), VALUES, max_size=5), max_size=3))
def test_any_tasks_are_settings_or_an_error_for_a_person(tables: list[dict[str, Any]]):
    text = tomlkit.dumps({"tasks": [{"name": "a", "command": "x"} | each for each in tables]})
    try:
        made = loaded(text)
    except ConfigError as error:
        said = str(error)
    else:
        said = "Config.toml:"
        assert from_json(to_json(made)) == made
        show(made)

    assert said.startswith("Config.toml:")
    assert "pydantic" not in said
