"""The files that `coord init` writes. A test holds CONFIG equal to the repository's Config.toml."""

from __future__ import annotations

import json
import secrets

#: Of the generated password, in bytes of randomness.
PASSWORD_BYTES = 18


def files() -> dict[str, str]:
    """Return the text of each file by its name; the password is a new one each time."""
    return {
        "Config.toml": CONFIG,
        "coord.schema.json": schema_text(),
        "docker-compose.yml": COMPOSE,
        ".env": ENVIRONMENT.format(password=secrets.token_urlsafe(PASSWORD_BYTES)),
    }


def schema_text() -> str:
    """Return the JSON schema of Config.toml as text."""
    from coordinator.app.config.loader import schema

    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


ENVIRONMENT = """\
# Read by `docker compose`. For coord on this machine: set -a; . ./.env; set +a
# Keep it out of version control.
POSTGRES_USER=coord
POSTGRES_PASSWORD={password}
POSTGRES_DB=coord
COORD_DATABASE_URL=postgresql://coord@127.0.0.1:5432/coord
COORD_DATABASE_PASSWORD={password}
COORD_REQUIRE_DATABASE=1
"""

COMPOSE = """\
# A PostgreSQL for the nodes of this directory. The password is in .env.
services:
  postgres:
    image: postgres:18
    environment:
      POSTGRES_USER: ${POSTGRES_USER}
      POSTGRES_PASSWORD: ${POSTGRES_PASSWORD}
      POSTGRES_DB: ${POSTGRES_DB}
    ports:
      - "127.0.0.1:5432:5432"
    volumes:
      - postgres:/var/lib/postgresql
    healthcheck:
      test: ["CMD-SHELL", "pg_isready -U $$POSTGRES_USER -d $$POSTGRES_DB"]
      interval: 1s
      timeout: 3s
      retries: 60
volumes:
  postgres:
"""

CONFIG = """\
#:schema ./coord.schema.json
## One node of coord. Behind "##" stands a sentence, behind "#" a setting that is off: its default,
## or an example where there is none. Durations are seconds (0.5 is fine), or text: "500ms", "6s",
## "2m", "1h". COORD_* in the environment stands above this file, and a flag above both.

## Name of this node. It must be unique in the group, and copying this line to the next machine is
## the commonest mistake: there, change it, set COORD_TASK_ID, or delete the line, which gives
## every node a name of its own: "{hostname}-{pid}".
taskId = "add-unique-task"
## The nodes with the same group share one token, and one of them is active. Default "default".
groupId = "task-group-01"
## Seconds between two heartbeats of this node. Default 1.
heartbeatFrequency = 1
## Seconds of silence after which the active node counts as dead; at least 3 x heartbeatFrequency.
## Default 30.
livenessCheckInterval = 6

## Seconds from SIGTERM to SIGKILL of the program. The default is half of what two heartbeats leave
## of the lease, at most 10: here 1.36.
# stopTimeout = 1
## Who takes the token first: a higher number. 0 never takes it and only observes.
# priority = 1
## How the program's processes are caught: "auto", "cgroup", "pidns" or "plain".
# isolation = "auto"

## Instead of one program the group may have many tasks, each on one of its nodes: see [[tasks]]
## below. A node that defines none itself says so with this line, or `coord run --tasks`:
##   hostsTasks = true

## The PostgreSQL that the nodes share. As long as nothing names one (this table, a COORD_DATABASE_*
## or PGHOST, PGSERVICE, PGDATABASE), an embedded server is used, which only this machine sees.
# [databaseConfig]
## Host, socket directory, or several hosts with commas; of several the writable one is used.
# host = "localhost"
## Port, or one for each host: "5432,5433".
# port = 5432
## Role, as whom to connect. Default: the user of the operating system.
# user = "root"
## Better than a password here: ~/.pgpass, passwordFile, COORD_DATABASE_PASSWORD. Whoever may read
## this file reads the password.
# password = "password"
## Name of the database. Default: the same as the user.
# database = "database"
## TLS: "disable", "allow", "prefer", "require", "verify-ca" or "verify-full".
# sslmode = "prefer"
## Certificates to trust, and this node's own certificate and key. Default: libpq's files.
# sslrootcert = "/etc/ssl/certs/ca-certificates.crt"
# sslcert = "/etc/coord/node.crt"
# sslkey = "/etc/coord/node.key"
## Schema that holds coord's tables.
# schema = "coord"
## Create and update the tables at start; false: somebody runs `coord db upgrade`.
# autoMigrate = true
## Seconds until a connection must stand; less than livenessCheckInterval.
# connectTimeout = 5
## Instead of host, port, user and database, one of these two lines:
##   url = "postgresql://root@db1,db2/database?sslmode=verify-full"
##   service = "coord"                          an entry of libpq's service file
## Instead of password, a file whose only line is the password:
##   passwordFile = "/run/credentials/coord/password"
## Without all of those: true or a directory for the embedded server, or false to forbid it:
##   embedded = false

## What the active node runs. `coord run -- COMMAND` stands above this table and [trigger].
# [program]
## A Python function as "module:function". Or, instead of it, a command:
##   command = ["backup", "--all"]              or one line: command = "backup --all"
##   shell = true                               gives the one line to /bin/sh; default false
# callable = "json:dumps"
## Directory to run in. Default: the one that coord was started in.
# cwd = "/"
## When the program ends by itself: "restart" it, restart it "on-failure" only (exit code not 0),
## "release" the token to another node, or "stop" this node. Default "restart"; "stop" for
## `coord run -- COMMAND`.
# onExit = "restart"
## Signals of the node that the program gets: "HUP", "USR1", "USR2", "QUIT". Default: none.
# forwardSignals = []

## When the callable runs, while its node holds the token. Without this table it runs once.
# [trigger]
## Seconds between two starts. Or, instead of it, one of
##   cron = "*/5 * * * *"                       minute, hour, day, month, day of week; or "@daily"
##   at = "2099-12-31T23:00:00Z"                once
# interval = 5
## Runs of the whole group until the schedule is done; a takeover goes on counting. Default: none.
# maxCount = 100
## Moments between which it runs; without an offset they are UTC. Default: always.
# startTime = "2026-01-01T00:00:00Z"
# endTime = "2099-12-31T23:00:00+01:00"
## Time zone of the cron fields.
# timezone = "UTC"
## Runs that fell into a time without an active node: "none", "once" (one for all) or "all".
# catchUp = "once"
## Seconds by which a run may start late, whatever the reason; later, it is skipped. Default: never
## skipped.
# misfireGraceTime = 60

## What follows when the callable fails, or is still running when it is due again.
# [taskPolicy]
## "LOG_AND_TERMINATE" or "TERMINATE" ends the schedule for the whole group, until a node is started
## again; "LOG_AND_CONTINUE" or "CONTINUE" does not.
# errorPolicy = "LOG_AND_TERMINATE"
## "WAIT" runs it afterwards, "IGNORE" and "LOG_AND_IGNORE" skip it.
# waitingPolicy = "WAIT"
## A terminated schedule must not sit on the token: "stop" ends the node, "release" hands over.
# onTerminate = "stop"

## How often a failed run is tried again before errorPolicy applies. Default: not at all.
# [retryConfig]
## Tries after the first one; none that would begin after the next slot.
# maxAttempts = 3
## Seconds before the first retry.
# retryInterval = 1
## "FIXED", or "EXPONENTIAL": the seconds double each time.
# backoffStrategy = "FIXED"
## Seconds that a doubled wait never exceeds. Default: no limit.
# maxInterval = 60

## Instead of [program]: tasks. Each runs on one node of the group; when that one dies, another
## takes it. Every file may define some; `coord task add` does it without a file.
##   [[tasks]]
##   name = "archive"                           unique in the group
##   command = ["archive", "--all"]             or callable, shell and cwd as in [program]
##   env = { LEVEL = "3" }                      for the program; kept readable in the database
##   options = { keep = 7 }                     anything; the program gets it in COORD_OPTIONS
##   nodes = ["node-1", "node-2"]               who may run it; default every node
##   preferred = "node-1"                       goes first while it is a live member
##   pinned = false                             true: nobody but the preferred node
##   failover = true                            false: it waits for the node that had it last
##   failback = true                            false: it stays when a better node returns
##   onPartition = "stop"                       "continue": cut off, it goes on; may run twice
##   onDone = "restart"                         "release" or "finish"; default finish with a trigger
##   progressTimeout = "30s"                    no progress for so long: it has hung; default never
##   stopTimeout = 1                            default the node's own
##   forwardSignals = ["HUP"]                   of the node: HUP, USR1, USR2, QUIT; default none
##   enabled = true                             false: defined, but run by nobody
##   [tasks.trigger]                            when it runs; the keys of [trigger]
##   interval = 5

## How this node keeps its part of a task group. The times are the group's: the first file that
## names one declares it, and `coord observer policy` changes it for all nodes.
# [tasksPolicy]
## For tasks that do not say it themselves.
# failover = true
## Seconds that a new or returned node must be live before it may run tasks. Default 2 x
## livenessCheckInterval.
# toMember = 12
## So many late heartbeats within lateWithin send a node to Rehab; 0: they never do. lateWithin is
## 10 x livenessCheckInterval by default.
# lateMax = 3
# lateWithin = 60
## Seconds that a new observer only watches. Default 2 x heartbeatFrequency.
# observerGrace = 2
## "listed": run only the tasks that this file lists, with this file's command, whatever the
## database says. "any": whoever may write to the database's tasks says what runs here.
# commands = "any"

# [log]
## "debug", "info", "warning" or "error".
# level = "info"
## "text", "json", or "auto": text on a terminal and JSON elsewhere.
# format = "auto"

# [http]
## Where the node answers /active, /standby, /livez, /readyz and /healthz. Default: nowhere.
# listen = "127.0.0.1:8008"
"""
