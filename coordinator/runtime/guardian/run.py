"""Processes of one run of a program, as the guardian handles them: fork, permission, end."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal

from coordinator.protocol.guardian import events as words
from coordinator.protocol.guardian import wire
from coordinator.protocol.guardian.events import Event
from coordinator.protocol.guardian.gate_words import GateMissed, GateWaits
from coordinator.runtime.guardian.gate import VARIABLE, Gate
from coordinator.runtime.isolation import levels as isolation
from coordinator.runtime.isolation import plain, traces
from coordinator.runtime.isolation.deadlines import Deadlines
from coordinator.runtime.linux import marks, spawn, syscalls
from coordinator.runtime.linux.processes import ProcessSnapshot, Seen

#: The kernel may report a cgroup busy for a moment after its last process has gone; after this many
#: attempts it is left to the next guardian.
_CLEARS_MAX = 50


class RunProcess:
    """The processes of one run, from launch until nothing is left."""

    def __init__(self, order: words.StartOrdered, level: str, deadlines: Deadlines) -> None:
        self.run = order.run
        self._deadlines = deadlines
        self.pid = 0  #: the program's first process
        marker = os.urandom(12).hex()
        self._level = level
        self.clears = 0  #: attempts to clear up after it
        self.root_lives = True  #: the guardian's own child has not been collected
        self._status_over = False
        self._may_run = False
        self.rounds = 0  #: rounds of SIGKILL
        self._status: int | None = None  #: exit status of the first process, once known
        self._left = 1  #: 0 when the keeper had no other process left then
        self._told = False
        self.gate: Gate | None = None
        self._missed = False
        with contextlib.ExitStack() as undo:
            self._line = spawn.Line()
            undo.callback(self._line.close)
            with self._line.far:
                self._board_fd = os.memfd_create(wire.board_name(marker), os.MFD_CLOEXEC)
                undo.callback(os.close, self._board_fd)
                if order.gated:
                    self.gate = Gate()
                    undo.callback(self.gate.close)
                self._container = isolation.build(level, marker)
                undo.callback(self.clear)
                undo.callback(self._container.close)
                undo.callback(deadlines.drop, self.run)
                self._show(order)
                self._launch(order, marker)
            undo.pop_all()

    def _launch(self, order: words.StartOrdered, marker: str) -> None:
        # Read-only: a program must not be able to write itself more trust.
        read_fd = os.open(f"/proc/self/fd/{self._board_fd}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            # In a node that runs inside of a run, the outer node must kill everything below it.
            mark = marks.chained(os.environ.get(traces.VARIABLE, ""), marker)
            env = spawn.environment(order, mark, read_fd)
            env.pop(VARIABLE, None)  # of a node in whose program this node runs
            if self.gate is not None:
                env[VARIABLE] = self.gate.name
            own_only = self._level == plain.LEVEL and not syscalls.may_kill_others()
            line_fd, enter = self._line.far.fileno(), self._container.enter
            launch = spawn.Launch(order, line_fd, read_fd, env, enter, own_only)
            self._container.launch(lambda parent: spawn.become_program(launch, parent))
        finally:
            os.close(read_fd)

    # --- descriptors to watch -------------------------------------------------------------------

    @property
    def root(self) -> int:
        """The guardian's own child: the program, or its keeper."""
        return self._container.root

    def watched(self) -> dict[int, int]:
        """Return the descriptors that show news, with the events to poll for."""
        change_fd = self._container.change_fd()
        found = dict.fromkeys(self._talking(), select.EPOLLIN)
        if self.gate is not None:
            found[self.gate.fileno()] = select.EPOLLIN
        return found if change_fd is None else found | {change_fd: select.EPOLLPRI}

    def silent(self) -> list[int]:
        """Return the watched descriptors on which nothing more will come."""
        over = (self._line.over, self._status_over)
        return [fd for fd, nothing_more in zip(self._talking(), over, strict=False) if nothing_more]

    def _talking(self) -> list[int]:
        """Return the descriptors of the program's process before its exec, and of its keeper."""
        line_fd, status_fd = self._line.fileno(), self._container.status_fd
        return [line_fd] if status_fd is None else [line_fd, status_fd]

    # --- orders ---------------------------------------------------------------------------------

    def let_go(self, trusted_until: float) -> None:
        """Permit the exec."""
        self._may_run = True
        self._line.permit(trusted_until)

    def open_gate(self, term: int, session: str, trusted_until: float) -> None:
        """Let the program act, unless trust is over: `news` tells that."""
        if self.gate is not None:
            self.gate.open(term, session, trusted_until)

    def _show(self, order: words.StartOrdered) -> None:
        """Write the first deadline; behind a closed gate there is none, and no trust either."""
        self._deadlines.put(self.run, order.trusted_until)
        until = 0.0 if order.gated else order.trusted_until
        os.pwrite(self._board_fd, wire.BOARD.pack(until, 0.0), 0)

    def write_board(self, trusted_until: float, extended_at: float) -> None:
        """Write until when the program is trusted, for the program and for agent and spare."""
        self._deadlines.put(self.run, trusted_until)
        if self.gate is not None:
            self.gate.extend(trusted_until)
        os.pwrite(self._board_fd, wire.BOARD.pack(trusted_until, extended_at), 0)

    def signal(self, signum: int) -> None:
        """Signal the program's process group; SIGTERM also continues a stopped one."""
        if not self.pid or not self._container.leads_group():
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signum)
            if signum == signal.SIGTERM:
                os.killpg(self.pid, signal.SIGCONT)

    @property
    def grew(self) -> bool:
        """True when the last round of SIGKILL found a new process."""
        return self._container.grew

    def kill(self, look: ProcessSnapshot) -> tuple[Seen, ...]:
        """SIGKILL every known process of it once; return those that cannot be killed."""
        self.rounds += 1
        thorough = self.rounds > isolation.ROUNDS_QUICK
        return self._container.kill(self.root_lives, look, thorough=thorough)

    def close(self) -> None:
        """Close the descriptors; nothing of the run is left."""
        self._deadlines.drop(self.run)
        self._line.close()
        os.close(self._board_fd)
        self._container.close()
        if self.gate is not None:
            self.gate.close()

    def clear(self) -> bool:
        """Remove what the system still holds of it; false when it must be called again."""
        self.clears += 1
        return self._container.clear() or self.clears >= _CLEARS_MAX

    # --- what happened --------------------------------------------------------------------------

    def _read_line(self) -> list[Event]:
        """Return the events from messages of the program's process before its exec."""
        events: list[Event] = []
        for packet, sender in self._line.packets():
            if packet == spawn.READY:
                events.append(self._ready(sender))
            elif packet:
                said = json.loads(packet)
                self._may_run = False
                events.append(words.ProgramRefused(self.run, said["why"], said["code"]))
            elif self._may_run:
                # The exec closed it; or a kill did, and then "it ran" is the safe assumption.
                events.append(words.ProgramStarted(self.run))
        return events

    def _ready(self, pid: int) -> Event:
        """Note the process that waits to become the program, if its handle can be made."""
        try:
            handle = self._container.handle(pid)
        except OSError as error:
            return words.ProgramRefused(self.run, f"it cannot be guarded now: {error}", 0)
        self.pid = pid
        return words.ProgramReady(self.run, pid, handle)

    def _read_status(self) -> None:
        """Read the program's end from the keeper."""
        fd = self._container.status_fd
        if fd is None or self._status_over:
            return
        with contextlib.suppress(BlockingIOError):
            text = os.read(fd, 64)
            self._status_over = True
            if text:
                self._status, self._left = (int(field) for field in text.split())

    def _read_gate(self) -> list[Event]:
        """Return the events of the gate: who waits there, or that it was opened too late."""
        gate = self.gate
        if gate is None:
            return []
        waits = gate.news()
        events: list[Event] = [] if waits is None else [GateWaits(self.run, waits)]
        if gate.missed and not self._missed:
            self._missed = True
            events.append(GateMissed(self.run))
        return events

    def collected(self) -> bool:
        """Collect the guardian's child, if it has ended; say whether nothing of the run is left."""
        if self.root_lives and os.waitpid(self.root, os.WNOHANG)[0]:
            self.root_ended()
        return self._container.empty(self.root_lives, ProcessSnapshot())

    def root_ended(self) -> None:
        """Note that the guardian's child was collected."""
        self._read_status()
        self.root_lives = False

    def news(self, look: ProcessSnapshot) -> tuple[list[Event], bool]:
        """Return events about the end of the program, and whether nothing of it is left."""
        events = self._read_line()
        events += self._read_gate()
        self._read_status()
        gone = self._container.empty(self.root_lives, look)
        if self._status is None or self._told:
            if gone:
                events.append(words.ProgramGone(self.run))
        elif gone or self._left:
            # Otherwise the keeper has no process left: its own end follows at once, and says more.
            self._told = True
            events.append(words.ProgramEnded(self.run, self._status, left=not gone))
        return events, gone
