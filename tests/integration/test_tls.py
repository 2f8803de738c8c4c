"""sslmode=verify-full against a server with real certificates."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from coordinator.app.config.loader import load
from coordinator.errors import DatabaseUnreachableError
from coordinator.store.connection.postgres import PostgresStore
from coordinator.store.schema import migrate
from tests.conformance.worlds import TIMEOUT_S, Node, facts_of
from tests.support.servers.postgres import Server
from tests.support.servers.tls import HOST, Authority, tls_server

pytestmark = pytest.mark.real

PASSWORD = "s3cret-of-ana"


@dataclass(frozen=True)
class Bench:
    """The server, the authority that vouches for it, and one that nobody asked."""

    server: Server
    authority: Authority
    stranger: Authority

    def environ(self, **changed: str) -> dict[str, str]:
        """Return how a node is told of the server; an empty value leaves a variable out."""
        host = changed.pop("host", HOST)
        address = f"hostaddr=127.0.0.1 port={self.server.tcp_port}"
        said = {
            "COORD_DATABASE_URL": f"host={host} {address} user=ana dbname=coord",
            "COORD_DATABASE_PASSWORD": PASSWORD,
            "COORD_DATABASE_SSLMODE": "verify-full",
            "COORD_DATABASE_SSLROOTCERT": str(self.authority.root),
        }
        return {key: value for key, value in (said | changed).items() if value}

    def store(self, **changed: str) -> PostgresStore:
        """Return a node's store, as `coord run` would make it."""
        settings = load(None, flags={}, environ=self.environ(**changed))
        database = settings.database
        return PostgresStore(database.conninfo, database.schema, facts_of("a"), database.label)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    directory = tmp_path_factory.mktemp("tls")
    with tls_server(directory) as (server, authority):
        server.query(f"CREATE ROLE ana LOGIN SUPERUSER PASSWORD '{PASSWORD}'")
        server.query("CREATE ROLE by_cert LOGIN SUPERUSER")
        migrate.upgrade(server.conninfo(), "coord")
        yield Bench(server, authority, Authority.create(directory / "stranger"))


@pytest.fixture(autouse=True)
def _directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refusal(store: PostgresStore) -> str:
    with pytest.raises(DatabaseUnreachableError) as caught:
        store.connect(TIMEOUT_S)
    assert "\n" not in str(caught.value)
    assert PASSWORD not in str(caught.value)
    return str(caught.value)


def test_a_node_works_over_a_verified_connection(bench: Bench):
    node = Node(facts_of("a"), bench.store().connect(TIMEOUT_S))
    try:
        assert node.join().done
        assert node.beat().done
        ssl = (
            "SELECT version FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename='ana'"
        )
        assert bench.server.query(ssl)[0][0].startswith("TLSv1.")
        assert node.leave().done
    finally:
        node.connection.close()


def test_a_certificate_of_another_authority_is_refused(bench: Bench):
    store = bench.store(COORD_DATABASE_SSLROOTCERT=str(bench.stranger.root))

    assert "certificate verify failed" in refusal(store)


def test_a_certificate_for_another_host_is_refused(bench: Bench):
    said = refusal(bench.store(host="elsewhere.example"))

    assert f'server certificate for "{HOST}"' in said
    assert 'does not match host name "elsewhere.example"' in said


def test_a_weaker_mode_would_have_taken_that_host(bench: Bench):
    """The warning at the start has a reason."""
    store = bench.store(host="elsewhere.example", COORD_DATABASE_SSLMODE="verify-ca")

    store.connect(TIMEOUT_S).close()


def test_a_missing_file_of_roots_is_refused_and_named(bench: Bench):
    said = refusal(bench.store(COORD_DATABASE_SSLROOTCERT="/nowhere/ca.crt"))

    assert "/nowhere/ca.crt" in said


def test_a_server_without_tls_is_refused(bench: Bench):
    plain = Server.create(tcp=True)
    try:
        plain.query(f"CREATE ROLE ana LOGIN PASSWORD '{PASSWORD}'")
        url = f"host={HOST} hostaddr=127.0.0.1 port={plain.tcp_port} user=ana dbname=coord"

        assert "does not support SSL" in refusal(bench.store(COORD_DATABASE_URL=url))
    finally:
        plain.remove()


def test_a_certificate_of_the_node_s_own_takes_the_place_of_a_password(bench: Bench):
    certificate, key = bench.authority.issue("by_cert")
    address = f"hostaddr=127.0.0.1 port={bench.server.tcp_port}"
    store = bench.store(
        COORD_DATABASE_URL=f"host={HOST} {address} user=by_cert dbname=coord",
        COORD_DATABASE_PASSWORD="",
        COORD_DATABASE_SSLCERT=str(certificate),
        COORD_DATABASE_SSLKEY=str(key),
    )

    store.connect(TIMEOUT_S).close()


@pytest.mark.parametrize(
    ("changed", "code", "said"),
    [
        ({}, 0, ""),
        ({"host": "elsewhere.example"}, 69, "does not match host name"),
    ],
)
def test_a_command_says_what_is_wrong_in_one_line(bench: Bench, changed, code, said):
    kept = {key: it for key, it in os.environ.items() if not key.startswith(("COORD_", "PG"))}
    answer = subprocess.run(
        [sys.executable, "-m", "coordinator.cli", "status"],
        env=kept | bench.environ(**changed),
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert answer.returncode == code
    assert said in answer.stderr
    assert answer.stderr.count("\n") == min(code, 1)
    assert PASSWORD not in answer.stdout + answer.stderr
