"""`coord ui`: serve the page until Ctrl-C."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.cli.errors import say
from coordinator.cli.shared import Shared, named_group, shared
from coordinator.errors import ConfigError

if TYPE_CHECKING:
    import socket

#: The port follows that of a node's endpoints.
LISTEN = "127.0.0.1:8009"
PORT_MAX = 65535
MISSING = "the page needs starlette and uvicorn, which are not installed: pip install 'coord[web]'"


def ui(
    context: typer.Context,
    listen: Annotated[
        str,
        typer.Option(
            "--listen", metavar="HOST:PORT", help="Address of the page; port 0: any free one."
        ),
    ] = LISTEN,
    open_browser: Annotated[
        bool, typer.Option("--open", help="Show the page in the browser of this machine.")
    ] = False,
    admin_token_file: Annotated[
        Path | None,
        typer.Option(
            "--admin-token-file",
            metavar="FILE",
            help="File with a secret of at least 16 letters; those who know it can hand over,"
            " pause, resume and drain on the page. Without it the page only shows.",
        ),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(
            "--name",
            metavar="NAME",
            help="Name under which browsers reach the page, other than this machine's; repeatable.",
        ),
    ] = None,
) -> None:
    """Serve the page: who is active and why, past terms, gaps, tasks, schedules, operations.

    It reads the database alone, so it shows an outage while every node is dead.
    """
    options = shared(context)
    group = named_group(options, None) if options.group else None
    token = None if admin_token_file is None else read_token(admin_token_file)
    require_extra()
    sockets = opened(listen)
    try:
        _serve(options, group, sockets, token, names_of(name or []), open_browser=open_browser)
    finally:
        for each in sockets:
            each.close()


def require_extra() -> None:
    """Check that the extra is installed.

    Errors: ConfigError with the command that installs it.
    """
    from importlib.util import find_spec

    if find_spec("starlette") is None or find_spec("uvicorn") is None:
        raise ConfigError(MISSING)


def read_token(path: Path) -> str:
    """Return the secret of a file that only its owner can read.

    Errors: ConfigError.
    """
    from coordinator.web.page.guard import TOKEN_LENGTH_MAX, TOKEN_LENGTH_MIN

    try:
        with path.open(encoding="ascii") as file:
            mode = os.fstat(file.fileno()).st_mode
            token = file.read(2 * TOKEN_LENGTH_MAX).strip()
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "not in ASCII"
        raise ConfigError(f"--admin-token-file {path}: {why}") from None
    if mode & 0o077:
        raise ConfigError(
            f"--admin-token-file {path}: others may read or write it: chmod 600 {path}"
        )
    fits = TOKEN_LENGTH_MIN <= len(token) <= TOKEN_LENGTH_MAX
    if not fits or not token.isprintable() or " " in token:
        raise ConfigError(
            f"--admin-token-file {path}: the secret must be one word of {TOKEN_LENGTH_MIN} to"
            f" {TOKEN_LENGTH_MAX} letters: openssl rand -hex 24 > {path}"
        )
    return token


def opened(listen: str) -> list[socket.socket]:
    """Listen on the address.

    Errors: ConfigError.
    """
    from coordinator.web.listening import listening, split_address

    try:
        host, port = split_address(listen)
        if not 0 <= port <= PORT_MAX:
            raise ValueError
    except ValueError:
        raise ConfigError(f"--listen: {listen!r} is not HOST:PORT") from None
    return listening(host, port, setting="--listen")


def names_of(given: list[str]) -> frozenset[str]:
    """Return the names under which browsers may reach this machine."""
    from socket import getfqdn, gethostname

    return frozenset(each.lower().rstrip(".") for each in (gethostname(), getfqdn(), *given))


def _serve(
    options: Shared,
    group: str | None,
    sockets: list[socket.socket],
    token: str | None,
    names: frozenset[str],
    *,
    open_browser: bool,
) -> None:
    from coordinator import __version__
    from coordinator.cli.commands.ui.changing import Changing
    from coordinator.cli.commands.ui.loop import Loop
    from coordinator.web.page.feed import Feed
    from coordinator.web.page.routes import Page, PageSettings
    from coordinator.web.page.serve import Server

    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, _interrupt)
    feed = Feed()
    loop = Loop(options, group, feed)
    settings = PageSettings(names=names, token=token, version=__version__)
    page = Page(feed, settings, Changing(loop.resolved, loop.schema, options.timeout_s).carry)
    server = Server(page.application(), feed, sockets)
    address = url_of(sockets[0])
    try:
        print(address, flush=True)
        _note(options, sockets[0], token is not None)
        if open_browser:
            _open(address)
        loop.run(lambda: server.alive)
    except KeyboardInterrupt:
        pass
    finally:
        # A second Ctrl-C must not interrupt the end, which takes half a second at most.
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, signal.SIG_IGN)
        server.close()
        loop.close()


def url_of(listener: socket.socket) -> str:
    """Return the address that a browser takes; of all interfaces the loopback one."""
    host, port = listener.getsockname()[:2]
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://[{reached}]:{port}/" if ":" in reached else f"http://{reached}:{port}/"


def _note(options: Shared, listener: socket.socket, may_change: bool) -> None:
    if options.quiet:
        return
    import ipaddress

    host = listener.getsockname()[0]
    what = "shows and, with the secret, changes" if may_change else "shows, and changes nothing"
    say(f"the page {what}; Ctrl-C ends it")
    if not ipaddress.ip_address(host.partition("%")[0]).is_loopback:
        more = ", and the secret travels in clear text" if may_change else ""
        say(
            f"warning: whoever reaches {host} can read the page{more}:"
            " put a proxy with TLS and a login in front of it"
        )


def _open(address: str) -> None:
    import webbrowser

    if not webbrowser.open(address):
        say("no browser was found on this machine: open the address in one")


def _interrupt(_signum: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
