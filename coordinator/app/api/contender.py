"""Name under which code in a process contends for a token.

A node's name (taskId) says which machine and configuration it is; a lock needs one that tells two
threads, two forks and two processes of one configuration apart. The kernel keeps such names apart
on one machine: a number belongs to the process that has bound its abstract socket, and is free
again when that process is dead, whatever killed it. So the names are few and are used again, which
matters because each is a row.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import socket
from collections.abc import Iterator

from coordinator.errors import CoordError

#: Processes begin to search for a free number at different ones. Thus after a crash the next
#: process does not get the dead one's name, whose session it might have to wait for.
FIRST_NUMBERS = 256
#: More contenders than this for one token on one machine are a mistake.
CONTENDERS_MAX = 10_000


@contextlib.contextmanager
def own_name(group: str, task_id: str) -> Iterator[str]:
    """Reserve a name that nobody else has while the block lasts, such as "node-1.a1b2c3-17".

    A forked child keeps the number in use as well, until it ends.
    Errors: CoordError when CONTENDERS_MAX numbers are in use.
    """
    name, line = reserved_name(group, task_id)
    with contextlib.closing(line):
        yield name


def reserved_name(group: str, task_id: str) -> tuple[str, socket.socket]:
    """Reserve a name for as long as a process has the returned socket open.

    Errors: as `own_name`.
    """
    line, number = _reserved(_digest(str(os.getuid()), group, task_id))
    return f"{task_id}.{_place()}-{number}", line


def _reserved(key: str) -> tuple[socket.socket, int]:
    first = os.getpid() % FIRST_NUMBERS
    for number in range(first, first + CONTENDERS_MAX):
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            line.bind(f"\0coord/{key}/{number}")
        except OSError as error:
            line.close()
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return line, number
    raise CoordError(f"{CONTENDERS_MAX} contenders on this machine already wait for the token")


def _place() -> str:
    """Return a digest of the machine or container, within which the numbers are unique."""
    network = ""
    with contextlib.suppress(OSError):
        network = os.readlink("/proc/self/ns/net")
    return _digest(socket.gethostname(), network)[:6]


def _digest(*parts: str) -> str:
    return hashlib.blake2b("/".join(parts).encode(), digest_size=8).hexdigest()
