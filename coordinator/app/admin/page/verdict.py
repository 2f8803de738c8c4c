"""Verdict on a group in one sentence, for the head of the page."""

from __future__ import annotations

from dataclasses import dataclass

from coordinator.app.admin.conditions import Level, standbys, verdict_of
from coordinator.app.admin.explain import words
from coordinator.app.admin.status import GroupLine

#: Levels of the page: a group without a live node is no alarm, and a paused one is meant to rest.
OK, WARNING, CRITICAL, IDLE = "ok", "warning", "critical", "idle"
_LEVELS = {Level.OK: OK, Level.WARNING: WARNING, Level.CRITICAL: CRITICAL}


@dataclass(frozen=True, slots=True)
class Sentence:
    """Level and text; the text names no group."""

    level: str
    text: str


def judge(group: GroupLine, expected_s: float | None = None) -> Sentence:
    """Judge a group as `coord check` does, in words for a headline.

    expected_s: seconds after which the next change is expected; None: nobody can tell.
    """
    if group.state == "active":
        return _active(group)
    does = "observed" if group.hosts_tasks else "been active"
    if group.state == "idle":
        return Sentence(IDLE, f"no live node{_last(group)}")
    if group.leaderless_s is None:
        text = f"nobody {'observes' if group.hosts_tasks else 'is active'}"
    else:
        text = f"nobody has {does} for {words.age(group.leaderless_s)}"
    if group.paused:
        return Sentence(WARNING, f"{text}: {group.paused}")
    return Sentence(CRITICAL, text + _next(group, expected_s))


def _active(group: GroupLine) -> Sentence:
    does = "observes" if group.hosts_tasks else "is active"
    lasts = "" if group.since_age_s is None else f", {words.age(max(0.0, group.since_age_s))}"
    found = verdict_of(group)
    text = f"{group.holder} {does}, term {group.term}{lasts}"
    # The monitor's reason, where there is one, without the name of the group.
    reason = found.text.partition(f"term {group.term}, and ")[2]
    if reason:
        return Sentence(_LEVELS[found.level], f"{text}; {reason}")
    count = len(standbys(group))
    return Sentence(
        _LEVELS[found.level], f"{text}; {count} standby{'' if count == 1 else 's'} ready"
    )


def _last(group: GroupLine) -> str:
    if not group.last_holder:
        return ""
    lasts = "" if group.since_age_s is None else f", {words.age(max(0.0, group.since_age_s))} ago"
    return f"; the last active one was {group.last_holder}, term {group.term}{lasts}"


def _next(group: GroupLine, expected_s: float | None) -> str:
    if group.wait is not None:
        left = "" if group.wait.left_s is None else f", {words.age(group.wait.left_s)} left"
        return f"; timeline {group.wait.timeline} of the database is not settled yet{left}"
    if group.next_start_s is not None:
        return f"; {group.end_reason}; started again in {words.age(group.next_start_s)}"
    if not standbys(group):
        return "; no live node may take over"
    if expected_s is None:
        return ""
    return f"; a takeover is expected {words.in_time(expected_s)}"
