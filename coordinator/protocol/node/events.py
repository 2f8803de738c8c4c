"""Events of a node (past tense) and commands of the machine (imperative)."""

from __future__ import annotations

from dataclasses import dataclass

from coordinator.protocol.messages.requests import Answer, Identity, Request

# --- events: every one carries `now`, seconds of the node's own clock ---------------------------


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time passed."""

    now: float


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer to `request`, which was sent at `sent_at`, arrived."""

    now: float
    request: Request
    answer: Answer
    sent_at: float


@dataclass(frozen=True, slots=True)
class Failed:
    """No answer to `request`: its outcome is unknown and the connection is gone."""

    now: float
    request: Request | None  #: None: the connection broke while no request was pending
    why: str


@dataclass(frozen=True, slots=True)
class Notified:
    """The database pushed a notice that the group changed: a hint, never a proof."""

    now: float


@dataclass(frozen=True, slots=True)
class ProgramRefused:
    """The guardian did not start the run: trust was over, or the file cannot be executed."""

    now: float
    run: int
    why: str
    code: int  #: 126 or 127 when the file is the cause, else 0


@dataclass(frozen=True, slots=True)
class ProgramStopping:
    """The guardian told the program to end because trust is running out."""

    now: float
    run: int


@dataclass(frozen=True, slots=True)
class ProgramEnded:
    """No process of the run exists any more; `status` is negative for a signal.

    at: when the end was seen; may be long before the event arrives. None: now.
    """

    now: float
    run: int
    status: int
    why: str  #: "itself" | "stopped" | "trust" | "killed" | "agent"
    forced: bool = False  #: it did not end within its stop timeout, and was killed
    at: float | None = None


@dataclass(frozen=True, slots=True)
class ProgramProgressed:
    """A program reported progress: a task's, or the group's own."""

    now: float
    run: int


@dataclass(frozen=True, slots=True)
class ProgramWaits:
    """The program of a run waits at its closed gate, or does not any more."""

    now: float
    run: int
    waiting: bool


@dataclass(frozen=True, slots=True)
class StopAsked:
    """Leave the group for good, with this exit code."""

    now: float
    reason: str
    code: int = 0


@dataclass(frozen=True, slots=True)
class ResignAsked:
    """Give the token up and stay as a standby."""

    now: float
    reason: str


@dataclass(frozen=True, slots=True)
class OneOffAsked:
    """A process of this machine asks for a command to be run on the active node.

    ask:     number of the request.
    address: where the command's process gets what it is to execute; not read here.
    asker:   the process that asks, for the log.
    """

    now: float
    ask: int
    address: str
    asker: str


@dataclass(frozen=True, slots=True)
class OneOffWithdrawn:
    """The process that asked for a one-off is gone, or wants it to end."""

    now: float
    ask: int


@dataclass(frozen=True, slots=True)
class PrimarySeen:
    """A check of the other hosts found a server that is not a standby."""

    now: float
    identity: Identity


Event = (
    Ticked
    | PrimarySeen
    | Answered
    | Failed
    | Notified
    | ProgramRefused
    | ProgramStopping
    | ProgramEnded
    | ProgramProgressed
    | ProgramWaits
    | StopAsked
    | ResignAsked
    | OneOffAsked
    | OneOffWithdrawn
)

# --- commands -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ask:
    """Send this request; give it up after `next_request.patience_s`."""

    request: Request


@dataclass(frozen=True, slots=True)
class Reconnect:
    """Close the connection; the next request opens a new one."""

    why: str


@dataclass(frozen=True, slots=True)
class StartProgram:
    """Start the program under `term`; it must be dead at `trusted_until`.

    task: the task of the group that the program belongs to; empty for the group's own program.
    side: purpose of a side run; empty for a program.
    env:  variables that only this start has.
    start_by: latest moment of the start, for a program without a deadline while it runs.
    """

    run: int
    term: int
    trusted_until: float
    task: str = ""
    start_by: float = float("inf")
    side: str = ""
    env: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class PrepareProgram:
    """Start the program behind a closed gate, without trust: this node does not hold the token."""

    run: int


@dataclass(frozen=True, slots=True)
class OpenGate:
    """Let the prepared program act under `term`; it must be dead at `trusted_until`."""

    run: int
    term: int
    trusted_until: float


@dataclass(frozen=True, slots=True)
class ExtendTrust:
    """The run (or EVERY_RUN) may go on until the new `trusted_until`."""

    run: int
    trusted_until: float


@dataclass(frozen=True, slots=True)
class StopProgram:
    """Tell the program to end, and kill it after the stop timeout; trust is renewed meanwhile."""

    run: int
    reason: str


@dataclass(frozen=True, slots=True)
class KillProgram:
    """Kill everything of the run at once: another node may be about to start the program."""

    run: int
    reason: str


@dataclass(frozen=True, slots=True)
class TellAsker:
    """Tell the process that asked for a one-off how it ended, or why it is not run.

    code: exit code for the asker. why: a text for a person; empty when the command ended by itself.
    """

    ask: int
    code: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class Finish:
    """The node's life is over; `trouble` is a text for a person, empty when all is well."""

    code: int
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of the log: a fixed event name and its fields."""

    event: str
    fields: tuple[tuple[str, object], ...] = ()


Command = (
    Ask
    | Reconnect
    | StartProgram
    | PrepareProgram
    | OpenGate
    | ExtendTrust
    | StopProgram
    | KillProgram
    | TellAsker
    | Finish
    | LogLine
)
