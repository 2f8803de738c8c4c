"""History of a simulated world, on true time: the checkers judge it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

#: A holding: which session of which node.
Holding = tuple[str, str]


@dataclass(slots=True)
class Ran:
    """One stretch of true time in which processes of a program ran on one node.

    A stretch ends when the program dies or its node is stopped; `key` names the process, so that
    a program that was stopped and went on has two stretches with one key.
    task is empty for the group's own program; trusted_until is the true time at which the trust of
    its session ends, as far as that was known while it ran.
    """

    node: str
    session: str
    term: int
    key: int
    start: float
    end: float | None = None
    task: str = ""
    trusted_until: float = float("inf")


@dataclass(frozen=True, slots=True)
class Granted:
    """The store gave the token away."""

    at: float
    node: str
    session: str
    term: int
    timeline: int
    task: str = ""


@dataclass(frozen=True, slots=True)
class Hung:
    """A watched program hung: it lives, and does nothing any more; key as in Ran."""

    at: float
    node: str
    key: int


@dataclass(slots=True, kw_only=True)
class Outcome:
    """State of a group of tasks at the end of its world.

    wanted:  who should run each task that is to run, by the record; None: nobody may.
    running: the nodes that run it.
    acted:   which version each live node has acted on, of `version`.
    """

    version: int
    wanted: dict[str, str | None]
    running: dict[str, list[str]]
    acted: dict[str, int]


@dataclass(slots=True)
class History:
    """Everything a checker may look at; `calm_from` is when the last fault had healed."""

    seed: int = 0
    runs: list[Ran] = field(default_factory=list)
    one_offs: list[Ran] = field(default_factory=list)  #: commands that ran beside programs
    grants: list[Granted] = field(default_factory=list)
    trace: list[tuple[object, ...]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    hangs: list[Hung] = field(default_factory=list)
    found_within_s: float = 0.0  #: a hung program is dead so long after it hung, at the latest
    calm_from: float = 0.0
    ended_at: float = 0.0
    calm_within_s: float = 0.0
    repeatable: frozenset[str] = frozenset()  #: tasks that may go on without the database
    witnessed: list[str] = field(default_factory=list)  #: breaches of a rule, as they were seen
    outcome: Outcome | None = None
    asked: list[tuple[float, str]] = field(
        default_factory=list
    )  #: moment at which a node's request arrived

    def note(self, at: float, *what: object) -> None:
        """Add a line to the trace."""
        self.trace.append((round(at, 9), *what))

    def digest(self) -> str:
        """Return the hash of the whole trace: one seed has one digest."""
        return hashlib.blake2b(repr(self.trace).encode(), digest_size=12).hexdigest()
