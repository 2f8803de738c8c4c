"""Hooks of a node, as they happen around its program; each fails when its rule is broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from coordinator.protocol.messages.requests import Release
from coordinator.protocol.node.events import (
    KillProgram,
    ProgramEnded,
    ResignAsked,
    StartProgram,
    StopProgram,
)
from coordinator.protocol.node.state.node import Policy
from coordinator.protocol.node.state.side_runs import HookPolicy
from tests.simulation.plans.script import Script, asked, held, kinds, seen, view


def script_of(**hooks: float) -> Script:
    """Return a node that has just got the token, with these hooks."""
    policy = HookPolicy(**hooks)
    script = Script(Policy(node="n0", group="G", seed="script", hooks=policy))
    script.hold(0.0)
    return script


def side(commands: tuple[object, ...], kind: str) -> StartProgram:
    """Return the order of a hook among the commands."""
    (found,) = (it for it in commands if isinstance(it, StartProgram) and it.side == kind)
    return found


def the_program_waits_for_its_preparation() -> None:
    """M9: nothing starts before the hook has succeeded; each start has its own.

    1. 0.0  the token is taken, and the hook begins.
    2. 0.5  it has succeeded: the program starts.
    3. 1.0  the program has ended by itself; before the next start the hook runs again.
    """
    script = script_of(before_start_s=5.0)
    assert script.node.run is None
    (first,) = script.node.side_runs
    assert StartProgram not in kinds(script.tick(0.2))

    started = script.take_in(ProgramEnded(0.5, first.number, 0, "itself"))

    assert [it.side for it in started if isinstance(it, StartProgram)] == [""]
    assert script.node.run is not None
    script.take_in(ProgramEnded(1.0, script.node.run.number, 1, "itself"))
    assert side(script.tick(1.2), "beforeStart").term == 1


def the_token_waits_for_the_clearing_up() -> None:
    """M10: the next node starts when the address is gone from this one, not before.

    1. 0.5  the node resigns; its program has ended at 0.6, and the hook begins.
    2. 0.9  the hook has ended: the token is released.
    """
    script = script_of(after_stop_s=5.0)
    assert StopProgram in kinds(script.take_in(ResignAsked(0.5, "SIGUSR1")))

    ended = script.take_in(ProgramEnded(0.6, 1, -15, "stopped"))

    hook = side(ended, "afterStop")
    assert dict(hook.env)["COORD_REASON"] == "SIGUSR1"
    assert hook.trusted_until == 0.6 + 5.0
    assert not isinstance(asked(ended), Release)
    assert not isinstance(asked(script.tick(0.7)), Release)
    assert isinstance(asked(script.take_in(ProgramEnded(0.9, hook.run, 1, "itself"))), Release)


def a_lost_token_ends_the_preparation() -> None:
    """L2, M9: an answer names another holding while the hook runs."""
    script = script_of(before_start_s=5.0)
    (hook,) = script.node.side_runs
    script.tick(1.0)
    other = view(held("other", term=2), seen("other"))

    commands = script.answer(1.0, other)

    assert KillProgram(hook.number, "the database names another holding") in commands
    ended = script.take_in(ProgramEnded(1.1, hook.number, 0, "itself"))
    assert StartProgram not in kinds(ended)
    assert script.node.prepared == 0


def a_change_is_told_once_and_one_at_a_time() -> None:
    """M11: what changes while the hook runs is told after it, as it is then."""
    policy = Policy(node="n0", group="G", seed="s", hooks=HookPolicy(on_change_s=5.0))
    script = Script(policy)
    script.tick(0.0)
    first = side(script.answer(0.0, _of("a", 4)), "onChange")
    assert dict(first.env) == {
        "COORD_ROLE": "standby",
        "COORD_HOLDER": "a",
        "COORD_HOLDER_ADDRESS": "a.example",
    }
    script.tick(1.0)
    assert StartProgram not in kinds(script.answer(1.0, _of("b", 5)))
    script.tick(2.0)
    assert StartProgram not in kinds(script.answer(2.0, _of("c", 6)))

    second = side(script.take_in(ProgramEnded(2.5, first.run, 0, "itself")), "onChange")

    assert (dict(second.env)["COORD_HOLDER"], second.term) == ("c", 6)
    assert StartProgram not in kinds(script.take_in(ProgramEnded(2.7, second.run, 0, "itself")))


def _of(holder: str, term: int) -> object:
    row = replace(seen(f"s-{holder}"), address=f"{holder}.example")
    return view(held(f"s-{holder}", node=holder, term=term), row)


#: By the name of the planted bug that fails it.
HOOKS: dict[str, Callable[[], None]] = {
    "unprepared": the_program_waits_for_its_preparation,
    "uncleared": the_token_waits_for_the_clearing_up,
    "prepared-for-another": a_lost_token_ends_the_preparation,
    "changes-at-once": a_change_is_told_once_and_one_at_a_time,
}
