"""Composing a schedule: settings, record and policies meet here, in the program's own process."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from coordinator.app.schedule_ledger import DatabaseLedger
from coordinator.app.settings import NodeSettings, TriggerSettings
from coordinator.errors import ScheduleEndedError, TokenLostError
from coordinator.ports import Clock
from coordinator.protocol.schedule import Policy, Retry
from coordinator.protocol.timing import lease_of
from coordinator.runtime.jobs import Job, RunContext
from coordinator.runtime.run_log import RunLog
from coordinator.runtime.schedule import Ending, Schedule
from coordinator.runtime.stopping import StopSignal
from coordinator.runtime.timetable import Timetable
from coordinator.store.schedule import Holding


def run_schedule(
    settings: NodeSettings, job: Job, context: RunContext, stop: StopSignal, clock: Clock
) -> int:
    """Run `job` as the trigger says, until the schedule ends; returns the exit code."""
    assert settings.trigger is not None, "a service has no schedule"
    timetable = timetable_of(settings.trigger)
    holding = Holding(
        schema=settings.database.schema,
        group=context.group,
        term=context.term,
        session=context.session,
    )
    ledger = DatabaseLedger(settings.database, holding, timetable.max_count)
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
    )
    try:
        return exit_code(schedule.run(), log)
    finally:
        ledger.close()


def exit_code(ending: Ending, log: RunLog) -> int:
    """Say why the schedule runs nothing more here, and return the code that says it too."""
    match ending.kind:
        case "stopped":
            return 0
        case "exhausted":
            log.say("schedule-ended", f"the schedule has ended: {ending.reason}")
            return 0
        case "terminated":
            log.warn("schedule-terminated", f"the schedule is terminated: {ending.reason}")
            return ScheduleEndedError.exit_code
        case "lost":
            log.warn("token-lost", f"no further run: {ending.reason}")
            return TokenLostError.exit_code


def timetable_of(trigger: TriggerSettings) -> Timetable:
    """Return the settings of a trigger as moments and a zone."""
    return Timetable(
        interval_s=trigger.interval_s,
        cron=trigger.cron,
        at=_moment(trigger.at),
        max_count=trigger.max_count,
        opens_at=_moment(trigger.start_time),
        closes_at=_moment(trigger.end_time),
        timezone=ZoneInfo(trigger.timezone) if trigger.timezone not in (None, "UTC") else UTC,
        catch_up=trigger.catch_up,
        misfire_grace_s=trigger.misfire_grace_s,
    )


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


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
