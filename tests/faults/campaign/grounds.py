"""The kinds of ground: one server, proxies, machines, a standby, wrong clocks."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from psycopg.conninfo import make_conninfo

from tests.faults.campaign.clock_faults import RATES
from tests.faults.campaign.failover_faults import Twins
from tests.faults.campaign.ground import NAMES, Ground, prepare, start_group, worker
from tests.faults.campaign.hostile_faults import EVIL
from tests.faults.campaign.wrecked_faults import LOG
from tests.support.machines.faketime import Clocks, unfaked
from tests.support.networks import machines as networks
from tests.support.networks.stalling_proxy import stalling_proxy
from tests.support.nodes.logs import Tap
from tests.support.nodes.processes import Bed, bed
from tests.support.servers.postgres import Server

Make = Callable[[Path, random.Random], "object"]
#: Few enough for a fault to use them up: three nodes, their programs, and the campaign itself.
CONNECTIONS = "24"
SCHEMA = "public"


def _ground(
    made: Bed, server: Server, rng: random.Random, launch: Callable[[str], object], **parts: object
) -> Ground:
    return Ground(made, server, "coord", rng, launch, parts)


def starter(
    made: Bed,
    paths: Mapping[str, str],
    *,
    deaf: bool = False,
    env: Mapping[str, str] | None = None,
    programs: Mapping[str, str] | None = None,
) -> Callable[..., object]:
    """Return what starts a node whose connections carry its name, and its program's another."""

    def launch(name: str, **more: int) -> object:
        program = worker(
            made.record,
            SCHEMA,
            make_conninfo((programs or paths)[name], connect_timeout="2"),
            deaf=deaf,
        )
        url = make_conninfo(paths[name], application_name=name)
        environ = {"COORD_DATABASE_URL": url, **(env or {})}
        return made.start(name, command=program, env=environ, **more)

    return launch


@contextmanager
def plain(
    path: Path,
    rng: random.Random,
    *,
    deaf: bool = False,
    env: Mapping[str, str] | None = None,
    settings: Mapping[str, str] | None = None,
) -> Iterator[Ground]:
    """One server, reached directly; `settings` are the server's."""
    with ExitStack() as stack:
        server = Server.create(max_connections=CONNECTIONS, **(settings or {}))
        stack.callback(server.remove)
        made = stack.enter_context(bed(path, server.conninfo(), SCHEMA))
        prepare(made, server, "coord", SCHEMA)
        paths = dict.fromkeys(NAMES, server.conninfo())
        ground = _ground(made, server, rng, starter(made, paths, deaf=deaf, env=env))
        start_group(ground)
        yield ground


@contextmanager
def hostile(path: Path, rng: random.Random) -> Iterator[Ground]:
    """One server whose role, database and configuration others may change; deaf programs."""
    with plain(path, rng, deaf=True) as ground:
        ground.server.query(EVIL)
        yield ground


@contextmanager
def wrecked(path: Path, rng: random.Random) -> Iterator[Ground]:
    """One server that writes down every statement, and deaf programs."""
    with plain(path, rng, deaf=True, settings=LOG) as ground:
        yield ground


@contextmanager
def logged(path: Path, rng: random.Random) -> Iterator[Ground]:
    """One server; the log of each node is a pipe, and programs live to the deadline."""
    with ExitStack() as stack:
        server = Server.create(max_connections=CONNECTIONS)
        stack.callback(server.remove)
        taps: dict[str, object] = {}
        made = stack.enter_context(bed(path, server.conninfo(), SCHEMA))
        prepare(made, server, "coord", SCHEMA)
        start = starter(made, dict.fromkeys(NAMES, server.conninfo()), deaf=True)

        def launch(name: str) -> object:
            tap = Tap(path / f"{name}.log")
            stack.callback(tap.close)
            taps[name] = tap
            return start(name, stderr=tap.write_fd)

        ground = _ground(made, server, rng, launch)
        ground.parts = taps
        start_group(ground)
        yield ground
        made.end()  # nobody writes to the pipes any more


@contextmanager
def proxied(
    path: Path,
    rng: random.Random,
    *,
    env: Mapping[str, str] | None = None,
    programs_direct: bool = False,
) -> Iterator[Ground]:
    """Each node has a proxy of its own before the server; programs live to the deadline.

    programs_direct: they reach the server past the proxies, whatever becomes of their node.
    """
    with ExitStack() as stack:
        server = Server.create()
        stack.callback(server.remove)
        proxies = {name: stack.enter_context(stalling_proxy(server.conninfo())) for name in NAMES}
        made = stack.enter_context(bed(path, server.conninfo(), SCHEMA))
        prepare(made, server, "coord", SCHEMA)
        paths = {name: proxy.conninfo for name, proxy in proxies.items()}
        direct = dict.fromkeys(NAMES, server.conninfo()) if programs_direct else None
        launch = starter(made, paths, deaf=True, env=env, programs=direct)
        ground = _ground(made, server, rng, launch, **proxies)
        start_group(ground)
        yield ground


@contextmanager
def clocked(path: Path, rng: random.Random) -> Iterator[Ground]:
    """Ground behind proxies; each node has clocks of its own, its program has the machine's."""
    with ExitStack() as stack:
        server = Server.create()
        stack.callback(server.remove)
        proxies = {name: stack.enter_context(stalling_proxy(server.conninfo())) for name in NAMES}
        made = stack.enter_context(bed(path, server.conninfo(), SCHEMA))
        prepare(made, server, "coord", SCHEMA)
        clocks = {name: Clocks(rate) for name, rate in RATES.items()}

        def launch(name: str) -> object:
            path_ = proxies[name].conninfo
            program = worker(made.record, SCHEMA, path_, deaf=True)
            url = make_conninfo(path_, application_name=name)
            env = {"COORD_DATABASE_URL": url, **clocks[name].env}
            return made.start(name, command=unfaked(*program), env=env)

        parts = {**proxies, **{f"clocks {name}": own for name, own in clocks.items()}}
        ground = _ground(made, server, rng, launch, **parts)
        start_group(ground)
        yield ground


@contextmanager
def networked(path: Path, rng: random.Random) -> Iterator[Ground]:
    """A database and three nodes, each on a machine of its own behind one router."""
    with ExitStack() as stack:
        net = stack.enter_context(networks.network())
        server = stack.enter_context(networks.database_machine(net))
        for name in NAMES:
            net.add(name)
        networks.new_database(server, "campaign", "root", "password")
        conninfo = networks.conninfo(net, "campaign", "root", "password")
        made = stack.enter_context(bed(path, conninfo, SCHEMA))
        prepare(made, server, "campaign", SCHEMA)
        server.query(HAND_OVER, dbname="campaign")
        start = starter(made, dict.fromkeys(NAMES, conninfo), deaf=True)

        def launch(name: str) -> object:
            with net.inside(name):
                return start(name)

        ground = Ground(made, server, "campaign", rng, launch, {"net": net})
        start_group(ground)
        yield ground


#: The migration was made by the server's owner.
HAND_OVER = "ALTER ROLE root SUPERUSER"


@contextmanager
def replicated(path: Path, rng: random.Random, *, sync: bool) -> Iterator[Ground]:
    """A primary and its standby; the nodes know both, and each takes the other's place in turn."""
    with ExitStack() as stack:
        # Else a promotion takes five seconds when it meets the end of the primary.
        primary = Server.create(wal_retrieve_retry_interval="100ms")
        stack.callback(primary.remove)
        standby = primary.clone_standby(sync=sync)
        stack.callback(standby.remove)
        hosts = f"{primary.sockets},{standby.sockets}"
        ports = f"{primary.port},{standby.port}"
        conninfo = make_conninfo(
            "",
            host=hosts,
            port=ports,
            user="coord",
            dbname="coord",
            target_session_attrs="read-write",
        )
        made = stack.enter_context(bed(path, conninfo, SCHEMA))
        prepare(made, primary, "coord", SCHEMA)
        launch = starter(made, dict.fromkeys(NAMES, conninfo))
        twins = Twins(standby, sync)
        ground = _ground(made, primary, rng, launch, twins=twins)
        # By now others may stand in their places.
        stack.callback(lambda: (ground.server.remove(), twins.standby.remove()))
        start_group(ground)
        yield ground
