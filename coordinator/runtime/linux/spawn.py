"""Fork and exec step by step, in the order that the guarantees need.

    guardian ── keeper ── program

The keeper only collects dead processes. As process 1 of a PID namespace it takes everything with it
when it is killed. Elsewhere it is the subreaper below which every process of the program is found,
even one that left the cgroup. It dies with the guardian.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, NoReturn

from coordinator.protocol.guardian.events import StartOrdered
from coordinator.runtime.linux import channel, programs, syscalls
from coordinator.runtime.linux.capacity import DESCRIPTORS_MAX
from coordinator.runtime.linux.clock import BoottimeClock

#: Exit codes that shells use: found but not executable, and not found.
NOT_EXECUTABLE = 126
NOT_FOUND = 127
READY = b"ready"
PERMISSION = struct.Struct("@d")
_CREDENTIALS = struct.Struct("@iII")
_PACKET_MAX = 65_536
#: Descriptor limit that this process was given, and gives to its children.
_DESCRIPTORS_GIVEN = syscalls.descriptor_limits()[0]
#: End of the range of descriptors; bounded, because an old kernel closes them one by one.
_FDS_END = min(max(_DESCRIPTORS_GIVEN, DESCRIPTORS_MAX), 1 << 20)


class Line:
    """The guardian's end of the socket to a program's process; the exec closes the other end."""

    def __init__(self) -> None:
        self._here, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # Credentials name the program's process by this namespace's pid, not by that of its own.
        self._here.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.over = False  #: no more packets will come

    def fileno(self) -> int:
        """Return the descriptor, for a selector."""
        return self._here.fileno()

    def permit(self, trusted_until: float) -> None:
        """Permit the exec; a process that is gone needs no permission."""
        with contextlib.suppress(OSError):
            self._here.send(PERMISSION.pack(trusted_until), socket.MSG_DONTWAIT)

    def packets(self) -> Iterator[tuple[bytes, int]]:
        """Yield packets that have come, with their senders; an empty packet, once, is the end."""
        space = socket.CMSG_SPACE(_CREDENTIALS.size)
        while not self.over:
            try:
                packet, ancillary = channel.receive(
                    self._here, _PACKET_MAX, space, socket.MSG_DONTWAIT
                )
            except BlockingIOError:
                return
            self.over = not packet
            yield packet, _sender(ancillary) if packet else 0

    def close(self) -> None:
        """Close this end."""
        self._here.close()


def _sender(ancillary: list[tuple[int, int, bytes]]) -> int:
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            return int(_CREDENTIALS.unpack(content[: _CREDENTIALS.size])[0])
    raise AssertionError("SO_PASSCRED is set, so every packet names its sender")


class Launch(NamedTuple):
    """Everything that a forked process needs to become the program."""

    order: StartOrdered
    line_fd: int  #: to the guardian: ready, permission, refusal; closed by a successful exec
    board_fd: int
    env: dict[str, str]
    enter: Callable[[], None]  #: enters the program's isolation
    own_only: bool = False  #: this node cannot kill a program of another user


def widen_descriptors() -> int:
    """Raise this process's descriptor limit to what many runs need; return the new limit.

    A program does not inherit it: one that uses select() may rely on low numbers.
    """
    soft, hard = syscalls.descriptor_limits()
    wanted = min(hard, DESCRIPTORS_MAX)
    if wanted > soft:
        syscalls.limit_descriptors(wanted)
    return max(soft, wanted)


def fork_clean(body: Callable[[], object]) -> int:
    """Fork; the child gets default signals, runs body, and never returns into this code.

    It writes nothing that might make it wait: an error ends it with NOT_FOUND.
    """
    every = signal.valid_signals()
    # No signal may arrive in the child while it still has this process's handlers and wakeup fd.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, every)
    try:
        pid = os.fork()
        if pid == 0:
            try:
                signal.set_wakeup_fd(-1)
                _default_signals(every)
                signal.pthread_sigmask(signal.SIG_SETMASK, ())
                syscalls.limit_descriptors(_DESCRIPTORS_GIVEN)
                body()
            finally:
                os._exit(NOT_FOUND)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


def _default_signals(every: Iterable[int]) -> None:
    for signum in every:
        if signal.getsignal(signum) is not signal.SIG_DFL:
            with contextlib.suppress(OSError):
                signal.signal(signum, signal.SIG_DFL)


def close_except(kept: Iterable[int]) -> None:
    """Close every descriptor that is not kept."""
    low = 0
    for fd in sorted({fd for fd in kept if fd >= 0}):
        if low < fd:  # an empty range that starts at 0 would close everything
            os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, _FDS_END)


# --- the keeper ---------------------------------------------------------------------------------


def keep(body: Callable[[int], object], status_fd: int) -> None:
    """Run as the keeper: fork the program, report its end, end when nothing of it is left."""
    os.setsid()
    syscalls.set_death_signal(signal.SIGKILL)
    ignore_signals()
    keeper = os.getpid()
    main = fork_clean(lambda: body(keeper))
    close_except((status_fd,))
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, 0)
            if pid == main:
                text = f"{os.waitstatus_to_exitcode(status)} {int(_children_left())}"
                with contextlib.suppress(OSError):
                    os.write(status_fd, text.encode())
    os._exit(0)


def _children_left() -> bool:
    """Collect dead children; say whether any other child lives."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def ignore_signals() -> None:
    """Ignore all signals that can be ignored."""
    for signum in signal.valid_signals() - {signal.SIGCHLD}:
        with contextlib.suppress(OSError):
            signal.signal(signum, signal.SIG_IGN)


# --- the program --------------------------------------------------------------------------------


def become_program(launch: Launch, parent: int) -> None:
    """Turn this new child into the program, or report why not; never returns after an exec."""
    # Before anything else: a copy of the guardian's own ends would hide its death from the agent.
    close_except((0, 1, 2, launch.line_fd, launch.board_fd, *launch.order.keep_fds))
    line = socket.socket(fileno=launch.line_fd)
    try:
        launch.enter()
        os.setsid()
        syscalls.set_death_signal(signal.SIGKILL)
    except OSError as error:
        _refuse(line, f"cannot be isolated: {error}", NOT_EXECUTABLE)
    if os.getppid() != parent:
        os._exit(NOT_FOUND)
    line.send(READY)
    permission, _ = channel.receive(line, PERMISSION.size, 0, 0)
    if not permission:
        os._exit(NOT_FOUND)
    try:
        _execute(launch, line, PERMISSION.unpack(permission)[0])
    except OSError as error:
        command = launch.order.argv[0]
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            path = programs.found(command, launch.env)
            code = NOT_FOUND if path is None else NOT_EXECUTABLE
            _refuse(line, programs.not_found(command, path), code)
        _refuse(line, f"{command}: {error.strerror}", NOT_EXECUTABLE)
    except ValueError as error:  # a null byte in an argument or in the environment
        _refuse(line, str(error), NOT_EXECUTABLE)


def _execute(launch: Launch, line: socket.socket, trusted_until: float) -> NoReturn:
    order = launch.order
    for fd in order.keep_fds:
        os.set_inheritable(fd, True)
    os.set_inheritable(launch.board_fd, True)
    if order.cwd is not None:
        try:
            os.chdir(order.cwd)
        except OSError as error:
            _refuse(line, f"cannot go to {order.cwd}: {error.strerror}", NOT_EXECUTABLE)
    path = programs.found(order.argv[0], launch.env) if launch.own_only else None
    if path is not None and programs.of_another_user(path):
        _refuse(line, programs.no_kill(order.argv[0]), NOT_EXECUTABLE)
    if BoottimeClock().now() >= trusted_until:  # the very last check
        _refuse(line, "trust is over", 0)
    os.execvpe(order.argv[0], order.argv, launch.env)  # noqa: S606


def _refuse(line: socket.socket, why: str, code: int) -> NoReturn:
    line.send(json.dumps({"why": why, "code": code}).encode())
    os._exit(code)


def environment(order: StartOrdered, mark: str, board_fd: int) -> dict[str, str]:
    """Return the program's environment: this process's, less `unset`, plus the ordered one."""
    env = {name: value for name, value in os.environ.items() if name not in order.unset}
    env |= dict(order.env)
    return env | {"COORD_RUN_ID": mark, "COORD_TRUST_FD": str(board_fd)}


# --- the agent ----------------------------------------------------------------------------------

#: Signals that the guardian gets and explains to the agent. They are ignored before an agent is
#: executed, because loading takes it seconds on a busy machine.
NEVER_ENDS_AGENT = (
    *(signal.SIGTERM, signal.SIGINT, signal.SIGHUP),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT),
)


def fork_agent(argv: list[str], kept_fds: tuple[int, ...]) -> int:
    """Start an agent or a spare in its own process group, so that Ctrl-C does not reach it."""
    return fork_clean(lambda: _become_agent(argv, kept_fds))


def _become_agent(argv: list[str], kept_fds: tuple[int, ...]) -> NoReturn:
    os.setpgid(0, 0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    close_except((0, 1, 2, *kept_fds))
    for fd in kept_fds:
        os.set_inheritable(fd, True)
    for signum in NEVER_ENDS_AGENT:
        signal.signal(signum, signal.SIG_IGN)
    os.execvp(argv[0], argv)  # noqa: S606
