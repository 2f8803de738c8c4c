"""The signals of a running node: HUP, USR1, USR2, TERM, INT; and what passes on to the program."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
from pathlib import Path

import psycopg
import pytest

from tests.support.nodes.processes import bed, eventually

CONFIG = """
heartbeatFrequency = 0.3
livenessCheckInterval = 1.5
[program]
command = ["sh", "-c", "{command}"]
"""

#: A program that goes on until it is told to end.
REST = "while :; do sleep 0.02; done"


@pytest.fixture
def nodes(tmp_path, database):
    with bed(tmp_path, database.conninfo, database.schema) as made:
        yield made


def started(nodes, command: str, program: str = "", more: str = "", liveness: str = "1.5"):
    config = CONFIG.replace("1.5", liveness).format(command=command)
    node = nodes.start(
        "node-1",
        config=more + config + program,
        env={"COORD_LIVENESS_CHECK_INTERVAL": "", "COORD_HEARTBEAT_FREQUENCY": ""},
    )
    eventually(lambda: "started:" in node.said(), 10, lambda: f"the program runs{nodes.story()}")
    return node


def test_each_process_of_a_node_shows_its_group_and_its_name(nodes):
    node = started(nodes, "exec sleep 60")

    for who in ("guardian", "agent", "spare"):
        words = Path(f"/proc/{node.pid_of(who)}/cmdline").read_bytes().decode()
        assert re.search(r"\0--group[=\0]orders\0--node[=\0]node-1\0", words), (who, words)


def test_hup_takes_over_what_can_change_and_names_what_cannot(nodes, tmp_path):
    node = started(nodes, "exec sleep 60")
    path = tmp_path / "node-1.toml"
    changed = path.read_text().replace("sleep 60", "sleep 61").replace("1.5", "3")
    path.write_text(changed)

    node.process.send_signal(signal.SIGHUP)

    eventually(lambda: "reload:" in node.said(), 10, lambda: f"a reload{nodes.story()}")
    assert "program changed" in node.said()
    assert "kept until a restart: livenessCheckInterval" in node.said()
    assert node.process.poll() is None


def test_hup_with_a_broken_file_changes_nothing(nodes, tmp_path):
    node = started(nodes, "exec sleep 60")
    (tmp_path / "node-1.toml").write_text("livenesCheckInterval = 3\n")

    node.process.send_signal(signal.SIGHUP)

    eventually(
        lambda: "reload: nothing changed" in node.said(), 10, lambda: f"a reload{nodes.story()}"
    )
    assert "did you mean 'livenessCheckInterval'" in node.said()
    assert node.process.poll() is None


def readers(agents_guardian: int) -> int:
    """Return how many processes below that one read a configuration again."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True)
    below, found = {agents_guardian}, 0
    # A parent may have a higher number than its child.
    rows = [line.split(None, 2) for line in listed.stdout.splitlines()]
    for _ in range(4):
        below |= {int(pid) for pid, parent, _ in rows if int(parent) in below}
    for pid, _, command in rows:
        found += int(pid) in below and "-m coordinator.app.node.reload" in command
    return found


def test_one_reload_at_a_time_and_what_was_read_last_stays(nodes, tmp_path):
    """The first of four meets a file that cannot be read to its end for a while."""
    node = started(nodes, "exec sleep 60")
    path = tmp_path / "node-1.toml"
    old, slow, newer = path.read_text(), tmp_path / "slow", tmp_path / "newer"
    newer.write_text(old.replace("sleep 60", "sleep 61"))
    os.mkfifo(slow)
    slow.rename(path)
    node.process.send_signal(signal.SIGHUP)
    written_to = os.open(path, os.O_WRONLY)  # waits for the reader
    newer.rename(path)

    for _ in range(3):
        node.process.send_signal(signal.SIGHUP)
        before = node.said().count("state: ")
        node.process.send_signal(signal.SIGUSR2)
        eventually(lambda n=before: node.said().count("state: ") > n, 20, "the signals were heard")
    reading = readers(node.process.pid)
    os.write(written_to, old.encode())
    os.close(written_to)

    eventually(
        lambda: "reload: program changed" in node.said(), 20, lambda: f"a reload{nodes.story()}"
    )
    lines = [line for line in node.said().splitlines() if "reload: " in line]
    assert reading == 1
    assert [line.partition("reload: ")[2] for line in lines] == [
        "nothing has changed",
        "program changed (a program from its next start on)",
    ]


@pytest.mark.parametrize(
    "signum", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT], ids=lambda s: s.name
)
def test_a_signal_to_a_node_that_is_just_starting_ends_nothing(nodes, tmp_path, signum):
    """The command line waits for its configuration; the program gets no blocked signal."""
    held, found, path = tmp_path / "held", tmp_path / "found", tmp_path / "node-1.toml"
    whole = CONFIG.format(command=f"grep ^Sig /proc/self/status > {found}; exec sleep 60")
    os.mkfifo(held)
    command, environ = nodes.command_of("node-1", "--config", str(held), behind=())
    with path.with_suffix(".log").open("wb") as out:
        process = subprocess.Popen(command, env=environ, cwd=tmp_path, stdout=out, stderr=out)
    try:
        written_to = os.open(held, os.O_WRONLY)  # waits for the reader
        path.write_text(whole)
        path.rename(held)

        process.send_signal(signum)
        os.write(written_to, whole.encode())
        os.close(written_to)

        eventually(
            lambda: process.poll() is not None or masks(found), 30, path.with_suffix(".log").name
        )
        said = path.with_suffix(".log").read_text()
        assert process.poll() is None, said
        assert masks(found)["SigBlk"] == 0
        assert masks(found)["SigIgn"] & sum(1 << one - 1 for one in (1, 3, 10, 12)) == 0
    finally:
        process.terminate()
        process.wait(60)


def masks(found: Path) -> dict[str, int]:
    """Return the masks of signals that the program has, as soon as it has written all of them."""
    lines = found.read_text().splitlines() if found.exists() else []
    return {
        name: int(value, 16)
        for name, _, value in (line.partition(":\t") for line in lines)
        if len(lines) >= 5 and not name.endswith("Q")
    }


def test_usr2_tells_the_state_in_one_line(nodes):
    node = started(nodes, "exec sleep 60")

    node.process.send_signal(signal.SIGUSR2)

    eventually(lambda: "state: " in node.said(), 10, lambda: f"the state{nodes.story()}")
    (line,) = [line for line in node.said().splitlines() if "state: " in line]
    assert "the program has run under term 1" in line
    assert "trusted for" in line
    assert len(line) < 400


def test_no_signal_of_the_node_reaches_a_program_that_does_not_ask_for_it(nodes):
    """The default action of each of them is to end a process."""
    node = started(nodes, "exec sleep 60")

    node.process.send_signal(signal.SIGHUP)
    eventually(lambda: "reload:" in node.said(), 20, lambda: f"a reload{nodes.story()}")
    node.process.send_signal(signal.SIGUSR2)
    eventually(lambda: "state: " in node.said(), 20, lambda: f"the state{nodes.story()}")

    assert "the program ended" not in node.said()
    assert node.said().count("started:") == 1


def test_a_program_gets_the_signals_that_its_settings_name(nodes, tmp_path):
    out = tmp_path / "signals"
    command = f"trap 'echo HUP >> {out}' HUP; while :; do sleep 0.05; done"
    node = started(nodes, command, 'forwardSignals = ["HUP"]\n')

    eventually(lambda: node.process.send_signal(signal.SIGHUP) or out.exists(), 20, "the trap")


def test_a_stopped_guardian_is_explained(nodes):
    """Ctrl-Z: the shell says "Killed" and no more."""
    node = started(nodes, "exec sleep 60")

    node.process.send_signal(signal.SIGSTOP)

    eventually(lambda: "the guardian is frozen" in node.said(), 20, "the agent says why")
    assert node.process.wait(20) == -signal.SIGKILL
    assert "Ctrl-Z" in node.said()


def test_a_node_of_which_only_the_spare_is_left_is_explained(nodes):
    """In the log, and in what is kept of the session's end."""
    node = started(nodes, "exec sleep 60")
    agent = os.pidfd_open(node.pid_of("agent"))
    node.send(signal.SIGSTOP, "guardian")
    signal.pidfd_send_signal(agent, signal.SIGKILL)
    ended = select.poll()
    ended.register(agent, select.POLLIN)
    assert ended.poll(20_000)
    os.close(agent)

    node.process.kill()

    eventually(lambda: "guardian and agent were killed" in node.said(), 20, "the spare says why")
    with psycopg.connect(nodes.conninfo) as connection:
        query = f"SELECT reason FROM {nodes.schema}.event WHERE reason LIKE 'guardian and agent%'"
        eventually(lambda: connection.execute(query).fetchall(), 20, "it is kept", every_s=0.1)


def test_an_ordinary_stop_may_take_longer_than_the_lease(nodes, tmp_path):
    """Rule G2: the lease is 3.1 s here, and the program takes 4 s to end."""
    out, ready = tmp_path / "ended", tmp_path / "ready"
    command = f"trap 'sleep 4; echo orderly > {out}; exit 0' TERM; : > {ready}; {REST}"
    node = started(nodes, command, more="stopTimeout = 60\n", liveness="4")
    eventually(ready.exists, 20, "the trap is set")

    node.process.send_signal(signal.SIGTERM)

    assert node.process.wait(60) == 0
    assert out.read_text() == "orderly\n"


def test_a_program_that_does_not_end_in_time_is_said_to_be_killed(nodes, tmp_path):
    ready = tmp_path / "ready"
    command = f"trap '' TERM; : > {ready}; {REST}"
    node = started(nodes, command, more="stopTimeout = 0.5\n", liveness="15")
    eventually(ready.exists, 20, "the trap is set")

    node.process.send_signal(signal.SIGTERM)

    assert node.process.wait(60) == 0
    assert "did not end within stopTimeout, and was killed" in node.said()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_the_first_stop_signal_waits_for_the_program_and_exits_with_0(nodes, tmp_path, signum):
    out, ready = tmp_path / "ended", tmp_path / "ready"
    command = f"trap 'echo orderly > {out}; exit 3' TERM; : > {ready}; {REST}"
    node = started(nodes, command)
    eventually(ready.exists, 20, "the trap is set")

    node.process.send_signal(signum)

    assert node.process.wait(60) == 0
    assert out.read_text() == "orderly\n"


def test_the_second_interrupt_does_not_wait(nodes, tmp_path):
    """The stop timeout is longer than the test waits; the second Ctrl-C ends the node at once."""
    ready = tmp_path / "ready"
    node = nodes.start(
        "node-1",
        config="heartbeatFrequency = 1\nlivenessCheckInterval = 120\nstopTimeout = 90\n"
        f'[program]\ncommand = ["sh", "-c", "trap : TERM; : > {ready}; {REST}"]\n',
        env={"COORD_LIVENESS_CHECK_INTERVAL": "", "COORD_HEARTBEAT_FREQUENCY": ""},
    )
    eventually(ready.exists, 60, lambda: f"the trap is set{nodes.story()}")

    node.process.send_signal(signal.SIGINT)
    eventually(lambda: "stopping the program" in node.said(), 60, "the first is obeyed")
    node.process.send_signal(signal.SIGINT)

    assert node.process.wait(60) == 130


def test_listen_answers_by_role(nodes):
    """`--listen`: 200 on the active node alone, from its own deadline."""
    import http.client

    from tests.support.servers.postgres import free_port

    nodes.liveness_s, nodes.heartbeat_s = 6.0, 0.5
    ports = {name: free_port() for name in ("node-1", "node-2")}
    for name, port in ports.items():
        nodes.start(name, "--listen", f"127.0.0.1:{port}")
        eventually(lambda name=name: "HTTP on" in nodes.nodes[name].said(), 10, "it listens")
    holding = nodes.wait_for_run()
    nodes.wait_for_standbys(1)

    def status(name: str, path: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", ports[name], timeout=5)
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status

    (other,) = [name for name in ports if name != holding.node]
    assert (status(holding.node, "/active"), status(other, "/active")) == (200, 503)
    assert (status(holding.node, "/standby"), status(other, "/standby")) == (503, 200)
    assert [status(name, "/readyz") for name in ports] == [200, 200]
