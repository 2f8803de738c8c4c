"""Lines of a node's log beside the machine's own: at its start, on request, and before its end."""

from __future__ import annotations

import logging

from coordinator.app.config.settings import NodeSettings
from coordinator.protocol.node.state.node import Node, active, holds
from coordinator.runtime.isolation.levels import reach
from coordinator.runtime.log import logger as log

#: Sentence about the loss of the guardian, by the agent's reason.
_GUARDIAN = {
    "the guardian is frozen": (
        "the guardian is frozen: it was stopped (Ctrl-Z, SIGSTOP), or the machine stalled;"
        " it and the program are killed, and this node leaves"
    ),
    "the guardian died": "the guardian was killed; the program is killed, and this node leaves",
}


def say_warnings(logger: logging.Logger, settings: NodeSettings) -> None:
    """Log the warnings about the configuration, and the note about the embedded server."""
    for line in settings.warnings:
        log.say(logger, "warning", line, {})


def first_words(
    logger: logging.Logger, settings: NodeSettings, level: str, *, listening: bool
) -> None:
    """Log the level of isolation, and a warning if notifications do not arrive."""
    group = settings.group_id
    fields = {"group": group, "node": settings.task_id}
    text = f"{group}: isolation {level}: it kills {reach(level)}"
    log.say(logger, "isolation", text, fields | {"isolation": level})
    if not listening:
        text = (
            f"{group}: a pooler between this node and the database passes no notifications on:"
            " a handover takes up to one heartbeat"
        )
        log.say(logger, "no-push", text, fields)


def say_guardian_lost(logger: logging.Logger, settings: NodeSettings, why: str) -> None:
    """Log the loss of the guardian, of which a shell reports only "Killed"."""
    text = f"{settings.group_id}: {_GUARDIAN.get(why, why)}"
    fields = {"group": settings.group_id, "node": settings.task_id, "why": why}
    log.say(logger, "guardian-lost", text, fields)


def say_state(logger: logging.Logger, node: Node, now: float) -> None:
    """Log the state of the node as one line (SIGUSR2)."""
    policy = node.policy
    fields = {"group": policy.group, "node": policy.node, "session": node.session}
    log.say(logger, "state", f"{policy.group}: state: {state_of(node, now)}", fields)


def state_of(node: Node, now: float) -> str:
    """Describe the node at this moment in one line."""
    parts = [node.standing or "starting", _session(node, now)]
    run = node.run
    if run is not None:
        state = "stopping" if run.stopping else "trusted" if active(node, now) else "not trusted"
        age_s = now - run.started_at
        parts.append(f"the program has run under term {run.term} for {age_s:.1f} s")
        parts.append(f"it is {state}" + (f" ({run.stopping})" if run.stopping else ""))
    if node.task_state is not None:
        running = sum(1 for _ in node.task_state.runs())
        parts.append(f"{len(node.task_state.works)} tasks held, {running} running")
    view = node.view
    if view is None:
        parts.append("the state of the database is not known for sure")
    else:
        holder = "this node" if holds(node) else view.token.node or "nobody"
        parts.append(f"term {view.token.term} of {holder}, timeline {view.identity.timeline}")
    if node.failures:
        parts.append(f"{node.failures} requests in a row without an answer")
    if node.leaving is not None:
        parts.append(f"leaving: {node.leaving.reason}")
    return "; ".join(parts)


def _session(node: Node, now: float) -> str:
    if node.session is None:
        return "no session in the database"
    return f"session {node.session}, trusted for {max(0.0, node.trusted_until - now):.1f} s"


def say_started(logger: logging.Logger, settings: NodeSettings, term: int, pid: int) -> None:
    """Log the start of the program."""
    program = settings.program
    assert program is not None, "a started program is configured"
    what = program.callable or " ".join(program.argv or ())
    if settings.trigger is None:
        text = f"{settings.group_id}: started: {what} (pid {pid}, term {term})"
    else:
        # Nothing has run yet; the schedule's own process logs each run.
        text = f"{settings.group_id}: armed: {what} (pid {pid} of its schedule, term {term})"
    fields = {"group": settings.group_id, "node": settings.task_id, "term": term, "pid": pid}
    log.say(logger, "program-started", text, fields)


def with_origin(settings: NodeSettings, trouble: str) -> str:
    """Return an error text, with the place of the setting if it begins with a setting's key."""
    key, colon, _ = trouble.partition(":")
    origin = settings.origins.get(key) if colon else None
    return f"{origin}: {trouble}" if origin else trouble
