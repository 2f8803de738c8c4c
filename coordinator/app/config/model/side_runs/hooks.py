"""Config.toml as types: the hooks of a node."""

from __future__ import annotations

from functools import partial

from pydantic import model_validator

from coordinator.app.config.model import values
from coordinator.app.config.model.field_types import Command, Interval
from coordinator.app.config.model.table import Table, broken_rule, setting
from coordinator.app.config.settings import HookSettings

_hook = partial(setting, of=HookSettings)
_COMMANDS = {"before_start": "beforeStart", "after_stop": "afterStop", "on_change": "onChange"}


class HooksTable(Table):
    """Commands of the node around its program; none of them can delay a heartbeat or a kill.

    What has not ended within timeout is killed, with all that it started.
    """

    before_start: Command | None = _hook(
        "beforeStart",
        "Runs before each start of the program, which waits for it; if it fails, the token is given"
        " up, and another node goes first.",
        shown=["add-address", "10.0.0.7"],
    )
    after_stop: Command | None = _hook(
        "afterStop",
        "Runs after each end of the program, before the token is given up.",
        shown=["drop-address", "10.0.0.7"],
    )
    on_change: Command | None = _hook(
        "onChange",
        "Runs on every node when its role or the holder has changed: COORD_ROLE, COORD_HOLDER,"
        " COORD_HOLDER_ADDRESS, COORD_TERM.",
        shown=["tell-proxy"],
    )
    timeout: Interval = _hook("timeout", "Seconds for each of them.")

    @model_validator(mode="after")
    def _readable(self) -> HooksTable:
        for name, key in _COMMANDS.items():
            command = getattr(self, name)
            try:
                if isinstance(command, str):
                    values.arguments(command)
            except ValueError as error:
                raise broken_rule(key, str(error)) from None
        return self
