"""Parts of a node whose group spreads tasks, beside those of every node."""

from __future__ import annotations

import logging

from coordinator.app.config.settings import NodeSettings
from coordinator.app.node.program_orders import task_orders
from coordinator.errors import CoordError
from coordinator.ports import Clock
from coordinator.protocol.group.observer import ObserverPolicy
from coordinator.protocol.messages.group_record import NO_POLICY, POLICY_KEYS, TaskDef, TasksPolicy
from coordinator.protocol.node.events import StartProgram
from coordinator.protocol.node.state.node import Node
from coordinator.protocol.node.tasks.start_stop import stop_timeout_s
from coordinator.runtime.agent.guardian_link import Orders
from coordinator.runtime.agent.progress_sockets import ProgressLines
from coordinator.runtime.log import logger as log

#: The origin of what nobody said.
DEFAULT = "default"


class TaskNode:
    """Orders for the programs of tasks, and their lines for progress."""

    def __init__(self, settings: NodeSettings, settings_fd: int, clock: Clock) -> None:
        self._settings, self._settings_fd = settings, settings_fd
        self.progress = ProgressLines(clock)

    def orders(self, command: StartProgram, session: str, node: Node) -> Orders:
        """Return how the task's program is started.

        Errors: CoordError when this node may not run it.
        """
        definition = _definition(node, command)
        try:
            notify = self.progress.open(command.run) if definition.progress_s else None
        except OSError as error:
            raise CoordError(f"{definition.name}: no socket for its progress: {error}") from error
        stop_s = stop_timeout_s(node, definition)
        return task_orders(
            self._settings, self._settings_fd, command, session, definition, notify, stop_s
        )

    def look(self, node: Node) -> None:
        """Close the lines of programs that have ended."""
        if node.task_state is not None:
            runs = {work.run.number for work in node.task_state.runs() if work.run is not None}
            self.progress.keep(runs)

    def say_started(
        self, logger: logging.Logger, command: StartProgram, pid: int, node: Node
    ) -> None:
        """Say that a task's program runs, or its schedule waits for the first slot."""
        settings = self._settings
        work = None if node.task_state is None else node.task_state.works.get(command.task)
        done = "armed" if work is not None and work.definition.scheduled else "started"
        text = f"{settings.group_id}: task {command.task}: {done} (pid {pid}, term {command.term})"
        fields = {"group": settings.group_id, "node": settings.task_id, "task": command.task}
        log.say(logger, "task-started", text, {**fields, "term": command.term, "pid": pid})


def observer_policy_of(settings: NodeSettings) -> ObserverPolicy:
    """Return the times by which this node observes where the group's record names none."""
    policy = settings.tasks_policy
    return ObserverPolicy(
        to_member_s=policy.to_member_s,
        late_max=policy.late_max,
        late_within_s=policy.late_within_s,
        grace_s=policy.grace_s,
    )


def policy_said(settings: NodeSettings) -> TasksPolicy:
    """Return what the configuration itself says about how the observer judges; no defaults."""
    own = observer_policy_of(settings)
    return TasksPolicy(
        **{
            field: getattr(own, field)
            for field, key in POLICY_KEYS.items()
            if settings.origins.get(f"tasksPolicy.{key}", DEFAULT) != DEFAULT
        }
    )


def declare(settings: NodeSettings, logger: logging.Logger) -> None:
    """Add what this node's own file says to the group: its policy, its tasks.

    What the group's record says otherwise stays, with a warning.

    Errors: CoordError when the database cannot be asked; the node's start fails then.
    """
    said = policy_said(settings)
    if not settings.tasks and said == NO_POLICY:
        return
    from coordinator.store.admin.admin_store import AdminStore

    database = settings.database
    with AdminStore(
        database.conninfo,
        schema=database.schema,
        where=database.label,
        timeout_s=database.connect_timeout_s,
    ) as desk:
        who = settings.task_id
        lines = () if said == NO_POLICY else desk.declare_policy(settings.group_id, said, who=who)
        if settings.tasks:
            lines += desk.declare(settings.group_id, settings.tasks, who=who)
        for line in lines:
            logger.warning("%s: %s", settings.group_id, line, extra={"event": "warning"})


def _definition(node: Node, command: StartProgram) -> TaskDef:
    work = None if node.task_state is None else node.task_state.works.get(command.task)
    if work is None:
        raise CoordError(f"task {command.task}: not held any more")
    return work.definition
