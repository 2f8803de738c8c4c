"""Settings that others make for a role, a database or a server, under running nodes.

Every connection but the campaign's own is ended once they are set, and once more when they are
taken back: so nodes and programs have to come back under them, and from them (rule E6).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from psycopg import sql

from tests.faults.campaign.ground import Ground
from tests.faults.campaign.limits import HEARTBEAT_S, LEASE_S
from tests.faults.campaign.process_faults import kill_node

Inject = Callable[[Ground], None]
Settings = Mapping[str, str]

STYLES = {
    "datestyle": "German, DMY",
    "intervalstyle": "sql_standard",
    "timezone": "Asia/Kathmandu",
    "client_encoding": "LATIN1",
    "standard_conforming_strings": "off",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "array_nulls": "off",
}
SEARCH_PATH = {"search_path": "evil, pg_catalog"}
DURABILITY = {"synchronous_commit": "off"}
TRANSACTIONS = {
    "default_transaction_read_only": "on",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
}
#: Tiny, and survived by a program's own statement now and then.
LIMITS = {"statement_timeout": "5ms", "lock_timeout": "1ms"}
IDLE = {
    "idle_session_timeout": f"{HEARTBEAT_S / 2 * 1000:.0f}ms",
    "idle_in_transaction_session_timeout": "50ms",
}
#: Preferred to pg_catalog's wherever a name is looked up by a search_path.
EVIL = """
CREATE SCHEMA evil;
CREATE FUNCTION evil.unnest(text[]) RETURNS SETOF text LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'evil.unnest was called'; END $$;
CREATE FUNCTION evil.hashtextextended(text, integer) RETURNS bigint LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'evil.hashtextextended was called'; END $$;
CREATE FUNCTION evil.set_config(text, text, boolean) RETURNS text LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'evil.set_config was called'; END $$;
CREATE FUNCTION evil.pg_is_in_recovery() RETURNS boolean LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'evil.pg_is_in_recovery was called'; END $$;
CREATE FUNCTION evil.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'evil.clock_timestamp was called'; END $$;
GRANT USAGE ON SCHEMA evil TO public
"""
END_ALL = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""
#: So often a node dies under them as well: others take over, and it is started anew.
KILLED_SHARE = 0.5
WHOSE = ("ROLE coord", "DATABASE coord", "SYSTEM")


def under(settings: Settings) -> Inject:
    """Let the group go on under these settings of a role, a database or the server."""

    def inject(ground: Ground) -> None:
        with _set(ground, ground.rng.choice(WHOSE), settings):
            _reconnect_all(ground)
            if ground.rng.random() < KILLED_SHARE:
                kill_node(ground)
                ground.start_missing()
            ground.pass_time(2 * LEASE_S)
            ground.run_on(HEARTBEAT_S)
        _reconnect_all(ground)

    return inject


@contextmanager
def _set(ground: Ground, whose: str, settings: Settings) -> Iterator[None]:
    for name, value in settings.items():
        _change(ground, f"ALTER {whose} SET {name} = {_written(name, value)}")
    _change(ground, "SELECT pg_reload_conf()")
    try:
        yield
    finally:
        for name in settings:
            _change(ground, f"ALTER {whose} RESET {name}")
        _change(ground, "SELECT pg_reload_conf()")


def _written(name: str, value: str) -> str:
    return value if name == "search_path" else sql.Literal(value).as_string(None)


def _change(ground: Ground, statement: str) -> None:
    assert ground.ask(statement) is not None, statement


def _reconnect_all(ground: Ground) -> None:
    assert ground.ask(END_ALL), "somebody was connected"
