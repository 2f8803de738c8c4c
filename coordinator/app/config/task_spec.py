"""Specs of tasks: written from checked values, read by a node, and described for people.

The spec is JSON in one fixed form, so that two equal definitions are equal texts. Both ways in,
[[tasks]] of Config.toml and the flags of `coord task`, are checked by one type, TaskTable.
Only light imports: the agent and the program's own process read specs, and must start fast.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, get_args

from coordinator.app.config.model.values import arguments, moment, options
from coordinator.app.config.settings import MOMENTS, ForwardedSignal, NodeSettings, ProgramSettings
from coordinator.errors import UsageError
from coordinator.protocol.messages.group_record import OnDone, TaskDef, token_name
from coordinator.protocol.messages.schedule import Trigger

if TYPE_CHECKING:
    from coordinator.app.config.model.program import TriggerTable
    from coordinator.app.config.model.tasks import TaskTable
    from coordinator.app.config.problems import Places

Keys = tuple[str, ...]

#: The field of a trigger by its key in a spec, which other programs may read too.
TRIGGER_FIELDS = {each.metadata["key"]: each for each in fields(Trigger)}
#: A definition longer than this is a program in itself, and every node reads all of them.
SPEC_LETTERS_MAX = 65_536
#: Variable with the spec of the task that the program's process is to run.
SPEC_VARIABLE = "COORD_TASK_SPEC"
#: Variable with the seconds from SIGTERM to SIGKILL, as the node can keep it.
STOP_TIMEOUT_VARIABLE = "COORD_TASK_STOP_TIMEOUT"


def task_of(table: TaskTable, *, failover: bool = True) -> TaskDef:
    """Return the definition that checked values mean.

    failover: of a task that does not say it itself.
    """
    # A schedule's process ends with 0 when nothing is left to fire: to start it again is no use.
    ended = OnDone.RESTART if table.trigger is None else OnDone.FINISH
    return TaskDef(
        name=table.name,
        enabled=table.enabled,
        nodes=table.nodes,
        preferred=table.preferred,
        pinned=table.pinned,
        failover=failover if table.failover is None else table.failover,
        failback=table.failback,
        on_partition=table.on_partition,
        on_done=table.on_done or ended,
        progress_s=table.progress_timeout,
        stop_timeout_s=table.stop_timeout or 0.0,
        spec=canonical(_spec(table)),
    )


def task_from_flags(
    values: Mapping[Keys, object], places: Places, *, failover: bool = True
) -> TaskDef:
    """Return the definition that the flags of a command mean.

    Shapes: values by the keys of [[tasks]], as ("trigger", "cron"); places name the flag of each.
    Errors: UsageError with every problem on a line of its own: flag, rule, value.
    """
    from pydantic import ValidationError

    from coordinator.app.config.model.json_schema import known_keys
    from coordinator.app.config.model.tasks import TaskTable
    from coordinator.app.config.problems import problems_of
    from coordinator.app.config.sources import nested, text_problems

    problems = text_problems(values)
    try:
        task = task_of(TaskTable.model_validate(nested(values)), failover=failover)
    except ValidationError as error:
        problems += problems_of(error, known_keys())
    if not problems and len(task.spec) <= SPEC_LETTERS_MAX:
        return task
    lines = [problem.line(places, "the task") for problem in problems]
    lines = lines or [f"the task: must not be longer than {SPEC_LETTERS_MAX} letters of JSON"]
    raise UsageError("\n".join(dict.fromkeys(lines)))


def canonical(spec: Mapping[str, Any]) -> str:
    """Write a spec in its one form."""
    return json.dumps(spec, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _spec(table: TaskTable) -> dict[str, Any]:
    spec: dict[str, Any] = {}
    if table.callable is not None:
        spec["callable"] = table.callable
    elif table.shell:
        spec |= {"command": table.command, "shell": True}
    else:
        assert table.command is not None, "TaskTable wants a command or a callable"
        argv = table.command if isinstance(table.command, tuple) else arguments(table.command)
        spec["command"] = list(argv)
    if table.trigger is not None:
        spec["trigger"] = _trigger(table.trigger)
    # In one order, and each once: two definitions that mean the same are equal texts.
    forward = sorted(set(table.forward_signals))
    optional: dict[str, Any] = {"env": table.env, "cwd": table.cwd, "options": table.options}
    optional["forwardSignals"] = forward
    return spec | {key: value for key, value in optional.items() if value}


def _trigger(table: TriggerTable) -> dict[str, Any]:
    from coordinator.app.config.model.table import plain

    trigger = plain(Trigger, table)
    values = {key: (getattr(trigger, each.name), each) for key, each in TRIGGER_FIELDS.items()}
    return {
        key: value.isoformat() if isinstance(value, datetime) else value
        for key, (value, each) in values.items()
        if value != each.default
    }


def trigger_from(raw: Mapping[str, Any]) -> Trigger:
    """Read the trigger of a spec.

    Errors: KeyError, TypeError or ValueError for what none of ours wrote.
    """
    values = {TRIGGER_FIELDS[key].name: value for key, value in raw.items()}
    values |= {name: moment(values[name]) for name in MOMENTS if name in values}
    return Trigger(**values)


def trigger_in(spec: str) -> Trigger | None:
    """Return the trigger of a spec that one of ours wrote; None when it has none."""
    raw = json.loads(spec).get("trigger")
    return None if raw is None else trigger_from(raw)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """Program of a task; `options` are the program's own affair."""

    program: ProgramSettings
    trigger: Trigger | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


def spec_of(text: str) -> Spec:
    """Read a definition's spec.

    Errors: AttributeError, KeyError, RecursionError, TypeError or ValueError for a text that none
    of ours wrote.
    """
    raw = json.loads(text)
    command, trigger = raw.get("command"), raw.get("trigger")
    shell = isinstance(command, str)
    argv = None if command is None else (command,) if shell else _texts("command", command)
    target = raw.get("callable")
    if not argv and target is None:
        raise KeyError("command")
    for key, value in (("callable", target), ("cwd", raw.get("cwd"))):
        if value is not None and not isinstance(value, str):
            raise TypeError(f"{key} is not a text")
    env = raw.get("env", {})
    _texts("env", list(env.values()))
    program = ProgramSettings(argv=argv, callable=target, shell=shell, cwd=raw.get("cwd"))
    return Spec(
        program=replace(program, forward_signals=_signals(raw.get("forwardSignals", []))),
        trigger=None if trigger is None else trigger_from(trigger),
        env=env,
        options=options(raw.get("options", {})),
    )


def _texts(key: str, values: object) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError(f"{key} is not made of texts")
    return tuple(values)


def _signals(names: object) -> tuple[str, ...]:
    said = _texts("forwardSignals", names)
    unknown = set(said) - set(get_args(ForwardedSignal))
    if unknown:
        raise ValueError(f"forwardSignals has {sorted(unknown)}")
    return said


def for_task(settings: NodeSettings, task: str, text: str, stop_timeout_s: float) -> NodeSettings:
    """Return the settings with which a schedule of a task runs: its own token, its own counts."""
    spec = spec_of(text)
    group = token_name(settings.group_id, task)
    return replace(
        settings,
        group_id=group,
        program=spec.program,
        trigger=spec.trigger,
        stop_timeout_s=stop_timeout_s,
    )


def spec_text(spec: str) -> str:
    """Say in one line what a task runs, and when."""
    try:
        read = json.loads(spec)
    except ValueError:
        return "(not readable)"
    if not isinstance(read, dict):
        return "(not readable)"
    command = read.get("command")
    if "callable" in read:
        what = str(read["callable"])
    elif isinstance(command, list):
        what = shlex.join(str(part) for part in command)
    else:
        what = f"sh: {command}" if command else "nothing"
    trigger = read.get("trigger")
    return f"{what}, {trigger_text(trigger)}" if isinstance(trigger, dict) else what


def trigger_text(trigger: Mapping[str, Any]) -> str:
    """Say when a task runs."""
    kinds = {"interval": "every {} s", "cron": "cron {}", "at": "at {}"}
    words = [text.format(_plain(trigger[key])) for key, text in kinds.items() if key in trigger]
    bounds = {
        "timezone": "{}",
        "startTime": "from {}",
        "endTime": "until {}",
        "maxCount": "{} times",
    }
    words += [text.format(trigger[key]) for key, text in bounds.items() if key in trigger]
    return ", ".join(words) or "no trigger"


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
