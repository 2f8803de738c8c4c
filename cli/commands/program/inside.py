"""The program that calls a command: what `coord run` has told it about its holding."""

from __future__ import annotations

import os
from dataclasses import dataclass

from coordinator.errors import OutsideProgramError

#: Advice to a person who calls such a command from a terminal.
ADVICE = "call it from the command behind `coord run --`"
VARIABLES = ("COORD_GROUP", "COORD_NODE", "COORD_TERM", "COORD_SESSION")


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """Holding of the calling program. token: the group's, or that of the group's task."""

    token: str
    node: str
    term: int
    session: str


def calling_program() -> Program:
    """Return the program that calls; OutsideProgramError (exit code 2) if none does."""
    missing = [name for name in VARIABLES if not os.environ.get(name)]
    term = os.environ.get("COORD_TERM", "")
    if missing or not term.isdecimal():
        raise outside(*(missing or ("COORD_TERM",)))
    group, task = os.environ["COORD_GROUP"], os.environ.get("COORD_TASK", "")
    return Program(
        token=f"{group}/{task}" if task else group,
        node=os.environ["COORD_NODE"],
        term=int(term),
        session=os.environ["COORD_SESSION"],
    )


def outside(*missing: str) -> OutsideProgramError:
    """Return the error of a command that needs these variables of a program."""
    *before, last = missing
    names = f"{', '.join(before)} and {last}" if before else last
    return OutsideProgramError(f"{names} {'are' if before else 'is'}", ADVICE)
