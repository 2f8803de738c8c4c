"""The process that wants a command run on the active node: it asks a node of its own machine.

The command gets this process's standard files, directory and environment. When this process ends,
the command is told to end.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import select
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

from coordinator.app.node.one_off import words
from coordinator.errors import ConditionFalseError, TokenLostError, UsageError
from coordinator.runtime.linux.channel import Channel

#: Seconds for which a node of this machine may keep an asker waiting for its name.
HELLO_S = 2.0
#: Signals at which the command is told to end.
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The exit code of a command, or of its refusal; `why` is a text for a person."""

    code: int
    why: str = ""
    ran: bool = False


@dataclass(frozen=True, slots=True)
class _Node:
    """A node of this machine that has told its name."""

    name: str
    active: bool
    line: Channel


def run(group: str, argv: tuple[str, ...], node: str | None) -> Outcome:
    """Have the command run by the active node of this machine, and wait for its end.

    node: the name of the node to ask; None: the one that is active.
    Errors: ConditionFalseError without such a node here; UsageError when two nodes of a group of
    this name are active here.
    """
    with contextlib.ExitStack() as undo:
        told = undo.enter_context(_signals())
        chosen = _chosen(group, node, _nodes(group, undo))
        address = f"{words.random_address(group, os.geteuid())}/command"
        listener = undo.enter_context(words.bound(address, 1))
        if not chosen.line.send({"run": address}):
            return _lost(chosen)
        return _followed(chosen, listener, told, argv, undo)


def _nodes(group: str, undo: contextlib.ExitStack) -> list[_Node]:
    """Connect to the group's nodes on this machine, and wait for their names.

    Errors: ConditionFalseError when there is none of this user.
    """
    try:
        doors = words.doors(group)
    except OSError as error:
        raise ConditionFalseError(f"{group}: no node is found here: {error}") from error
    own = [door for door in doors if door.uid == os.geteuid()]
    lines = [line for door in own if (line := _line(door.address)) is not None]
    for line in lines:
        undo.callback(line.close)
    nodes = _named(lines)
    if nodes:
        return nodes
    if lines:
        raise ConditionFalseError(
            f"{group}: its node on this machine has not answered for {HELLO_S:g} s"
        )
    others = sorted({_user(door.uid) for door in doors} - {_user(os.geteuid())})
    if others:
        raise ConditionFalseError(
            f"{group}: its node on this machine belongs to user {others[0]}, who alone may run"
            f" commands under it: sudo -u {others[0]} coord when-active ..."
        )
    raise ConditionFalseError(f"{group}: no node of this group runs on this machine")


def _line(address: str) -> Channel | None:
    """Return a line to a door; None when its agent has just gone, or is another user's."""
    try:
        end = words.connected(address)
    except OSError:
        return None
    if words.is_own(end):
        return Channel(end)
    end.close()
    return None


def _named(lines: list[Channel]) -> list[_Node]:
    """Return the nodes that tell their names in time; a frozen one does not."""
    nodes: list[_Node] = []
    poll, left = select.poll(), {line.fileno(): line for line in lines}
    for fd in left:
        poll.register(fd, select.POLLIN)
    give_up_at = time.monotonic() + HELLO_S
    while left and (wait_s := give_up_at - time.monotonic()) > 0:
        for fd, _ in poll.poll(wait_s * 1000):
            line = left.pop(fd)
            poll.unregister(fd)
            message, _ = line.poll() or (None, [])
            if message is not None:
                nodes.append(_Node(str(message["node"]), bool(message["active"]), line))
    return nodes


def _chosen(group: str, name: str | None, nodes: list[_Node]) -> _Node:
    """Choose the node to ask: the named one, or the active one, or any, which then says no."""
    if name is not None:
        nodes = [node for node in nodes if node.name == name]
        if not nodes:
            raise ConditionFalseError(f"{group}: no node {name} runs on this machine")
    active = [node for node in nodes if node.active]
    if len(active) > 1:
        names = ", ".join(sorted(node.name for node in active))
        raise UsageError(
            f"{group}: two groups of this name (in two databases or schemas) are active here"
            f" ({names}): name the node with --node"
        )
    return (active or nodes)[0]


def _followed(
    node: _Node,
    listener: socket.socket,
    told: socket.socket,
    argv: tuple[str, ...],
    undo: contextlib.ExitStack,
) -> Outcome:
    """Hand the command over to its process, and wait for the word of its end."""
    command: Channel | None = None
    refused: Outcome | None = None
    signals = b""
    poll = select.poll()
    for end in (node.line, listener, told):
        poll.register(end, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd == told.fileno():
                signals += told.recv(64)
                if signals.count(signal.SIGINT) > 1:
                    return Outcome(128 + signal.SIGINT)  # the node ends it all the same
                node.line.send({"stop": True})
            elif fd == listener.fileno():
                command = _handed(listener, argv)
                if command is not None:
                    undo.callback(command.close)
                    poll.register(command, select.POLLIN)
            elif command is not None and fd == command.fileno():
                message, _ = command.poll() or (None, [])
                poll.unregister(command)
                if message is not None:  # its end alone is the successful exec
                    refused = Outcome(int(message["code"]), str(message["why"]), ran=True)
            elif (received := node.line.poll()) is not None:
                message, _ = received
                if message is None:
                    return _lost(node)
                return refused or Outcome(
                    int(message["code"]), str(message["why"]), ran=command is not None
                )


def _handed(listener: socket.socket, argv: tuple[str, ...]) -> Channel | None:
    """Give the process that the guardian has started what it is to execute."""
    end, _ = listener.accept()
    if not words.is_own(end):
        end.close()
        return None
    end.setblocking(True)
    command, mask = Channel(end), os.umask(0o077)
    os.umask(mask)
    order = {"argv": argv, "env": dict(os.environ), "umask": mask}
    here = os.open(".", os.O_PATH | os.O_CLOEXEC)  # not by its name: it may have none any more
    try:
        command.send(order, fds=(0, 1, 2, here))
    finally:
        os.close(here)
    return command


def _lost(node: _Node) -> Outcome:
    why = f"the agent of {node.name} has ended, and the command with it"
    return Outcome(TokenLostError.exit_code, why, ran=True)


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


@contextlib.contextmanager
def _signals() -> Iterator[socket.socket]:
    """Yield a socket that gets each signal at which the command is to end, as a byte."""
    here, there = socket.socketpair()
    for end in (here, there):
        end.setblocking(False)
    before = {signum: signal.signal(signum, _noted) for signum in ENDING}
    fd = signal.set_wakeup_fd(there.fileno(), warn_on_full_buffer=False)
    try:
        yield here
    finally:
        signal.set_wakeup_fd(fd)
        for signum, how in before.items():
            signal.signal(signum, how)
        here.close()
        there.close()


def _noted(*_: object) -> None:
    """Let the signal only write its byte."""
