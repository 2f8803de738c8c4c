"""The guardian's process: it performs what protocol/guardian/machine.py decides.

    python -P -m coordinator.runtime.guardian --settings-fd N [--isolation LEVEL]
        [--log-format text|json|auto] [--log-level LEVEL] [--group G] [--node N] -- AGENT...

It has one thread (a death signal is bound to the thread that forks), one selector, and loads as
little as possible of the standard library, and nothing else. The agent is started as

    AGENT... --settings-fd N --deadlines-fd D --isolation LEVEL --channel-fd M --spare-fd K
        [--previous-session S --previous-term T]      after a death without a spare

and a spare that is not a fork of the agent as

    AGENT... --settings-fd N --deadlines-fd D --isolation LEVEL --channel-fd M --as-spare
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections import deque
from typing import NamedTuple, NoReturn

from coordinator.errors import CoordError
from coordinator.protocol.guardian import events as words
from coordinator.protocol.guardian import machine as guardian_machine
from coordinator.protocol.guardian.events import Command, Event
from coordinator.protocol.guardian.gate_words import OpenGate
from coordinator.protocol.guardian.state import Guard
from coordinator.runtime.guardian.agents import Peers, Recipe
from coordinator.runtime.guardian.log_process import GuardLog
from coordinator.runtime.guardian.loop import Loop
from coordinator.runtime.guardian.runs import RunProcesses
from coordinator.runtime.isolation import levels as isolation
from coordinator.runtime.isolation.deadlines import Deadlines
from coordinator.runtime.linux import spawn, syscalls
from coordinator.runtime.linux.clock import BoottimeClock
from coordinator.runtime.linux.descriptors import open_standard
from coordinator.runtime.log.line_form import Voice, voice_for


class Arguments(NamedTuple):
    """The command line."""

    settings_fd: int
    isolation: str
    agent: tuple[str, ...]
    voice: Voice


class Guardian:
    """Wires the machine to processes, sockets, signals and the clock."""

    def __init__(
        self, arguments: Arguments, level: str, descriptors_max: int, log: GuardLog
    ) -> None:
        self._clock = BoottimeClock()
        self._log = log
        self._loop = Loop()
        self._guard = Guard()
        self._events: deque[Event] = deque()
        deadlines = Deadlines()
        self._lives = RunProcesses(level, self._loop, self._feed, descriptors_max, deadlines)
        self._code: int | None = None
        recipe = Recipe(arguments.agent, arguments.settings_fd, deadlines.fd, level)
        leaving = lambda: self._guard.leaving is not None  # noqa: E731
        self._peers = Peers(recipe, self._loop, self._feed, leaving, log.put)

    def run(self) -> int:
        """Run the node and return its exit code."""
        self._loop.catch_signals(self._on_signals)
        self._log.catch_stacks()
        self._guard, commands = guardian_machine.begin(self._clock.now())
        self._obey(commands)
        try:
            while self._code is None:
                until = min(guardian_machine.due(self._guard), self._lives.due())
                self._loop.turn(until, self._peers.agent_fd())
                self._feed(words.Ticked())
                if self._lives.kill_condemned():
                    self._reap()
                self._lives.turn(self._clock.now())
                self._log.turn()  # after everything that had to be killed (G10)
        finally:
            self._lives.end()
        return self._code

    def _feed(self, *events: Event) -> None:
        """Step through events; events caused by a command come after those that wait."""
        within = bool(self._events)
        self._events.extend(events)
        if within:
            return  # called from within the loop below, which will step through them
        while self._events and self._code is None:
            self._guard, commands = guardian_machine.step(
                self._guard, self._events[0], self._clock.now()
            )
            self._obey(commands)
            self._events.popleft()

    # --- commands -------------------------------------------------------------------------------

    def _obey(self, commands: tuple[Command, ...]) -> None:
        for command in commands:
            match command:
                case words.Report(text):
                    self._log.put(text)
                case words.Quit(code):
                    self._code = code
                case words.LaunchProgram(order):
                    self._lives.launch(order)
                case words.KillProgram(run):
                    self._lives.condemn(run)
                case OpenGate(run, term, session, until):
                    self._lives.open_gate(run, term, session, until)
                case words.LetGo() | words.WriteBoard() | words.SignalProgram():
                    self._obey_about_program(command)
                case _:
                    self._obey_about_peers(command)

    def _obey_about_program(
        self, command: words.LetGo | words.WriteBoard | words.SignalProgram
    ) -> None:
        life = self._lives.get(command.run)
        if life is None:
            return
        match command:
            case words.LetGo(_, trusted_until):
                life.let_go(trusted_until)
            case words.WriteBoard(_, trusted_until, extended_at):
                life.write_board(trusted_until, extended_at)
            case words.SignalProgram(_, signum):
                life.signal(signum)

    def _obey_about_peers(self, command: Command) -> None:
        match command:
            case words.TellAgent(message):
                self._peers.tell_agent(message)
            case words.TellSpare(message):
                self._peers.tell_spare(message)
            case words.StartAgent(session, term):
                try:
                    self._peers.start_agent(session, term)
                except OSError as error:
                    self._feed(words.AgentNotMade(str(error)))
            case words.PromoteSpare(message):
                self._peers.promote_spare(message)
            case words.StartSpare():
                try:
                    self._peers.start_spare()
                except OSError as error:
                    self._log.put(f"no spare can be made now: {error}")
                    self._feed(words.SpareLost())
            case words.KillAgent():
                self._peers.kill_agent()
            case words.SignalAgent(signum):
                self._peers.signal_agent(signum)
            case words.KillSpare():
                self._peers.drop_spare(kill=True)
            case _:
                raise AssertionError(f"nobody obeys {command}")

    # --- signals and children -------------------------------------------------------------------

    def _on_signals(self, arrived: bytes) -> None:
        if signal.SIGCHLD in arrived:
            self._reap()
        if signal.SIGQUIT in arrived:
            self._log.put_stacks()
        for signum in arrived:
            if signum != signal.SIGCHLD:
                self._feed(words.SignalArrived(signum))

    def _reap(self) -> None:
        """Collect every dead child, also adopted ones."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                code = os.waitstatus_to_exitcode(status)
                if not self._log.child_ended(pid, code) and not self._lives.child_ended(pid, code):
                    self._peers.child_ended(pid, code)
        self._lives.settle()


def parse(argv: list[str]) -> Arguments:
    """Parse the command line; argparse would double what the guardian imports."""
    split = argv.index("--")
    options = dict(zip(argv[:split:2], argv[1:split:2], strict=True))
    voice = voice_for(
        2,
        options.get("--log-format", "text"),
        options.get("--log-level", "info"),
        group=options.get("--group", ""),
        node=options.get("--node", ""),
    )
    return Arguments(
        settings_fd=int(options["--settings-fd"]),
        isolation=options.get("--isolation", "auto"),
        agent=tuple(argv[split + 1 :]),
        voice=voice,
    )


def main() -> NoReturn:
    """Run as the guardian, and end with the node's exit code."""
    open_standard()
    arguments = parse(sys.argv[1:])
    # It has the settings open, so any process of this user could read them through its /proc.
    syscalls.hide()
    # Output of the interpreter itself would wait for the reader of the log.
    sys.stdout = sys.stderr = None
    log = GuardLog(arguments.voice)
    try:
        code = _guard(arguments, log)
    except CoordError as error:
        log.put(str(error), "ERROR")
        code = error.exit_code
    except BaseException:  # noqa: BLE001 - the top of a process: all programs are dead by now
        import traceback

        for line in traceback.format_exc().splitlines():
            log.put(line, "CRITICAL")
        code = 1
    log.end()
    # Skip the interpreter's own end, in which a signal could replace the exit code.
    os._exit(code)


def _guard(arguments: Arguments, log: GuardLog) -> int:
    syscalls.become_subreaper()
    level = isolation.choose(arguments.isolation)
    isolation.clean_leftovers()
    return Guardian(arguments, level, spawn.widen_descriptors(), log).run()


if __name__ == "__main__":
    main()
