"""One start of a program, the group's own or a task's."""

from __future__ import annotations

from dataclasses import dataclass

#: The number of all runs that dead agents left behind, whatever their own numbers.
INHERITED = -1


@dataclass(frozen=True, slots=True)
class Run:
    """One start of the program."""

    number: int
    term: int
    started_at: float
    stopping: str = ""  #: the reason why it was told to end; empty while it may run
    over: bool = False  #: its trust is not extended any more; an ordinary stop does not set this
