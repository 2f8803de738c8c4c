"""Fixtures that give each test a migrated database of its own.

`server`    one PostgreSQL per xdist worker that the test may use, but not crash or stop
`database`  an empty migrated schema, gone after the test
`unmigrated` the same before the migration
`roles`     the logins of a database on which the script of `coord db roles` was run
COORD_TEST_DATABASE_URL names another server, where the role may create schemas.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

import hypothesis
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.support import afterwards, leaks
from tests.support.servers import scratch
from tests.support.servers.postgres import Server
from tests.support.servers.roles import Roles, made_roles

TEMPLATE = "coord_template"

#: Variables of a terminal, a CI or a person's shell, on which no test may depend.
FOREIGN = re.compile(
    "(COORD|PG|RICH|TYPER|CLICOLOR|TTY_)|(NO_COLOR|FORCE_COLOR|COLORTERM|COLUMNS|LINES|NOTIFY_SOCKET)$"
)
#: Variables that are meant for the tests.
OWN = ("COORD_TEST_", "COORD_SOAK_S", "COORD_UPDATE_GOLDEN", "COORD_PG_BINDIR")

for _name in list(os.environ):
    if FOREIGN.match(_name) and not _name.startswith(OWN):
        del os.environ[_name]
os.environ["TERM"] = "dumb"
# How long an example takes is the machine's business.
hypothesis.settings.register_profile("coord", deadline=None)
hypothesis.settings.load_profile("coord")

#: Files that `make faults` runs, and `make test` does not: minutes of real servers in trouble.
LONG = (
    "faults/test_replication.py",
    "faults/test_database_troubles.py",
    "faults/test_pgbouncer.py",
    "faults/test_patroni.py",
    "faults/test_clocks.py",
    "faults/test_move_group.py",
    "faults/test_tasks_scale.py",
    "faults/test_tasks_soak.py",
    "integration/test_bench_zookeeper.py",
    "model/test_model.py",
)


def pytest_configure() -> None:
    afterwards.watch_over_this_process()
    scratch.of_this_process()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.as_posix().endswith(LONG):
            item.add_marker(pytest.mark.long)
        if isinstance(item, pytest.Function) and hasattr(item.module, "within"):
            item.add_marker(pytest.mark.bounded)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the tables that tests have made: a worker's own print is lost."""
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            if name == "table":
                terminalreporter.write_line(f"\n{value}")


_counter = itertools.count(1)


@pytest.fixture(autouse=True)
def nothing_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the test that leaves a descriptor, a thread, a process or a namespace behind."""
    before = leaks.begin(request.node.nodeid)
    yield
    found = leaks.left(before, request.node.nodeid)
    if found:
        pytest.fail("this test has left behind:\n  " + "\n  ".join(found), pytrace=False)


@dataclass(frozen=True)
class Database:
    """The place of a test's tables. `schema` is on no search_path: product code has to name it."""

    conninfo: str
    schema: str

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        """Connect in autocommit mode with `schema` as search_path, for the test's own SQL."""
        options = f"-c search_path={self.schema}"
        return psycopg.connect(make_conninfo(self.conninfo, options=options), autocommit=True)

    def connect_plain(self) -> psycopg.Connection[tuple[object, ...]]:
        """Connect as a user's own library does."""
        return psycopg.connect(self.conninfo)

    def query(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        """Run one statement on a connection of its own; return its rows, if it has any."""
        with self.connect() as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with leaks.for_later_tests(os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" (")[0]):
        primary = Server.create()
    try:
        yield primary
    finally:
        primary.remove()


@pytest.fixture(scope="session")
def template(server: Server) -> str:
    from coordinator.store.schema import migrate

    server.query(f"CREATE DATABASE {TEMPLATE}")
    migrate.upgrade(server.conninfo(TEMPLATE), "app")
    return TEMPLATE


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    if os.environ.get("COORD_TEST_DATABASE_URL"):
        yield from _schema_elsewhere(migrated=True)
    else:
        yield from _own_database(request.getfixturevalue("server"), _template(request))


@pytest.fixture
def unmigrated(request: pytest.FixtureRequest) -> Iterator[Database]:
    if os.environ.get("COORD_TEST_DATABASE_URL"):
        yield from _schema_elsewhere(migrated=False)
    else:
        yield from _own_database(request.getfixturevalue("server"), "template1")


@pytest.fixture
def roles(database: Database) -> Iterator[Roles]:
    with made_roles(database) as made:
        yield made


def _template(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("template"))


def _own_database(server: Server, template: str) -> Iterator[Database]:
    name = f"test_{next(_counter)}"
    # In memory a copy of the files costs a third less than one through the log.
    strategy = "STRATEGY FILE_COPY" if int(server.binaries.major) >= 15 else ""
    server.query(f"CREATE DATABASE {name} TEMPLATE {template} {strategy}")
    yield Database(server.conninfo(name), "app")
    server.query(f"DROP DATABASE {name} WITH (FORCE)")


def _schema_elsewhere(*, migrated: bool) -> Iterator[Database]:
    from coordinator.store.schema import migrate

    conninfo = os.environ["COORD_TEST_DATABASE_URL"]
    schema = f"coord_test_{os.getpid()}_{next(_counter)}"
    if migrated:
        migrate.upgrade(conninfo, schema)
    yield Database(conninfo, schema)
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
