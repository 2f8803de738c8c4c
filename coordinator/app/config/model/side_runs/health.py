"""Config.toml as types: the health check of the program."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from pydantic import Field, model_validator

from coordinator.app.config.model import values
from coordinator.app.config.model.field_types import Command, Count, HttpUrl, Interval, Wait
from coordinator.app.config.model.table import Table, broken_rule, setting
from coordinator.app.config.settings import HealthSettings

_health = partial(setting, of=HealthSettings)


class HealthTable(Table):
    """A health check of the program, made while the program runs.

    A program whose checks fail several times in a row is stopped, and another node goes first.
    """

    command: Command | None = _health(
        "command",
        "List of arguments, or one line. Exit code 0 within timeout means healthy.",
        shown=["curl", "-fsS", "http://127.0.0.1:8080/health"],
    )
    http: HttpUrl | None = _health(
        "http",
        "A URL that has to answer with a status from 200 to 399 within timeout.",
        shown="http://127.0.0.1:8080/health",
        aside=True,
        lead="Or, instead of a command:",
    )
    interval: Interval = _health("interval", "Seconds from the start of a check to the next.")
    timeout: Interval = _health(
        "timeout", "Seconds for one check; what has not ended by then is killed, and has failed."
    )
    failures: Annotated[Count, Field(ge=1, le=1_000_000)] = _health(
        "failures", "Failed checks in a row after which the program counts as hung."
    )
    initial_delay: Wait | None = _health(
        "initialDelay",
        "Seconds from the start of the program to the first check. Default: interval.",
        shown=30,
    )

    @model_validator(mode="after")
    def _one_check(self) -> HealthTable:
        if (self.command is None) == (self.http is None):
            given = self.command is not None
            rule = "cannot be combined with command; give one of them"
            raise broken_rule("http" if given else "", rule if given else "needs command or http")
        try:
            if isinstance(self.command, str):
                values.arguments(self.command)
        except ValueError as error:
            raise broken_rule("command", str(error)) from None
        return self
