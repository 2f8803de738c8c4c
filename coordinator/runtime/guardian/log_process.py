"""Log of the guardian, written by a separate process, so that the guardian does not wait.

A log may accept nothing any more: a pipe that nobody reads, a terminal after Ctrl-S, a file on a
server that is away. Checking first whether it accepts a line does not help, because the program
writes there as well; and O_NONBLOCK would apply to the program too. So the guardian forks for each
batch of lines, and goes on (rule G10). It does not use `logging`, which would double what it loads.
"""

from __future__ import annotations

import faulthandler
import os
import select
import signal
from collections import deque

from coordinator.runtime.linux import spawn, syscalls
from coordinator.runtime.log.line_form import Voice

#: Number of lines that wait for a writer that hangs; further lines are counted and dropped.
LINES_MAX = 100
#: Seconds that a guardian which ends gives its last lines to be written.
END_MAX_S = 0.5
_STACKS_MAX = 65_536
#: Event of all lines of the guardian.
_EVENT = "guardian"


class GuardLog:
    """A queue of lines, and at most one process that writes them."""

    def __init__(self, voice: Voice) -> None:
        self._voice = voice
        self._lines: deque[str] = deque()
        self._dropped = 0
        self._writing = 0  #: number of lines that the writer has
        self._writer = 0  #: pid of the writer; 0: none
        self._stacks_fd = -1

    def put(self, text: str, level: str = "WARNING") -> None:
        """Queue a line to be written soon; never waits."""
        if not self._voice.says(level):
            return
        if len(self._lines) >= LINES_MAX:
            self._dropped += 1
            return
        self._lines.append(self._voice.line(text, level, _EVENT))

    def turn(self) -> None:
        """Fork a writer for the queued lines when none is running."""
        if self._writer or not self._lines:
            return
        lines = list(self._lines)
        if self._dropped:
            lines.append(
                self._voice.line(f"{self._dropped} lines of the guardian were lost", event=_EVENT)
            )
        text = "".join(lines).encode(errors="backslashreplace")
        guardian = os.getpid()
        try:
            self._writer = spawn.fork_clean(lambda: _write(text, guardian))
        except OSError:
            return  # no process to spare: the lines wait for the next turn
        self._lines.clear()
        self._writing, self._dropped = len(lines), 0

    def child_ended(self, pid: int, code: int) -> bool:
        """Note that a child of the guardian was collected; false when it was not the writer."""
        if pid != self._writer:
            return False
        self._dropped += self._writing if code else 0
        self._writer = self._writing = 0
        return True

    def end(self) -> None:
        """Write the last lines, if that is possible at once."""
        for _ in range(2):  # the lines being written, and those queued meanwhile
            self.turn()
            if not self._writer:
                return
            if not _ends(self._writer, END_MAX_S):
                os.kill(self._writer, signal.SIGKILL)
                return
            _, status = os.waitpid(self._writer, 0)
            self.child_ended(self._writer, status)

    # --- stacks ---------------------------------------------------------------------------------

    def catch_stacks(self) -> None:
        """Keep the stacks of each SIGQUIT in memory, from where `put_stacks` logs them.

        The interpreter writes them in its handler at any moment, so they must go where a write
        never waits.
        """
        self._stacks_fd = os.memfd_create("coord-stacks", os.MFD_CLOEXEC)
        faulthandler.register(signal.SIGQUIT, file=self._stacks_fd, chain=True)

    def put_stacks(self) -> None:
        """Log the stacks that a SIGQUIT has left."""
        stacks = os.pread(self._stacks_fd, _STACKS_MAX, 0).decode(errors="replace")
        os.ftruncate(self._stacks_fd, 0)
        os.lseek(self._stacks_fd, 0, os.SEEK_SET)
        for line in stacks.splitlines():
            self.put(line)


def _ends(child: int, within_s: float) -> bool:
    try:
        pidfd = os.pidfd_open(child)
    except OSError:
        return False  # no descriptor to spare
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    ended = poll.poll(within_s * 1000)
    os.close(pidfd)
    return bool(ended)


def _write(text: bytes, guardian: int) -> None:
    """Write all of it, however long that takes, in a process of its own."""
    spawn.close_except((2,))
    syscalls.set_death_signal(signal.SIGKILL)
    if os.getppid() != guardian:
        return
    spawn.ignore_signals()
    while text:
        try:
            text = text[os.write(2, text) :]
        except BlockingIOError:  # O_NONBLOCK was set on the file that the program shares
            select.select([], [2], [])
        except OSError:
            os._exit(1)
    os._exit(0)
