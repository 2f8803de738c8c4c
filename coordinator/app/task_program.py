"""What the program of a task is: its definition's spec, read.

Only light imports: the program's own process reads this too, and must start fast.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from coordinator.app.settings import NodeSettings, ProgramSettings, TriggerSettings
from coordinator.app.task_specs import trigger_of
from coordinator.protocol.group import token_name

#: Which task's program a process of ours is to run, beside the node's settings.
SPEC_VARIABLE = "COORD_TASK_SPEC"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What a task runs; `options` are the program's own affair."""

    program: ProgramSettings
    trigger: TriggerSettings | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


def spec_of(text: str) -> Spec:
    """Read a definition's spec.

    Errors: KeyError, TypeError or ValueError for a text that none of ours wrote.
    """
    raw = json.loads(text)
    command = raw.get("command")
    argv = (command,) if isinstance(command, str) else tuple(command) if command else None
    if argv is None and raw.get("callable") is None:
        raise KeyError("command")
    program = ProgramSettings(
        argv=argv,
        callable=raw.get("callable"),
        shell=isinstance(command, str),
        cwd=raw.get("cwd"),
    )
    trigger = raw.get("trigger")
    return Spec(
        program=program,
        trigger=None if trigger is None else trigger_of(trigger),
        env=raw.get("env", {}),
        options=raw.get("options", {}),
    )


def for_task(settings: NodeSettings, task: str, text: str) -> NodeSettings:
    """Return the settings with which a schedule of a task runs: its own token, its own counts."""
    spec = spec_of(text)
    group = token_name(settings.group_id, task)
    return replace(settings, group_id=group, program=spec.program, trigger=spec.trigger)
