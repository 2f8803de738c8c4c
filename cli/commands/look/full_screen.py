"""Whole screen of a terminal, drawn anew when it is resized and given back at the end."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, NoReturn

from coordinator.cli.render.fitting import FittedScreen

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

#: Signals that end a command; the terminal is given back first.
ENDS = (signal.SIGTERM, signal.SIGHUP)
#: Signals of a terminal: it was resized, and Ctrl-Z.
TOLD = (signal.SIGWINCH, signal.SIGTSTP)


class FullScreen:
    """Alternate screen of a terminal; use it as a context manager.

    It uses the signals of the process, so there is one at a time, in the main thread.
    """

    def __init__(self, console: Console, parts: Callable[[], Sequence[RenderableType]]) -> None:
        from rich.live import Live

        self._parts = parts
        self._live: Live = Live(console=console, screen=True, auto_refresh=False)
        self._before: dict[int, object] = {}
        self._told, self._tells = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def __enter__(self) -> FullScreen:
        """Take the screen."""
        # The handlers first: a signal in between must find the screen given back.
        for signum in ENDS:
            if signal.getsignal(signum) is not signal.SIG_IGN:  # as nohup leaves SIGHUP
                self._before[signum] = signal.signal(signum, _end)
        for signum in TOLD:
            self._before[signum] = signal.signal(signum, _note)
        signal.set_wakeup_fd(self._tells, warn_on_full_buffer=False)
        try:
            self._live.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the screen back as it was."""
        self._live.stop()
        signal.set_wakeup_fd(-1)
        for signum, handler in self._before.items():
            signal.signal(signum, handler)  # type: ignore[arg-type]
        os.close(self._told)
        os.close(self._tells)

    def draw(self) -> None:
        """Draw the parts as they are now."""
        self._live.update(FittedScreen(self._parts()), refresh=True)

    def rest(self, seconds: float) -> None:
        """Wait; meanwhile draw anew when the terminal was resized, or the command continued."""
        until = time.monotonic() + seconds
        while (left_s := until - time.monotonic()) > 0:
            if not select.select([self._told], [], [], left_s)[0]:
                return
            if signal.SIGTSTP in os.read(self._told, 4096):
                self._stand_still()
            self.draw()

    def _stand_still(self) -> None:
        """Give the screen back and stop, as Ctrl-Z asks, until the shell continues the command."""
        self._live.stop()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, _note)
        self._live.start()


def _end(signum: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + signum)


def _note(_signum: int, _frame: FrameType | None) -> None:
    """Let the wakeup descriptor tell of the signal; without a handler it would not."""
