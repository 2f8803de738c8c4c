"""A systemd of the test's own: a user's manager in a cgroup and mounts of its own.

It is the real program, with the real rules for units, cgroups and messages. It sees no other
cgroup, so that it kills nothing but what it started.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.nodes.processes import eventually

MANAGER = "/lib/systemd/systemd"
#: The hidden mounts of the machine's own cgroups must not be found before the new one.
_INSIDE = """
umount -R /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup &&
mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system &&
exec {manager} --user --log-target=console --log-level=info
"""


def missing() -> str:
    """Say why there can be no systemd here; empty when there can be one."""
    if os.geteuid() != 0:
        return "only root may give a systemd mounts of its own"
    if not os.path.exists(MANAGER) or shutil.which("systemctl") is None:
        return "there is no systemd: install systemd"
    return "" if _cgroups() is not None else "there is no cgroup v2 to be had"


def _cgroups() -> Path | None:
    """Return the directory of this process's cgroup v2, if groups may be made in it."""
    from coordinator.runtime.isolation import cgroup

    try:
        home = Path(cgroup.home())
    except OSError:
        return None
    return home if os.access(home, os.W_OK) else None


class Systemd:
    """One manager; `units` is where its units lie."""

    def __init__(self, home: Path, cgroup: Path) -> None:
        self.home, self.cgroup = home, cgroup
        self.units = home / ".config/systemd/user"
        self.log = home / "systemd.log"
        self._environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "XDG_RUNTIME_DIR": str(home / "run"),
        }
        self.units.mkdir(parents=True)
        (home / "run").mkdir(mode=0o700)
        inside = _INSIDE.format(manager=MANAGER)
        enter = f"echo $$ > {cgroup}/cgroup.procs && exec unshare --mount --cgroup sh -c '{inside}'"
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                ["sh", "-c", enter], env=self._environ, stdout=out, stderr=out
            )
        socket = home / "run/systemd/private"
        eventually(socket.exists, 30, lambda: f"systemd is up: {self.log.read_text()}")

    def ctl(self, *arguments: str, check: bool = True) -> str:
        """Run systemctl; return what it prints."""
        done = subprocess.run(
            ["systemctl", "--user", *arguments],
            env=self._environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, f"{arguments}: {done.stderr}\n{self.story()}"
        return done.stdout.strip()

    def show(self, unit: str, *names: str) -> list[str]:
        """Return properties of a unit."""
        return [self.ctl("show", unit, f"--property={name}", "--value") for name in names]

    def story(self) -> str:
        """Return what the manager and the units have said."""
        logs = [self.log, *sorted(self.home.glob("*.unit.log"))]
        return "\n".join(
            f"--- {log.name}\n{log.read_text()[-4000:]}" for log in logs if log.exists()
        )

    def processes(self, unit: str) -> set[int]:
        """Return the processes of a unit, in its cgroup and below."""
        found = self.ctl("show", unit, "--property=ControlGroup", "--value")
        files = (self.cgroup / found.lstrip("/")).rglob("cgroup.procs") if found else ()
        own = [self.cgroup / found.lstrip("/") / "cgroup.procs", *files]
        return {int(line) for file in own if file.exists() for line in file.read_text().split()}

    def end(self) -> None:
        """End the manager and everything in its cgroup."""
        (self.cgroup / "cgroup.kill").write_text("1")
        self.process.wait(20)
        events = self.cgroup / "cgroup.events"
        eventually(lambda: "populated 0" in events.read_text(), 10, "the cgroup is empty")
        for directory, _, _ in os.walk(self.cgroup, topdown=False):
            os.rmdir(directory)


@contextlib.contextmanager
def own_systemd() -> Iterator[Systemd]:
    """Give a systemd, and leave nothing of it behind; skips, in CI fails, where there is none."""
    if reason := missing():
        if os.environ.get("CI") and "install" in reason:
            pytest.fail(reason)
        pytest.skip(reason)
    base = _cgroups()
    assert base is not None
    home = Path(tempfile.mkdtemp(prefix="coord-systemd-"))  # a short path, for its sockets
    cgroup = base / home.name
    cgroup.mkdir()
    manager: Systemd | None = None
    try:
        manager = Systemd(home, cgroup)
        yield manager
    finally:
        if manager is not None:
            manager.end()
        shutil.rmtree(home, ignore_errors=True)
