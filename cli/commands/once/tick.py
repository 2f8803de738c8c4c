"""`coord tick`: report progress, from inside a program that coord runs."""

from __future__ import annotations

from coordinator.cli.commands.program.inside import outside
from coordinator.errors import TokenLostError

#: Without it there is nobody to report to.
ADDRESS = "NOTIFY_SOCKET"
#: A program of coord has this; a report without effect is no mistake there.
INSIDE = "COORD_TERM"


def tick() -> None:
    """Report progress of the program that calls it; without effect if none is expected.

    A shell script calls it after each piece of its work. It is the same as `systemd-notify
    WATCHDOG=1`, and has no effect without progressTimeout.
    """
    import os
    import socket

    address = os.environ.get(ADDRESS, "")
    if not address:
        if INSIDE in os.environ:
            return
        raise outside(ADDRESS, INSIDE)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.setblocking(False)
        try:
            line.sendto(b"WATCHDOG=1", f"\0{address[1:]}" if address[0] == "@" else address)
        except BlockingIOError:
            return  # so many reports wait to be read that this one adds nothing
        except OSError as error:
            raise TokenLostError(
                f"tick: nobody listens to this run any more ({error.strerror}): its node has ended"
                " or given the token up"
            ) from error
