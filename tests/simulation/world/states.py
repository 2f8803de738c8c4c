"""Programs that save a state and begin with that of their predecessor, and who judges them.

Only in worlds that are made so (`saves_states`): the others stay as they are, draw by draw.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coordinator.errors import TokenLostError
from coordinator.protocol.messages.requests import Identity
from coordinator.protocol.node.events import ProgramRefused, StartProgram
from coordinator.protocol.rules.saved_state import StateSeen, StateWanted, shows_holding
from tests.simulation.world.settings import GROUP
from tests.support.fakes.program.memory_state import MemoryState, seen

if TYPE_CHECKING:
    from tests.simulation.world.agent import Agent
    from tests.simulation.world.programs import Program, Programs
    from tests.simulation.world.world import World

#: A reading without an answer is asked again after this.
AGAIN_S = 0.4
#: A program saves so often.
SAVE_EVERY_S = 0.3
#: The slowest commit on its way: longer than a takeover takes.
COMMIT_MAX_S = 9.0


@dataclass(frozen=True, slots=True)
class Read:
    """State that one snapshot showed, and the server that it was read from."""

    seen: StateSeen
    identity: Identity


def key_of(content: bytes | None) -> tuple[int, int]:
    """Return the term and the number of a state."""
    if content is None:
        return 0, 0
    term, number = content.decode().split(":")
    return int(term), int(number)


# --- reading --------------------------------------------------------------------------------------


def read_early(agent: Agent) -> None:
    """Read beside a take: it may be answered before the take, and then shows another holding."""
    _travel(agent, lambda read: agent.early.append(read))


def read(agent: Agent, command: StartProgram, session: str) -> None:
    """Read for a start that was ordered, again and again while nothing counts."""
    if command.run not in agent.loads.runs:
        return
    early, agent.early = agent.early, []
    for one in early:
        came(agent, command, session, one)
    if command.run in agent.loads.runs:
        _travel(agent, lambda one: came(agent, command, session, one))
        agent.host.after(AGAIN_S, agent.deliver, read, agent, command, session)


def came(agent: Agent, command: StartProgram, session: str, one: Read) -> None:
    """Start the run if the snapshot shows its holding (Y4)."""
    wanted = StateWanted(token=GROUP, term=command.term, session=session)
    if not shows_holding(one.seen, wanted):
        return
    agent.loads, decided = agent.loads.after_load(command.run, agent.host.local())
    if isinstance(decided, ProgramRefused):
        agent.take_in(decided)
    elif decided is not None:
        agent.host.programs.read[command.run] = one
        agent.order_start(decided)


def _travel(agent: Agent, answered: Callable[[Read], None]) -> None:
    """Carry a reading to the server and back."""
    world, host = agent.host.world, agent.host

    def at_server() -> None:
        database = world.server.database
        if not world.server.up:
            return
        one = Read(seen(database, GROUP), database.identity)
        back_s = world.state_way_s(host)
        if back_s is not None:
            host.after(back_s, agent.deliver, answered, one)

    there_s = world.state_way_s(host)
    if there_s is not None:
        host.after(there_s, at_server)


# --- programs -------------------------------------------------------------------------------------


def begin(programs: Programs, program: Program) -> None:
    """Judge what a program begins with, and let it save from then on."""
    one = programs.read.pop(program.number, None)
    world = programs.world
    if one is None:
        world.history.witnessed.append(f"state: run {program.number} started without reading one")
        return
    _judge(world, programs.host.name, program, one)
    term, number = key_of(one.seen.content)
    world.history.note(world.now, programs.host.name, "begins", program.term, term, number)
    _save_later(programs, program, number)


def _judge(world: World, name: str, program: Program, one: Read) -> None:
    """Nothing of an older term may have been saved that the program did not begin with (Y4)."""
    database = world.server.database
    if database.identity != one.identity:
        return  # the commits that it read may be lost by now, as any others
    older = [row for row in database.states.get(GROUP, ()) if row.term < program.term]
    if older and key_of(one.seen.content) < key_of(older[-1].content):
        told = f"state: at {world.now:.3f} {name} began term {program.term} with"
        told += f" {one.seen.content!r}, after {older[-1].content!r} was saved"
        world.history.witnessed.append(told)


def _save_later(programs: Programs, program: Program, number: int) -> None:
    every_s = SAVE_EVERY_S * (0.5 + programs.world.state_rng.random())
    programs.host.after(every_s, _save, programs, program, number + 1)


def _save(programs: Programs, program: Program, number: int) -> None:
    """Send a commit, which arrives even when its program is dead by then."""
    if programs.alive.get(program.number) is not program:
        return
    if not programs.host.frozen:
        world = programs.world
        slow = world.state_rng.random() < 0.15
        delay_s = COMMIT_MAX_S * world.state_rng.random() if slow else 0.01
        world.at(world.now + delay_s, _commit, world, program, number)
    _save_later(programs, program, number)


def _commit(world: World, program: Program, number: int) -> None:
    """Carry a commit out under the fence; the terms of what is saved never fall (Y1)."""
    database = world.server.database
    if not world.server.up:
        return
    before = database.states.get(GROUP, ())
    content = f"{program.term}:{number}".encode()
    try:
        MemoryState(database, GROUP, program.term, program.ordered.session).put(content)
    except TokenLostError:
        return
    if before and before[-1].term > program.term:
        told = f"state: at {world.now:.3f} term {program.term} saved after term {before[-1].term}"
        world.history.witnessed.append(told)
