"""A value that libpq cannot use is a wrong configuration (78), and not an absent server (69)."""

from __future__ import annotations

from contextlib import closing

import psycopg
import pytest
from psycopg import pq
from psycopg.conninfo import make_conninfo

from coordinator.errors import ConfigError, DatabaseUnreachableError
from coordinator.store.admin.connection import AdminConnection
from coordinator.store.connection.postgres import PostgresStore
from coordinator.store.driver import connect as driver
from coordinator.store.driver import errors as driver_errors
from coordinator.store.schema import migrate
from tests.conformance.worlds import TIMEOUT_S, facts_of

pytestmark = pytest.mark.real

#: Nothing is ever sent there.
NOBODY = "host=127.0.0.1 port=1 dbname=x"
#: A wrong value for each variable that has rules of its own.
WRONG = {
    "PGPORT": ("abc", "-1", "70000", "1,2,3"),
    "PGHOSTADDR": ("abc",),
    "PGSSLMODE": ("foo",),
    "PGTARGETSESSIONATTRS": ("foo",),
    "PGCHANNELBINDING": ("foo",),
    "PGGSSENCMODE": ("foo",),
    "PGREQUIREAUTH": ("foo",),
    "PGSSLCERTMODE": ("foo",),
    "PGSSLMINPROTOCOLVERSION": ("foo",),
    "PGSSLMAXPROTOCOLVERSION": ("foo",),
    "PGSSLNEGOTIATION": ("foo",),
    "PGLOADBALANCEHOSTS": ("foo",),
    "PGMINPROTOCOLVERSION": ("foo",),
    "PGMAXPROTOCOLVERSION": ("foo",),
    "PGSERVICE": ("foo",),
    "PGSERVICEFILE": ("/nonexistent",),
    "PGSSLROOTCERT": ("system",),
}
#: Any text is good for these, or they are about what only a server can judge.
ANY = {
    *("PGAPPNAME", "PGCLIENTENCODING", "PGCONNECT_TIMEOUT", "PGDATABASE", "PGGSSDELEGATION"),
    *("PGGSSLIB", "PGHOST", "PGKRBSRVNAME", "PGOPTIONS", "PGPASSFILE", "PGPASSWORD", "PGUSER"),
    *("PGREQUIREPEER", "PGSSLCERT", "PGSSLCOMPRESSION", "PGSSLCRL", "PGSSLCRLDIR", "PGSSLKEY"),
    "PGSSLSNI",
}
KEYS = ("keepalives_idle=x", "tcp_user_timeout=x", "keepalives=x", "hostaddr=abc", "sslmode=foo")
SERVER = ("-c statement_timeout=abc", "-c no_such_setting=1", "-c fsync=off", "--no-such-argument")


def refused(conninfo: str) -> list[type[Exception]]:
    """Return what each door of the product makes of a conninfo."""
    doors = (
        lambda: migrate.current(conninfo, "coord"),
        lambda: AdminConnection(conninfo, "coord", "here", 5.0),
        lambda: PostgresStore(conninfo, "coord", facts_of("a"), "here").connect(TIMEOUT_S),
    )
    found = []
    for door in doors:
        with pytest.raises((ConfigError, DatabaseUnreachableError)) as caught:
            door().close()
        assert "\n" not in str(caught.value)
        found.append(caught.value.exit_code)
    return found


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, some in WRONG.items() for v in some])
def test_a_wrong_variable_is_a_wrong_configuration(monkeypatch, name: str, value: str):
    monkeypatch.setenv(name, value)
    conninfo = "dbname=x" if name == "PGPORT" else "host=127.0.0.1 port=1 dbname=x"
    if name == "PGSERVICEFILE":
        monkeypatch.setenv("PGSERVICE", "foo")
    if name == "PGSSLROOTCERT":
        monkeypatch.setenv("PGSSLMODE", "require")

    assert refused(conninfo) == [78, 78, 78]


def test_every_variable_of_libpq_was_thought_of():
    known = {option.envvar.decode() for option in pq.Conninfo.get_defaults() if option.envvar}

    assert known - ANY <= set(WRONG)


@pytest.mark.parametrize("key", KEYS)
def test_a_wrong_key_is_a_wrong_configuration(key: str):
    with pytest.raises(psycopg.Error) as caught:
        driver.connect(f"{NOBODY} {key}")

    assert driver_errors.database_error(caught.value).exit_code == 78


@pytest.mark.parametrize("options", SERVER)
def test_what_a_server_says_of_wrong_options_is_a_wrong_configuration(server, options: str):
    with pytest.raises(psycopg.Error) as caught:
        driver.connect(make_conninfo(server.conninfo(), options=options))

    assert driver_errors.database_error(caught.value).exit_code == 78


def test_a_limit_of_the_environment_that_is_no_number_is_a_wrong_configuration(server, monkeypatch):
    """The caller sets no timeout of its own, which would replace the variable."""
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "x")

    with pytest.raises(psycopg.Error) as caught:
        driver.connect(server.conninfo())
    with closing(driver.connect(server.conninfo(), timeout_s=5.0)) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)

    assert driver_errors.database_error(caught.value).exit_code == 78


def test_nobody_there_is_still_nobody_there():
    assert refused(NOBODY) == [69, 69, 69]
    assert refused("host=no.such.host.invalid port=1 dbname=x") == [69, 69, 69]
