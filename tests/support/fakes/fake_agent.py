"""An agent without a database: the test tells it what to tell the guardian.

It keeps the agent's promises: it forks a spare first, pings, extends while it is told to, and
kills the program by its handle when the guardian is dead or does not echo.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys

from coordinator.protocol.guardian.events import EVERY_RUN
from coordinator.runtime.isolation.levels import Handle, kill_all
from coordinator.runtime.linux.channel import Channel
from coordinator.runtime.linux.clock import BoottimeClock

PING_S = 0.05
#: The limit until a test sets a shorter one, as one that waits for a frozen guardian does.
ECHO_MAX_S = 60.0
KILLS_MAX = 25
now = BoottimeClock().now


def option(name: str, default: str = "-1") -> str:
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else default


def report_to(settings: dict[str, str], role: str, **more: object) -> Channel:
    """Connect to the test."""
    end = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    end.connect(settings["control"])
    line = Channel(end)
    line.send({"i_am": role, "pid": os.getpid(), "argv": sys.argv[1:], **more})
    return line


def kill_until_dead(handles: dict[int, Handle]) -> bool:
    """Kill until nothing is left, as the real agent does."""
    return any(not kill_all(handles) for _ in range(KILLS_MAX))


def wait_as_spare(settings: dict[str, str], line: Channel) -> tuple[dict[str, object], int]:
    """Wait to be needed."""
    test = report_to(settings, "spare")
    handles: dict[int, Handle] = {}
    while True:
        message, fds = line.receive()
        match message:
            case None:
                if handles:
                    killed = kill_until_dead(handles)
                    test.send({"heard": {"say": "guardian_gone", "killed": killed}})
                os._exit(3)
            case {"say": "quit"}:
                os._exit(0)
            case {"say": "become"}:
                test.close()
                return message, fds[0]
            case {"say": "runs", "runs": list(runs)}:
                handles = dict(runs)
            case {"say": "running", "run": int(number)}:
                handles[number] = message["handle"]
            case {"say": "idle", "run": int(number)}:
                handles.pop(number, None)
        test.send({"heard": message})


class FakeAgent:
    def __init__(self, line: Channel, test: Channel) -> None:
        self.line, self.test = line, test
        self.lease_s: float | None = None
        self.until = 0.0
        self.handles: dict[int, Handle] = {}
        self.pings = 0
        self.ping_at = 0.0
        self.unanswered_since: float | None = None
        self.echo_max_s = ECHO_MAX_S

    def serve(self) -> None:
        poll = select.poll()
        poll.register(self.line.fileno(), select.POLLIN)
        poll.register(self.test.fileno(), select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll(max(0.0, self.ping_at - now()) * 1000)}
            # All that waits, before silence is judged: an echo may stand behind many other words.
            while self.line.fileno() in ready:
                self.hear()
                ready = {fd for fd, _ in poll.poll(0)}
            if self.test.fileno() in ready:
                self.obey()
            self.ping()

    def hear(self) -> None:
        message, _ = self.line.receive()
        if message is None:
            self.bury("guardian_gone")
            os._exit(3)
        if message["say"] == "echo":
            self.unanswered_since = None
            return
        if message["say"] == "started":
            self.handles[message["run"]] = message["handle"]
        if message["say"] in ("ended", "refused"):
            self.handles.pop(message["run"], None)
            if not self.handles:
                self.lease_s = None
        self.test.send({"heard": message})

    def bury(self, what: str) -> None:
        killed = kill_until_dead(self.handles)
        self.test.send({"heard": {"say": what, "killed": killed}})

    def obey(self) -> None:
        order, _ = self.test.receive()
        match order:
            case None:
                os._exit(4)
            case {"tell": dict(message)}:
                if message.get("say") == "start":
                    self.until = message["trusted_until"]
                self.line.send(message)
            case {"keep": lease_s}:
                self.lease_s = lease_s
                if lease_s is None:
                    self.test.send({"heard": {"say": "kept", "until": self.until}})
            case {"patience": float(echo_max_s)}:
                self.echo_max_s = echo_max_s
            case {"barrier": _}:
                self.test.send({"heard": {"say": "passed"}})
            case {"end": int(code)}:
                self.line.send({"say": "exit", "code": code})
                os._exit(code)
            case {"leave_unread": int(code)}:
                self.leave_unread(code)
            case {"crash": int(code)}:
                os._exit(code)

    def leave_unread(self, code: int) -> None:
        """Get an echo, leave it unread, and end in order once the test says so."""
        self.line.send({"say": "ping", "n": 0})
        select.select([self.line.fileno()], [], [])
        self.test.send({"heard": {"say": "unread"}})
        self.test.receive()
        self.line.send({"say": "exit", "code": code})
        os._exit(code)

    def ping(self) -> None:
        if now() < self.ping_at:
            return
        self.ping_at = now() + PING_S
        self.pings += 1
        if self.lease_s is not None:
            self.until = now() + self.lease_s
            self.line.send(
                {"say": "extend", "run": EVERY_RUN, "trusted_until": self.until}, wait_s=0
            )
        if self.unanswered_since is None:
            self.unanswered_since = now()
        elif now() - self.unanswered_since > self.echo_max_s:
            self.bury("guardian_frozen")
            os._exit(3)
        self.line.send({"say": "ping", "n": self.pings}, wait_s=0)


def main() -> None:
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # collects dead spares
    settings = json.loads(os.pread(int(option("--settings-fd")), 4096, 0))
    if settings.get("crash"):
        os._exit(9)
    line = Channel.from_fd(int(option("--channel-fd")))
    spare_fd = int(option("--spare-fd"))
    found: dict[str, object] = {}
    if "--as-spare" in sys.argv:
        found, spare_fd = wait_as_spare(settings, line)
    while not settings.get("no_spare") and os.fork() == 0:
        line.close()
        line = Channel.from_fd(spare_fd)
        found, spare_fd = wait_as_spare(settings, line)
    os.close(spare_fd)
    FakeAgent(line, report_to(settings, "agent", found=found)).serve()


if __name__ == "__main__":
    main()
