"""Wait at the gate behind which `standby = "started"` starts a program (docs/warm-standbys.md).

    import slow_to_import

    coordinator.gate()        # returns when this node has become active
    token = coordinator.held()

Before `gate` returns, the program must not act: another node may be active.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from typing import NamedTuple

from coordinator.errors import OutsideProgramError, TokenLostError

#: The guardian's line is a number and a uuid.
LINE_MAX = 256


class Opened(NamedTuple):
    """The holding for which a gate was opened."""

    term: int
    session: str


def gate(environ: MutableMapping[str, str] = os.environ) -> Opened:
    """Wait until this node is active; return the term and the session of its holding.

    They are set in the environment as well, for `held` and for children. A program that was not
    started behind a gate has them already, and does not wait.

    Errors: TokenLostError if the gate is closed for good: end the program.
    OutsideProgramError if `coord run` has not started it.
    """
    name = environ.get("COORD_GATE", "")
    if name:
        term, session = _opened(name)
        environ["COORD_TERM"], environ["COORD_SESSION"] = term, session
    try:
        return Opened(int(environ["COORD_TERM"]), environ["COORD_SESSION"])
    except KeyError as error:
        raise OutsideProgramError(
            f"COORD_GATE and {error.args[0]} are", "`coord run` starts this program"
        ) from error


def _opened(name: str) -> tuple[str, str]:
    """Return term and session as the guardian writes them."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.connect(name.replace("@", "\0", 1))
            told = b""
            while not told.endswith(b"\n") and len(told) < LINE_MAX:
                more = line.recv(LINE_MAX)
                if not more:
                    break
                told += more
    except OSError as error:
        raise TokenLostError(f"there is no gate {name} any more: {error.strerror}") from error
    term, _, session = told.decode().strip().partition(" ")
    if not term.isdecimal() or not session:
        raise TokenLostError("the gate was closed: this program is not to act any more")
    return term, session
