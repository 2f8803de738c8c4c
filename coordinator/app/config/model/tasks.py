"""Config.toml as types: the tasks of a group, and a node's policy for them.

A definition of a task is checked by the same type wherever it comes from: the file, or the flags
of `coord task add` (task_spec.py).
"""

from __future__ import annotations

from functools import partial
from typing import Annotated

from pydantic import Field, model_validator

from coordinator.app.config.model.field_types import (
    CallablePath,
    Command,
    Count,
    NodeNames,
    Options,
    OtherNode,
    TaskName,
    Variables,
    Wait,
)
from coordinator.app.config.model.program import TriggerTable, check_program
from coordinator.app.config.model.table import Table, broken_rule, setting
from coordinator.app.config.settings import Commands, ForwardedSignal, TasksPolicySettings
from coordinator.protocol.messages.group_record import OnDone, OnPartition

#: A task has one line for each key in the commented Config.toml.
_line = partial(setting, aside=True)
_own = partial(setting, of=TasksPolicySettings)


class TaskTable(Table):
    """Tasks, instead of [program]. Each runs on one node of the group.

    When that node dies, another takes the task. Every file may define some; `coord task add` does
    it without a file.
    """

    name: TaskName = _line("name", "Unique in the group.", default=..., shown="archive")
    command: Command | None = _line(
        "command", "Or callable, shell and cwd as in [program].", shown=["archive", "--all"]
    )
    callable: CallablePath | None = _line("callable", 'A Python function as "module:function".')
    shell: bool = _line(
        "shell", "Run the one line of command by /bin/sh -c.", default=False, shown=None
    )
    cwd: str | None = _line("cwd", "Directory to run in.")
    env: Variables = _line(
        "env",
        "Variables of the program; readable in the database.",
        default={},
        shown={"LEVEL": "3"},
    )
    options: Options = _line(
        "options",
        "Anything; the program gets it as JSON in COORD_OPTIONS.",
        default={},
        shown={"keep": 7},
    )
    nodes: NodeNames = _line(
        "nodes",
        "The nodes that may run it; default every node.",
        default=(),
        shown=["node-1", "node-2"],
    )
    preferred: OtherNode | None = _line(
        "preferred", "The first choice, while it is a live Member.", shown="node-1"
    )
    pinned: bool = _line("pinned", "true: only the preferred node ever runs it.", default=False)
    failover: bool | None = _line(
        "failover", "false: it waits for the node that had it last.", shown=True
    )
    failback: bool = _line("failback", "false: it stays when a better node returns.", default=True)
    on_partition: OnPartition = _line(
        "onPartition",
        '"continue": it goes on when cut off; may run twice.',
        default=OnPartition.STOP,
    )
    on_done: OnDone | None = _line(
        "onDone",
        'When it ends: "restart", "release" or "finish"; default finish with a trigger,'
        " else restart.",
        shown="restart",
    )
    progress_timeout: Wait = _line(
        "progressTimeout",
        "No progress for so long: it counts as hung; default never.",
        default=0.0,
        shown="30s",
    )
    stop_timeout: Wait | None = _line(
        "stopTimeout", "Seconds from SIGTERM to SIGKILL; default the node's.", shown=1
    )
    forward_signals: tuple[ForwardedSignal, ...] = _line(
        "forwardSignals",
        "Signals passed on: HUP, USR1, USR2, QUIT; default none.",
        default=(),
        shown=["HUP"],
    )
    enabled: bool = _line("enabled", "false: defined, but run by no node.", default=True)
    trigger: TriggerTable | None = Field(
        default=None, alias="trigger", description="When it runs; the keys of [trigger]."
    )

    @model_validator(mode="after")
    def _possible(self) -> TaskTable:
        if self.command is None and self.callable is None:
            raise broken_rule("", "needs command or callable")
        check_program(self.command, self.callable, shell=self.shell)
        if self.pinned and self.preferred is None:
            raise broken_rule("pinned", "needs preferred: the node that it is pinned to")
        if self.nodes and self.preferred is not None and self.preferred not in self.nodes:
            raise broken_rule("preferred", "must be one of nodes")
        return self


class TasksPolicyTable(Table):
    """Policy of this node for the tasks of its group.

    The times are the group's: the first file that names one declares it, and `coord observer
    policy` changes it for all nodes.
    """

    failover: bool = _own("failover", "For tasks that do not set it themselves.")
    to_member: Wait | None = _own(
        "toMember",
        "Seconds that a new or returned node must be live before it may run tasks. Default 2 x"
        " livenessCheckInterval.",
        default=None,
        shown=12,
    )
    late_max: Annotated[Count, Field(ge=0, le=1_000_000)] = _own(
        "lateMax",
        "Number of late heartbeats within lateWithin that send a node to Rehab; 0: never.",
    )
    late_within: Wait | None = _own(
        "lateWithin",
        "Seconds within which those count. Default 10 x livenessCheckInterval.",
        default=None,
        shown=60,
    )
    observer_grace: Wait | None = _own(
        "observerGrace",
        "Seconds for which a new observer only watches. Default 2 x heartbeatFrequency.",
        default=None,
        shown=2,
    )
    commands: Commands = _own(
        "commands",
        '"listed": run only the tasks that this file lists, with this file\'s command, whatever the'
        ' database says. "any": everyone who can write to the database decides what runs here.',
    )
