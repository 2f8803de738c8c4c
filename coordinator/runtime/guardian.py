"""The guardian's process: it obeys coordinator/protocol/guard.py, and decides nothing itself.

    python -P -m coordinator.runtime.guardian --settings-fd N [--isolation LEVEL] -- AGENT...

One thread (a death signal is bound to the thread that forks), one selector, the standard library,
and of that as little as possible. The agent is started as

    AGENT... --settings-fd N --isolation LEVEL --channel-fd M --spare-fd K
        [--previous-session S --previous-term T]      after a death without a spare

and a spare that is not a fork of the agent as

    AGENT... --settings-fd N --isolation LEVEL --channel-fd M --as-spare
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
from collections import deque
from typing import NamedTuple

from coordinator.errors import CoordError
from coordinator.protocol import guard
from coordinator.protocol import guard_words as words
from coordinator.protocol.guard_state import Guard
from coordinator.protocol.guard_words import Command, Event
from coordinator.runtime import isolation, kernel, spawn
from coordinator.runtime.clock import BoottimeClock
from coordinator.runtime.guard_loop import Loop
from coordinator.runtime.guard_peers import Peers, Recipe, report
from coordinator.runtime.life import Life


class Arguments(NamedTuple):
    """The command line."""

    settings_fd: int
    isolation: str
    agent: tuple[str, ...]


class Guardian:
    """Wires the machine to processes, sockets, signals and the clock."""

    def __init__(self, arguments: Arguments, level: str) -> None:
        self._level = level
        self._clock = BoottimeClock()
        self._loop = Loop()
        self._guard = Guard()
        self._events: deque[Event] = deque()
        self._life: Life | None = None
        self._code: int | None = None
        recipe = Recipe(arguments.agent, arguments.settings_fd, level)
        self._peers = Peers(recipe, self._loop, self._feed, lambda: self._guard.leaving is not None)

    def run(self) -> int:
        """Run the node; returns its exit code."""
        self._loop.catch_signals(self._on_signals)
        self._guard, commands = guard.begin(self._clock.now())
        self._obey(commands)
        try:
            while self._code is None:
                self._loop.turn(guard.due(self._guard), self._peers.agent_fd())
                self._feed(words.Ticked())
        finally:
            if self._life is not None:  # after a bug; the death signals do the rest
                self._life.kill()
        return self._code

    def _feed(self, event: Event) -> None:
        """Step through events; one that a command causes comes after those that wait."""
        self._events.append(event)
        if len(self._events) > 1:
            return  # called from within the loop below
        while self._events and self._code is None:
            self._guard, commands = guard.step(self._guard, self._events[0], self._clock.now())
            self._obey(commands)
            self._events.popleft()

    # --- commands -------------------------------------------------------------------------------

    def _obey(self, commands: tuple[Command, ...]) -> None:
        for command in commands:
            match command:
                case words.LaunchProgram(order):
                    self._launch(order)
                case words.Report(text):
                    report(text)
                case words.Quit(code):
                    self._code = code
                case (
                    words.LetGo() | words.WriteBoard() | words.SignalProgram() | words.KillProgram()
                ):
                    if self._life is not None:
                        self._obey_about_program(command, self._life)
                case _:
                    self._obey_about_peers(command)

    def _obey_about_program(self, command: Command, life: Life) -> None:
        match command:
            case words.LetGo(_, trusted_until):
                life.let_go(trusted_until)
            case words.WriteBoard(_, trusted_until, extended_at):
                life.write_board(trusted_until, extended_at)
            case words.SignalProgram(_, signum):
                life.signal(signum)
            case words.KillProgram():
                life.kill()
                self._reap()
            case _:
                raise AssertionError(f"nobody obeys {command}")

    def _obey_about_peers(self, command: Command) -> None:
        match command:
            case words.TellAgent(message):
                self._peers.tell_agent(message)
            case words.TellSpare(message):
                self._peers.tell_spare(message)
            case words.StartAgent(session, term):
                self._peers.start_agent(session, term)
            case words.PromoteSpare(message):
                self._peers.promote_spare(message)
            case words.StartSpare():
                self._peers.start_spare()
            case words.KillAgent():
                self._peers.kill_agent()
            case words.SignalAgent(signum):
                self._peers.signal_agent(signum)
            case words.KillSpare():
                self._peers.drop_spare(kill=True)
            case _:
                raise AssertionError(f"nobody obeys {command}")

    # --- the program ----------------------------------------------------------------------------

    def _launch(self, order: words.StartOrdered) -> None:
        try:
            life = Life(order, self._level)
        except OSError as error:
            why = f"the program's process cannot be made: {error}"
            self._feed(words.ProgramRefused(order.run, why, spawn.NOT_EXECUTABLE))
            self._feed(words.ProgramGone(order.run))
            return
        self._life = life
        status_fd, change_fd = life.status_fd(), life.change_fd()
        self._loop.watch(life.line_fd(), lambda: self._on_line(life))
        if status_fd is not None:
            self._loop.watch(status_fd, lambda: self._on_status(life))
        if change_fd is not None:
            self._loop.watch(change_fd, self._news, select.EPOLLPRI)

    def _on_line(self, life: Life) -> None:
        events = life.read_line()
        if life.line_over:
            self._loop.unwatch(life.line_fd())
        for event in events:
            self._feed(event)

    def _on_status(self, life: Life) -> None:
        life.read_status()
        self._loop.unwatch(life.status_fd())
        self._news()

    def _news(self) -> None:
        """Find out whether the program has ended, wholly or in part."""
        life = self._life
        if life is None:
            return
        events, gone = life.news()
        if life.line_over:
            self._loop.unwatch(life.line_fd())
        if gone:
            self._life = None
            for fd in (life.line_fd(), life.status_fd(), life.change_fd()):
                self._loop.unwatch(fd)
            life.close()
        for event in events:
            self._feed(event)

    # --- signals and children -------------------------------------------------------------------

    def _on_signals(self, arrived: bytes) -> None:
        if signal.SIGCHLD in arrived:
            self._reap()
        for signum in arrived:
            if signum != signal.SIGCHLD:
                self._feed(words.SignalArrived(signum))

    def _reap(self) -> None:
        """Collect every dead child, adopted ones too."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                if self._life is not None and pid == self._life.root:
                    self._life.root_ended(os.waitstatus_to_exitcode(status))
                else:
                    self._peers.child_ended(pid)
        self._news()


def parse(argv: list[str]) -> Arguments:
    """Read the command line; argparse would double what the guardian imports."""
    split = argv.index("--")
    options = dict(zip(argv[:split:2], argv[1:split:2], strict=True))
    return Arguments(
        settings_fd=int(options["--settings-fd"]),
        isolation=options.get("--isolation", "auto"),
        agent=tuple(argv[split + 1 :]),
    )


def main() -> int:
    """Be the guardian; returns the node's exit code."""
    arguments = parse(sys.argv[1:])
    kernel.become_subreaper()
    try:
        level = isolation.choose(arguments.isolation)
    except CoordError as error:
        report(str(error))
        return error.exit_code
    isolation.clean_leftovers()
    return Guardian(arguments, level).run()


if __name__ == "__main__":
    sys.exit(main())
