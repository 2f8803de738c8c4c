"""`-n` and `-w`: who gives up when, and what is said then (docs/protocol.md, rule L5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from coordinator.protocol.messages.requests import Beat, Join, Leave, Take, View
from coordinator.protocol.node import waiting
from coordinator.protocol.node.events import Command, Failed, Finish, StartProgram
from coordinator.protocol.node.machine import wake_at
from coordinator.protocol.node.state.node import Policy
from coordinator.protocol.node.waiting import wait_that_suffices_s
from tests.simulation.plans.planted import patched
from tests.simulation.plans.script import Script, asked, held, kinds, seen, view

NONBLOCK = Policy(node="n0", group="G", seed="s", nonblock=True, outwaits_silent=True)
THREE_S = Policy(node="n0", group="G", seed="s", wait_until=3.0)


def other(beat: int = 7, age_s: float = 0.3) -> View:
    """Return a view in which another node holds the token; its heartbeat is due each second."""
    return view(held("theirs", term=4), seen("theirs", beat, age_s=age_s))


def trouble(commands: tuple[Command, ...]) -> str:
    finish = next(each for each in commands if isinstance(each, Finish))
    assert finish.code == 75
    return finish.trouble


def take_free(script: Script, now: float) -> tuple[Command, ...]:
    token = held(script.session, node="n0", term=1)
    return script.answer(now, view(token, seen(script.session)), term=1)


@pytest.mark.parametrize("policy", [NONBLOCK, replace(NONBLOCK, outwaits_silent=False)])
def test_nonblock_leaves_when_a_live_node_holds(policy: Policy) -> None:
    script = Script(policy)

    assert isinstance(asked(script.join(0.0, other())), Leave)

    assert trouble(script.answer(0.1, other())) == "the token is held by other (term 4)"


def test_nonblock_takes_a_free_token() -> None:
    script = Script(NONBLOCK)

    assert isinstance(asked(script.join(0.0, view())), Take)

    assert StartProgram in kinds(take_free(script, 0.1))


def test_nonblock_waits_out_a_holder_that_looks_dead() -> None:
    """L5: after a crash the one interval is waited for, not a dead node named for ever."""
    script = Script(NONBLOCK)
    script.join(0.0, other(age_s=2.5))
    now = 0.0
    while not isinstance(script.node.pending, Take):
        assert script.node.leaving is None
        now = wake_at(script.node, now)
        script.tick(now)
        if isinstance(script.node.pending, Beat):
            script.answer(now, other(age_s=2.5 + now))

    assert now == pytest.approx(6.0, abs=0.1)


def test_nonblock_leaves_when_the_silent_holder_beats_after_all() -> None:
    script = Script(NONBLOCK)
    script.join(0.0, other(age_s=2.5))
    now = wake_at(script.node, 0.0)
    script.tick(now)

    assert isinstance(asked(script.answer(now, other(beat=8, age_s=0.1))), Leave)


def test_nonblock_without_patience_leaves_a_dead_holder_too() -> None:
    """The in-process API asks for a lock: no is an answer."""
    script = Script(replace(NONBLOCK, outwaits_silent=False))

    assert isinstance(asked(script.join(0.0, other(age_s=2.5))), Leave)


def test_the_time_is_over_and_a_live_node_holds() -> None:
    script = Script(THREE_S)
    script.join(0.0, other())
    script.tick(1.0)
    script.answer(1.0, other(beat=8))

    assert wake_at(script.node, 1.0) <= 3.0
    assert isinstance(asked(script.tick(3.0)), Leave)
    assert trouble(script.answer(3.1, other())) == "the token is held by other (term 4)"


def test_the_time_is_over_before_a_dead_holders_is_and_what_suffices_is_told() -> None:
    script = Script(THREE_S)
    script.join(0.0, other(age_s=1.0))
    script.tick(2.9)
    script.answer(2.9, other(age_s=3.9))
    script.tick(3.0)

    said = trouble(script.answer(3.1, other(age_s=4.1)))

    assert "whose last heartbeat is 3.9 s old" in said
    assert "a wait of 8 s (`-w 8`) suffices" in said


def test_the_wait_that_was_said_to_suffice_does() -> None:
    shown = other(age_s=4.0)
    assert shown.holder is not None
    enough_s = wait_that_suffices_s(Script(THREE_S).node, shown.holder)
    script = Script(replace(THREE_S, wait_until=enough_s))
    script.join(0.0, shown)
    now = 0.0
    while not isinstance(script.node.pending, Take):
        assert script.node.leaving is None
        now = wake_at(script.node, now)
        script.tick(now)
        if isinstance(script.node.pending, Beat):
            script.answer(now, other(age_s=4.0 + now))


@pytest.mark.parametrize("over_at", [0.0, 0.05, 0.1])
def test_a_free_token_is_taken_however_short_the_wait_is(over_at: float) -> None:
    """A time that is over before the first answer, while it comes, or while the take is decided."""
    script = Script(replace(THREE_S, wait_until=over_at))
    script.tick(0.0)
    assert isinstance(script.pending, Join)
    script.tick(0.05)
    script.answer(0.06, view())
    script.tick(0.11)
    assert isinstance(script.pending, Take)

    assert StartProgram in kinds(take_free(script, 0.2))


def test_a_race_that_is_lost_when_the_time_is_over_ends_it() -> None:
    script = Script(replace(THREE_S, wait_until=0.1))
    script.join(0.0, view())
    script.tick(0.1)

    assert isinstance(asked(script.answer(0.2, other())), Leave)


@pytest.mark.parametrize("priority", [0, 1])
def test_a_free_token_that_may_not_be_taken_is_no_reason_to_wait_longer(priority: int) -> None:
    script = Script(replace(THREE_S, priority=priority))
    script.join(0.0, view(settled=priority == 0))

    assert isinstance(asked(script.tick(3.0)), Leave)

    said = trouble(script.answer(3.1, view(settled=priority == 0)))
    assert said.startswith("the token is free, ")


def test_a_database_that_does_not_answer_ends_the_wait() -> None:
    script = Script(THREE_S)
    script.tick(0.0)
    script.take_in(Failed(2.0, script.pending, "no answer"))
    commands = script.tick(3.0)
    now = 3.0
    while not any(isinstance(each, Finish) for each in commands):
        if script.node.pending is not None:
            commands = script.take_in(Failed(now, script.pending, "no answer"))
        else:
            now = wake_at(script.node, now)
            commands = script.tick(now)

    assert "no answer of the database" in trouble(commands)


def free_while_the_first_answer_comes() -> None:
    test_a_free_token_is_taken_however_short_the_wait_is(0.05)


def live_holder_seen() -> None:
    test_nonblock_leaves_when_a_live_node_holds(NONBLOCK)


@pytest.mark.parametrize(
    ("rule", "answers", "found_by"),
    [
        ("looks_dead", False, test_nonblock_waits_out_a_holder_that_looks_dead),
        ("looks_dead", True, live_holder_seen),
        ("looks_dead", True, test_nonblock_leaves_when_the_silent_holder_beats_after_all),
        ("_waits_for_silent", True, test_nonblock_without_patience_leaves_a_dead_holder_too),
        ("_about_to_take", False, free_while_the_first_answer_comes),
        ("_about_to_take", True, test_the_time_is_over_and_a_live_node_holds),
    ],
)
def test_a_broken_rule_is_found(rule: str, answers: object, found_by: Callable[[], None]) -> None:
    """L5: each part of it, answering the same whatever it is asked, fails a test of this file."""
    found_by()

    with patched(((waiting, rule, lambda *_: answers),)), pytest.raises(AssertionError):
        found_by()
