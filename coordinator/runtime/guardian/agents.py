"""Agent and spare as processes of the guardian: start, promote, receive, kill.

The pid of a spare that is a fork of the agent is unknown until its first message. It becomes the
guardian's child when the agent dies, because the guardian is the subreaper.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from coordinator.protocol.guardian import events as words
from coordinator.protocol.guardian import wire
from coordinator.protocol.guardian.events import Event, Message
from coordinator.protocol.guardian.state import RUNS_MAX
from coordinator.runtime.guardian.loop import Loop
from coordinator.runtime.linux import channel, processes, spawn
from coordinator.runtime.linux.channel import Channel

#: Messages read from one channel before others get their turn.
_MESSAGES_PER_TURN = 100
#: More than a socket's buffer holds: all messages of a dead agent are read.
_LAST_WORDS_MAX = 10_000
#: An agent gets at most `started`, `stopping` and `ended` of each run; one for which more than
#: that is queued, with as many echoes, does not read.
_UNSENT_MAX = 4 * RUNS_MAX


class Recipe(NamedTuple):
    """Command line and descriptors for starting an agent."""

    argv: tuple[str, ...]
    settings_fd: int
    deadlines_fd: int
    level: str


class _Peer:
    """One agent or spare."""

    def __init__(self, line: Channel, pid: int | None) -> None:
        self.line = line
        self.pid = pid
        self.collected = False  #: its process is dead, and its pid may be reused
        self.unsent: deque[Message] = deque()  #: messages for which the socket was full
        self.behind = False  #: a spare that has missed messages


class Peers:
    """At most one agent and at most one spare."""

    def __init__(
        self,
        recipe: Recipe,
        loop: Loop,
        feed: Callable[[Event], None],
        leaving: Callable[[], bool],
        report: Callable[[str], None],
    ) -> None:
        self._recipe, self._loop, self._feed, self._leaving = recipe, loop, feed, leaving
        self._report = report
        self._agent: _Peer | None = None
        self._spare: _Peer | None = None
        self._agents_group = 0
        self._forked: set[int] = set()  #: children that were to become an agent or a spare

    def agent_fd(self) -> int:
        """Return the agent's channel; -1 without an agent."""
        return -1 if self._agent is None else self._agent.line.fileno()

    # --- orders ---------------------------------------------------------------------------------

    def tell_agent(self, message: Message) -> None:
        """Send a message to the agent, if there is one, at once or as soon as its socket has space.

        With many runs more messages may be due than a socket holds, and none may be lost: an agent
        that never gets `ended` never releases. An agent that is gone will be noticed.
        """
        agent = self._agent
        if agent is None:
            return
        if agent.unsent or not agent.line.send(message, wait_s=0):
            agent.unsent.append(message)
            self._loop.rewatch(agent.line.fileno(), select.EPOLLIN | select.EPOLLOUT)
            if len(agent.unsent) > _UNSENT_MAX:
                self.kill_agent()
                self._feed(words.AgentLost())

    def tell_spare(self, message: Message) -> None:
        """Send a message to the spare, if any; one that does not read gets everything later."""
        spare = self._spare
        if spare is not None and not spare.behind and not spare.line.send(message, wait_s=0):
            spare.behind = True
            self._loop.rewatch(spare.line.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def start_agent(self, session: str | None, term: int) -> None:
        """Start a new agent, which forks its spare itself.

        Errors: OSError when none can be made now; no agent exists then.
        """
        self.drop_spare(kill=True)
        here, there = channel.pair()
        spare_here, spare_there = channel.pair()
        fds = (there.fileno(), spare_there.fileno())
        more = ["--channel-fd", str(fds[0]), "--spare-fd", str(fds[1])]
        if session is not None:
            more += ["--previous-session", session, "--previous-term", str(term)]
        try:
            pid = self._fork(more, fds)
        except OSError:
            here.close()
            spare_here.close()
            raise
        finally:
            there.close()
            spare_there.close()
        self._agents_group = pid
        self._meet_agent(_Peer(here, pid))
        self._meet_spare(_Peer(spare_here, None))

    def start_spare(self) -> None:
        """Start a spare from scratch.

        Errors: OSError when none can be made now; no spare exists then.
        """
        self.drop_spare(kill=True)
        here, there = channel.pair()
        fd = there.fileno()
        try:
            pid = self._fork(["--channel-fd", str(fd), "--as-spare"], (fd,))
        except OSError:
            here.close()
            raise
        finally:
            there.close()
        self._meet_spare(_Peer(here, pid))

    def promote_spare(self, message: Message) -> None:
        """Make the spare the agent, with a channel for a spare of its own."""
        try:
            here, there = channel.pair()
        except OSError:  # no descriptor to spare now
            self.drop_spare(kill=True)
            self._feed(words.PromotionFailed())
            return
        spare, self._spare = self._spare, None
        promoted = spare is not None and spare.line.send(message, [there.fileno()], wait_s=0)
        there.close()
        if spare is not None:
            self._loop.unwatch(spare.line.fileno())
        if spare is None or not promoted:
            here.close()
            if spare is not None:
                spare.line.close()
            self._feed(words.PromotionFailed())
            return
        if spare.pid is not None:
            self._agents_group = spare.pid
        self._meet_agent(spare)
        self._meet_spare(_Peer(here, None))

    def signal_agent(self, signum: int) -> None:
        """Send a signal to the agent's process."""
        if self._agent is not None and self._agent.pid is not None:
            _signal(self._agent.pid, signum)

    def kill_agent(self) -> None:
        """SIGKILL the agent and close its channel."""
        agent, self._agent = self._agent, None
        if agent is None:
            return
        self._loop.unwatch(agent.line.fileno())
        agent.line.close()
        if agent.collected:
            return
        if agent.pid is not None:
            _signal(agent.pid, signal.SIGKILL)
            return
        # A fork of a dead agent without any message: now a child of this process, in the old group.
        spare_pid = None if self._spare is None else self._spare.pid
        for seen in processes.everyone().values():
            ours = seen.parent == os.getpid() and seen.group == self._agents_group
            if ours and seen.pid != spare_pid:
                _signal(seen.pid, signal.SIGKILL)

    def drop_spare(self, *, kill: bool) -> None:
        """Close the spare's channel, at which it ends by itself; kill it if that is not enough."""
        spare, self._spare = self._spare, None
        if spare is None:
            return
        self._loop.unwatch(spare.line.fileno())
        spare.line.close()
        if kill and spare.pid is not None:
            _signal(spare.pid, signal.SIGKILL)

    # --- what happened --------------------------------------------------------------------------

    def child_ended(self, pid: int, code: int) -> None:
        """Note that a child of the guardian was collected."""
        agent, spare = self._agent, self._spare
        if code == spawn.NOT_FOUND and pid in self._forked:
            self._report(f"{self._recipe.argv[0]}: cannot be executed")
        self._forked.discard(pid)
        if agent is not None and pid == agent.pid:
            agent.collected = True
            self._listen(agent, _LAST_WORDS_MAX)  # maybe an orderly `exit` among them
            if self._agent is agent:
                self.kill_agent()
                self._feed(words.AgentLost())
        elif spare is not None and pid == spare.pid:
            self.drop_spare(kill=False)
            self._feed(words.SpareLost())

    def _listen(self, peer: _Peer, messages_max: int = _MESSAGES_PER_TURN) -> None:
        """Read the agent's messages or the end of its channel; send queued messages."""
        while peer.unsent and peer.line.send(peer.unsent[0], wait_s=0):
            peer.unsent.popleft()
            if not peer.unsent:
                self._loop.rewatch(peer.line.fileno(), select.EPOLLIN)
        for _ in range(messages_max):
            received = peer.line.poll() if peer is self._agent else None
            if received is None:
                return
            message, _ = received
            if message is None:
                self._on_hang_up(peer)
                return
            peer.pid = peer.line.peer_pid
            if peer.pid is not None:
                self._forked.discard(peer.pid)  # its exit code may be that of its program
            self._hear(message)

    def _hear(self, message: Message) -> None:
        try:
            event = wire.from_agent(message)
        except (KeyError, TypeError, ValueError) as error:
            self._report(f"the agent said {message}: {error!r}")
            return
        if event is not None:
            self._feed(event)

    def _on_hang_up(self, peer: _Peer) -> None:
        if self._leaving() and peer.pid is not None:
            # It has announced its end: let it end by itself. SIGCHLD or a deadline follows.
            self._loop.unwatch(peer.line.fileno())
            return
        self.kill_agent()
        self._feed(words.AgentLost())

    def _listen_to_spare(self, peer: _Peer) -> None:
        received = peer.line.poll()
        if received is None:
            if peer.behind:
                # Nothing to read: it is ready because its socket has space again.
                peer.behind = False
                self._loop.rewatch(peer.line.fileno(), select.EPOLLIN)
                self._feed(words.SpareMissed())
            return
        if received[0] is not None:
            peer.pid = peer.line.peer_pid
            return
        self.drop_spare(kill=False)
        self._feed(words.SpareLost())

    def _meet_agent(self, peer: _Peer) -> None:
        self._agent = peer
        self._loop.watch(peer.line.fileno(), lambda: self._listen(peer))

    def _meet_spare(self, peer: _Peer) -> None:
        self._spare = peer
        self._loop.watch(peer.line.fileno(), lambda: self._listen_to_spare(peer))

    def _fork(self, more: list[str], fds: tuple[int, ...]) -> int:
        recipe = self._recipe
        argv = [*recipe.argv, "--settings-fd", str(recipe.settings_fd)]
        argv += ["--deadlines-fd", str(recipe.deadlines_fd), "--isolation", recipe.level, *more]
        pid = spawn.fork_agent(argv, (recipe.settings_fd, recipe.deadlines_fd, *fds))
        self._forked.add(pid)
        return pid


def _signal(pid: int, signum: int) -> None:
    assert pid > 1, "0 and below mean many processes"
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signum)
