"""Definitions of tasks from flags, in their one written form, and in words."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from coordinator.app.config.loader import load
from coordinator.app.config.model.values import moment
from coordinator.app.config.task_spec import (
    SPEC_LETTERS_MAX,
    Keys,
    spec_text,
    task_from_flags,
    trigger_from,
)
from coordinator.errors import ConfigError, UsageError
from coordinator.protocol.messages.group_record import OnDone, TaskDef
from coordinator.protocol.messages.schedule import Trigger


def made(**values: object) -> TaskDef:
    keyed: dict[Keys, object] = {tuple(key.split("__")): each for key, each in values.items()}
    return task_from_flags(
        {("name",): "copy", ("command",): ["cp", "a b"], **keyed}, {("name",): "argument NAME"}
    )


def test_flags_and_the_file_give_one_and_the_same_definition(tmp_path: Path):
    text = (
        '[[tasks]]\nname = "copy"\ncommand = "cp \'a b\'"\nenv = { B = "2", A = "1" }\n'
        'preferred = "n1"\n[tasks.trigger]\ninterval = "5s"\n'
    )
    (tmp_path / "Config.toml").write_text(text)

    (filed,) = load(str(tmp_path / "Config.toml"), flags={}, environ={}).tasks

    assert filed == made(trigger__interval="5", env={"A": "1", "B": "2"}, preferred="n1")


def test_a_spec_has_one_form_whatever_order_things_were_said_in():
    assert (
        made(env={"B": "2", "A": "1"}, options={"y": 1, "x": {"b": 1, "a": 2}}).spec
        == made(options={"x": {"a": 2, "b": 1}, "y": 1}, env={"A": "1", "B": "2"}).spec
        == '{"command":["cp","a b"],"env":{"A":"1","B":"2"},"options":{"x":{"a":2,"b":1},"y":1}}'
    )


def test_signals_have_one_order_in_the_spec():
    assert json.loads(made(forwardSignals=["USR1", "HUP", "USR1"]).spec)["forwardSignals"] == [
        "HUP",
        "USR1",
    ]
    with pytest.raises(UsageError, match="forwardSignals"):
        made(forwardSignals=["KILL"])


def test_what_is_not_said_is_not_in_the_spec():
    assert json.loads(made().spec) == {"command": ["cp", "a b"]}


@pytest.mark.parametrize(
    ("values", "trigger"),
    [
        ({"trigger__interval": "1500ms"}, Trigger(interval_s=1.5)),
        (
            {"trigger__cron": "*/5 * * * *", "trigger__timezone": "Europe/Berlin"},
            Trigger(cron="*/5 * * * *", timezone="Europe/Berlin"),
        ),
        ({"trigger__at": "2099-01-01"}, Trigger(at=moment("2099-01-01T00:00:00+00:00"))),
        (
            {
                "trigger__interval": 5,
                "trigger__maxCount": 3,
                "trigger__catchUp": "all",
                "trigger__misfireGraceTime": "1m",
                "trigger__startTime": "2090-01-01T00:00:00Z",
                "trigger__endTime": "2091-01-01T00:00:00Z",
            },
            Trigger(
                interval_s=5.0,
                max_count=3,
                catch_up="all",
                misfire_grace_s=60.0,
                opens_at=moment("2090-01-01T00:00:00+00:00"),
                closes_at=moment("2091-01-01T00:00:00+00:00"),
            ),
        ),
    ],
)
def test_a_trigger_comes_back_from_the_spec_as_it_went_in(
    values: dict[str, object], trigger: Trigger
):
    assert trigger_from(json.loads(made(**values).spec)["trigger"]) == trigger


def test_a_task_with_a_trigger_is_finished_when_nothing_is_left_to_fire():
    assert made(trigger__interval=5).on_done is OnDone.FINISH
    assert made(trigger__interval=5, onDone="restart").on_done is OnDone.RESTART
    assert made().on_done is OnDone.RESTART


@pytest.mark.parametrize(
    ("values", "line"),
    [
        (
            {"name": "a/b"},
            "argument NAME: must be 1 to 127 of ASCII letters, digits and _ . : @ -,"
            " no _ first (it is reserved, as '/' is) (got 'a/b')",
        ),
        (
            {"command": []},
            'the task: command: must be a list of texts such as ["backup", "--all"], or one text',
        ),
        (
            {"trigger__cron": "61 * * * *"},
            "the task: trigger.cron: must be five cron fields:",
        ),
        ({"trigger__interval": "-1"}, "the task: trigger.interval: must not be negative"),
        ({"progressTimeout": "-1s"}, "the task: progressTimeout: must not be negative"),
        ({"pinned": True}, "the task: pinned: needs preferred: the node that it is pinned to"),
        ({"cwd": "a\0b"}, "the task: cwd: must be Unicode text without NUL"),
        ({"callable": "a:b"}, "the task: callable: cannot be combined with command"),
        (
            {"command": ["x" * SPEC_LETTERS_MAX]},
            f"the task: must not be longer than {SPEC_LETTERS_MAX} letters of JSON",
        ),
    ],
)
def test_a_definition_that_cannot_be_names_key_rule_and_value(values: dict[str, object], line: str):
    with pytest.raises(ConfigError) as refused:
        made(**values)

    assert str(refused.value).startswith(line)
    assert "\n" not in str(refused.value)


def test_all_that_is_wrong_is_told_at_once():
    with pytest.raises(ConfigError) as refused:
        made(name="_x", preferred="a/b", onDone="stop")

    assert len(str(refused.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ('{"command":["cp","a b"]}', "cp 'a b'"),
        ('{"command":"a | b","shell":true}', "sh: a | b"),
        ('{"callable":"shop.jobs:poll","trigger":{"interval":5.0}}', "shop.jobs:poll, every 5 s"),
        (
            '{"command":["x"],"trigger":{"cron":"* * * * *","timezone":"UTC","maxCount":3}}',
            "x, cron * * * * *, UTC, 3 times",
        ),
        ("{}", "nothing"),
        ("[", "(not readable)"),
        ("[]", "(not readable)"),
        ('{"command":3,"trigger":{"interval":"soon"}}', "sh: 3, every soon s"),
    ],
)
def test_a_spec_in_words_whoever_wrote_it(spec: str, words: str):
    assert spec_text(spec) == words


def test_reading_a_spec_costs_a_program_nothing_heavy():
    code = (
        "import sys, coordinator.app.config.task_spec;"
        "print(*({'pydantic', 'psycopg', 'typer'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    assert (done.stdout.strip(), done.stderr) == ("", "")
