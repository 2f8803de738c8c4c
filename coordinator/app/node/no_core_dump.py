"""Keep the password of the database in the memory of the processes that need it."""

from __future__ import annotations

import ctypes
import resource

_PR_SET_DUMPABLE = 4


def leave_no_core() -> None:
    """Let no core file of this process be written, nor of those that it forks.

    Its memory cannot be read by other processes of the same user either, unless by root's.
    """
    # What it executes later inherits this limit, but not the flag.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Where core_pattern is a pipe, the kernel asks for this flag and ignores the limit.
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
