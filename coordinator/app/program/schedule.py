"""Composing a schedule: settings, record and policies meet here, in the program's own process."""

from __future__ import annotations

import signal

from coordinator.app.config.schedule_warnings import moment_of, zone_of
from coordinator.app.config.settings import NodeSettings, TriggerSettings
from coordinator.app.program.database_ledger import DatabaseLedger
from coordinator.errors import ConfigError, ScheduleEndedError, TokenLostError
from coordinator.ports import Clock
from coordinator.protocol.messages.schedule_claims import Policy, Retry
from coordinator.protocol.rules.timing import lease_of
from coordinator.runtime.schedule.calendar import cron
from coordinator.runtime.schedule.calendar.timetable import Timetable
from coordinator.runtime.schedule.jobs import Job, RunContext
from coordinator.runtime.schedule.run_log import RunLog, error_text
from coordinator.runtime.schedule.runner import Ending, Schedule
from coordinator.runtime.schedule.stop_signal import StopSignal
from coordinator.store.program.schedule import Holding


def run_schedule(
    settings: NodeSettings, job: Job, context: RunContext, stop: StopSignal, clock: Clock
) -> int:
    """Run `job` as the trigger says, until the schedule ends; returns the exit code."""
    assert settings.trigger is not None, "a service has no schedule"
    timetable = timetable_of(settings.trigger)
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
    ledger = DatabaseLedger(
        settings.database,
        holding,
        timetable.max_count,
        clock=clock,
        node_started_at=settings.started_at_s,
    )
    log = RunLog(group=context.group, node=context.node, term=context.term)
    schedule = Schedule(
        timetable=timetable,
        policy=policy_of(settings),
        job=job,
        context=context,
        ledger=ledger,
        stop=stop,
        clock=clock,
        lease_s=lease_of(settings.liveness_s),
        heartbeat_s=settings.heartbeat_s,
        stop_timeout_s=settings.stop_timeout_s,
    )
    try:
        return exit_code(schedule.run(), log, _how_to_resume(owner, task))
    finally:
        ledger.close()


def exit_code(ending: Ending, log: RunLog, how_to_resume: str) -> int:
    """Say why the schedule runs nothing more here, and return the code that says it too."""
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


def timetable_of(trigger: TriggerSettings) -> Timetable:
    """Return the settings of a trigger as moments and a zone.

    Errors: ConfigError for a line or a zone that this node cannot read.
    """
    try:
        if trigger.cron is not None:
            cron.parse(trigger.cron)
        zone = zone_of(trigger.timezone)
    except (KeyError, ValueError) as error:
        why = error_text(error)
        raise ConfigError(f"the trigger cannot be read on this node: {why}") from error
    return Timetable(
        interval_s=trigger.interval_s,
        cron=trigger.cron,
        at=moment_of(trigger.at),
        max_count=trigger.max_count,
        opens_at=moment_of(trigger.start_time),
        closes_at=moment_of(trigger.end_time),
        timezone=zone,
        catch_up=trigger.catch_up,
        misfire_grace_s=trigger.misfire_grace_s,
    )


def policy_of(settings: NodeSettings) -> Policy:
    """Return the policies of a node's schedule."""
    retry = settings.policy.retry
    return Policy(
        error=settings.policy.error,
        waiting=settings.policy.waiting,
        retry=None
        if retry is None
        else Retry(
            max_attempts=retry.max_attempts,
            retry_interval_s=retry.retry_interval_s,
            backoff=retry.backoff,
            max_interval_s=retry.max_interval_s,
        ),
    )
