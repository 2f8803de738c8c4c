"""The words of the guardian: what it hears (events) and what it orders (commands).

NamedTuple and not dataclass: the guardian is a process of its own on every node, and
`dataclasses` alone would double what it imports (measured: 15 ms and 1 MB more).
Moments are seconds of one clock that goes on while the machine is suspended.
"""

from __future__ import annotations

from typing import Any, NamedTuple

#: One message of a channel, as JSON will carry it.
Message = dict[str, Any]

#: The number that stands for every run there is, as in events.py, which the guardian must not load.
EVERY_RUN = 0

# --- events: from the agent ---------------------------------------------------------------------


class Greeted(NamedTuple):
    """The agent is up; silent for longer than silence_max_s it is taken for hung."""

    silence_max_s: float
    stop_timeout_s: float


class StartOrdered(NamedTuple):
    """Run a program under `term`, until trusted_until at the longest."""

    run: int
    term: int
    trusted_until: float
    stop_timeout_s: float
    argv: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    unset: tuple[str, ...] = ()
    cwd: str | None = None
    keep_fds: tuple[int, ...] = ()  #: descriptors of the guardian that the program inherits
    task: str = ""  #: whose program it is; empty for the group's own
    start_by: float = float("inf")  #: not let go after this, however long it is trusted
    forward: tuple[int, ...] = ()  #: signals of the node that the program gets
    last_stop_s: float | None = None  #: SIGTERM so long before trust ends; None: stop_timeout_s


class ExtendOrdered(NamedTuple):
    """A heartbeat was acknowledged."""

    run: int  #: or EVERY_RUN
    trusted_until: float


class StopOrdered(NamedTuple):
    """SIGTERM now, SIGKILL after grace_s."""

    run: int
    grace_s: float


class KillOrdered(NamedTuple):
    """SIGKILL now."""

    run: int  #: or EVERY_RUN


#: An order about runs that were started before.
RunOrder = ExtendOrdered | StopOrdered | KillOrdered


class Pinged(NamedTuple):
    """The agent asks whether the guardian is awake."""

    n: int


class SessionTold(NamedTuple):
    """Which session the agent holds in the database, to be handed to its successor."""

    session: str | None
    term: int


class ExitOrdered(NamedTuple):
    """The agent ends cleanly; the node's exit code shall be `code`."""

    code: int


# --- events: from the system --------------------------------------------------------------------


class AgentLost(NamedTuple):
    """The agent's process or its channel has ended."""


class SpareLost(NamedTuple):
    """The spare's process or its channel has ended."""


class SpareMissed(NamedTuple):
    """The spare did not read and missed messages; now there is room for them again."""


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
    """The program's first process ended; `left` says whether others of it still exist."""

    run: int
    status: int
    left: bool


class ProgramGone(NamedTuple):
    """No process of the program exists any more."""

    run: int


class ProgramSurvives(NamedTuple):
    """The kernel protects these processes from SIGKILL: those of another user, as a rule."""

    run: int
    survivors: tuple[tuple[int, str], ...]  #: pid and name


class ProgramGrows(NamedTuple):
    """The last round of SIGKILL found processes of the program that no round before had found."""

    run: int


class AgentNotMade(NamedTuple):
    """No process can be made now for the agent that was to be started."""

    why: str


class SignalArrived(NamedTuple):
    """The guardian itself got a signal."""

    signum: int


class Ticked(NamedTuple):
    """Nothing happened but time."""


#: What only a living agent says: hearing one of these ends its silence.
AgentEvent = (
    Greeted
    | StartOrdered
    | ExtendOrdered
    | StopOrdered
    | KillOrdered
    | Pinged
    | SessionTold
    | ExitOrdered
)

#: What is heard of one run of a program.
ProgramEvent = (
    ProgramReady
    | ProgramStarted
    | ProgramRefused
    | ProgramEnded
    | ProgramGone
    | ProgramSurvives
    | ProgramGrows
)

#: What is heard of the processes that are agent and spare, or were to be.
PeerEvent = AgentLost | AgentNotMade | SpareLost | SpareMissed | PromotionFailed

Event = AgentEvent | PeerEvent | ProgramEvent | SignalArrived | Ticked


# --- commands -----------------------------------------------------------------------------------


class LaunchProgram(NamedTuple):
    """Fork and isolate the program when its turn comes; it must not exec before LetGo."""

    order: StartOrdered


class LetGo(NamedTuple):
    """Permit the exec, if by then trusted_until has not passed."""

    run: int
    trusted_until: float


class SignalProgram(NamedTuple):
    """Send a signal to the program's process group."""

    run: int
    signum: int


class KillProgram(NamedTuple):
    """SIGKILL every process of the program, then look whether any is left."""

    run: int


class WriteBoard(NamedTuple):
    """Show the program how long it is trusted."""

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
    """Tell the operator one line."""

    text: str


class Quit(NamedTuple):
    """End the guardian."""

    code: int


Command = (
    LaunchProgram
    | LetGo
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
