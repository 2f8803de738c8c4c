"""Parts of a node whose group spreads tasks, in addition to those of every node."""

from __future__ import annotations

import logging

from coordinator.app.checkpoints.around import loading
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

#: Origin of a setting that was not given.
DEFAULT = "default"


class TaskNode:
    """Orders for the programs of tasks, and the sockets of their progress reports."""

    def __init__(self, settings: NodeSettings, settings_fd: int, clock: Clock) -> None:
        self._settings, self._settings_fd = settings, settings_fd
        self.progress = ProgressLines(clock)

    def orders(self, command: StartProgram, session: str, node: Node) -> Orders:
        """Return the orders to start the task's program.

        Errors: CoordError if this node may not run it.
        """
        definition = _definition(node, command)
        try:
            notify = self.progress.open(command.run) if definition.progress_s else None
        except OSError as error:
            raise CoordError(f"{definition.name}: no socket for its progress: {error}") from error
        stop_s = stop_timeout_s(node, definition)
        given = task_orders(
            self._settings, self._settings_fd, command, session, definition, notify, stop_s
        )
        return loading(self._settings, self._settings_fd, given)

    def look(self, node: Node) -> None:
        """Close the sockets of programs that have ended."""
        works = () if node.task_state is None else node.task_state.runs()
        runs = (node.worker.run, *(work.run for work in works))
        self.progress.keep({run.number for run in runs if run is not None})

    def say_started(
        self, logger: logging.Logger, command: StartProgram, pid: int, node: Node
    ) -> None:
        """Log that a task's program runs, or its schedule waits for the first slot."""
        if command.side:
            return  # the worker: its work is told of in sys.tasks
        settings = self._settings
        work = None if node.task_state is None else node.task_state.works.get(command.task)
        done = "armed" if work is not None and work.definition.scheduled else "started"
        text = f"{settings.group_id}: task {command.task}: {done} (pid {pid}, term {command.term})"
        fields = {"group": settings.group_id, "node": settings.task_id, "task": command.task}
        log.say(logger, "task-started", text, {**fields, "term": command.term, "pid": pid})


def observer_policy_of(settings: NodeSettings) -> ObserverPolicy:
    """Return the times by which this node, as observer, judges nodes if the record has none."""
    policy = settings.tasks_policy
    return ObserverPolicy(
        to_member_s=policy.to_member_s,
        late_max=policy.late_max,
        late_within_s=policy.late_within_s,
        grace_s=policy.grace_s,
    )


def policy_said(settings: NodeSettings) -> TasksPolicy:
    """Return the times of the observer that the configuration itself sets; no defaults."""
    own = observer_policy_of(settings)
    return TasksPolicy(
        **{
            field: getattr(own, field)
            for field, key in POLICY_KEYS.items()
            if settings.origins.get(f"tasksPolicy.{key}", DEFAULT) != DEFAULT
        }
    )


def declare(settings: NodeSettings, logger: logging.Logger) -> None:
    """Add the policy and the tasks of this node's own file to the group's record.

    An entry that the record has with another value stays, with a warning.

    Errors: CoordError if the database does not answer; the node's start fails then.
    """
    own = policy_said(settings)
    if not settings.tasks and own == NO_POLICY:
        return
    from coordinator.store.admin.admin_store import AdminStore

    database = settings.database
    with AdminStore(
        database.conninfo,
        schema=database.schema,
        where=database.label,
        timeout_s=database.connect_timeout_s,
    ) as store:
        who = settings.task_id
        lines = () if own == NO_POLICY else store.declare_policy(settings.group_id, own, who=who)
        if settings.tasks:
            lines += store.declare(settings.group_id, settings.tasks, who=who)
        for line in lines:
            logger.warning("%s: %s", settings.group_id, line, extra={"event": "warning"})


def _definition(node: Node, command: StartProgram) -> TaskDef:
    work = None if node.task_state is None else node.task_state.works.get(command.task)
    if work is None:
        raise CoordError(f"task {command.task}: no longer held")
    return work.definition
