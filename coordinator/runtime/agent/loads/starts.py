"""Starts of programs, each after the state of its token was read (docs/protocol.md, rule Y4).

protocol/node/state/state_loads.py decides; this module carries it out for the link to the guardian.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from coordinator.ports import Clock
from coordinator.protocol.messages.group_record import token_name
from coordinator.protocol.node.events import Event, ProgramRefused, StartProgram
from coordinator.protocol.node.state.node import Node
from coordinator.protocol.node.state.state_loads import StateLoads
from coordinator.protocol.rules.saved_state import StateWanted
from coordinator.protocol.rules.timing import Timing
from coordinator.runtime.agent.loads.loader import Loaded, NotLoaded, Outcome, StateLoader

#: Variable that names the file with the state of the token; no file is there while none was saved.
STATE_VARIABLE = "COORD_STATE_FILE"

#: Sends the order to start a program, in a session and with more variables; or refuses it.
Send = Callable[[StartProgram, str, Mapping[str, str]], ProgramRefused | None]


class LoadedStarts:
    """Runs that wait for a state, and the files of those that run.

    loader: reads the states; None: programs are started without one.
    """

    def __init__(
        self, loader: StateLoader | None, clock: Clock, timing: Timing, send: Send
    ) -> None:
        self._loader, self._clock, self._send = loader, clock, send
        self._loads = StateLoads(timing=timing)
        self._sessions: dict[int, str] = {}  #: of runs whose state is read, or in a file
        self._told: list[Event] = []  #: ends of runs that never came to the guardian
        if loader is not None:
            loader.on_outcome = self._on_outcome

    def begin(self, command: StartProgram, node: Node) -> ProgramRefused | None:
        """Start a program as soon as the state of its token is there; a side run needs none."""
        session = node.session or ""
        if self._loader is None or command.side:
            return self._send(command, session, {})
        self._loads = self._loads.after_order(command)
        self._sessions[command.run] = session
        group = node.policy.group
        token = token_name(group, command.task) if command.task else group
        self._loader.begin(
            command.run, StateWanted(token=token, term=command.term, session=session)
        )
        return None

    def extend(self, number: int, trusted_until: float) -> None:
        """Move the deadline of one run that waits, or of every one."""
        self._loads = self._loads.after_extension(number, trusted_until)

    def end(self, number: int) -> bool:
        """Drop a run that waits; false when it does not: its end is for the guardian."""
        self._loads, refused = self._loads.after_end(number, self._clock.now())
        if refused is None or self._loader is None:
            return False
        self.forget(number)
        self._told.append(refused)
        self._loader.wake()
        return True

    def forget(self, number: int) -> None:
        """Remove the file of a run of which nothing is left."""
        if self._loader is not None and self._sessions.pop(number, None) is not None:
            self._loader.forget(number)

    def events(self) -> list[Event]:
        """Return the ends of runs that were dropped since."""
        told, self._told = self._told, []
        return told

    def _on_outcome(self, outcome: Outcome) -> Iterable[Event]:
        """Send the order of a run whose state is there, or refuse it."""
        now, run = self._clock.now(), outcome.run
        decided: StartProgram | ProgramRefused | None
        match outcome:
            case Loaded(_, path):
                self._loads, decided = self._loads.after_load(run, now)
                if isinstance(decided, StartProgram):
                    decided = self._send(decided, self._sessions[run], {STATE_VARIABLE: path})
            case NotLoaded(_, why, code):
                self._loads, decided = self._loads.after_failure(run, why, code, now)
        if decided is None:
            return ()
        self.forget(run)
        return (decided,)
