"""A guardian with a fake agent and a program, all real processes, and the test as their director.

Waiting is always on a socket or a pidfd, with a bound; nothing sleeps.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from coordinator.runtime.linux import processes
from coordinator.runtime.linux.channel import Channel
from coordinator.runtime.linux.clock import BoottimeClock
from tests.support.nodes import programs

now = BoottimeClock().now
Message = dict[str, Any]

#: Nothing that a test waits for takes longer, also on a very busy machine.
WAIT_S = 60.0
#: A fake agent that is held up for this long loses its programs, which few tests are about.
LEASE_S = 1.5
STOP_TIMEOUT_S = 0.2
STARTS_MAX = 5
_CREDENTIALS = struct.Struct("@iII")


class Voice:
    """The test's line to one fake agent or spare."""

    def __init__(self, line: Channel, first: Message) -> None:
        self.line = line
        self.pid: int = first["pid"]
        self.found: Message = first.get("found", {})
        self.argv: list[str] = first["argv"]
        self.pidfd = os.pidfd_open(self.pid)
        self._waiting: list[Message] = []

    def tell(self, **message: object) -> None:
        assert self.line.send({"tell": message}), message

    def order(self, **order: object) -> None:
        assert self.line.send(order)

    def hear(self, *say: str) -> Message:
        """Return the next message with one of the words; others wait for their turn."""
        until = now() + WAIT_S
        while True:
            for message in self._waiting:
                if message["say"] in say:
                    self._waiting.remove(message)
                    return message
            assert _readable(self.line.fileno(), until), f"no {say!r} but {self._waiting}"
            received, _ = self.line.receive()
            assert received is not None, f"hung up before {say!r}, after {self._waiting}"
            self._waiting.append(received["heard"])

    def heard_so_far(self) -> list[str]:
        while received := self.line.poll():
            if received[0] is None:
                break
            self._waiting.append(received[0]["heard"])
        return [message["say"] for message in self._waiting]


class GuardedNode:
    def __init__(
        self,
        folder: Path,
        level: str,
        *,
        through: tuple[str, ...] = (),
        stderr: int = subprocess.PIPE,
        options: Sequence[str] = (),
        **settings: object,
    ) -> None:
        folder.mkdir(exist_ok=True)
        self._announce_path = str(folder / "announce")
        self._announced = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._announced.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._announced.bind(self._announce_path)
        self._control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.bind(str(folder / "control"))
        self._control.listen(64)
        self.case = os.urandom(8).hex()
        self.members: dict[int, int] = {}  #: pid to pidfd of what announced itself
        self._voices: list[Voice] = []
        self._arrived: dict[str, list[Voice]] = {"agent": [], "spare": []}
        self.runs = 0
        settings_fd = os.memfd_create("settings", 0)
        os.write(settings_fd, json.dumps({"control": str(folder / "control"), **settings}).encode())
        agent = [sys.executable, "-m", "tests.support.fakes.fake_agent"]
        self.guardian = subprocess.Popen(
            [
                *through,
                *(sys.executable, "-m", "coordinator.runtime.guardian"),
                *("--settings-fd", str(settings_fd), "--isolation", level, *options, "--"),
                *agent,
            ],
            pass_fds=(settings_fd,),
            stderr=stderr,
            cwd=Path(__file__).parents[3],
        )
        os.close(settings_fd)

    # --- agents ---------------------------------------------------------------------------------

    def meet(self, role: str) -> Voice:
        """Return the next agent or spare that reports to the test."""
        until = now() + WAIT_S
        while not self._arrived[role]:
            assert _readable(self._control.fileno(), until), f"no {role} came: {self.stderr()}"
            line = Channel(self._control.accept()[0])
            first, _ = line.receive()
            if first is not None:
                voice = Voice(line, first)
                self._voices.append(voice)
                self._arrived[first["i_am"]].append(voice)
        return self._arrived[role].pop(0)

    def meet_agent(self, silence_max_s: float = 60.0) -> Voice:
        agent = self.meet("agent")
        agent.tell(say="hello", silence_max_s=silence_max_s, stop_timeout_s=STOP_TIMEOUT_S)
        return agent

    # --- the program ----------------------------------------------------------------------------

    def start(self, agent: Voice, *argv: str, lease_s: float = LEASE_S, **more: object) -> None:
        self.runs += 1
        agent.tell(
            say="start",
            run=self.runs,
            term=1,
            argv=list(argv),
            env={"COORD_TEST_CASE": self.case},
            unset=[],
            cwd=None,
            trusted_until=now() + lease_s,
            **{"stop_timeout_s": STOP_TIMEOUT_S, **more},
        )

    def start_shape(
        self, agent: Voice, shape: str, *, lease_s: float = LEASE_S, **more: Any
    ) -> Message:
        """Start a program, keep it trusted, and wait until all of it is there."""
        self.start(agent, *self.argv(shape), lease_s=lease_s, **more)
        agent.order(keep=LEASE_S)
        return self.await_shape(agent, shape, lease_s=lease_s, **more)

    def await_shape(
        self, agent: Voice, shape: str, *, lease_s: float = LEASE_S, **more: Any
    ) -> Message:
        """Wait until all of a program is there that was started, and is kept."""
        for attempt in range(1, STARTS_MAX + 1):
            started = agent.hear("started", "refused")
            if started["say"] == "started":
                break
            # On a busy machine the trust may be over before the guardian is asked.
            self.start(agent, *self.argv(shape), lease_s=lease_s * 2**attempt, **more)
            agent.order(keep=LEASE_S)
        assert started["say"] == "started", started
        self.await_members((programs.SHAPES | programs.PLAIN_SHAPES)[shape])
        return started

    def argv(self, shape: str) -> list[str]:
        script = str(Path(programs.__file__).resolve())
        return [sys.executable, "-S", "-E", script, shape, self._announce_path]

    def await_members(self, count: int) -> None:
        while len(self.members) < count:
            self.await_word()

    def forget_members(self) -> None:
        """Wait for none of those that have announced themselves so far."""
        for pidfd in self.members.values():
            os.close(pidfd)
        self.members.clear()

    def await_word(self) -> str:
        """Return what a process of the program says next; remember the process."""
        assert _readable(self._announced.fileno(), now() + WAIT_S), f"only {len(self.members)}"
        text, ancillary, _, _ = self._announced.recvmsg(65536, 64)
        pid = next(_CREDENTIALS.unpack(content)[0] for _, _, content in ancillary)
        if pid and pid not in self.members:
            with contextlib.suppress(ProcessLookupError):
                self.members[pid] = os.pidfd_open(pid)
        return text.decode()

    def await_deaths(self) -> float:
        """Wait until every announced process is dead; return when the last one was seen dead."""
        for pid, pidfd in self.members.items():
            assert _readable(pidfd, now() + WAIT_S), f"{pid} lives"
        return now()

    def survivors(self) -> list[int]:
        """Return every living process that carries the test's mark, announced or not."""
        mark = f"COORD_TEST_CASE={self.case}".encode()
        table = processes.everyone()
        return [p for p, seen in table.items() if seen.alive and processes.carries(p, mark)]

    # --- the end --------------------------------------------------------------------------------

    def leave(self, agent: Voice, code: int = 0) -> int:
        agent.order(end=code)
        try:
            return self.guardian.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the guardian did not leave: {self.stderr()}") from None

    def stderr(self) -> str:
        if self.guardian.stderr is None:
            return "(its log was the test's)"
        fd = self.guardian.stderr.fileno()
        text = b""
        while _readable(fd, now()):
            piece = os.read(fd, 65536)
            if not piece:
                break
            text += piece
        return text.decode()

    def await_stderr(self) -> str:
        """Return what the node says next."""
        assert self.guardian.stderr is not None
        assert _readable(self.guardian.stderr.fileno(), now() + WAIT_S), "nothing was said"
        return self.stderr()

    def close(self) -> None:
        """End whatever the test left; each process by its own descriptor."""
        if self.guardian.poll() is None:
            self.guardian.kill()
        self.guardian.wait(WAIT_S)
        for voice in self._voices:
            _kill(voice.pidfd)
            voice.line.close()
        for pidfd in self.members.values():
            _kill(pidfd)
        if self.guardian.stderr is not None:
            self.guardian.stderr.close()
        self._control.close()
        self._announced.close()


def await_death(voice: Voice) -> None:
    assert _readable(voice.pidfd, now() + WAIT_S), f"{voice.pid} lives"


def await_fact(fact: Callable[[], bool], what: str, wait_s: float = WAIT_S) -> None:
    """Wait for something that tells nobody when it happens."""
    until = now() + wait_s
    while not fact():
        assert now() < until, what
        select.poll().poll(5)


def _kill(pidfd: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    os.close(pidfd)


def _readable(fd: int, until: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(max(0.0, until - now()) * 1000))
