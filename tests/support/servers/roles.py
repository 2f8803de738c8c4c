"""A database on which the script of `coord db roles` was run, and the logins that tests use."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from coordinator.store.schema.roles import ROLES, roles_for

_counter = itertools.count(1)


@dataclass
class Roles:
    """Roles belong to the whole server, so each test has a prefix of its own."""

    database: Any  #: of the fixture; superuser, to do what no role may
    prefix: str
    _logins: dict[str, str] = field(default_factory=dict)

    def login(self, role: str, group: str | None = None) -> str:
        """Return how a login with that role connects; admitted to `group`, when one is named."""
        base = None if group is None else group.partition("/")[0]
        name = f"{self.prefix}_{role}_of_{base}"
        if name not in self._logins:
            member = sql.Identifier(f"{self.prefix}_{role}")
            create = sql.SQL("CREATE ROLE {} LOGIN IN ROLE {}")
            with self.database.connect() as connection:
                connection.execute(create.format(sql.Identifier(name), member))
                if base is not None:
                    connection.execute("INSERT INTO group_role VALUES (%s, %s)", (name, base))
            self._logins[name] = make_conninfo(self.database.conninfo, user=name)
        return self._logins[name]

    def connect(self, role: str, group: str | None = None) -> psycopg.Connection[Any]:
        """Connect as `login` says, in autocommit, with the schema on the search path."""
        options = f"-c search_path={self.database.schema}"
        return psycopg.connect(
            make_conninfo(self.login(role, group), options=options), autocommit=True
        )

    def run_script(self) -> None:
        """Run what `coord db roles` prints; it may be run again."""
        with self.database.connect() as connection:
            connection.execute("\n".join(roles_for(self.database.schema, self.prefix, "orders")))

    def drop(self) -> None:
        """Remove all roles; the database stays the superuser's."""
        with self.database.connect() as connection:
            for name in (*self._logins, *(f"{self.prefix}_{role}" for role in reversed(ROLES))):
                role = sql.Identifier(name)
                for statement in (
                    "REASSIGN OWNED BY {} TO CURRENT_USER",
                    "DROP OWNED BY {}",
                    "DROP ROLE {}",
                ):
                    connection.execute(sql.SQL(statement).format(role))


@contextmanager
def made_roles(database: Any) -> Iterator[Roles]:
    """Run the script, and remove the roles afterwards."""
    with database.connect() as connection:
        row = connection.execute(
            "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
    if not row or not row[0]:
        pytest.skip("the tests' role is no superuser, and may not create roles")
    made = Roles(database, f"r{os.getpid()}_{next(_counter)}")
    made.run_script()
    try:
        yield made
    finally:
        made.drop()
