"""A node of a task group, step by step: what it takes, starts, stops and gives back, and when."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coordinator.protocol.guardian.events import EVERY_RUN
from coordinator.protocol.messages.group_record import (
    GroupRecord,
    NodeRecord,
    OnDone,
    OnPartition,
    Standing,
    TaskToken,
)
from coordinator.protocol.messages.requests import Answer, Beat, Join, Leave, Request, Take
from coordinator.protocol.messages.task_requests import (
    CatchUp,
    GivenTask,
    ReadGroup,
    ReleaseTasks,
    ReportTasks,
    TakeTasks,
    WatchSessions,
)
from coordinator.protocol.node.events import (
    Ask,
    ExtendTrust,
    KillProgram,
    LogLine,
    Notified,
    ProgramProgressed,
    ProgramRefused,
    ProgramStopping,
    StartProgram,
    StopAsked,
    StopProgram,
)
from coordinator.protocol.rules.restarts import QUICK_ENDS_MAX
from tests.simulation.plans.script import TIMING, held, seen, view
from tests.unit.protocol.node.task_script import (
    ME,
    OTHER,
    OneGroup,
    TaskScript,
    ended,
    of,
    run_of,
    started,
    starts,
    task,
)


def test_a_member_takes_and_starts_what_it_is_responsible_for():
    script = TaskScript(task("a"), task("b"))

    commands = script.go(0.5)

    assert sorted(starts(commands)) == ["a", "b"]
    assert not of(commands, StopProgram)
    begun = of(commands, StartProgram)
    assert {start.term for start in begun} == {1}  # type: ignore[attr-defined]
    assert len({start.run for start in begun}) == 2  # type: ignore[attr-defined]


@pytest.mark.parametrize("standing", [Standing.PROMOTABLE, Standing.REHAB])
def test_only_a_member_takes_a_task(standing: Standing):
    """H1, rule D2."""
    script = TaskScript(task(), database=OneGroup(standing=standing))

    commands = script.go(3.0)

    assert not starts(commands)
    assert not [request for request in script.database.asked if isinstance(request, TakeTasks)]


def test_a_token_that_another_live_session_holds_is_waited_for():
    """Revoke before assign, rule D3: polled once a heartbeat, and at once after a push."""
    database = OneGroup(tokens={"t": TaskToken(term=4, node=OTHER, session="o", free=False)})
    script = TaskScript(task(), database=database)
    assert not starts(script.go(2.0))
    script.database.tokens["t"] = TaskToken(term=4, node=OTHER, session=None, free=True)

    commands = script.happens(Notified)
    commands += script.go(script.now + 0.2)

    assert starts(commands) == ["t"]
    assert script.task_state.works["t"].term == 5


def test_without_a_push_a_free_token_is_found_within_a_heartbeat():
    database = OneGroup(tokens={"t": TaskToken(term=4, node=OTHER, session="o", free=False)})
    script = TaskScript(task(), database=database)
    script.go(2.0)
    script.database.tokens["t"] = TaskToken(term=4, node=OTHER, session=None, free=True)

    assert starts(script.go(2.0 + 1.1 * TIMING.heartbeat_s)) == ["t"]


def test_one_heartbeat_extends_every_program():
    script = started(task("a"), task("b"))

    extended = of(script.go(2.0), ExtendTrust)

    assert extended
    assert {command.run for command in extended} == {EVERY_RUN}  # type: ignore[attr-defined]
    beats = [request for request in script.database.asked if isinstance(request, Beat)]
    assert 1 <= len(beats) <= 3, "one heartbeat a second, whatever the number of tasks"


def test_a_task_that_moves_away_is_given_back_only_when_nothing_of_it_is_left():
    """Rule D3."""
    script = started(task())
    script.database.change(standing=Standing.REHAB)

    commands = script.go(2.0)

    assert of(commands, StopProgram)
    assert not [request for request in script.database.asked if isinstance(request, ReleaseTasks)]
    script.happens(lambda _: ended(script, status=-15, why="stopped"))
    script.go(2.3)
    releases = [request for request in script.database.asked if isinstance(request, ReleaseTasks)]
    assert [given.task for release in releases for given in release.given] == ["t"]
    assert not script.task_state.works


@pytest.mark.parametrize("change", ["disabled", "deleted"])
def test_a_task_that_is_disabled_or_deleted_ends(change: str):
    script = started(task())
    script.database.change(tasks={"t": task(enabled=False)} if change == "disabled" else {})

    stops = of(script.go(2.0), StopProgram)

    assert [stop.reason for stop in stops] == [f"the task was {change}"]  # type: ignore[attr-defined]


def test_a_changed_task_is_started_anew_under_the_same_token():
    script = started(task())
    script.database.define(task(revision=2, spec='{"command": ["new"]}'))
    assert of(script.go(2.0), StopProgram)

    commands = script.happens(lambda _: ended(script, status=-15, why="stopped"))
    commands += script.go(2.2)

    assert starts(commands) == ["t"]
    assert script.task_state.works["t"].definition.revision == 2
    assert script.task_state.works["t"].term == 1
    assert not [request for request in script.database.asked if isinstance(request, ReleaseTasks)]


def test_nothing_starts_on_an_unsettled_identity():
    """Rule D5."""
    script = TaskScript(task(), database=OneGroup(settled=False))

    assert not starts(script.go(3.0))


def test_after_a_promotion_trust_is_extended_only_when_the_holdings_were_read_anew():
    """Rule D6: the new primary may have lost the taking, and given the token to another."""
    script = started(task())
    script.database.timeline, script.database.settled = 2, False
    script.database.tokens["t"] = TaskToken(term=1, node=OTHER, session="o", free=False)

    commands = script.go(2.0)

    kills = of(commands, KillProgram)
    assert len(kills) == 1
    before = commands[: commands.index(kills[0])]
    moved = next(i for i, c in enumerate(commands) if c == Ask(ReadGroup()))
    assert not of(before[moved:], ExtendTrust)
    assert not of(commands[moved:], ExtendTrust)


def test_a_holding_that_survived_a_promotion_goes_on():
    script = started(task())
    script.database.timeline = 2

    commands = script.go(2.5)

    assert not of(commands, KillProgram)
    assert of(commands, ExtendTrust)


def test_a_take_whose_answer_was_lost_is_found_again():
    script = TaskScript(task())
    script.database.refuse_takes = True
    script.go(0.5)
    script.database.tokens["t"] = TaskToken(
        term=1, node=ME, session=script.database.session, free=False
    )

    assert starts(script.go(2.0)) == ["t"]
    assert script.task_state.works["t"].term == 1


def test_every_program_dies_when_trust_ends_and_only_then_the_node_joins_again():
    """Rule D1, H4: cut off, it has removed all its tasks before anybody may take them."""
    script = started(task("a"), task("b"))
    script.cut = True

    commands = script.go(8.0)

    killed = {command.run for command in of(commands, KillProgram)}  # type: ignore[attr-defined]
    assert killed == {run_of(script, "a"), run_of(script, "b")}
    assert script.node.session is None
    script.cut = False
    joins = sum(isinstance(request, Join) for request in script.database.asked)
    script.go(10.0)
    assert sum(isinstance(request, Join) for request in script.database.asked) == joins
    script.happens(lambda _: ended(script, "a", -9, "killed"))
    told = script.happens(lambda _: ended(script, "b", -9, "killed"))
    assert LogLine("tasks-removed", ()) in told
    script.go(10.5)
    assert sum(isinstance(request, Join) for request in script.database.asked) == joins + 1


def test_a_task_that_continues_outlives_the_session_and_stops_when_it_is_anothers():
    """H9, rule D8: it goes on, is reported, and ends when the token was taken meanwhile."""
    script = started(task(on_partition=OnPartition.CONTINUE))
    script.cut = True
    commands = script.go(8.0)
    assert not of(commands, KillProgram)
    assert set(script.task_state.detached) == {"t"}

    script.cut = False
    script.database.tokens["t"] = TaskToken(term=2, node=OTHER, session="o", free=False)
    script.database.change(standing=Standing.REHAB)
    assert of(script.go(10.0), StopProgram)
    script.happens(lambda _: ended(script, status=-15, why="stopped"))
    script.go(11.0)

    told = [line for r in script.database.asked if isinstance(r, ReportTasks) for line in r.told]
    assert [line.note for line in told if line.note] == ["ran-apart"]
    assert not script.task_state.detached


def test_a_task_that_continued_goes_on_under_a_new_term_when_nobody_took_it():
    script = started(task(on_partition=OnPartition.CONTINUE))
    run = run_of(script)
    script.cut = True
    script.go(8.0)
    script.cut = False
    script.database.tokens["t"] = TaskToken(term=1, node=ME, session="over", free=True)

    commands = script.go(12.0)

    assert not starts(commands)
    assert not of(commands, StopProgram)
    assert run_of(script) == run
    assert script.task_state.works["t"].term == 2


def test_a_program_that_continues_has_no_deadline():
    script = TaskScript(task(on_partition=OnPartition.CONTINUE))

    start = of(script.go(0.5), StartProgram)[0]

    assert start.trusted_until > 1e9  # type: ignore[attr-defined]


def test_a_crash_loop_gives_the_task_to_others_with_a_mark():
    """Rule D7: it alone backs off, and the others run on."""
    script = started(task("bad"), task("good"))
    good = run_of(script, "good")

    told = []
    for _ in range(QUICK_ENDS_MAX):
        assert "bad" in script.task_state.works
        assert "task-crash-loop" not in told
        commands = script.happens(lambda _: ended(script, "bad", 1))
        told += [each.event for each in commands if isinstance(each, LogLine)]
        script.go(script.now + 2.0)

    assert told.count("task-crash-loop") == 1

    releases = [r for r in script.database.asked if isinstance(r, ReleaseTasks)]
    assert [(given.task, given.failed) for r in releases for given in r.given] == [("bad", True)]
    assert run_of(script, "good") == good


def test_a_file_that_cannot_be_executed_is_left_to_others_at_once():
    script = started(task())

    script.happens(lambda now: ProgramRefused(now, run_of(script), "no such file", 127))
    script.go(script.now + 0.3)

    releases = [r for r in script.database.asked if isinstance(r, ReleaseTasks)]
    assert [given.failed for r in releases for given in r.given] == [True]


def test_what_other_groups_read_does_not_quote_why_a_file_cannot_be_executed():
    """The history is read by all; the error is told to the task's own group."""
    script = started(task())

    script.happens(lambda now: ProgramRefused(now, run_of(script), "no file /srv/--key=s3", 127))
    script.go(script.now + 10.0)

    releases = [r for r in script.database.asked if isinstance(r, ReleaseTasks)]
    assert {given.reason for r in releases for given in r.given} == {
        "its program could not be started (exit code 127)"
    }
    told = [line for r in script.database.asked if isinstance(r, ReportTasks) for line in r.told]
    assert "no file /srv/--key=s3" in {line.error for line in told}


def test_why_a_task_is_not_started_is_shown_while_it_is_tried_again_and_again():
    script = started(task())

    for _ in range(3):
        script.happens(lambda now: ProgramRefused(now, run_of(script), "no such file", 127))
        script.go(script.now + 10.0)

    told = [line for r in script.database.asked if isinstance(r, ReportTasks) for line in r.told]
    first = next(n for n, line in enumerate(told) if line.error)
    assert {line.error for line in told[first:]} == {"no such file"}


def test_a_hung_task_loses_only_its_own_token():
    """K7, rule D9."""
    script = started(task("hung", progress_s=3.0), task("busy", progress_s=3.0))

    commands = script.go(2.5)
    commands += script.happens(lambda now: ProgramProgressed(now, run_of(script, "busy")))
    commands += script.go(4.0)

    stops = of(commands, StopProgram)
    assert [stop.run for stop in stops] == [run_of(script, "hung")]  # type: ignore[attr-defined]
    script.happens(lambda _: ended(script, "hung", -9, "stopped"))
    script.go(4.3)
    releases = [r for r in script.database.asked if isinstance(r, ReleaseTasks)]
    assert [given.task for r in releases for given in r.given] == ["hung"]
    assert run_of(script, "busy")


def test_a_finished_task_is_marked_as_done():
    script = started(task(on_done=OnDone.FINISH))

    script.happens(lambda _: ended(script))
    script.go(script.now + 0.3)

    releases = [r for r in script.database.asked if isinstance(r, ReleaseTasks)]
    assert releases[0].given[0] == GivenTask(task="t", term=1, reason="the task is done", done=True)


def test_a_leaving_node_ends_every_program_then_gives_everything_back():
    script = started(task("a"), task("b"))

    commands = script.happens(lambda now: StopAsked(now, "SIGTERM"))
    commands += script.go(script.now + 0.1)

    assert len(of(commands, StopProgram)) == 2
    assert not [request for request in script.database.asked if isinstance(request, Leave)]
    script.happens(lambda _: ended(script, "a", -15, "stopped"))
    assert not [request for request in script.database.asked if isinstance(request, Leave)]
    script.happens(lambda _: ended(script, "b", -15, "stopped"))
    assert [request for request in script.database.asked if isinstance(request, Leave)]
    assert script.node.finished


def test_a_program_whose_trust_ran_short_is_given_back_and_taken_anew():
    script = started(task())

    script.happens(lambda now: ProgramStopping(now, run_of(script)))
    commands = script.happens(lambda _: ended(script, status=-15, why="trust"))
    commands += script.go(script.now + 1.5)

    assert starts(commands) == ["t"]
    assert script.task_state.works["t"].term == 2, "a new holding has a new term"


def test_the_database_is_told_what_runs_and_which_version_is_acted_on():
    """H3, H11."""
    script = started(task())
    script.go(1.0)
    script.database.define(task("more"))

    script.go(3.0)

    told = [request for request in script.database.asked if isinstance(request, ReportTasks)]
    assert told[-1].version == script.database.version
    states = {line.task: line.state for request in told for line in request.told}
    assert states == {"t": "running", "more": "running"}


def test_a_quiet_node_asks_nothing_but_heartbeats():
    """K4 and the budget: no handover, no second statement, while nothing happens."""
    script = started(task("a"), task("b"))
    script.go(3.0)
    script.database.asked.clear()

    script.go(30.0)

    assert {type(request) for request in script.database.asked} == {Beat}


def shows(script: TaskScript, **nodes: NodeRecord) -> None:
    """Let the record show these nodes, too."""
    record = script.database.record

    def shown() -> GroupRecord:
        seen = record()
        return replace(seen, nodes={**seen.nodes, **nodes})

    script.database.record = shown  # type: ignore[method-assign]


def test_a_node_without_a_mentor_sees_itself_caught_up():
    """H6: the first node of a group."""
    script = TaskScript(database=OneGroup(standing=Standing.PROMOTABLE))
    script.go(0.05)
    me = script.database.record().nodes[ME]
    shows(script, n0=replace(me, caught_up=False))
    script.database.version += 1

    script.go(1.5)

    asked = [request for request in script.database.asked if isinstance(request, CatchUp)]
    assert {request.pupil for request in asked} == {ME}


def test_a_mentor_waits_until_its_pupil_acts_on_the_record():
    """H6, P11: polled, because what a node says of itself raises no version."""
    script = started()
    pupil = NodeRecord(
        node="n9",
        standing=Standing.REHAB,
        live=True,
        session="s",
        caught_up=False,
    )
    shows(script, n9=pupil)
    script.database.version += 1
    script.go(3.0)
    assert not [request for request in script.database.asked if isinstance(request, CatchUp)]

    shows(script, n9=replace(pupil, seen_version=script.database.version))
    script.go(script.now + 1.2)

    asked = [request for request in script.database.asked if isinstance(request, CatchUp)]
    assert (asked[0].pupil, asked[0].pupil_session) == ("n9", "s")


def test_the_observer_watches_the_sessions():
    script = TaskScript()
    script.database.view = lambda: replace(  # type: ignore[method-assign]
        view(
            held(script.database.session or "", node=ME),
            seen(script.database.session, len(script.database.asked)),
        ),
        group_version=script.database.version,
    )

    commands = script.go(3.0)

    watches = [request for request in script.database.asked if isinstance(request, WatchSessions)]
    assert 2 <= len(watches) <= 5
    assert LogLine("observing", ()) in commands
    assert not [request for request in script.database.asked if isinstance(request, Take)]


def test_nothing_starts_on_a_record_that_is_known_to_be_old():
    """D4: the first answer with another version leads to a new look, before anything starts."""
    script = started(task())
    script.happens(lambda _: ended(script, status=1))  # it waits for its restart
    script.database.define(task(enabled=False))

    commands = script.happens(Notified)

    kinds = [type(request) for request in script.database.asked]
    assert kinds[-1] is ReadGroup or ReadGroup in kinds[kinds.index(Beat) :]
    commands += script.go(script.now + 3.0)
    assert not starts(commands)


def test_the_observer_raises_an_alert_once():
    """H8: a pinned task whose node is away is something that a person should hear of."""
    script = TaskScript(task(preferred="n9", pinned=True))
    script.database.view = lambda: replace(  # type: ignore[method-assign]
        view(
            held(script.database.session or "", node=ME),
            seen(script.database.session, len(script.database.asked)),
        ),
        group_version=script.database.version,
    )

    commands = script.go(2.0)
    script.database.define(task("another"))
    commands += script.go(8.0)

    alerts = [c for c in of(commands, LogLine) if c.event == "alert"]  # type: ignore[attr-defined]
    assert [dict(c.fields)["task"] for c in alerts] == ["t"]  # type: ignore[attr-defined]
    told = [line for r in script.database.asked if isinstance(r, ReportTasks) for line in r.told]
    assert [(line.note, line.state) for line in told if line.note] == [("alert", "")]


def test_a_token_that_stays_locked_is_not_asked_for_in_a_loop():
    """The fence of another role: free as it was seen, and never taken; the rest goes on."""
    script = TaskScript(task("locked"), task("good"))
    take = script.database._take

    def without_the_locked(request: TakeTasks) -> Answer:
        rest = tuple(wanted for wanted in request.wanted if wanted.task != "locked")
        return take(replace(request, wanted=rest))

    script.database._take = without_the_locked  # type: ignore[method-assign]

    script.go(10.0)

    takes = [request for request in script.database.asked if isinstance(request, TakeTasks)]
    assert len(takes) <= 15, "once a heartbeat"
    told = [line for r in script.database.asked if isinstance(r, ReportTasks) for line in r.told]
    assert [line.state for line in told if line.task == "good"] == ["running"]


def test_a_stop_timeout_that_no_lease_can_hold_does_not_keep_a_task_from_running():
    script = TaskScript(task(stop_timeout_s=60.0))

    assert starts(script.go(2.0)) == ["t"]


def test_a_release_that_is_refused_waits_for_a_heartbeat():
    script = started(task())
    answer = script.database.answer

    def refused(request: Request) -> Answer:
        if isinstance(request, ReleaseTasks | Beat):
            script.database.asked.append(request)
            return Answer(done=False, view=script.database.view())
        return answer(request)

    script.database.answer = refused  # type: ignore[method-assign]
    script.database.change(standing=Standing.REHAB)
    script.go(script.now + 2.0)

    # `go` would fail if the node asked without end.
    assert script.node.session is None or not script.task_state.works


def test_a_lost_taking_of_what_went_on_apart_starts_no_second_program():
    """Its token is this session's, as the next record shows: the program goes on under it."""
    script = started(task(on_partition=OnPartition.CONTINUE))
    run = run_of(script)
    script.cut = True
    script.go(8.0)
    script.cut = False
    script.database.refuse_takes = True
    script.database.tokens["t"] = TaskToken(term=1, node=ME, session="over", free=True)
    commands = script.go(10.5)
    assert set(script.task_state.detached) == {"t"}

    script.database.tokens["t"] = TaskToken(
        term=2, node=ME, session=script.database.session, free=False
    )
    commands += script.go(14.0)

    assert not starts(commands)
    assert not of(commands, StopProgram)
    assert run_of(script) == run
    assert script.task_state.works["t"].term == 2


def test_after_an_outage_a_task_goes_on_apart_until_its_node_may_have_it_again():
    """D8: every node is in Rehab then, and nobody has taken anything."""
    script = started(task(on_partition=OnPartition.CONTINUE))
    run = run_of(script)
    script.cut = True
    script.go(8.0)
    script.cut = False
    script.database.tokens["t"] = TaskToken(term=1, node=ME, session="over", free=True)
    script.database.change(standing=Standing.REHAB)

    commands = script.go(12.0)
    script.database.change(standing=Standing.MEMBER)
    commands += script.go(15.0)

    assert not of(commands, StopProgram)
    assert not starts(commands)
    assert run_of(script) == run
    assert script.task_state.works["t"].term == 2


def test_how_long_a_task_went_on_apart_counts_from_the_end_of_trust():
    script = started(task(on_partition=OnPartition.CONTINUE))
    script.go(100.0)
    script.cut = True

    script.go(110.0)

    since = script.task_state.detached["t"].detached_since
    assert since is not None
    assert since > 100.0


def test_a_pupil_in_a_busy_group_is_seen_caught_up():
    """H6: what it has seen in this life is enough; a newer version comes every half second."""
    script = TaskScript()
    record = script.database.record
    seen_version = [-1]

    def shown() -> GroupRecord:
        found = record()
        pupil = replace(found.nodes["n9"], caught_up=False, seen_version=seen_version[0])
        return replace(found, nodes={**found.nodes, "n9": pupil})

    script.database.record = shown  # type: ignore[method-assign]
    script.go(1.0)

    for _ in range(20):
        script.database.change()
        script.happens(Notified)
        script.go(script.now + 0.3)
        seen_version[0] = script.database.version
        script.go(script.now + 0.2)

    assert [request for request in script.database.asked if isinstance(request, CatchUp)]


SCHEDULED = '{"command":["x"],"trigger":{"interval":1}}'


def test_a_schedule_that_its_error_policy_ended_is_done_and_does_not_hop():
    """C5: exit status 70 of a schedule's process; the reason is in the record."""
    script = started(task(spec=SCHEDULED, on_done=OnDone.FINISH))

    commands = script.happens(lambda _: ended(script, status=70))

    (release,) = [ask.request for ask in of(commands, Ask) if isinstance(ask.request, ReleaseTasks)]
    assert release.given[0].done
    assert not release.given[0].failed
    assert script.task_state.notes == ()


def test_a_program_without_a_trigger_may_end_with_70_as_with_any_other_status():
    script = started(task())

    script.happens(lambda _: ended(script, status=70))

    assert script.task_state.works["t"].error == "exit code 70"
    assert starts(script.go(script.now + 2.0)) == ["t"]
