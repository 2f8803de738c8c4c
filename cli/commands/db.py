"""`coord db`: the schema of the database, and the embedded server."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.cli.errors import say
from coordinator.cli.shared import Shared, shared
from coordinator.errors import CommandNotFoundError, ConditionFalseError

if TYPE_CHECKING:
    from pathlib import Path

    from coordinator.app.config.database_choice import Resolved

#: A warning for the superuser who runs the script while nodes are running.
LOCKED_OUT = (
    "the script revokes the rights of every other role at once: a role that nodes use now is"
    " locked out, unless it owns the tables or is a superuser; create each group's login first, as"
    " the end of the script shows"
)

app = typer.Typer(
    help="Set up the database; start and stop the embedded one.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def upgrade(context: typer.Context) -> None:
    """Upgrade the schema to this version; start the embedded server if it is the database."""
    from coordinator.app.config.database_choice import resolve
    from coordinator.cli.connect import print_note, settings_of
    from coordinator.cli.render.emit import print_done
    from coordinator.store.schema import migrate

    options = shared(context)
    settings = settings_of(options)
    resolved, schema = resolve(settings.database), settings.database.schema
    print_note(options, resolved)
    # A migration by another process is waited for, so this command has no time-out of its own.
    before = migrate.current(resolved.conninfo, schema)
    migrate.upgrade(resolved.conninfo, schema)
    missing = migrate.offer_aliases(resolved.conninfo, schema)
    now = migrate.SCHEMA_HEAD
    change = "is at" if before == now else "upgraded to"
    sentence = f"{resolved.label}: schema {schema} {change} {now}"
    print_done(options, sentence, schema=schema, revision=now, changed=before != now)
    if not options.quiet:
        for each in missing:
            say(each)


@app.command()
def current(context: typer.Context) -> None:
    """Print the revision of the schema; exit 3 if there is none."""
    from coordinator.cli.connect import within
    from coordinator.cli.render import documents
    from coordinator.cli.render.emit import emit
    from coordinator.store.schema import migrate

    options = shared(context)
    resolved, schema = _database(options)
    with within(options.timeout_s, resolved.label):
        revision = migrate.current(resolved.conninfo, schema)
    fields = {"schema": schema, "revision": revision, "head": migrate.SCHEMA_HEAD}
    emit(
        options,
        table=lambda: print(revision) if revision is not None else None,
        rows=lambda: documents.as_rows(fields),
        document={"apiVersion": documents.API_VERSION, "kind": "Schema", **fields},
    )
    if revision is None:
        raise ConditionFalseError(f"{resolved.label}: schema {schema!r} has no tables of coord")


@app.command()
def check(context: typer.Context) -> None:
    """Check that the schema is the one of this version; exit 78 if it is not."""
    from coordinator.cli.connect import within
    from coordinator.cli.render.emit import print_done
    from coordinator.store.schema import migrate

    options = shared(context)
    resolved, schema = _database(options)
    with within(options.timeout_s, resolved.label):
        migrate.check(resolved.conninfo, schema)
    head = migrate.SCHEMA_HEAD
    sentence = f"{resolved.label}: schema {schema} is at {head}: ok"
    print_done(options, sentence, schema=schema, revision=head)


@app.command()
def prune(
    context: typer.Context,
    group: Annotated[
        str | None, typer.Argument(metavar="[GROUP]", help="Default: all groups.")
    ] = None,
    events: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Keep events, decisions and deleted tasks; default 30d."),
    ] = None,
    history: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Keep terms that have ended; default 400d."),
    ] = None,
) -> None:
    """Delete what is too old, in small steps; nodes do the same once an hour by the defaults.

    100,000 events and 10,000 terms are kept at most; the last 100 terms of a token in any case.
    """
    from dataclasses import replace

    from coordinator.cli.connect import open_cleaner
    from coordinator.cli.render.emit import print_done
    from coordinator.cli.shared import named_group
    from coordinator.store.admin.cleaning.retention import Limits

    options = shared(context)
    limits = Limits()
    if events is not None:
        limits = replace(limits, event_s=_time(events, "--events"))
    if history is not None:
        limits = replace(limits, term_s=_time(history, "--history"))
    with open_cleaner(options, bounded=False) as cleaner:
        for name, gone in cleaner.prune(named_group(options, group) if group else None, limits):
            print_done(options, f"{name}: {gone} rows deleted", groupId=name, deleted=gone)


def _time(text: str, option: str) -> float:
    from coordinator.cli.render.units import seconds_of

    try:
        return seconds_of(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


@app.command()
def sql(context: typer.Context) -> None:
    """Print the DDL of the schema, for DBAs who apply it themselves."""
    from coordinator.store.schema import migrate

    print(migrate.upgrade_sql(_schema(shared(context))), end="")


@app.command()
def grants(
    context: typer.Context,
    role: Annotated[
        str, typer.Argument(metavar="[ROLE]", help="Role that the nodes connect as; default coord.")
    ] = "coord",
    read_only: Annotated[
        bool, typer.Option("--read-only", help="For a role that only reads.")
    ] = False,
) -> None:
    """Print the GRANTs that a role needs when another role owns the tables."""
    from coordinator.store.schema.grants import grants_for

    try:
        role.encode()
    except UnicodeEncodeError:
        raise typer.BadParameter("must be UTF-8 text", param_hint="ROLE") from None
    print("\n".join(grants_for(_schema(shared(context)), role, read_only=read_only)))


@app.command()
def roles(
    context: typer.Context,
    schema: Annotated[
        str | None,
        typer.Option("--schema", metavar="NAME", help="Default: the configured schema."),
    ] = None,
    prefix: Annotated[
        str, typer.Option("--prefix", metavar="NAME", help="Prefix of the roles' names.")
    ] = "coord",
) -> None:
    """Print a script that creates roles with least privileges, for a superuser to run."""
    from coordinator.cli.connect import settings_of
    from coordinator.store.schema.roles import PREFIX, roles_for

    if not PREFIX.fullmatch(prefix):
        raise typer.BadParameter(
            "must be 1 to 31 characters of a-z, 0-9 and _, not a digit first",
            param_hint="--prefix",
        )
    settings = settings_of(shared(context), flags={"databaseConfig.schema": schema})
    say(LOCKED_OUT)
    print("\n".join(roles_for(settings.database.schema, prefix, settings.group_id)))


@app.command()
def url(
    context: typer.Context,
    show_password: Annotated[
        bool, typer.Option("--show-password", help="Print the password too.")
    ] = False,
) -> None:
    """Print the connection string of the database."""
    resolved, _ = _database(shared(context))
    keys, password = _without_password(resolved)
    if password is not None:
        keys["password"] = password if show_password else "********"
    from psycopg.conninfo import make_conninfo

    print(make_conninfo("", **keys))


@app.command(context_settings={"allow_interspersed_args": False})
def psql(
    context: typer.Context,
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[--] [ARGUMENT]...", help="Arguments of psql.")
    ] = None,
) -> None:
    """Run psql with coord's schema first in the search path; its own options stand after --."""
    from psycopg.conninfo import make_conninfo

    options = shared(context)
    resolved, schema = _database(options)
    program = _psql()
    keys, password = _without_password(resolved)
    environment = dict(os.environ)
    if password is not None:
        # Not in the arguments, which every user of the machine can read.
        environment["PGPASSWORD"] = password
    given = " ".join(part for part in (keys.get("options"), _search_path(schema)) if part)
    keys["options"] = given
    words = [program, make_conninfo("", **keys), *(arguments or ())]
    os.execve(program, words, environment)  # noqa: S606 - no shell is wanted


@app.command()
def up(context: typer.Context) -> None:
    """Start the embedded server, unless it is running."""
    from coordinator.store.embedded import server as embedded

    options = shared(context)
    running = embedded.start(_root(options))
    if not options.quiet:
        print(f"PostgreSQL {running.version} runs in {running.path} (pid {running.pid})")


@app.command()
def down(context: typer.Context) -> None:
    """Stop the embedded server; nodes that use it lose their database."""
    from coordinator.store.embedded import server as embedded

    options = shared(context)
    stopped = embedded.stop(_root(options))
    if not options.quiet:
        print("stopped" if stopped else "was not running")


@app.command()
def path(context: typer.Context) -> None:
    """Print the directory of the embedded server; note on stderr whether it is running."""
    from coordinator.store.embedded import server as embedded

    options = shared(context)
    root = _root(options)
    running = embedded.status(root)
    print(running.path if running else root or embedded.default_root())
    if not options.quiet:
        say(f"running with pid {running.pid}" if running else "not running")


def _database(options: Shared) -> tuple[Resolved, str]:
    from coordinator.cli.connect import database_of, database_settings_of

    settings = database_settings_of(options)
    return database_of(options, settings), settings.database.schema


def _schema(options: Shared) -> str:
    from coordinator.cli.connect import settings_of

    return settings_of(options).database.schema


def _root(options: Shared) -> Path | None:
    """Return the embedded server's directory if the configuration names one."""
    from pathlib import Path

    from coordinator.cli.connect import settings_of

    embedded = settings_of(options).database.embedded
    return Path(embedded) if isinstance(embedded, str) else None


def _without_password(resolved: Resolved) -> tuple[dict[str, str], str | None]:
    """Return the keys of a conninfo without the password, and the password."""
    from coordinator.store.driver.errors import parse
    from coordinator.store.driver.password_file import with_password

    keys = with_password({key: str(value) for key, value in parse(resolved.conninfo).items()})
    return keys, keys.pop("password", None)


def _search_path(schema: str) -> str:
    return "" if schema == "public" else f"-csearch_path={schema},public"


def _psql() -> str:
    """Find psql on the PATH, else beside the embedded server's programs."""
    found = shutil.which("psql")
    if found:
        return found
    from coordinator.store.embedded.binaries import find_binaries
    from coordinator.store.embedded.home import base

    beside = find_binaries(copy_to=base()).bindir / "psql"
    if not beside.exists():
        raise CommandNotFoundError("psql: not found; install PostgreSQL's client programs")
    return str(beside)
