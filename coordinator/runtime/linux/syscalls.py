"""System calls of Linux that Python 3.11 does not offer."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import math
import os
import struct

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_CLONE_NEWPID = 0x20000000
_CLOCK_BOOTTIME = 7
_CAP_KILL = 5
_CLOCK_REALTIME = 0
_TFD_TIMER_ABSTIME, _TFD_TIMER_CANCEL_ON_SET = 1, 2
#: A moment of the wall clock that no node reaches: in the year 2106.
_NEVER_S = 2**32
#: The value everywhere but on MIPS, SPARC and Alpha; avoids loading the module `resource`.
_RLIMIT_NOFILE = 7
_TFD_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC

#: Errors caused by the caller's own limits, which say nothing about the object: try again later.
NOT_NOW = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR)

_LIMITS = struct.Struct("@LL")

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def become_subreaper() -> None:
    """Adopt every orphan among the descendants of this process."""
    _checked(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))


def hide() -> None:
    """Forbid everybody but root to read this process's memory or descriptors; an exec undoes it.

    No core file is written either.
    """
    _checked(_libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0))


def set_death_signal(signum: int) -> None:
    """Have the kernel signal this process when the THREAD that forked it ends.

    The parent may have ended before the call: check afterwards.
    """
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, int(signum), 0, 0, 0))


def unshare_pids() -> None:
    """Put the next child, and no earlier one, into a new PID namespace as its process 1."""
    _checked(_libc.unshare(_CLONE_NEWPID))


def join_pids(namespace_fd: int) -> None:
    """Put the next child into that PID namespace."""
    _checked(_libc.setns(namespace_fd, _CLONE_NEWPID))


def may_kill_others() -> bool:
    """Say whether this process may kill processes of every user, as root may."""
    with open("/proc/self/status", "rb") as file:
        for line in file:
            if line.startswith(b"CapEff:"):
                return bool(int(line.split()[1], 16) >> _CAP_KILL & 1)
    return False


def descriptor_limits() -> tuple[int, int]:
    """Return the limit of this process's descriptors, and the limit that it may raise it to."""
    limits = ctypes.create_string_buffer(_LIMITS.size)
    _checked(_libc.getrlimit(_RLIMIT_NOFILE, limits))
    soft, hard = _LIMITS.unpack(limits.raw)
    return soft, hard


def limit_descriptors(soft: int) -> None:
    """Set the descriptor limit of this process and its children, within the hard limit."""
    hard = descriptor_limits()[1]
    _checked(_libc.setrlimit(_RLIMIT_NOFILE, _LIMITS.pack(soft, hard)))


class Alarm:
    """A descriptor that becomes readable at a moment of CLOCK_BOOTTIME.

    A selector's timeout stands still while the machine is suspended; this one does not.
    """

    def __init__(self) -> None:
        self._fd = _checked(_libc.timerfd_create(_CLOCK_BOOTTIME, _TFD_FLAGS))
        self._at = math.inf

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def set(self, at: float) -> None:
        """Set the moment: at once when it has passed, never when it is infinite."""
        if at == self._at:
            return
        self._at = at
        seconds, nanoseconds = 0, 0  # disarmed
        if at != math.inf:
            # Rounded up, so that the moment has come for the process that is woken.
            ticks = max(1, math.ceil(at * 1e9) + 1)
            seconds, nanoseconds = divmod(ticks, 1_000_000_000)
        when = struct.pack("@llll", 0, 0, seconds, nanoseconds)
        _checked(_libc.timerfd_settime(self._fd, _TFD_TIMER_ABSTIME, when, None))

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._fd)

    def silence(self) -> None:
        """Reset the descriptor after the moment has come."""
        self._at = math.inf
        with contextlib.suppress(BlockingIOError):
            os.read(self._fd, 8)


class ClockSteps:
    """A descriptor that becomes readable when the wall clock jumps: set, or after a suspend."""

    def __init__(self) -> None:
        self._fd = _checked(_libc.timerfd_create(_CLOCK_REALTIME, _TFD_FLAGS))
        flags = _TFD_TIMER_ABSTIME | _TFD_TIMER_CANCEL_ON_SET
        when = struct.pack("@llll", 0, 0, _NEVER_S, 0)
        with contextlib.suppress(OSError):  # gVisor has no such flag: no event ever comes
            _checked(_libc.timerfd_settime(self._fd, flags, when, None))

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._fd)

    def silence(self) -> None:
        """Reset the descriptor after a jump."""
        with contextlib.suppress(OSError):  # nothing to read, or ECANCELED: a jump
            os.read(self._fd, 8)
