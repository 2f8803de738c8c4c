"""One-off commands beside a program, as they happen; each fails when its rule is broken."""

from __future__ import annotations

from collections.abc import Callable

from coordinator.protocol.messages.requests import Release
from coordinator.protocol.node.events import (
    Command,
    ExtendTrust,
    KillProgram,
    OneOffAsked,
    OneOffWithdrawn,
    ProgramEnded,
    ResignAsked,
    StartProgram,
    StopProgram,
    TellAsker,
)
from tests.simulation.plans.script import Script, asked, held, kinds, seen, view


def ask(script: Script, now: float, number: int = 1) -> tuple[Command, ...]:
    """Ask for a one-off."""
    return script.take_in(OneOffAsked(now, number, "address", "process 7"))


def begun(script: Script, now: float, number: int = 1) -> StartProgram:
    """Ask for a one-off, and return the order of its start."""
    (found,) = (it for it in ask(script, now, number) if isinstance(it, StartProgram))
    assert (found.side, dict(found.env)) == ("one_off", {"COORD_ONE_OFF": "address"})
    return found


def holder() -> Script:
    """Return a node whose program runs under term 1."""
    script = Script()
    script.hold(0.0)
    assert script.node.run is not None
    return script


def stopped(commands: tuple[Command, ...]) -> list[int]:
    return [it.run for it in commands if isinstance(it, StopProgram)]


def killed(commands: tuple[Command, ...]) -> list[int]:
    return [it.run for it in commands if isinstance(it, KillProgram)]


def told(commands: tuple[Command, ...]) -> list[TellAsker]:
    return [it for it in commands if isinstance(it, TellAsker)]


def a_one_off_begins_on_fresh_trust_only() -> None:
    """M12: after two missed renewals nothing new is started, though the program still runs.

    1. 0.0   the node holds the token; a one-off is started, with the deadline of its trust.
    2. 2.5   no heartbeat has been acknowledged: the next one is refused.
    """
    script = holder()
    first = begun(script, 0.5)
    assert first.term == 1
    assert first.trusted_until == script.node.trusted_until

    refused = ask(script, 2.5, 2)

    assert [(it.ask, it.code) for it in told(refused)] == [(2, 3)]
    assert StartProgram not in kinds(refused)


def a_one_off_ends_with_its_asker() -> None:
    """M13: SIGTERM first, and heartbeats extend its trust until it has ended (G2).

    1. 0.2   a one-off begins; at 0.5 its asker dies.
    2. 1.0   a heartbeat: the deadline of the one-off moves.
    3. 1.2   it has ended: the program runs on, and the token is kept.
    """
    script = holder()
    number = begun(script, 0.2).run

    assert stopped(script.take_in(OneOffWithdrawn(0.5, 1))) == [number]
    script.tick(1.0)
    moved = [it.run for it in script.answer(1.0, script.own()) if isinstance(it, ExtendTrust)]
    ended = script.take_in(ProgramEnded(1.2, number, -15, "stopped"))

    assert number in moved
    assert told(ended) == [TellAsker(1, 143)]
    assert script.node.run is not None
    assert not script.node.run.stopping


def a_token_that_is_given_up_waits_for_its_one_offs() -> None:
    """M13: told to end with the program; the token is released when nothing of either is left.

    1. 0.5   the node resigns: program and one-off are told to end.
    2. 0.7   the program has ended; the one-off goes on.
    3. 0.9   it has ended, too: the token is released.
    """
    script = holder()
    number = begun(script, 0.2).run

    assert sorted(stopped(script.take_in(ResignAsked(0.5, "SIGUSR1")))) == sorted([1, number])
    program = script.take_in(ProgramEnded(0.7, 1, -15, "stopped"))
    assert not isinstance(asked(program), Release)
    ended = script.take_in(ProgramEnded(0.9, number, 0, "stopped"))

    assert [it.code for it in told(ended)] == [76]
    assert isinstance(asked(ended), Release)


def a_lost_token_kills_a_one_off_beside_no_program() -> None:
    """L2: between two runs of the program nothing else notices the loss.

    1. 0.3   the program has ended by itself, and waits for its next start.
    2. 1.0   the answer names another holder.
    """
    script = holder()
    number = begun(script, 0.2).run
    script.take_in(ProgramEnded(0.3, 1, 1, "itself"))
    assert number in [side.number for side in script.node.side_runs], "it outlives the program"
    script.fast_forward(restarts=script.node.restarts.__class__(1, 100.0))
    script.tick(1.0)

    lost = script.answer(1.0, view(held("other", term=2), seen("other", 1)))

    assert killed(lost) == [number]


def a_later_term_waits_for_the_one_offs_of_an_earlier_one() -> None:
    """M5, M13: the next start under the same term does not wait, one under another does.

    1. 0.3   the program has ended by itself; it starts again beside the one-off.
    2. 1.0   the token is lost: both are killed; the program is dead at 1.1.
    3. 2.0   the node holds term 3: nothing starts before the one-off is dead, too.
    """
    script = holder()
    number = begun(script, 0.2).run
    script.take_in(ProgramEnded(0.3, 1, 1, "itself"))
    again = [it for it in script.tick(0.9) if isinstance(it, StartProgram)]
    assert [it.side for it in again] == [""]
    script.tick(1.0)
    script.answer(1.0, view(held("other", term=2), seen("other", 1)))
    script.take_in(ProgramEnded(1.1, again[0].run, -9, "killed"))
    script.tick(2.0)

    waits = script.answer(2.0, script.own(4, term=3))

    assert StartProgram not in kinds(waits)
    begins = script.take_in(ProgramEnded(2.1, number, -9, "killed"))
    assert [it.term for it in begins if isinstance(it, StartProgram)] == [3]


#: By the name of the planted bug that fails it.
ONE_OFFS: dict[str, Callable[[], None]] = {
    "stale-one-off": a_one_off_begins_on_fresh_trust_only,
    "orphaned-one-off": a_one_off_ends_with_its_asker,
    "kept-one-off": a_token_that_is_given_up_waits_for_its_one_offs,
    "lost-one-off": a_lost_token_kills_a_one_off_beside_no_program,
    "beside-one-off": a_later_term_waits_for_the_one_offs_of_an_earlier_one,
}
