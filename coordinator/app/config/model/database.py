"""Config.toml as types: the database."""

from __future__ import annotations

from functools import partial
from typing import Literal

from pydantic import SecretStr, model_validator

from coordinator.app.config.model.field_types import (
    Embedded,
    Hosts,
    Interval,
    Ports,
    SchemaName,
    Url,
)
from coordinator.app.config.model.table import Table, broken_rule, setting
from coordinator.app.config.settings import DatabaseSettings

_database = partial(setting, of=DatabaseSettings)


class DatabaseTable(Table):
    """The PostgreSQL that the nodes share.

    As long as nothing names one (this table, a COORD_DATABASE_* or PGHOST, PGSERVICE, PGDATABASE),
    an embedded server is used, which only this machine sees.
    """

    host: Hosts | None = setting(
        "host",
        "Host, socket directory, or several hosts with commas; of several the writable one is"
        " used.",
        by="COORD_DATABASE_HOST",
        shown="localhost",
    )
    port: Ports | None = setting(
        "port", 'Port, or one for each host: "5432,5433".', by="COORD_DATABASE_PORT", shown=5432
    )
    user: str | None = setting(
        "user",
        "Role to connect as. Default: the user of the operating system.",
        by="COORD_DATABASE_USER",
        shown="root",
    )
    password: SecretStr | None = setting(
        "password",
        "Better than a password here: ~/.pgpass, passwordFile, COORD_DATABASE_PASSWORD. Every"
        " reader of this file can read the password.",
        by="COORD_DATABASE_PASSWORD",
        shown="password",
    )
    database: str | None = setting(
        "database",
        "Name of the database. Default: the same as the user.",
        by="COORD_DATABASE_DATABASE",
        shown="database",
    )
    sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] | None = (
        setting(
            "sslmode",
            'TLS: "disable", "allow", "prefer", "require", "verify-ca" or "verify-full".',
            by="COORD_DATABASE_SSLMODE",
            shown="prefer",
        )
    )
    sslrootcert: str | None = setting(
        "sslrootcert",
        "File with the certificates to trust. Default: libpq's file.",
        by="COORD_DATABASE_SSLROOTCERT",
        shown="/etc/ssl/certs/ca-certificates.crt",
    )
    sslcert: str | None = setting(
        "sslcert",
        "File with this node's own certificate. Default: libpq's file.",
        by="COORD_DATABASE_SSLCERT",
        shown="/etc/coord/node.crt",
    )
    sslkey: str | None = setting(
        "sslkey",
        "File with this node's private key. Default: libpq's file.",
        by="COORD_DATABASE_SSLKEY",
        shown="/etc/coord/node.key",
    )
    schema_name: SchemaName = _database(
        "schema", "Schema that holds coord's tables.", by="COORD_DATABASE_SCHEMA"
    )
    auto_migrate: bool = _database(
        "autoMigrate",
        "Create and update the tables at start; false: run `coord db upgrade` for that.",
        by="COORD_AUTO_MIGRATE",
    )
    connect_timeout: Interval = _database(
        "connectTimeout",
        "Time limit for a connection, in seconds; less than livenessCheckInterval.",
        by="COORD_DATABASE_CONNECT_TIMEOUT --timeout",
        everywhere=True,
    )
    url: Url | None = setting(
        "url",
        "A URL, or libpq's key=value text, which names the database as a whole.",
        by="COORD_DATABASE_URL --database-url",
        everywhere=True,
        shown="postgresql://root@db1,db2/database?sslmode=verify-full",
        aside=True,
        lead="Instead of host, port, user and database, one of these two lines:",
    )
    service: str | None = setting(
        "service",
        "An entry of libpq's service file.",
        by="COORD_DATABASE_SERVICE",
        shown="coord",
        aside=True,
    )
    password_file: str | None = setting(
        "passwordFile",
        "File whose only line is the password.",
        by="COORD_DATABASE_PASSWORD_FILE",
        shown="/run/credentials/coord/password",
        aside=True,
        lead="Instead of password, a file whose only line is the password:",
    )
    embedded: Embedded | None = _database(
        "embedded",
        "true or a directory: the embedded server; false: never use it.",
        by="COORD_DATABASE_EMBEDDED",
        shown=False,
        aside=True,
        lead="Without all of those:",
    )

    @model_validator(mode="after")
    def _one_source(self) -> DatabaseTable:
        if self.password is not None and self.password_file is not None:
            raise broken_rule("passwordFile", "cannot be combined with password")
        return self
