"""Protection of the database's password: no core dump of a process that has it in memory."""

from __future__ import annotations

import ctypes
import resource

_PR_SET_DUMPABLE = 4


def leave_no_core() -> None:
    """Forbid core files of this process and of those that it forks.

    Other processes of the same user cannot read its memory either, except root's.
    """
    # A program that it executes inherits this limit, but not the flag below.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # If core_pattern is a pipe, the kernel heeds this flag and ignores the limit.
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
