"""Config.toml as types: the hooks of a node."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from pydantic import Field, model_validator

from coordinator.app.config.model import values
from coordinator.app.config.model.field_types import Command, Interval, WebhookUrl
from coordinator.app.config.model.table import Table, broken_rule, setting
from coordinator.app.config.settings import HookSettings
from coordinator.web.webhook import target

_hook = partial(setting, of=HookSettings)
#: A delivery that takes longer holds up all that come behind it.
_DELIVERY_MAX_S = 60.0
_COMMANDS = {"before_start": "beforeStart", "after_stop": "afterStop", "on_change": "onChange"}


class HooksTable(Table):
    """Commands of the node around its program, and a webhook; none can delay a heartbeat or a kill.

    A command that has not ended within timeout is killed, with all that it started.
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
    webhook: WebhookUrl | None = _hook(
        "webhook",
        "URL to which the active node posts each event of the group as JSON, at least once and in"
        " order; in a task group its observer does.",
        shown="https://hooks.example.org/coord",
    )
    webhook_token_file: str | None = _hook(
        "webhookTokenFile",
        "File whose only line is sent as the bearer token; read anew for each delivery.",
        shown="/etc/coord/webhook.token",
    )
    webhook_secret_file: str | None = _hook(
        "webhookSecretFile",
        "File whose only line, whsec_ and base64, signs each delivery: the header"
        " webhook-signature.",
        shown="/etc/coord/webhook.secret",
    )
    webhook_timeout: Annotated[Interval, Field(le=_DELIVERY_MAX_S)] = _hook(
        "webhookTimeout", "Seconds for one delivery as a whole, at most 60."
    )

    @model_validator(mode="after")
    def _readable(self) -> HooksTable:
        for name, key in _COMMANDS.items():
            command = getattr(self, name)
            try:
                if isinstance(command, str):
                    values.arguments(command)
            except ValueError as error:
                raise broken_rule(key, str(error)) from None
        self._check_webhook()
        return self

    @property
    def has_commands(self) -> bool:
        """True when there is a command for the one program of the group."""
        return any(getattr(self, name) is not None for name in _COMMANDS)

    def _check_webhook(self) -> None:
        files = {
            "webhookTokenFile": self.webhook_token_file,
            "webhookSecretFile": self.webhook_secret_file,
        }
        for key, path in files.items():
            if path is not None and self.webhook is None:
                raise broken_rule(key, "needs webhook")
            if path is not None and (not path or "\0" in path):
                raise broken_rule(key, "must be the path of a file")
        if self.webhook is None or self.webhook_token_file is None:
            return
        if not target.is_private(self.webhook):
            rule = "needs an https URL (or a loopback address): others could read the token"
            raise broken_rule("webhookTokenFile", rule)
