"""Starts of programs, each after the state of its token was read (docs/protocol.md, rule Y4).

protocol/node/state/state_loads.py decides; this module carries it out for the link to the guardian.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from coordinator.ports import Clock
from coordinator.protocol.messages.group_record import token_name
from coordinator.protocol.messages.requests import Answer
from coordinator.protocol.node.events import (
    Event,
    OpenGate,
    PrepareProgram,
    ProgramRefused,
    StartProgram,
)
from coordinator.protocol.node.state.node import Node
from coordinator.protocol.node.state.state_loads import LetAct, StateLoads
from coordinator.protocol.rules.saved_state import StateWanted
from coordinator.protocol.rules.timing import Timing
from coordinator.runtime.agent.loads.loader import Loaded, NotLoaded, Outcome, StateLoader

#: Variable that names the file with the state of the token; no file is there while none was saved.
STATE_VARIABLE = "COORD_STATE_FILE"

#: Sends an order about a program, in a session and with more variables; or refuses it.
Send = Callable[
    [StartProgram | PrepareProgram | OpenGate, str, Mapping[str, str]], ProgramRefused | None
]


class LoadedStarts:
    """Runs that wait for a state, and the files of those that run.

    loader: reads the states; None: programs are started without one.
    kill: kills the process of a run behind a gate that is not to be opened, if there is one.
    """

    def __init__(
        self,
        loader: StateLoader | None,
        clock: Clock,
        timing: Timing,
        send: Send,
        kill: Callable[[int], None],
    ) -> None:
        self._loader, self._clock, self._send, self._kill = loader, clock, send, kill
        self._loads = StateLoads(timing=timing)
        self._placed: dict[int, PrepareProgram] = {}  #: runs that wait for the place of their file
        self._sessions: dict[int, str] = {}  #: of runs whose state is read, or in a file
        self._told: list[Event] = []  #: ends of runs that never came to the guardian
        self._stateless: dict[str, int] = {}  #: terms under which a token has no state to read
        if loader is not None:
            loader.on_outcome = self._on_outcome

    def retime(self, timing: Timing) -> None:
        """Judge by another lease from now on whether trust is fresh."""
        self._loads = replace(self._loads, timing=timing)

    def note(self, answer: Answer) -> None:
        """Note the tokens that were taken before any state of them was saved."""
        self._stateless.update(answer.stateless)

    def begin(self, command: StartProgram, node: Node) -> ProgramRefused | None:
        """Start a program as soon as the state of its token is there; a side run needs none."""
        session = node.session or ""
        if self._loader is None or command.side:
            return self._send(command, session, {})
        self._load(command, session, node)
        return None

    def prepare(self, command: PrepareProgram) -> ProgramRefused | None:
        """Start a program behind its gate; the file of its state has a place, and is not there."""
        if self._loader is None:
            return self._send(command, "", {})
        self._placed[command.run] = command
        self._sessions[command.run] = ""
        self._loader.begin(command.run, None)
        return None

    def open(self, command: OpenGate, node: Node) -> ProgramRefused | None:
        """Open a gate as soon as the state of the token is there."""
        session = node.session or ""
        if self._placed.pop(command.run, None) is not None:
            # Its process was not ordered yet: it starts without a gate.
            now_cold = StartProgram(command.run, command.term, command.trusted_until)
            self._load(now_cold, session, node)
            return None
        if self._loader is None:
            return self._send(command, session, {})
        self._load(command, session, node)
        return None

    def _load(self, command: LetAct, session: str, node: Node) -> None:
        assert self._loader is not None, "its caller has a loader"
        self._loads = self._loads.after_order(command)
        self._sessions[command.run] = session
        group = node.policy.group
        task = command.task if isinstance(command, StartProgram) else ""
        token = token_name(group, task) if task else group
        wanted = StateWanted(token=token, term=command.term, session=session)
        # The first program of the term needs no reading; it may save a state for the second.
        is_none = self._stateless.pop(token, 0) == command.term
        self._loader.begin(command.run, None if is_none else wanted)

    def extend(self, number: int, trusted_until: float) -> None:
        """Move the deadline of one run that waits, or of every one."""
        self._loads = self._loads.after_extension(number, trusted_until)

    def end(self, number: int) -> bool:
        """Drop a run that waits and has no process; false when its end is for the guardian."""
        gated = isinstance(self._loads.runs.get(number), OpenGate)
        self._loads, refused = self._loads.after_end(number, self._clock.now())
        if self._placed.pop(number, None) is not None:
            refused = ProgramRefused(self._clock.now(), number, "stopped before it was started", 0)
        if refused is None or gated or self._loader is None:
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
        placed = self._placed.pop(run, None)
        decided: LetAct | ProgramRefused | None
        match outcome:
            case Loaded(_, path) if placed is not None:
                decided = self._send(placed, "", {STATE_VARIABLE: path})
            case NotLoaded(_, why, code) if placed is not None:
                decided = ProgramRefused(now, run, why, code)
            case Loaded(_, path):
                self._loads, decided = self._loads.after_load(run, now)
                if isinstance(decided, StartProgram | OpenGate):
                    decided = self._send(decided, self._sessions[run], {STATE_VARIABLE: path})
                elif decided is not None:
                    self._kill(run)
            case NotLoaded(_, why, code):
                self._loads, decided = self._loads.after_failure(run, why, code, now)
                self._kill(run)
        if not isinstance(decided, ProgramRefused):
            return ()
        self.forget(run)
        return (decided,)
