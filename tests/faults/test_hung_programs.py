"""Real programs that live and do nothing: found, stopped, and run elsewhere (rules M)."""

from __future__ import annotations

import signal

from tests.support.nodes.processes import Bed, descendants, eventually
from tests.support.nodes.record import Interval, overlaps, terms_rise

#: A health check that hangs, with a child that hears no SIGTERM and has nothing open, from the
#: moment on at which a file of its node's name is there.
DEAF_CHECK = (
    "trap '' TERM; test -e {path}.$COORD_NODE || exit 0;"
    " sleep 1000 <&- >&- 2>&- & exec sleep 1000 <&- >&- 2>&-"
)


def reason(database, term: int) -> str:
    """Return why the holding of a term ended, once it has."""
    rows = database.query("SELECT end_reason FROM token_history WHERE term = %s", term)
    return str(rows[0][0])


def two(nodes: Bed, *options: str, config: str | None = None) -> Interval:
    for name in ("node-1", "node-2"):
        nodes.start(name, *options, command=nodes.recorder(), config=config)
    first = nodes.wait_for_run()
    nodes.wait_for_standbys(1)
    return first


def test_a_program_that_is_stopped_alone_loses_the_token(nodes, database):
    """M1, M4: SIGSTOP of the program alone; its node is well, and another one goes on."""
    first = two(nodes, "--progress-timeout", "0.8")
    holder = nodes.nodes[first.node]

    holder.send(signal.SIGSTOP, "program")

    second = nodes.wait_for_run(after=first.term)
    assert second.node != first.node
    assert reason(database, first.term) == "no progress for 0.8 s"
    assert "HUNG: no progress for 0.8 s" in holder.said()
    eventually(holder.stands_by, 10, lambda: f"the first node stays as a standby{nodes.story()}")
    assert overlaps(nodes.runs()) == []
    assert terms_rise(nodes.runs())


def test_a_health_check_that_hangs_has_failed_and_leaves_nothing_behind(nodes, database):
    """M3, M5: the check is killed with all that it has started, and the program after it."""
    script = DEAF_CHECK.format(path=nodes.path / "sick")
    config = (
        f'[health]\ncommand = ["/bin/sh", "-c", "{script}"]\n'
        "interval = 0.2\ntimeout = 0.6\nfailures = 2\n"
    )
    first = two(nodes, config=config)

    (nodes.path / f"sick.{first.node}").touch()

    second = nodes.wait_for_run(after=first.term)
    assert second.node != first.node
    assert reason(database, first.term) == "2 health checks failed (no end within 0.6 s)"
    holder = nodes.nodes[first.node]
    left = [pid for pid in descendants(holder.process.pid) if "sleep" in _command(pid)]
    assert left == []
    assert overlaps(nodes.runs()) == []


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().decode()
    except OSError:
        return ""
