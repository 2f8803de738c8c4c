"""The limits of this process (ulimit): refused at the start when no node fits into them.

A node that finds out later has taken a token that it cannot run.
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

#: A guardian and one run.
DESCRIPTORS_MIN = DESCRIPTORS_OWN + DESCRIPTORS_EACH
#: Agent, spare, keeper, program, and the threads of the agent, which count as processes.
PROCESSES_MIN = 8
#: What an agent maps with its threads and the driver of the database; more than it uses.
ADDRESS_SPACE_MIN = 160 * 1024 * 1024
_MEMORY = ((resource.RLIMIT_AS, "-v", "address space"), (resource.RLIMIT_DATA, "-d", "data"))


def check() -> None:
    """Refuse limits that no node fits into.

    Errors: ConfigError names the limit, what it is, and what a node needs.
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
    # The guardian raises its soft limit to the hard one; the program gets what was given.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < DESCRIPTORS_MIN:
        raise ConfigError(
            f"open files are limited to {hard} (ulimit -n, the hard limit):"
            f" a node needs at least {DESCRIPTORS_MIN}"
        )


def _check_processes() -> None:
    """Try: the limit counts what all of this user's processes are, which nobody can look up."""
    limit = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    if limit == resource.RLIM_INFINITY or os.geteuid() == 0:
        return  # the kernel asks no limit of root
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
