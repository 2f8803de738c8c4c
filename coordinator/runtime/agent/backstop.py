"""The spare kills what neither guardian nor agent has killed in time (rule G9).

It knows the handles, and sees in shared memory until when each run is trusted. So it needs a word
of nobody: a guardian and an agent that stand still, or of which one is dead, move no deadline.
"""

from __future__ import annotations

import math
import os
import select
import signal
from collections.abc import Callable, Mapping

from coordinator.protocol.rules import backstops
from coordinator.runtime.isolation import deadlines
from coordinator.runtime.isolation.levels import Handle, kill_all
from coordinator.runtime.linux import syscalls
from coordinator.runtime.linux.channel import Channel
from coordinator.runtime.linux.clock import BoottimeClock

#: Between two tries to kill what is late.
AGAIN_S = 0.05
#: A guardian that has not noticed for so long that the spare killed a program stands still.
UNNOTICED_MAX_S = 5.0


class ThirdBelt:
    """The handles that a spare knows; `watch` kills by them while the guardian says nothing."""

    def __init__(
        self,
        channel: Channel,
        deadlines_fd: int,
        handles: Mapping[int, Handle],
        end_guardian: Callable[[], None] | None = None,
    ) -> None:
        self._channel, self._deadlines_fd = channel, deadlines_fd
        self.handles: dict[int, Handle] = dict(handles)
        self.killed = 0  #: runs that it has killed so far
        self._end_guardian = end_guardian or self._end_the_one_who_made_the_channel
        self._now = BoottimeClock().now
        self._alarm = syscalls.Alarm()
        self._dead: set[int] = set()  #: killed, and the guardian has not noticed yet
        self._unnoticed_since = math.inf
        self._again_at = -math.inf
        self._poll = select.poll()
        self._poll.register(channel.fileno(), select.POLLIN)
        self._poll.register(self._alarm.fileno(), select.POLLIN)

    def know(self, handles: Mapping[int, Handle]) -> None:
        """Hear of all runs there are."""
        self.handles = dict(handles)
        self._dead &= self.handles.keys()

    def forget(self, run: int) -> None:
        """Hear that nothing of a run is left."""
        self.handles.pop(run, None)
        self._dead.discard(run)

    def watch(self) -> None:
        """Return when the guardian has said something, or is dead; kill meanwhile what is late."""
        while True:
            if self._now() >= self._due():
                self._strike()
            self._alarm.set(self._due())
            ready = {fd for fd, _ in self._poll.poll()}
            self._alarm.silence()
            if self._channel.fileno() in ready:
                # Some of what it says may be old: what counts is that it was heard after the kill.
                self._unnoticed_since = self._now()
                return

    def close(self) -> None:
        """Let the alarm go."""
        os.close(self._alarm.fileno())

    def _due(self) -> float:
        late_at = max(backstops.look_at(self._living()), self._again_at)
        return min(late_at, self._unnoticed_since + UNNOTICED_MAX_S if self._dead else math.inf)

    def _living(self) -> dict[int, float]:
        """Return the deadlines of what has not been killed yet."""
        if not self.handles:
            return {}
        seen, ours = deadlines.read(self._deadlines_fd), self.handles.keys() - self._dead
        return {run: until for run, until in seen.items() if run in ours}

    def _strike(self) -> None:
        late = backstops.late(self._living(), self._now())
        if late:
            left = kill_all({run: self.handles[run] for run in late})
            self._again_at = self._now() + AGAIN_S
            if not self._dead and late - left:
                self._unnoticed_since = self._now()
            self._dead |= late - left
            self.killed += len(late - left)
        if self._dead and self._now() >= self._unnoticed_since + UNNOTICED_MAX_S:
            self._unnoticed_since = math.inf
            # One that wakes up later must not start or guard anything.
            self._end_guardian()

    def _end_the_one_who_made_the_channel(self) -> None:
        os.kill(self._channel.maker_pid(), signal.SIGKILL)
