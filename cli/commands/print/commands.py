"""`coord print`: units, proxies, alerts and manifests that fit the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.cli.shared import shared

if TYPE_CHECKING:
    from coordinator.app.config.settings import NodeSettings

app = typer.Typer(
    help="Print files for the programs around a node, such as a systemd unit.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
#: Path of the command where a package has installed it.
COMMAND = "/usr/bin/coord"
IMAGE = "coord:latest"

Command = Annotated[
    str, typer.Option("--command", metavar="PATH", help="Path of coord on the machine.")
]
Image = Annotated[str, typer.Option("--image", metavar="NAME", help="Image of the Dockerfile.")]


@app.callback()
def print_() -> None:
    """Print files for the programs around a node, such as a systemd unit."""


@app.command()
def systemd(
    context: typer.Context,
    command: Command = COMMAND,
    user: Annotated[
        str, typer.Option("--user", metavar="NAME", help="User of the node; empty: the manager's.")
    ] = "coord",
) -> None:
    """Print a systemd unit (Type=notify, with a watchdog and an ExecStopPost)."""
    from coordinator.cli.commands.print import values

    settings, config = _settings(context)
    by_user = f"User={user}\nGroup={user}\n" if user else ""
    target = "multi-user.target" if user else "default.target"
    _show(
        "coord.service",
        COMMAND=command,
        CONFIG=config,
        GROUP=settings.group_id,
        USER_LINES=by_user,
        TARGET=target,
        STOP_S=values.stop_s(settings),
        WATCHDOG_S=values.watchdog_s(settings),
    )


@app.command()
def supervisor(context: typer.Context, command: Command = COMMAND) -> None:
    """Print a program section for supervisord."""
    from coordinator.cli.commands.print import values

    settings, config = _settings(context)
    _show(
        "supervisor.conf",
        COMMAND=command,
        CONFIG=config,
        NAME=values.word(settings.group_id),
        STOP_S=values.stop_s(settings),
    )


@app.command()
def haproxy(
    context: typer.Context,
    servers: Annotated[
        list[str] | None,
        typer.Option("--server", metavar="NAME=HOST:PORT", help="One server; repeat for each."),
    ] = None,
    bind: Annotated[
        str, typer.Option("--bind", metavar="ADDRESS", help="Address that clients connect to.")
    ] = "127.0.0.1:9000",
) -> None:
    """Print a HAProxy configuration that sends clients to the program of the active node."""
    from coordinator.cli.commands.print import values

    settings, _ = _settings(context)
    given = tuple(servers or ("node-1=192.0.2.1:9000", "node-2=192.0.2.2:9000"))
    ports = values.listen_port(settings), values.agent_port(settings)
    _show(
        "haproxy.cfg",
        NAME=values.word(settings.group_id),
        BIND=bind,
        SERVERS=values.server_lines(tuple(values.server(each) for each in given), *ports),
    )


@app.command()
def compose(
    context: typer.Context,
    image: Image = IMAGE,
) -> None:
    """Print a compose file with a PostgreSQL and three nodes."""
    from coordinator.cli.commands.print import values

    settings, _ = _settings(context)
    _show(
        "compose.yml",
        IMAGE=image,
        GROUP=settings.group_id,
        STOP_S=values.stop_s(settings),
        PORT=values.listen_port(settings),
    )


@app.command()
def kubernetes(
    context: typer.Context,
    image: Image = IMAGE,
    replicas: Annotated[int, typer.Option("--replicas", min=1, help="Number of nodes.")] = 2,
) -> None:
    """Print a manifest: nodes, each with the program of the image, and a service for the active."""
    from coordinator.cli.commands.print import values

    settings, _ = _settings(context)
    _show(
        "kubernetes.yml",
        IMAGE=image,
        NAME=values.word(settings.group_id),
        GROUP=settings.group_id,
        REPLICAS=replicas,
        STOP_S=values.stop_s(settings),
        PORT=values.listen_port(settings),
    )


@app.command()
def alerts(context: typer.Context) -> None:
    """Print alerting rules for Prometheus."""
    settings, _ = _settings(context)
    silent_s = 2 * settings.liveness_s
    _show("alerts.yml", LEADERLESS_S=f"{silent_s:g}", FOR_S=f"{max(1, round(silent_s))}")


@app.command()
def grafana(context: typer.Context) -> None:
    """Print a dashboard for Grafana."""
    settings, _ = _settings(context)
    _show("grafana.json", LIVENESS_S=f"{settings.liveness_s:g}")


def _settings(context: typer.Context) -> tuple[NodeSettings, str]:
    """Return the settings, and the path of the file for a unit; a wrong file is refused."""
    import os

    from coordinator.app.config.settings import SYSTEM_FILE
    from coordinator.cli.connect import settings_of

    settings = settings_of(shared(context))
    path = settings.config_path
    return settings, SYSTEM_FILE if path is None else os.path.abspath(path)


def _show(template: str, **values: object) -> None:
    from coordinator.cli.commands.print.values import fill

    print(fill(template, values), end="")
