"""Read the program of a task from its definition's spec.

Only light imports: the program's own process reads this too, and must start fast.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from coordinator.app.config.model.values import options
from coordinator.app.config.settings import (
    ForwardedSignal,
    NodeSettings,
    ProgramSettings,
    TriggerSettings,
)
from coordinator.app.config.task_spec import trigger_of
from coordinator.protocol.messages.group_record import token_name

#: Which task's program a process of ours is to run, beside the node's settings.
SPEC_VARIABLE = "COORD_TASK_SPEC"
#: Seconds that its runs have to end, as the node can keep it.
STOP_TIMEOUT_VARIABLE = "COORD_TASK_STOP_TIMEOUT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """Program of a task; `options` are the program's own affair."""

    program: ProgramSettings
    trigger: TriggerSettings | None = None
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
        trigger=None if trigger is None else trigger_of(trigger),
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
