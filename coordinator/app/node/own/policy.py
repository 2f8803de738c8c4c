"""The policy of a node's machine, from its settings."""

from __future__ import annotations

import uuid

from coordinator.app.config.settings import NodeSettings
from coordinator.app.node.program_orders import meanings
from coordinator.app.node.tasks import observer_policy_of
from coordinator.app.worker.types import operates
from coordinator.protocol.node.state.node import OnExit, Policy
from coordinator.protocol.node.state.side_runs import HealthPolicy, HookPolicy, HungPolicy


def policy_of(settings: NodeSettings, now: float) -> Policy:
    """Return the policy of a node that begins now."""
    once = settings.one_run or settings.nonblock or settings.wait_s is not None
    return Policy(
        node=settings.task_id,
        group=settings.group_id,
        seed=uuid.uuid4().hex,
        priority=settings.priority,
        prepares=settings.program is not None and settings.program.standby == "started",
        on_exit=OnExit.RESTART if settings.on_exit == "on-failure" else OnExit(settings.on_exit),
        on_status=meanings(settings),
        nonblock=settings.nonblock,
        outwaits_silent=settings.nonblock,
        wait_until=None if settings.wait_s is None else now + settings.wait_s,
        conflict_code=settings.conflict_exit_code,
        once=once,
        hung=hung_policy(settings),
        hooks=_hook_policy(settings),
        exits_as_program=settings.one_run,
        operates=operates(settings),
        observer_policy=observer_policy_of(settings) if settings.hosts_tasks else None,
    )


def hung_policy(settings: NodeSettings) -> HungPolicy:
    """Return the signs by which the program of these settings counts as hung."""
    program, health = settings.program, settings.health
    progress_s = 0.0 if program is None else program.progress_s
    if health is None or program is None:
        return HungPolicy(progress_s=progress_s)
    checks = HealthPolicy(
        interval_s=health.interval_s,
        timeout_s=health.timeout_s,
        failures_max=health.failures_max,
        delay_s=health.interval_s if health.delay_s is None else health.delay_s,
    )
    return HungPolicy(progress_s=progress_s, health=checks)


def _hook_policy(settings: NodeSettings) -> HookPolicy:
    """Return which hooks there are, and how long each may take."""
    hooks = settings.hooks
    if hooks is None:
        return HookPolicy()
    return HookPolicy(
        before_start_s=None if hooks.before_start is None else hooks.timeout_s,
        after_stop_s=None if hooks.after_stop is None else hooks.timeout_s,
        on_change_s=None if hooks.on_change is None else hooks.timeout_s,
    )
