"""Events and commands of the guardian.

NamedTuple and not dataclass: the guardian is a process of its own on every node, and
`dataclasses` alone would double what it imports (measured: 15 ms and 1 MB more).
Moments are seconds of one clock that goes on while the machine is suspended.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from coordinator.protocol.guardian.gate_words import GateMissed, GateWaits, OpenGate, OpenOrdered
from coordinator.protocol.guardian.timing_words import Retimed

#: One message of a channel, as it is sent in JSON.
Message = dict[str, Any]

#: The number that stands for all runs: one heartbeat extends them all.
EVERY_RUN = 0

# --- events: from the agent ---------------------------------------------------------------------


class Greeted(NamedTuple):
    """The agent is up; if it is silent for longer than silence_max_s, it counts as hung."""

    silence_max_s: float
    stop_timeout_s: float


class StartOrdered(NamedTuple):
    """Run a program under `term`, until trusted_until at the latest."""

    run: int
    term: int
    trusted_until: float
    stop_timeout_s: float
    argv: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    unset: tuple[str, ...] = ()
    cwd: str | None = None
    keep_fds: tuple[int, ...] = ()  #: descriptors of the guardian that the program inherits
    task: str = ""  #: the task that the program belongs to; empty for the group's own program
    start_by: float = float("inf")  #: latest moment of the exec, however long the run is trusted
    forward: tuple[int, ...] = ()  #: signals of the node that the program gets
    last_stop_s: float | None = None  #: SIGTERM this long before trust ends; None: stop_timeout_s
    gated: bool = False  #: it waits behind a gate, without trust, until that is opened


class ExtendOrdered(NamedTuple):
    """A heartbeat was acknowledged: the run is trusted until the new moment."""

    run: int  #: or EVERY_RUN
    trusted_until: float


class StopOrdered(NamedTuple):
    """Send SIGTERM now, SIGKILL after grace_s."""

    run: int
    grace_s: float


class KillOrdered(NamedTuple):
    """Send SIGKILL now."""

    run: int  #: or EVERY_RUN


#: An order about runs that were started before.
RunOrder = ExtendOrdered | StopOrdered | KillOrdered


class Pinged(NamedTuple):
    """The agent asks whether the guardian is awake."""

    n: int


class SessionTold(NamedTuple):
    """The agent's session in the database, to be passed to its successor."""

    session: str | None
    term: int


class ExitOrdered(NamedTuple):
    """The agent ends cleanly; the node's exit code is to be `code`."""

    code: int


# --- events: from the system --------------------------------------------------------------------


class AgentLost(NamedTuple):
    """The agent's process or its channel has ended."""


class SpareLost(NamedTuple):
    """The spare's process or its channel has ended."""


class SpareMissed(NamedTuple):
    """The spare did not read and missed messages; its channel has space again."""


class PromotionFailed(NamedTuple):
    """The spare that was told to become the agent was already gone."""


class ProgramReady(NamedTuple):
    """The program's process is forked, isolated and waits for permission to exec."""

    run: int
    pid: int
    handle: Message


class ProgramStarted(NamedTuple):
    """The program's file is being executed."""

    run: int


class ProgramRefused(NamedTuple):
    """The program could not be executed: 126, 127, or 0 when trust was over."""

    run: int
    why: str
    code: int


class ProgramEnded(NamedTuple):
    """The program's first process ended; `left` says whether others of the run still exist."""

    run: int
    status: int
    left: bool


class ProgramGone(NamedTuple):
    """No process of the program exists any more."""

    run: int


class ProgramSurvives(NamedTuple):
    """The kernel refuses SIGKILL for these processes, usually those of another user."""

    run: int
    survivors: tuple[tuple[int, str], ...]  #: pid and name


class ProgramGrows(NamedTuple):
    """The last round of SIGKILL found processes of the program that no earlier round had found."""

    run: int


class AgentNotMade(NamedTuple):
    """No process could be made for the agent that was to be started."""

    why: str


class SignalArrived(NamedTuple):
    """The guardian itself got a signal."""

    signum: int


class Ticked(NamedTuple):
    """Time passed, and nothing else happened."""


#: Events that only a living agent causes: any of these ends its silence.
AgentEvent = (
    Greeted
    | Retimed
    | StartOrdered
    | ExtendOrdered
    | StopOrdered
    | KillOrdered
    | OpenOrdered
    | Pinged
    | SessionTold
    | ExitOrdered
)

#: Events about one run of a program.
ProgramEvent = (
    ProgramReady
    | ProgramStarted
    | ProgramRefused
    | ProgramEnded
    | ProgramGone
    | ProgramSurvives
    | ProgramGrows
)

#: Events about the gate of a run.
GateEvent = GateWaits | GateMissed

#: Events about the processes of agent and spare, existing or still to be made.
PeerEvent = AgentLost | AgentNotMade | SpareLost | SpareMissed | PromotionFailed

Event = AgentEvent | PeerEvent | ProgramEvent | GateEvent | SignalArrived | Ticked


# --- commands -----------------------------------------------------------------------------------


class LaunchProgram(NamedTuple):
    """Fork and isolate the program when its turn comes; it must not exec before LetGo."""

    order: StartOrdered


class LetGo(NamedTuple):
    """Permit the exec, unless trusted_until has passed by then."""

    run: int
    trusted_until: float


class SignalProgram(NamedTuple):
    """Send a signal to the program's process group."""

    run: int
    signum: int


class KillProgram(NamedTuple):
    """SIGKILL every process of the program, then check whether any is left."""

    run: int


class WriteBoard(NamedTuple):
    """Write for the program to read until when it is trusted."""

    run: int
    trusted_until: float
    extended_at: float


class TellAgent(NamedTuple):
    """Send a message to the agent."""

    message: Message


class TellSpare(NamedTuple):
    """Send a message to the spare."""

    message: Message


class StartAgent(NamedTuple):
    """Start a fresh agent, with channels for it and for its spare."""

    session: str | None
    term: int


class PromoteSpare(NamedTuple):
    """Make the spare the agent: send it `message` and a new spare's channel."""

    message: Message


class StartSpare(NamedTuple):
    """Start a fresh spare."""


class KillAgent(NamedTuple):
    """SIGKILL the agent and close its channel."""


class SignalAgent(NamedTuple):
    """Send a signal to the agent's process."""

    signum: int


class KillSpare(NamedTuple):
    """SIGKILL the spare."""


class Report(NamedTuple):
    """Write one line to the operator's log."""

    text: str


class Quit(NamedTuple):
    """End the guardian."""

    code: int


Command = (
    LaunchProgram
    | LetGo
    | OpenGate
    | SignalProgram
    | KillProgram
    | WriteBoard
    | TellAgent
    | TellSpare
    | StartAgent
    | PromoteSpare
    | StartSpare
    | KillAgent
    | SignalAgent
    | KillSpare
    | Report
    | Quit
)
