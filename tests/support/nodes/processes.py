"""Real nodes for tests: `coord run` processes, their children, and how to hurt them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.nodes.record import Interval, intervals

#: Limits of the wait for a run, and for the first run of nodes that were just started.
RUN_S, FIRST_RUN_S = 10.0, 30.0
RECORDER = Path(__file__).with_name("recorder.py")


def eventually(
    condition: Callable[[], object],
    within_s: float,
    what: str | Callable[[], str],
    *,
    every_s: float = 0.01,
) -> object:
    """Wait until the condition is true and return its value; fail with `what` after within_s.

    what:    called when it failed, so that it can tell how far things have come.
    every_s: a costly look must not take the machine from what is looked at.
    """
    pause = threading.Event()
    give_up_at = time.monotonic() + within_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > give_up_at:
            told = what if isinstance(what, str) else what()
            raise AssertionError(f"not within {within_s:g} s: {told}")
        pause.wait(every_s)


#: Lines that a node logs when its role has changed.
ROLE_LINE = re.compile(r": (standby|ACTIVE|candidate|left)\b")


@dataclass
class RunningNode:
    """One `coord run`; `process` is its guardian."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    inherited: list[int] = field(default_factory=list)

    def said(self) -> str:
        """Return what the node has written to stderr so far."""
        return self.log.read_text(errors="replace")

    def stands_by(self) -> bool:
        """Say whether the last role that the node told of is that of a standby."""
        roles = ROLE_LINE.findall(self.said())
        return bool(roles) and roles[-1] == "standby"

    def family(self) -> dict[str, int]:
        """Return the pids of guardian, agent, spare and program, as far as they live."""
        guardian = self.process.pid
        found: dict[str, int] = {"guardian": guardian}
        for pid in descendants(guardian):
            command = _command(pid)
            if "agent_process" in command:
                # The spare is forked from the agent, so the agent is the one with the thread.
                found["agent" if _threads(pid) > 1 else "spare"] = pid
            elif command and "guardian" not in command:
                found.setdefault("program", pid)
        return found

    def pid_of(self, who: str) -> int:
        """Return the pid of one process of the node; waits until it is there."""
        return int(str(eventually(lambda: self.family().get(who), 5, f"{self.name} has a {who}")))

    def doing(self) -> str:
        """Return what each of its processes is at: state and clock ticks of CPU; hung, or slow?"""
        pids = [self.process.pid, *descendants(self.process.pid)]
        return "".join(f"{pid}: {_command(pid)[:60]}: {_at(pid)}\n" for pid in pids)

    def send(self, signum: int, who: str) -> None:
        """Signal one process of the node, or "all" of them, the program included."""
        if who == "all":
            pids = [self.process.pid, *descendants(self.process.pid)]
            if signum == signal.SIGKILL:
                # A machine dies at one moment: no process of it sees another one dead.
                for pid in pids:
                    _kill(pid, signal.SIGSTOP)
        else:
            pids = [self.pid_of(who)]
        for pid in pids:
            _kill(pid, signum)

    def end(self) -> None:
        """Make sure that nothing of the node is left, whatever state it is in."""
        pids = [self.process.pid, *descendants(self.process.pid)]
        if self.process.poll() is None:
            for pid in pids:
                _kill(pid, signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(3)
            except subprocess.TimeoutExpired:
                pids += descendants(self.process.pid)
        for pid in pids:
            if pid != self.process.pid and _command(pid):
                _kill(pid, signal.SIGKILL)
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(5)


def _kill(pid: int, signum: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signum)


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def _at(pid: int) -> str:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "gone"
    return f"{fields[0]}, {int(fields[11]) + int(fields[12])} ticks"


def _threads(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return 0


def descendants(pid: int) -> list[int]:
    """Return all living descendants of a process, parents first."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            stat = Path(f"/proc/{entry}/stat").read_text()
        except OSError:
            continue
        state, parent = stat.rpartition(")")[2].split()[:2]
        if state != "Z":
            children.setdefault(int(parent), []).append(int(entry))
    found, todo = [], [pid]
    while todo:
        for child in children.get(todo.pop(), []):
            found.append(child)
            todo.append(child)
    return found


class Bed:
    """A group of nodes under test, on one database."""

    def __init__(self, tmp_path: Path, conninfo: str, schema: str, group: str = "orders") -> None:
        self.path, self.conninfo, self.schema, self.group = tmp_path, conninfo, schema, group
        self.record = tmp_path / "record"
        self.nodes: dict[str, RunningNode] = {}
        self.liveness_s, self.heartbeat_s = 1.5, 0.3

    def start(
        self,
        name: str,
        *options: str,
        command: tuple[str, ...] | None = None,
        config: str | None = None,
        env: dict[str, str] | None = None,
        stderr: int | None = None,
        through: tuple[str, ...] = (),
    ) -> RunningNode:
        """Start one `coord run`; its program is the recorder unless a command is given.

        stderr:  where it and all its processes write, instead of the node's log.
        through: a command that becomes the node, such as `setpriv` with its options.
        """
        if config is not None:
            path = self.path / f"{name}.toml"
            path.write_text(config)
            options = ("--config", str(path), *options)
        behind = () if config is not None and command is None else self._behind(command)
        arguments, environ = self.command_of(name, *options, behind=behind, env=env)
        return self._spawn(name, [*through, *arguments], environ, self.path, stderr)

    def command_of(
        self,
        name: str,
        *options: str,
        behind: tuple[str, ...] | None = None,
        env: dict[str, str] | None = None,
    ) -> tuple[list[str], dict[str, str]]:
        """Return the command of one `coord run` and its environment; it runs in the bed's folder.

        behind: what follows the options; the recorder when nothing is said.
        """
        run = [sys.executable, "-m", "coordinator.cli", "run"]
        environ = {
            **os.environ,
            "COORD_TASK_ID": name,
            "COORD_GROUP_ID": self.group,
            "COORD_DATABASE_URL": self.conninfo,
            "COORD_DATABASE_SCHEMA": self.schema,
            "COORD_HEARTBEAT_FREQUENCY": str(self.heartbeat_s),
            "COORD_LIVENESS_CHECK_INTERVAL": str(self.liveness_s),
            "COORD_LOG_FORMAT": "text",
            **(env or {}),
        }
        return [*run, *options, *(self._behind(None) if behind is None else behind)], environ

    def _behind(self, command: tuple[str, ...] | None) -> tuple[str, ...]:
        return ("--", *(command or self.recorder()))

    def recorder(self) -> tuple[str, ...]:
        """Return the command of a program that writes down when it lives."""
        return (sys.executable, "-S", str(RECORDER), str(self.record))

    def start_as_written(self, name: str, config: str) -> RunningNode:
        """Start `coord run` as a person does: Config.toml where it is started says everything."""
        home = self.path / name
        home.mkdir(exist_ok=True)
        (home / "Config.toml").write_text(config)
        (home / "Config.toml").chmod(0o600)
        environ = {key: value for key, value in os.environ.items() if not key.startswith("COORD_")}
        coord = [sys.executable, "-m", "coordinator.cli", "run"]
        program = [sys.executable, "-S", str(RECORDER), str(self.record)]
        return self._spawn(name, [*coord, "--", *program], environ, home)

    def _spawn(
        self,
        name: str,
        command: list[str],
        environ: dict[str, str],
        cwd: Path,
        stderr: int | None = None,
    ) -> RunningNode:
        log = self.path / f"{name}.log"
        with log.open("ab") as out:
            process = subprocess.Popen(
                command,
                env=environ,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out if stderr is None else stderr,
                start_new_session=True,
            )
        node = RunningNode(name, process, log)
        self.nodes[name] = node
        return node

    def runs(self) -> list[Interval]:
        """Return the runs recorded so far."""
        return intervals(self.record)

    def wait_for_run(self, after: int = 0, within_s: float | None = None) -> Interval:
        """Wait for a run with a term above `after` and return it.

        The first one has longer: twenty nodes that another test starts meanwhile take ten seconds
        of both cores, and how long a start takes is no test's business but those that measure it.
        """

        def newest() -> Interval | None:
            return next((run for run in self.runs() if run.term > after), None)

        found = eventually(
            newest,
            within_s or (RUN_S if after else FIRST_RUN_S),
            lambda: f"a run with a term above {after}{self.story()}",
        )
        assert isinstance(found, Interval)
        return found

    def story(self) -> str:
        """Return all logs and what the processes are at, for a failure's text."""
        nodes = self.nodes.values()
        return "".join(f"\n--- {node.name}\n{node.said()}{node.doing()}" for node in nodes)

    def standbys(self, holder: str) -> list[RunningNode]:
        """Return the nodes that do not hold."""
        return [node for node in self.nodes.values() if node.name != holder]

    def wait_for_standbys(self, count: int) -> None:
        """Wait until so many nodes stand by; a holder said so too, before it took."""
        eventually(
            lambda: sum(node.stands_by() for node in self.nodes.values()) >= count,
            15,
            lambda: f"{count} standbys{self.story()}",
        )

    def end(self) -> None:
        """End all nodes."""
        for node in self.nodes.values():
            node.end()


@contextmanager
def bed(tmp_path: Path, conninfo: str, schema: str, group: str = "orders") -> Iterator[Bed]:
    """Give a test bed and leave nothing running behind it."""
    made = Bed(tmp_path, conninfo, schema, group)
    try:
        yield made
    finally:
        made.end()
