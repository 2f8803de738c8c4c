"""`--pass-database`: the program gets a URL that means what the node's own conninfo means."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from coordinator.app.config.model.database_url import url_of
from coordinator.app.config.settings import DatabaseSettings, NodeSettings, ProgramSettings
from coordinator.app.node.program_orders import orders

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("conninfo", "url"),
    [
        ("", "postgresql:///"),
        ("host=db user=ana dbname=app", "postgresql://ana@db/app"),
        ("host=db port=5433 user=ana password='p@ss w/rd:%'",
         "postgresql://ana:p%40ss%20w%2Frd%3A%25@db:5433/"),
        ("host=a,b port=1,2 dbname=x sslmode=verify-full sslrootcert=/etc/ca.pem",
         "postgresql://a:1,b:2/x?sslmode=verify-full&sslrootcert=/etc/ca.pem"),
        ("host=a,b port=5432 target_session_attrs=read-write",
         "postgresql://a:5432,b:5432/?target_session_attrs=read-write"),
        ("host=::1 port=5432 dbname=x", "postgresql://[::1]:5432/x"),
        ("host='/run/my pg' port=5432 user=coord dbname=coord",
         "postgresql://coord@/coord?host=/run/my%20pg&port=5432"),
        ("service=coord", "postgresql:///?service=coord"),
    ],
)  # fmt: skip
def test_a_conninfo_as_a_url(conninfo: str, url: str):
    assert url_of(conninfo) == url


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "user": TEXTS,
            "password": TEXTS,
            "dbname": TEXTS,
            "application_name": TEXTS,
            "host": st.sampled_from(["db", "db.example.org", "::1", "10.0.0.1", "/run/pg"]),
            "port": st.sampled_from(["5432", "6432"]),
        },
    )
)
def test_libpq_reads_the_url_as_the_conninfo_and_others_can_read_it(keys: dict[str, str]):
    url = url_of(make_conninfo("", **keys))

    found = conninfo_to_dict(url)
    if "user" not in keys:
        found.pop("password", None)
        keys.pop("password", None)
    assert found == keys
    split = urlsplit(url)
    assert split.scheme == "postgresql"
    assert split.port == (
        int(keys["port"]) if "port" in keys and "/" not in keys.get("host", "") else None
    )


def test_a_program_that_may_know_the_database_gets_the_url():
    settings = NodeSettings(
        task_id="n",
        program=ProgramSettings(argv=("true",)),
        pass_database=True,
        database=DatabaseSettings(conninfo="host=db user=ana password=x"),
    )

    assert orders(settings, 9, 7, "s").env["COORD_DATABASE_URL"] == "postgresql://ana:x@db/"
