"""Backstop of the spare: it kills what neither guardian nor agent has killed in time (rule G9).

The spare knows the handles, and reads each run's deadline in shared memory. So it depends on no
message: if guardian or agent is frozen or dead, no deadline moves. protocol/node/state/
spare_watch.py decides which runs are late.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Mapping

from coordinator.protocol.guardian import wire
from coordinator.protocol.node.state.spare_watch import SpareWatch
from coordinator.runtime.isolation import deadlines
from coordinator.runtime.isolation.levels import Handle, kill_all
from coordinator.runtime.linux import syscalls
from coordinator.runtime.linux.channel import Channel
from coordinator.runtime.linux.clock import BoottimeClock


class SpareBackstop:
    """The handles that a spare knows; `watch` kills late runs while the guardian is silent."""

    def __init__(
        self,
        channel: Channel,
        deadlines_fd: int,
        handles: Mapping[int, Handle],
        end_guardian: Callable[[], None] | None = None,
    ) -> None:
        self._channel, self._deadlines_fd = channel, deadlines_fd
        self.handles: dict[int, Handle] = dict(handles)
        self._watch = SpareWatch(runs=frozenset(handles))
        self._end_guardian = end_guardian or self._end_the_one_who_made_the_channel
        self._now = BoottimeClock().now
        self._alarm = syscalls.Alarm()
        self._poll = select.poll()
        self._poll.register(channel.fileno(), select.POLLIN)
        self._poll.register(self._alarm.fileno(), select.POLLIN)

    @property
    def killed(self) -> int:
        """Number of runs that it has killed so far."""
        return self._watch.killed

    def hear(self, word: wire.RunsTold | wire.RunTold | wire.RunOver) -> None:
        """Apply a message: all runs, one more run, or the end of one."""
        match word:
            case wire.RunsTold(runs):
                self.handles = dict(runs)
            case wire.RunTold(run, handle):
                self.handles[run] = handle
            case wire.RunOver(run):
                self.handles.pop(run, None)
        self._watch = self._watch.hear(word)

    def watch(self) -> None:
        """Return when the guardian has sent a message or is dead; meanwhile kill late runs."""
        while True:
            if self._now() >= self._due():
                self._kill_late()
            self._alarm.set(self._due())
            ready = {fd for fd, _ in self._poll.poll()}
            self._alarm.silence()
            if self._channel.fileno() in ready:
                self._watch = self._watch.after_message(self._now())
                return

    def close(self) -> None:
        """Close the timer."""
        os.close(self._alarm.fileno())

    def _due(self) -> float:
        return self._watch.wake_at(self._shown())

    def _shown(self) -> dict[int, float]:
        """Return each run's deadline, as the guardian shows it."""
        return deadlines.read(self._deadlines_fd) if self.handles else {}

    def _kill_late(self) -> None:
        late = self._watch.late(self._shown(), self._now())
        if late:
            left = kill_all({run: self.handles[run] for run in late})
            self._watch = self._watch.after_kill(late, left, self._now())
        if self._watch.guardian_stands_still(self._now()):
            self._watch = self._watch.after_ending_the_guardian()
            # A guardian that wakes up later must not start or guard anything.
            self._end_guardian()

    def _end_the_one_who_made_the_channel(self) -> None:
        os.kill(self._channel.maker_pid(), signal.SIGKILL)
