"""Explanation of a group that spreads tasks, and of one task of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from coordinator.app.admin.explain import nobody
from coordinator.app.admin.explain.facts import (
    Explanation,
    GroupFacts,
    NodeFact,
    TaskFacts,
    TaskOnNodeFact,
)
from coordinator.app.admin.explain.planned import paused, plans
from coordinator.app.admin.explain.program import schedule
from coordinator.app.admin.explain.unsettled import waits
from coordinator.app.admin.explain.words import age, cause, in_time, listed, reached, since, verb

#: More tasks are counted.
TASKS_SHOWN_MAX = 10
#: A report of a node is that of a program that will be started again.
BACKING_OFF = "backing off"


def explain_tasks(facts: GroupFacts, tasks: Sequence[TaskFacts]) -> Explanation:
    """Return the explanation of a group that spreads tasks."""
    active = facts.active
    expected_s: float | None = None
    state = "active"
    if active is None:
        about = nobody.explain_nobody(facts, observes=True)
        sentences, expected_s, state = list(about.sentences), about.expected_s, about.state
        if state == "leaderless":
            sentences.append(
                "What runs goes on meanwhile; only the end of dead nodes and the standings wait."
            )
    else:
        sentences = [
            f"{facts.group}: {active.node} observes, term {facts.token.term},"
            f"{since(facts.now, facts.token.acquired_age_s)}.",
            *reached(active),
        ]
        if facts.suspension is not None:
            sentences.append(nobody.suspended(facts))
        if facts.wait is not None:
            sentences.append(_unsettled(facts))
        sentences += plans(facts)
    if facts.pause is not None and active is not None:
        sentences.append(paused(facts, facts.pause))
        expected_s = facts.pause.until_s
    return Explanation(
        subject=facts.group,
        state=state,
        sentences=(*sentences, *_members(facts), *_tasks(tasks)),
        expected_s=expected_s,
    )


def _unsettled(facts: GroupFacts) -> str:
    assert facts.wait is not None, "the caller has looked"
    sentence = waits(facts.wait.timeline, facts.wait.why, facts.wait.left_s)
    return f"{sentence[:1].upper()}{sentence[1:]}."


def _members(facts: GroupFacts) -> Iterator[str]:
    members = [node.node for node in facts.nodes if _member(node)]
    if members:
        yield f"{listed(members)} {verb(members, 'is a live Member', 'are live Members')}."
    else:
        yield "No node is a live Member: no task may run."
    for node in facts.nodes:
        if node.live and node.priority > 0 and node.standing != "member":
            behind = "" if node.caught_up else ", and has not caught up with the record yet"
            yield f"{node.node} is {_standing(node.standing)}{behind}."
        elif node.state == "dead":
            yield (
                f"{node.node} is silent for {age(node.beat_age_s)}: the observer ends its session"
                f" after {node.liveness_s:g} s, and its tasks move then."
            )


def _member(node: NodeFact) -> bool:
    return node.live and node.standing == "member" and node.priority > 0


def _standing(word: str) -> str:
    return {"promotable": "new in the group, and no Member yet", "rehab": "in Rehab"}.get(
        word, word
    )


def _tasks(tasks: Sequence[TaskFacts]) -> Iterator[str]:
    if not tasks:
        yield "The group has no tasks."
        return
    counts: dict[str, int] = {}
    for task in tasks:
        counts[task.state] = counts.get(task.state, 0) + 1
    told = listed([f"{count} {state}" for state, count in sorted(counts.items())])
    yield f"Of {len(tasks)} tasks {told}."
    wanting = [task for task in tasks if task.state not in ("running", "disabled")]
    for task in wanting[:TASKS_SHOWN_MAX]:
        to = f"{task.responsible} should run it" if task.responsible else "nobody should run it"
        yield f"{task.task} is {task.state}: {to}, {task.why}."
    if len(wanting) > TASKS_SHOWN_MAX:
        yield f"{len(wanting) - TASKS_SHOWN_MAX} more tasks wait; `coord task list` has all."


def explain_task(facts: GroupFacts, task: TaskFacts) -> Explanation:
    """Return the explanation of one task."""
    sentences = [_verdict(facts, task), *_why_there(task)]
    expected_s: float | None = None
    match task.state:
        case "disabled":
            sentences += _disabled(facts, task)
        case "running" | "starting":
            more, expected_s = _at_work(task)
            sentences += more
        case "stuck":
            more, expected_s = _stuck(facts, task)
            sentences += more
        case _:
            more, expected_s = _waiting(facts, task)
            sentences += more
    if task.schedule is not None and task.state != "disabled":
        sentences += schedule(task.schedule)
        if expected_s is None:
            expected_s = task.schedule.due_s
    sentences += [
        f"On {each.node} it failed {each.failed_count} times: {each.last_error or 'no text'}."
        for each in task.nodes
        if each.failed_count
    ]
    return Explanation(
        subject=f"{facts.group}/{task.task}",
        state=task.state,
        sentences=tuple(sentences),
        expected_s=expected_s,
    )


def _verdict(facts: GroupFacts, task: TaskFacts) -> str:
    name = f"{facts.group}/{task.task}"
    when = since(facts.now, task.since_s)
    if task.node is not None and task.state != "disabled":
        return f"{name}: {task.state} on {task.node}, term {task.term},{when}."
    return f"{name}: {task.state}{when}."


def _why_there(task: TaskFacts) -> Iterator[str]:
    if task.node is None or not task.terms or task.terms[0].term != task.term:
        return
    yield f"{task.node} took it because {cause(task.terms[0])}."


def _disabled(facts: GroupFacts, task: TaskFacts) -> Iterator[str]:
    why = f" ({task.end_reason})" if task.end_reason else ""
    yield (
        f"It is disabled{why}, and runs nowhere until `coord task enable {task.task}"
        f" -g {facts.group}`."
    )
    if task.node is not None:
        yield f"{task.node} still holds its token, and stops its program."


def _at_work(task: TaskFacts) -> tuple[list[str], float | None]:
    told = _told(task, task.node)
    if task.responsible != task.node:
        to = task.responsible or "nobody"
        return [
            f"{to} should run it: {task.why}. {task.node} stops its program and gives it back, and"
            f" {f'{to} takes it then' if task.responsible else 'it waits then'}."
        ], None
    sentences = [f"{task.node} should run it: {task.why}."]
    if told is not None and told.state == BACKING_OFF:
        error = f" ({told.last_error})" if told.last_error else ""
        sentences.append(
            f"Its program ended soon after its start{error}; it is started again within 5 s, and"
            " after five quick ends in a row other nodes go first."
        )
    return sentences, None


def _stuck(facts: GroupFacts, task: TaskFacts) -> tuple[list[str], float | None]:
    holder = next((node for node in facts.nodes if node.node == task.node), None)
    to = f"{task.responsible} should run it then" if task.responsible else "nobody may run it then"
    after = f"{to}: {task.why}."
    if facts.suspension is not None:
        return [nobody.suspended(facts)], None
    if holder is None:
        return [f"The row of its holder, {task.node}, was removed. {after}"], None
    if holder.state == "ended":
        return [f"The session of {task.node} has ended: the task is free. {after}"], (
            holder.heartbeat_s
        )
    if facts.active is None:
        return [
            f"{task.node} is silent for {age(holder.beat_age_s)}, and nobody observes: its session"
            f" is ended once there is an observer. {after}"
        ], None
    watched_s = min(holder.beat_age_s, facts.token.acquired_age_s or holder.beat_age_s)
    left_s = max(0.0, holder.liveness_s - watched_s + facts.active.heartbeat_s)
    return [
        f"{task.node} is silent for {age(holder.beat_age_s)}: the observer, {facts.active.node},"
        f" ends its session {in_time(left_s)}. {after}"
    ], left_s


def _waiting(facts: GroupFacts, task: TaskFacts) -> tuple[list[str], float | None]:
    if facts.pause is not None:
        return [paused(facts, facts.pause)], facts.pause.until_s
    if task.responsible is None:
        return [f"Nobody should run it: {task.why}.", *_in_the_way(facts, task)], None
    node = next((node for node in facts.nodes if node.node == task.responsible), None)
    beat_s = 1.0 if node is None else node.heartbeat_s
    told = _told(task, task.responsible)
    if facts.wait is not None:
        return [f"{task.responsible} should run it: {task.why}.", _unsettled(facts)], (
            facts.wait.left_s
        )
    if told is not None and told.failed_count and node is not None and task.since_s is not None:
        left_s = node.liveness_s - task.since_s
        if left_s > 0:
            return [
                f"{task.responsible} should run it: {task.why}. It is in a crash loop there, and"
                f" {task.responsible} starts it again {in_time(left_s)}."
            ], left_s
    return [
        f"{task.responsible} should run it: {task.why}. It takes the task within two heartbeats"
        f" ({age(2 * beat_s)})."
    ], 2 * beat_s


def _in_the_way(facts: GroupFacts, task: TaskFacts) -> Iterator[str]:
    """Yield what would have to change before a task that nobody should run can run."""
    named = task.preferred if task.pinned else task.last_node
    node = next((node for node in facts.nodes if node.node == named), None)
    if named and task.why.startswith("waits for"):
        yield f"{_condition(named, node)}; no other node runs it meanwhile."
    elif "no room" in task.why:
        full = [
            f"{node.node} runs {node.held_count} of {node.capacity}"
            for node in facts.nodes
            if _member(node) and node.capacity is not None
        ]
        yield (
            f"{listed(full)}. Add a node, or raise the limit of processes of one: its capacity"
            " follows from that."
        )
    elif "no live Member" in task.why:
        yield from (
            f"{_condition(node.node, node)}."
            for node in facts.nodes
            if node.state != "ended" and not _member(node)
        )


def _condition(name: str, node: NodeFact | None) -> str:
    if node is None:
        return f"{name} has no row in this group: start it"
    if node.state == "dead":
        return f"{name} is silent for {age(node.beat_age_s)}: start it again"
    if node.state == "ended":
        left = "" if node.ended_age_s is None else f" {age(node.ended_age_s)} ago"
        why = f" ({node.end_reason})" if node.end_reason else ""
        return f"{name} has left{left}{why}: start it again"
    if node.priority == 0:
        return f"{name} lives, but has priority 0, and runs no task"
    if node.standing != "member":
        return f"{name} lives, and is {_standing(node.standing)}; the observer makes it a Member"
    return f"{name} lives"


def _told(task: TaskFacts, node: str | None) -> TaskOnNodeFact | None:
    return next((each for each in task.nodes if each.node == node), None)
