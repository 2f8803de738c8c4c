"""The trust board of the run that this process belongs to, wherever in the run it is.

The guardian writes each renewal into memory that it shares with the program (COORD_TRUST_FD). A
descendant may lack the descriptor, because many libraries close what they do not know, and the
same number may mean another file there. So the memory has the run's own name, and is looked for in
this process first, and then in its ancestors.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from coordinator.errors import TokenLostError
from coordinator.protocol.guardian.wire import board_name
from coordinator.runtime.linux.clock import BoottimeClock
from coordinator.runtime.schedule.trust_board import TrustBoard

#: Ancestors that are searched; a chain of more processes is a mistake.
ANCESTORS_MAX = 100


def find_board(environ: Mapping[str, str], proc: str = "/proc") -> TrustBoard:
    """Return the board of the run that the environment names.

    Errors: TokenLostError when it is not found: nobody knows then until when the run is trusted.
    """
    number, mark = environ.get("COORD_TRUST_FD", ""), environ.get("COORD_RUN_ID", "")
    if not number.isdecimal() or not mark:
        raise TokenLostError(
            "it cannot be known whether the token is held: COORD_TRUST_FD or COORD_RUN_ID is"
            " missing in the environment; pass on the variables that `coord run` has set"
        )
    # Of nested runs the innermost is the last link, and has the earliest end.
    name = f"memfd:{board_name(mark.rpartition('/')[2])} "
    for process in ("self", *_ancestors(proc)):
        try:
            if name not in os.readlink(f"{proc}/{process}/fd/{number}"):
                continue
            fd = os.open(f"{proc}/{process}/fd/{number}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue  # it has closed its descriptor, is another user's, or has ended
        if name in os.readlink(f"{proc}/self/fd/{fd}"):
            return TrustBoard.from_fd(fd, BoottimeClock())
        os.close(fd)  # the ancestor's number was given to another file meanwhile
    raise TokenLostError(
        "it cannot be known whether the token is held: neither this process nor an ancestor has"
        f" descriptor {number} of this run; keep it open (pass_fds) in the processes between"
    )


def _ancestors(proc: str) -> Iterator[int]:
    """Yield the parent, its parent and so on, by the numbers that `proc` shows."""
    process: int | str = "self"
    for _ in range(ANCESTORS_MAX):
        try:
            with open(f"{proc}/{process}/status", "rb") as file:
                parent = next(line for line in file if line.startswith(b"PPid:"))
        except (OSError, StopIteration):
            return
        process = int(parent.split()[1])
        if process <= 1:
            return
        yield process
