"""`coord demo`: real nodes in one terminal; the holder is killed, and another node takes over."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.cli.render.units import gap, seconds_of
from coordinator.cli.shared import shared
from coordinator.errors import CoordError

if TYPE_CHECKING:
    from coordinator.app.admin.demo import Demo, Kill
    from coordinator.app.admin.status import GroupLine, Takeover
    from coordinator.cli.render.demo_display import Display

#: Seconds between two reads of the database; each one redraws.
READ_EVERY_S = 0.1
#: --once kills soon, but after the program has printed a few lines.
ONCE_AFTER_S = 4.0
#: Cold start of the nodes on a busy machine.
READY_TIMEOUT_S = 60.0
#: The demonstration has failed if no node has taken over this long after a kill.
TAKEOVER_TIMEOUT_S = 30.0


def demo(
    context: typer.Context,
    nodes: Annotated[
        int, typer.Option("--nodes", metavar="N", min=2, max=20, help="Number of nodes.")
    ] = 3,
    kill_every: Annotated[
        str, typer.Option("--kill-every", metavar="TIME", help="Time between two kills.")
    ] = "10s",
    once: Annotated[
        bool, typer.Option("--once", help="End after one takeover; exit 0 if it was in time.")
    ] = False,
) -> None:
    """Start real nodes and kill the active one, again and again.

    The nodes use the embedded server and a group of their own.
    """
    options = shared(context)
    try:
        every_s = seconds_of(kill_every)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--kill-every") from None
    from coordinator.app.admin.demo import Demo
    from coordinator.cli.render.demo_display import Display
    from coordinator.cli.render.tables import console

    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, _interrupt)
    display = Display(console(options))
    try:
        display.say("starting the embedded PostgreSQL")
        with Demo(nodes) as group:
            try:
                with display:
                    Play(group, display).run(min(every_s, ONCE_AFTER_S) if once else every_s, once)
            finally:
                # A second Ctrl-C must not interrupt the clean-up.
                for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    signal.signal(signum, signal.SIG_IGN)
                display.say("stopping the nodes")
        display.say("nothing is left running")
    except KeyboardInterrupt:
        display.say("nothing is left running")


class Play:
    """Steps of the demonstration, in order."""

    def __init__(self, group: Demo, display: Display) -> None:
        self._group = group
        self._display = display
        self._pause = threading.Event()
        self._reported_term = 0  # the last term that an event line has named
        self._killing = False
        self._page_told = False

    def run(self, every_s: float, once: bool) -> None:
        """Kill and watch until Ctrl-C; with `once`, until the first takeover.

        Errors: CoordError if the nodes do not start, or a takeover is late.
        """
        names = ", ".join(self._group.names)
        self._display.say(f"starting {names} as group {self._group.group}")
        self._until(_all_ready, READY_TIMEOUT_S, "the nodes were not ready")
        while True:
            self._watch(every_s)
            kill = self._kill_and_wait()
            if once:
                return
            self._group.start(kill.node)
            self._display.killed = ""
            self._display.say(f"starting {kill.node} again")
            self._until(_all_ready, READY_TIMEOUT_S, "the killed node did not rejoin the group")

    def _kill_and_wait(self) -> Kill:
        from coordinator.app.admin.demo import BOUND_S

        group = self._until(_active, TAKEOVER_TIMEOUT_S, "no node became active")
        kill = self._group.kill(group)
        self._display.killed = kill.node
        self._redraw()  # before the event: the old picture shows the node as active
        self._display.say(
            f"SIGKILL to all {kill.processes} processes of {kill.node}, active in term {kill.term}",
            style="bold red",
        )
        self._killing = True
        takeover = self._takeover(kill)
        self._killing = False
        self._reported_term = takeover.term
        after_s = (takeover.acquired_at - kill.at).total_seconds()
        late = takeover.gap_s is None or takeover.gap_s > BOUND_S
        self._display.say(
            f"{takeover.node} took over with term {takeover.term}: {gap(takeover.gap_s)} after the"
            f" last heartbeat (bound {BOUND_S:.1f} s), {after_s:.2f} s after the kill",
            style="bold yellow" if late else "bold green",
        )
        self._redraw()  # the last picture shows who is active
        if late:
            raise CoordError(f"the takeover took {gap(takeover.gap_s)}; is this machine busy?")
        return kill

    def _takeover(self, kill: Kill) -> Takeover:
        give_up_at = time.monotonic() + TAKEOVER_TIMEOUT_S
        while time.monotonic() < give_up_at:
            self._redraw()
            takeover = self._group.takeover_after(kill)
            if takeover is not None:
                return takeover
            self._pause.wait(READ_EVERY_S)
        raise CoordError(f"no node took over within {TAKEOVER_TIMEOUT_S:g} s")

    def _watch(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._redraw()
            self._pause.wait(READ_EVERY_S)

    def _until(
        self, found: Callable[[Demo, GroupLine], bool], timeout_s: float, otherwise: str
    ) -> GroupLine:
        give_up_at = time.monotonic() + timeout_s
        while time.monotonic() < give_up_at:
            group = self._redraw()
            if group is not None and found(self._group, group):
                return group
            self._fail_if_one_ended()
            self._pause.wait(READ_EVERY_S)
        raise CoordError(f"{otherwise} within {timeout_s:g} s")

    def _fail_if_one_ended(self) -> None:
        for name in self._group.ended():
            line = self._group.last_line(name).removeprefix("coord: ")
            raise CoordError(f"{name} ended by itself: {line}")

    def _redraw(self) -> GroupLine | None:
        """Read the group and redraw it; report a new term once."""
        status, group = self._group.read()
        if not self._page_told and (address := self._group.page_address()):
            self._display.name_page(address)
            self._page_told = True
        work = ""
        if group is not None:
            if group.holder is not None and group.term > self._reported_term and not self._killing:
                self._display.say(f"{group.holder} is active, term {group.term}", style="green")
                self._reported_term = group.term
            work = self._group.last_line(group.holder) if group.holder else ""
        self._display.draw(status, group, work)
        return group


def _all_ready(demo: Demo, group: GroupLine) -> bool:
    ready = sum(node.state in ("ok", "late") for node in group.nodes)
    return group.holder is not None and ready == len(demo.names)


def _active(_demo: Demo, group: GroupLine) -> bool:
    return group.holder is not None


def _interrupt(_signum: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
