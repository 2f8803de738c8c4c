"""The limits of this process (ulimit): a start is refused when they are too low for a node.

A node that noticed later would already hold a token that it cannot use.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal

from coordinator.errors import ConfigError
from coordinator.runtime.linux import spawn
from coordinator.runtime.linux.capacity import DESCRIPTORS_EACH, DESCRIPTORS_OWN

#: Descriptors of a guardian with one run.
DESCRIPTORS_MIN = DESCRIPTORS_OWN + DESCRIPTORS_EACH
#: Agent, spare, keeper, program, and the threads of the agent, which count as processes.
PROCESSES_MIN = 8
#: Address space that an agent maps with its threads and the database driver; more than it uses.
ADDRESS_SPACE_MIN = 160 * 1024 * 1024
_MEMORY = ((resource.RLIMIT_AS, "-v", "address space"), (resource.RLIMIT_DATA, "-d", "data"))


def check() -> None:
    """Refuse limits that are too low for a node.

    Errors: ConfigError names the limit, its value, and what a node needs.
    """
    _check_descriptors()
    for limit, option, what in _MEMORY:
        soft = resource.getrlimit(limit)[0]
        if soft != resource.RLIM_INFINITY and soft < ADDRESS_SPACE_MIN:
            raise ConfigError(
                f"the {what} is limited to {soft // 1024} kB (ulimit {option}):"
                f" a node needs at least {ADDRESS_SPACE_MIN // 1024} kB"
            )
    _check_processes()


def _check_descriptors() -> None:
    # The guardian raises its soft limit to the hard one; the program keeps the original limit.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < DESCRIPTORS_MIN:
        raise ConfigError(
            f"open files are limited to {hard} (ulimit -n, the hard limit):"
            f" a node needs at least {DESCRIPTORS_MIN}"
        )


def _check_processes() -> None:
    """Try to fork: the limit counts all of this user's processes, whose number is not readable."""
    limit = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    if limit == resource.RLIM_INFINITY or os.geteuid() == 0:
        return  # the kernel does not limit root
    children: list[int] = []
    try:
        for _ in range(PROCESSES_MIN - 1):
            children.append(spawn.fork_clean(_wait))
    except OSError as error:
        raise ConfigError(
            f"processes of this user are limited to {limit} (ulimit -u), those that run already"
            f" and threads included: a node needs {PROCESSES_MIN} more"
        ) from error
    finally:
        for child in children:
            with contextlib.suppress(OSError):
                os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _wait() -> None:
    select.select([], [], [])
