"""Values that go into the printed files: plain decisions from the settings of a node."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from importlib import resources

from coordinator.app.config.settings import NodeSettings
from coordinator.errors import UsageError

#: Names in a template, such as @GROUP@; no format that is printed has this form itself.
_NAME = re.compile(r"@([A-Z_]+)@")
#: Seconds that a unit needs to end beyond the program's own time.
STOP_ROOM_S = 15
#: A watchdog below that would end nodes of a busy machine; see `watchdog_s`.
WATCHDOG_MIN_S = 60
#: Port of the HTTP endpoints where the configuration names none.
HTTP_PORT = 8008


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server of a proxy: name and address."""

    name: str
    host: str
    port: int


def fill(template: str, values: dict[str, object]) -> str:
    """Return a template with its names replaced.

    Errors: KeyError for a name without a value, which is a bug of the template.
    """
    text = resources.files(__package__).joinpath("templates", template).read_text("utf-8")
    return _NAME.sub(lambda found: str(values[found[1]]), text)


def word(text: str) -> str:
    """Return a name that every one of the formats takes, from that of a group."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "group"


def stop_s(settings: NodeSettings) -> int:
    """Return the seconds after which a service manager may kill a node that ends."""
    hooks_s = 0.0 if settings.hooks is None else settings.hooks.timeout_s
    return math.ceil(settings.stop_timeout_s + hooks_s + STOP_ROOM_S)


def watchdog_s(settings: NodeSettings) -> int:
    """Return the seconds without an acknowledged heartbeat after which a node is restarted.

    The program is dead long before, so that this only replaces a node that hangs altogether.
    """
    return max(WATCHDOG_MIN_S, math.ceil(2 * settings.liveness_s))


def listen_port(settings: NodeSettings) -> int:
    """Return the port of the node's HTTP endpoints."""
    port = (settings.listen or "").rpartition(":")[2]
    return int(port) if port.isdecimal() and int(port) else HTTP_PORT


def server(text: str) -> Server:
    """Parse NAME=HOST:PORT.

    Errors: UsageError.
    """
    name, _, address = text.partition("=")
    host, _, port = address.rpartition(":")
    fits = re.fullmatch(r"[\w.-]+", name) and re.fullmatch(r"[\w.-]+|\[[0-9A-Fa-f:]+\]", host)
    if not fits or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UsageError(f"--server: {text!r} is not NAME=HOST:PORT")
    return Server(name=name, host=host, port=int(port))


def agent_port(settings: NodeSettings) -> int | None:
    """Return the port of the node's agent-check; None where the configuration names none."""
    port = (settings.agent_check or "").rpartition(":")[2]
    return int(port) if port.isdecimal() and int(port) else None


def server_lines(
    servers: tuple[Server, ...], check_port: int, asked_port: int | None = None
) -> str:
    """Return the lines of a HAProxy backend; the check goes to the node beside each server.

    asked_port: of the agent-check of that node, if it has one.
    """
    agent = "" if asked_port is None else f" agent-check agent-port {asked_port} agent-inter 500ms"
    return "\n".join(
        f"    server {each.name} {each.host}:{each.port} check port {check_port}{agent}"
        for each in servers
    )
