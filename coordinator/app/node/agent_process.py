"""Process of the agent, and of its spare.

    guardian ── agent ── spare

An agent first forks a spare of itself: fully loaded, without a thread, a connection or a token,
waiting on a socket of the guardian's. When the agent dies, the spare becomes the agent at once,
waits until the guardian has killed the programs, ends the dead agent's session (so that a standby
need not wait for its lease) and joins again. When the guardian dies too, the spare kills the
programs and ends the session itself.
"""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys

from coordinator.app.checkpoints.around import served_disks
from coordinator.app.config.settings import from_json
from coordinator.app.node import compose, spare
from coordinator.app.node.compose import Legacy
from coordinator.app.node.no_core_dump import leave_no_core
from coordinator.app.node.start import recall
from coordinator.runtime.linux.channel import Channel
from coordinator.runtime.linux.descriptors import open_standard
from coordinator.runtime.log import logger as log


def main() -> None:
    """Become the agent, or wait as its spare."""
    open_standard()
    arguments = _arguments(sys.argv[1:])
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        # The guardian handles these; a service manager sends them to all processes of the unit.
        signal.signal(signum, signal.SIG_IGN)
    # Until the agent's log is set up, to which it writes its stacks: see stacks.py.
    signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    leave_no_core()
    settings = from_json(recall(arguments.settings_fd))
    channel = Channel.from_fd(arguments.channel_fd)
    spare_fd: int = arguments.spare_fd
    deadlines_fd: int = arguments.deadlines_fd
    if deadlines_fd >= 0:
        os.set_inheritable(deadlines_fd, False)
    legacy: Legacy | None = None
    if arguments.previous_session is not None:
        legacy = Legacy(arguments.previous_session or None, arguments.previous_term, True)
    if arguments.as_spare:
        legacy, spare_fd = spare.wait(channel, settings, deadlines_fd)
    # Imported objects are no garbage: a full collection of 100,000 of them took 90 ms in the middle
    # of a takeover. And pages that are not written to stay shared with the spare.
    gc.freeze()
    while (child := _forked()) == 0:
        channel.close()
        channel = Channel.from_fd(spare_fd)
        # The spare is a copy: it already has the runs that its agent inherited.
        known = {} if legacy is None else legacy.handles
        legacy, spare_fd = spare.wait(channel, settings, deadlines_fd, known)
    os.close(spare_fd)
    level, settings_fd = arguments.isolation, arguments.settings_fd
    with served_disks(settings, settings_fd):
        code = compose.run(settings, settings_fd, channel, legacy, level, child, deadlines_fd)
    log.end()
    os._exit(code)


def _forked() -> int | None:
    """Fork; return None if no process can be made now: the guardian makes a spare later."""
    try:
        return os.fork()
    except OSError:
        return None


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="coordinator.app.node.agent_process")
    # Both are in the settings; here they are for whoever reads the list of processes.
    parser.add_argument("--group")
    parser.add_argument("--node")
    parser.add_argument("--settings-fd", type=int, required=True)
    parser.add_argument("--channel-fd", type=int, required=True)
    parser.add_argument("--spare-fd", type=int, default=-1)
    parser.add_argument("--deadlines-fd", type=int, default=-1)
    parser.add_argument("--as-spare", action="store_true")
    parser.add_argument("--previous-session")
    parser.add_argument("--previous-term", type=int, default=0)
    parser.add_argument("--isolation", default="")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
