"""`coord explain` on rows that SQL put there, and on real nodes in situations that last."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from tests.conftest import Database
from tests.e2e.test_cli_look import coord, filled
from tests.e2e.test_cli_tasks import night
from tests.support.nodes.processes import bed, eventually

pytestmark = pytest.mark.real

__all__ = ["filled", "night"]


def explained(database: Database, *arguments: str) -> dict[str, object]:
    code, said, trouble = coord(database, "explain", *arguments, "-o", "json")
    assert (code, trouble) == (0, "")
    document: dict[str, object] = json.loads(said)
    return document


def test_a_group_and_a_task_are_explained_by_their_rows(night: Database) -> None:
    group = explained(night, "night")
    probe = explained(night, "night/probe")
    copy = explained(night, "copy", "-g", "night")

    assert (group["kind"], group["state"], group["task"]) == ("Explanation", "active", None)
    assert str(group["sentences"][0]).startswith("night: node-1 observes, term 3, since ")
    assert (
        "Of 5 tasks 1 disabled, 1 running, 1 starting, 1 stuck and 1 waiting."
        in (group["sentences"])
    )
    assert (probe["task"], probe["state"]) == ("probe", "stuck")
    assert probe["sentences"][1].endswith("nobody may run it then: waits for node-4 (pinned).")
    assert (copy["task"], copy["state"]) == ("copy", "starting")


def test_a_person_reads_sentences_and_a_script_reads_rows(filled: Database) -> None:
    code, said, _ = coord(filled, "explain", "reports")
    rows = coord(filled, "explain", "reports", "-o", "tsv")[1].splitlines()

    assert code == 0
    assert said.splitlines()[0].startswith("reports: nobody has been active since ")
    assert said.splitlines()[-1] == (
        "- Nothing happens until a node is started: `coord run -g reports`."
    )
    assert [line.lstrip("- ") for line in said.splitlines()[2:]] == [
        row.split("\t")[2] for row in rows[3:]
    ]


@pytest.mark.parametrize("subject", ["nope", "night/nope", "ö"])
def test_a_subject_that_does_not_exist_is_exit_code_4(subject: str, night: Database) -> None:
    assert coord(night, "explain", subject)[0] == 4


def test_an_outage_is_explained_and_is_exit_code_69(tmp_path: Path) -> None:
    nowhere = Database(f"host={tmp_path} user=u dbname=d password=s3cret", "app")

    code, said, trouble = coord(nowhere, "explain", "orders")

    assert (code, said) == (69, "")
    assert trouble.startswith("coord: Nobody can tell who is active: ")
    assert "each program is dead at most" in trouble
    assert "s3cret" not in trouble


def test_a_schema_that_is_too_old_is_explained_and_is_exit_code_78(unmigrated: Database) -> None:
    code, _, trouble = coord(unmigrated, "explain", "orders")

    assert code == 78
    assert trouble.startswith("coord: Nobody of this version can run: ")
    assert "`coord db upgrade`" in trouble


def test_real_nodes_are_explained_from_the_first_term_to_a_crash_loop(
    tmp_path: Path, database: Database
) -> None:
    """The situations follow each other; each lasts until the next is made."""
    with bed(tmp_path, database.conninfo, database.schema) as nodes:
        nodes.liveness_s, nodes.heartbeat_s = 60.0, 0.3
        holder = nodes.start("node-1")
        nodes.wait_for_run()
        nodes.start("node-2", env={"COORD_PRIORITY": "0"})
        nodes.wait_for_standbys(1)

        active = explained(database, "orders")["sentences"]
        holder.process.send_signal(signal.SIGTERM)
        holder.process.wait(10)
        only_observers = explained(database, "orders")["sentences"]
        looping = nodes.start("node-3", "--restart", "always", command=("sh", "-c", "exit 3"))
        eventually(lambda: "times in a row" in looping.said(), 20, looping.said)
        eventually(
            lambda: database.query("SELECT 1 FROM token_holder WHERE released_at > acquired_at"),
            10,
            "node-3 gave the token back",
        )
        crash_loop = explained(database, "orders")

    assert str(active[0]).startswith("orders: node-1 is active, term 1, since ")
    assert active[1:2] == ["It took the token because nobody had held it before."]
    assert active[3:] == [
        "No other live node may take the token: if it ends, nobody is active.",
        "node-2 has priority 0 and never takes it.",
    ]
    assert only_observers[1].endswith("gave term 1 back: SIGTERM.")
    assert only_observers[2].startswith("node-2 lives, but has priority 0")
    assert crash_loop["sentences"][2].startswith("node-3 is in a crash loop: it takes the token")
    assert 0 < crash_loop["expectedInSeconds"] <= 60.0


#: Root without the right to kill others, whose program becomes another user as `su` does.
WITHOUT_KILL = ("setpriv", "--bounding-set=-kill", "--inh-caps=-kill")
PAUSE_WORK = "INSERT INTO planned_change (group_id, kind) VALUES ('orders', 'pause work')"
UNKILLABLE = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.setuid(65534)
print("became another user:", os.getpid(), file=sys.stderr, flush=True)
time.sleep(120)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_a_program_that_cannot_be_killed_is_told_and_its_token_kept(
    tmp_path: Path, database: Database
) -> None:
    """G4, L1: the log names the process; when a person has ended it, the pause is carried out."""
    with bed(tmp_path, database.conninfo, database.schema) as nodes:
        nodes.liveness_s, nodes.heartbeat_s = 60.0, 0.3
        holder = nodes.start(
            "node-1",
            *("--isolation", "plain", "--stop-timeout", "0.5"),
            command=(sys.executable, "-S", "-c", UNKILLABLE),
            through=WITHOUT_KILL,
        )
        became = re.compile(r"became another user: (\d+)")
        eventually(lambda: became.search(holder.said()), 30, nodes.story)
        before = explained(database, "orders")["sentences"]
        database.query(PAUSE_WORK)
        eventually(lambda: "cannot be killed" in holder.said(), 20, nodes.story)

        def told() -> list[str]:
            return [
                str(said)
                for said in explained(database, "orders")["sentences"]
                if str(said).startswith("node-1 was to give the token up ")
            ]

        sentence = eventually(told, 20, nodes.story)
        survivor = int(became.search(holder.said()).group(1))
        os.kill(survivor, signal.SIGKILL)
        free = "SELECT 1 FROM token_holder WHERE session IS NULL"
        eventually(lambda: database.query(free), 20, nodes.story)
        after = explained(database, "orders")

    assert not [said for said in before if "give the token up" in said]
    assert "belongs to another user" in sentence[0]
    assert f"process {survivor} (" in holder.said()
    assert after["state"] == "leaderless"
    assert "give the token up" not in str(after["sentences"])


def test_a_pause_is_told_wherever_a_group_is_looked_at(filled: Database) -> None:
    """A3"""
    filled.query(
        "INSERT INTO planned_change (group_id, kind, asked_by, reason, until_at)"
        " VALUES ('orders', 'pause takeovers', 'ana', 'deploy', now() + interval '1 hour')"
    )

    sentences = explained(filled, "orders")["sentences"]

    assert any(
        each.startswith("The group has been paused since ") and "asked for by ana (deploy)" in each
        for each in sentences
    )
    assert "orders: takeovers are paused by ana" in coord(filled, "status")[1]
    assert coord(filled, "wait", "orders", "--for", "paused")[0] == 0
    assert coord(filled, "check", "orders", "--nagios")[0] == 1
