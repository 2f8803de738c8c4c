"""Composing a schedule: settings, record and policies meet here, in the program's own process."""

from __future__ import annotations

import signal
from dataclasses import replace

from coordinator.app.config.settings import NodeSettings
from coordinator.app.program.asked_runs import DatabaseAskedRuns
from coordinator.app.program.database_ledger import DatabaseLedger
from coordinator.app.program.record_connection import RecordConnection
from coordinator.errors import ConfigError, ScheduleEndedError, TokenLostError
from coordinator.ports import Clock
from coordinator.protocol.messages.schedule import Trigger
from coordinator.protocol.rules.timing import lease_of
from coordinator.runtime.schedule.calendar import cron
from coordinator.runtime.schedule.jobs import Job, RunContext
from coordinator.runtime.schedule.run import Ending
from coordinator.runtime.schedule.run_log import RunLog, error_text
from coordinator.runtime.schedule.runner import Schedule
from coordinator.runtime.schedule.stop_signal import StopSignal
from coordinator.store.program.asked_runs import NAME as BY_HAND
from coordinator.store.program.schedule import Holding


def run_schedule(
    settings: NodeSettings, job: Job, context: RunContext, stop: StopSignal, clock: Clock
) -> int:
    """Run `job` as the trigger says, until the schedule ends; return the exit code."""
    assert settings.trigger is not None, "a service has no schedule"
    _check_readable(settings.trigger)
    owner, _, task = context.group.rpartition("/")  # the token of a task is named GROUP/TASK
    task = task if owner else ""
    holding = Holding(
        schema=settings.database.schema,
        group=context.group,
        term=context.term,
        session=context.session,
        owner=owner,
        task=task,
        node=context.node,
    )
    connection, begun_at = RecordConnection.of(settings.database), settings.started_at_s
    ledger = DatabaseLedger(
        connection,
        holding,
        settings.trigger.max_count,
        clock=clock,
        node_started_at=begun_at,
    )
    asked = None
    if owner:
        by_hand = replace(holding, name=BY_HAND)
        ledger_of_asked = DatabaseLedger(
            connection, by_hand, None, clock=clock, node_started_at=begun_at
        )
        asked = DatabaseAskedRuns(connection, by_hand, ledger_of_asked, stop)
    log = RunLog(group=context.group, node=context.node, term=context.term)
    schedule = Schedule(
        trigger=settings.trigger,
        policy=settings.policy,
        job=job,
        context=context,
        ledger=ledger,
        stop=stop,
        clock=clock,
        lease_s=lease_of(settings.liveness_s),
        heartbeat_s=settings.heartbeat_s,
        stop_timeout_s=settings.stop_timeout_s,
        asked=asked,
    )
    try:
        return exit_code(schedule.run(), log, _how_to_resume(owner, task))
    finally:
        ledger.close()
        if asked is not None:
            asked.close()


def exit_code(ending: Ending, log: RunLog, how_to_resume: str) -> int:
    """Log why no further run begins here, and return the exit code for that reason."""
    match ending.kind:
        case "stopped":
            return 0
        case "cut":
            log.warn("run-cut", ending.reason)
            return 128 + signal.SIGTERM
        case "exhausted":
            log.say("schedule-ended", f"the schedule has ended: {ending.reason}")
            return 0
        case "terminated":
            text = f"the schedule is terminated: {ending.reason}; {how_to_resume}"
            log.warn("schedule-terminated", text)
            return ScheduleEndedError.exit_code
        case "lost":
            log.warn("token-lost", f"no further run: {ending.reason}")
            return TokenLostError.exit_code


def _how_to_resume(group: str, task: str) -> str:
    if task:
        return f"to go on: coord task enable {task} -g {group}"
    return "to go on: start a node of the group again"


def _check_readable(trigger: Trigger) -> None:
    """Refuse a trigger that this node cannot read.

    Errors: ConfigError for such a line or zone.
    """
    try:
        if trigger.cron is not None:
            cron.parse(trigger.cron)
        cron.zone_of(trigger.timezone)
    except (KeyError, ValueError) as error:
        why = error_text(error)
        raise ConfigError(f"the trigger cannot be read on this node: {why}") from error
