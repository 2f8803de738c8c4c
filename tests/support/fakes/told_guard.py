"""A guard of which a test tells what happened, and sees what it ordered."""

from __future__ import annotations

from coordinator.protocol.guardian import events as words
from coordinator.protocol.guardian import machine as guardian_machine
from coordinator.protocol.guardian.events import Command, Event

HANDLE = {"level": "plain"}


class Told:
    """A guard, and everything it ordered."""

    def __init__(self) -> None:
        self.guard, commands = guardian_machine.begin(0.0)
        self.orders: list[Command] = list(commands)

    def at(self, now: float, event: Event) -> list[Command]:
        """Step, and return what that ordered."""
        self.guard, commands = guardian_machine.step(self.guard, event, now)
        self.orders.extend(commands)
        return list(commands)

    def run(
        self,
        now: float = 0.0,
        until: float = 10.0,
        stop_timeout_s: float = 2.0,
        number: int = 1,
        last_stop_s: float | None = None,
        forward: tuple[int, ...] = (),
    ) -> Told:
        """Bring a program up."""
        self.at(now, words.Greeted(100.0, stop_timeout_s))
        order = words.StartOrdered(number, 1, until, stop_timeout_s)
        self.at(now, order._replace(last_stop_s=last_stop_s, forward=forward))
        self.at(now, words.ProgramReady(number, 42, HANDLE))
        self.at(now, words.ProgramStarted(number))
        return self


def said(commands: list[Command]) -> list[str]:
    return [c.message["say"] for c in commands if isinstance(c, words.TellAgent)]


def kinds(commands: list[Command]) -> list[type]:
    return [type(command) for command in commands]
