"""Every command in three situations, as data: what is typed, and with which exit code it ends."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.e2e.rows import UUIDS
from tests.support.servers.catalogue import CLUSTER

#: Environment of a program of orders.
PROGRAM = {
    "COORD_GROUP": "orders",
    "COORD_NODE": "node-2",
    "COORD_TERM": "8",
    "COORD_SESSION": UUIDS[2],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One command.

    fine:    arguments that work, and `code`, the exit code.
    refused: arguments that are refused, and `refusal`, the exit code.
    away:    arguments for a database that is away; None: those of `fine`.
    local:   why a database that is away makes no difference; "" where it does (69).
    gone:    exit code then; another than 69 is that of the program behind the command.
    forms:   the formats besides the table that the answer has.
    before:  commands that come first, as a program of orders.
    also:    other arguments that work, in each format.
    between: what makes the command possible again, for its other formats.
    again:   SQL of the same purpose.
    env:     of the program that calls.
    machine: the answer tells of this machine: numbers and levels of isolation vary.
    derived: the answer changes with each table or setting, and other tests compare all of it.
    process: the command replaces or forks its process, and so gets one of its own.
    """

    fine: str = ""
    code: int = 0
    refused: str
    refusal: int
    away: str | None = None
    local: str = ""
    gone: int = 69
    forms: tuple[str, ...] = ("json", "jsonl", "tsv")
    before: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    between: tuple[str, ...] = ()
    again: str = "SELECT 1"
    env: dict[str, str] = field(default_factory=dict)
    process: bool = False
    machine: bool = False
    derived: bool = False


#: Commands that do and say one sentence; the sentence is all there is.
SENTENCE: tuple[str, ...] = ()
NO_DATABASE = "asks no database"
CREATED = f"sql -c 'CREATE TASK nightly TYPE rebuild LOCATION CLUSTER {CLUSTER}'"
PUT = "checkpoint put seen"
OLD = "INSERT INTO group_record (group_id) VALUES ('old')"
NODE_4 = """
INSERT INTO health_check (
    group_id, task_id, last_heartbeat, liveness_ms, heartbeat_ms, session, ended_at
) VALUES ('orders', 'node-4', now() - interval '3 h', 6000, 1000, gen_random_uuid(), now())
"""
HOLDER = f"""
WITH lives AS (
    UPDATE health_check SET ended_at = NULL, end_reason = NULL
    WHERE group_id = 'orders' AND task_id = 'node-2'
)
UPDATE token_holder SET session = '{UUIDS[2]}', released_at = NULL WHERE group_id = 'orders'
"""

PRINTED = Case(derived=True, refused="nonsense", refusal=2, local=NO_DATABASE, forms=SENTENCE)

CASES: dict[str, Case] = {
    # A node, and what is like one.
    "run": Case(
        fine="-g new -- sh -c 'echo $COORD_NODE runs'",
        refused="-n -w 3 -- true",
        refusal=2,
        env={"COORD_TIMEOUT": "0.5"},
        forms=SENTENCE,
        process=True,
    ),
    "once": Case(
        fine="-g job --slot 1000d --late 1000d --early 0 --spread 0 -- echo it runs",
        refused="--slot '61 * * * *' -- true",
        refusal=2,
        forms=SENTENCE,
        process=True,
    ),
    "token hold": Case(
        fine="mine -- echo it is held",
        refused="-n -w 3 mine -- true",
        refusal=2,
        env={"COORD_TIMEOUT": "0.5"},
        forms=SENTENCE,
        process=True,
    ),
    "demo": Case(
        fine="--help",
        refused="--nodes 1",
        refusal=2,
        local="it has a server of its own; tests/e2e/test_walkthrough.py runs it",
        forms=SENTENCE,
    ),
    "when-active": Case(
        derived=True,
        fine="--help",
        refused="-g nowhere -- true",
        refusal=3,
        local="it asks the node here; tests/e2e/test_when_active.py runs it",
        forms=SENTENCE,
    ),
    "ui": Case(
        derived=True,
        fine="--help",
        refused="--admin-token-file nowhere",
        refusal=78,
        local="it shows the outage; tests/browser has it in a browser",
        forms=SENTENCE,
    ),
    "tick": Case(
        env={"COORD_TERM": "8"},
        refused="nonsense",
        refusal=2,
        local=NO_DATABASE,
        forms=SENTENCE,
    ),
    "gate": Case(env=PROGRAM, refused="nonsense", refusal=2, local=NO_DATABASE),
    # Looking.
    "status": Case(also=("orders", "night"), refused="nope", refusal=4),
    "leader": Case(fine="orders", refused="reports", refusal=3),
    "history": Case(fine="orders", also=("",), refused="nope", refusal=4),
    "explain": Case(fine="orders", refused="nope", refusal=4),
    "events": Case(fine="orders", refused="nope", refusal=4),
    "jobs": Case(refused="nope", refusal=4),
    "check": Case(fine="orders", refused="reports", refusal=3),
    "wait": Case(
        fine="orders --for active",
        refused="orders --for never",
        refusal=2,
        away="orders --for active --timeout 0.2",
    ),
    "nodes": Case(fine="night", refused="nope", refusal=4),
    "doctor": Case(fine="-g orders", refused="-g 'a b'", refusal=2, forms=SENTENCE, machine=True),
    # Planned changes.
    "switchover": Case(
        fine="shop --to b --in 5m --no-wait --yes",
        refused="shop --to a --yes",
        refusal=3,
        between=("switchover shop --cancel",),
    ),
    "resign": Case(
        fine="shop --node a --no-wait --yes",
        refused="shop --node b --yes",
        refusal=3,
        between=("switchover shop --cancel",),
    ),
    "pause": Case(
        fine="shop --takeovers --for 1h --no-wait --yes --reason night",
        refused="nope --work --yes",
        refusal=4,
        between=("resume shop",),
    ),
    "resume": Case(
        fine="shop",
        refused="shop",
        refusal=3,
        before=("pause shop --takeovers --no-wait --yes",),
        between=("pause shop --takeovers --no-wait --yes",),
    ),
    "drain": Case(
        fine="b -g shop --no-wait --yes",
        refused="nobody -g shop --yes",
        refusal=4,
        between=("undrain b -g shop",),
    ),
    "undrain": Case(
        fine="b -g shop",
        refused="b -g shop",
        refusal=3,
        before=("drain b -g shop --no-wait --yes",),
        between=("drain b -g shop --no-wait --yes",),
    ),
    "node set": Case(
        fine="b -g shop priority=3",
        refused="b -g shop priority=high",
        refusal=2,
        between=("node set b -g shop priority=default",),
    ),
    "node ended": Case(
        refused="nonsense",
        refusal=2,
        local="outside a unit nothing happens; a unit's end is in tests of systemd",
        forms=SENTENCE,
    ),
    # Files for other programs.
    **{
        f"print {kind}": PRINTED
        for kind in (
            *("alerts", "compose", "grafana", "haproxy", "kubernetes", "supervisor"),
            "systemd",
        )
    },
    # Tasks, their nodes, their observer.
    "task add": Case(
        fine="sync -g night --replace -- true",
        refused="sync -g orders -- true",
        refusal=2,
        between=("task delete sync -g night --yes",),
    ),
    "task list": Case(fine="-g night", refused="-g nope", refusal=4),
    "task show": Case(fine="copy -g night", refused="nope -g night", refusal=4),
    "task enable": Case(fine="copy -g night", refused="nope -g night", refusal=4),
    "task disable": Case(
        fine="copy -g night",
        refused="nope -g night",
        refusal=4,
        between=("task enable copy -g night",),
    ),
    "task run": Case(
        fine="archive -g night --reason retry",
        refused="copy -g night",
        refusal=3,
        again="UPDATE schedule SET reserved_until = now() WHERE name = '_hand'",
    ),
    "task delete": Case(
        fine="extra -g night --yes",
        refused="nope -g night --yes",
        refusal=4,
        before=("task add extra -g night -- true",),
        between=("task add extra -g night -- true",),
    ),
    "task move": Case(
        fine="copy -g night --to node-1", refused="nope -g night --to node-1", refusal=4
    ),
    "task cursor": Case(fine="copy -g night", refused="nope -g night", refusal=4),
    "evict": Case(
        fine="node-4 -g orders --yes",
        refused="node-1 -g orders --yes",
        refusal=3,
        again=NODE_4,
    ),
    "observer status": Case(fine="-g night", refused="-g nope", refusal=4),
    "observer decisions": Case(fine="-g night", refused="-g nope", refusal=4),
    "observer policy": Case(fine="-g night", refused="-g night nonsense", refusal=2),
    "observer suspend": Case(fine="-g night", refused="-g nope", refusal=4),
    "observer resume": Case(fine="-g night", refused="-g nope", refusal=4),
    # A holder leaves these to its successor.
    "state put": Case(
        fine="seen",
        env=PROGRAM,
        refused="nowhere/at/all",
        refusal=2,
        forms=SENTENCE,
    ),
    "state get": Case(
        fine="orders", refused="reports", refusal=3, before=("state put seen",), forms=SENTENCE
    ),
    "state show": Case(fine="orders", refused="reports", refusal=3, before=("state put seen",)),
    "state history": Case(fine="orders", refused="nope", refusal=4, before=("state put seen",)),
    "checkpoint put": Case(
        fine="seen", env=PROGRAM, refused="nowhere/at/all", refusal=2, forms=SENTENCE
    ),
    "checkpoint get": Case(
        fine="--of orders", refused="--of reports", refusal=3, before=(PUT,), forms=SENTENCE
    ),
    "checkpoint list": Case(fine="--of orders", refused="--of nope", refusal=4, before=(PUT,)),
    "checkpoint verify": Case(
        fine="--of orders", refused="--of reports", refusal=3, before=(PUT,), forms=SENTENCE
    ),
    "checkpoint rescan": Case(
        fine="-g orders -c disks.toml",
        refused="-g orders",
        refusal=2,
        forms=SENTENCE,
    ),
    # Operations.
    "sql": Case(
        fine="-c 'SELECT 1 AS one'",
        refused="-c 'CREATE TABLE x'",
        refusal=2,
    ),
    "operation list": Case(refused="nonsense", refusal=2, before=(CREATED,)),
    "operation show": Case(fine="nightly", refused="nope", refusal=4, before=(CREATED,)),
    "operation tree": Case(fine="nightly", refused="nope", refusal=4, before=(CREATED,)),
    "operation wait": Case(
        fine="nightly",
        code=3,
        refused="nope",
        refusal=4,
        before=(CREATED, "operation cancel nightly"),
    ),
    "operation cancel": Case(
        fine="nightly", refused="nope", refusal=4, before=(CREATED,), between=(CREATED,)
    ),
    # Cleaning.
    "token list": Case(refused="nope", refusal=4),
    "token release": Case(
        fine="orders --force --yes --fence true", refused="orders", refusal=2, again=HOLDER
    ),
    "group show": Case(fine="shop", refused="nope", refusal=4),
    "group set": Case(
        fine="shop livenessCheckInterval=90 --reason 'fewer takeovers' --no-wait --yes",
        refused="shop livenessCheckInterval=6 --yes",
        refusal=3,
        between=("group set shop --cancel",),
    ),
    "group delete": Case(fine="old --yes", refused="orders --yes", refusal=3, again=OLD),
    "db prune": Case(fine="night", refused="nope", refusal=4),
    # The database.
    "db upgrade": Case(refused="nonsense", refusal=2),
    "db current": Case(refused="nonsense", refusal=2),
    "db check": Case(refused="nonsense", refusal=2),
    "db sql": Case(derived=True, refused="nonsense", refusal=2, local=NO_DATABASE, forms=SENTENCE),
    "db grants": Case(derived=True, refused="a b c", refusal=2, local=NO_DATABASE, forms=SENTENCE),
    "db roles": Case(
        derived=True, refused="--prefix A", refusal=2, local=NO_DATABASE, forms=SENTENCE
    ),
    "db url": Case(refused="nonsense", refusal=2, local=NO_DATABASE, forms=SENTENCE),
    "db psql": Case(
        fine="-- -Atc 'SELECT 1'",
        refused="-- -c nonsense",
        refusal=1,
        gone=2,
        forms=SENTENCE,
        process=True,
    ),
    "db up": Case(refused="nonsense", refusal=2, local="it is the database", forms=SENTENCE),
    "db down": Case(refused="nonsense", refusal=2, local="it is the database", forms=SENTENCE),
    "db path": Case(refused="nonsense", refusal=2, local=NO_DATABASE, forms=SENTENCE),
    # Setting up.
    "init": Case(fine="fresh", refused="fresh", refusal=78, local=NO_DATABASE, forms=SENTENCE),
    "config check": Case(refused="-c nowhere.toml", refusal=78, local=NO_DATABASE),
    "config show": Case(derived=True, refused="-c nowhere.toml", refusal=78, local=NO_DATABASE),
    "config schema": Case(
        derived=True, refused="nonsense", refusal=2, local=NO_DATABASE, forms=SENTENCE
    ),
    "help": Case(fine="leader", refused="nonsense", refusal=2, local=NO_DATABASE, forms=SENTENCE),
    "version": Case(refused="nonsense", refusal=2, local=NO_DATABASE),
}
