"""Each recipe, as its README says: two nodes, one is killed, the other goes on."""

from __future__ import annotations

import http.server
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.recipes.conftest import RECIPES, Recipe
from tests.support.nodes.processes import RunningNode, eventually
from tests.support.servers.postgres import free_port

pytestmark = pytest.mark.real
Copied = Callable[[str], Recipe]


def test_apscheduler_runs_its_jobs_on_the_active_node(recipe: Copied) -> None:
    recipe("apscheduler").takes_over("report by {node}, term {term}")


def test_a_program_in_node(recipe: Copied) -> None:
    if shutil.which("node") is None:
        pytest.skip("there is no `node`: install nodejs")
    recipe("node").takes_over("work by {node}, term {term}")


def test_a_program_in_go_reports_progress(recipe: Copied, tmp_path) -> None:
    if shutil.which("go") is None:
        pytest.skip("there is no `go`: install golang-go")
    go = recipe("go")
    environ = {**os.environ, "GOCACHE": str(tmp_path / "cache"), "GO111MODULE": "off"}
    subprocess.run(["go", "build", "worker.go"], cwd=go.bed.path, env=environ, check=True)

    first, _ = go.takes_over("work by {node}, term {term}")

    assert "HUNG" not in first.said()


def test_any_binary_with_a_health_check(recipe: Copied) -> None:
    """The binary is a stand-in; both nodes are on one machine, and so have one port."""
    collector = recipe("otelcol")
    port = str(free_port())
    for name, delay in (("collector.yaml", None), ("Config.toml", "initialDelay = 10")):
        path = collector.bed.path / name
        text = path.read_text()
        assert "13133" in text
        text = text.replace("13133", port)
        path.write_text(text.replace(delay, "initialDelay = 0.1") if delay else text)

    _, second = collector.takes_over("scrape by {node}, term {term}")

    collector.wait_for(second, "checked on node-2")


class Updates:
    """A chat service: updates by number, 409 for a second poller, and a note of what was asked."""

    def __init__(self) -> None:
        self.next_id, self.asked, self.refused = 1, [], 0
        self._asking = False
        self._changed = threading.Condition()
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = service.answer(int(parse_qs(urlsplit(self.path).query)["offset"][0]))
                self.send_response(200 if body else 409)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def answer(self, offset: int) -> bytes:
        """Answer with the updates from the offset on, after a moment; a second poller gets none."""
        with self._changed:
            if self._asking:
                self.refused += 1
                return b""
            self._asking = True
            self.asked.append(offset)
            self._changed.wait_for(lambda: self.next_id > offset, 0.2)
            self._asking = False
            found = [{"update_id": number} for number in range(max(offset, 1), self.next_id)]
        return json.dumps({"ok": True, "result": found}).encode()

    def add(self, count: int) -> None:
        """Let so many updates happen."""
        with self._changed:
            self.next_id += count
            self._changed.notify_all()

    def end(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def updates() -> Iterator[Updates]:
    made = Updates()
    yield made
    made.end()


def test_a_long_poller_goes_on_where_the_former_one_was(recipe: Copied, updates: Updates) -> None:
    poller = recipe("poller")
    updates.add(3)
    first = poller.start("node-1", API=updates.url)
    poller.wait_for(first, "update 3 by node-1, term 1")
    # It asks from 4 on only after it has saved that it is there.
    eventually(lambda: updates.asked[-1] == 4, 20, "the place is saved")
    second = poller.start("node-2", API=updates.url)
    poller.bed.wait_for_standbys(1)

    first.send(signal.SIGKILL, "guardian")
    updates.add(2)

    poller.wait_for(second, "update 5 by node-2, term 2")
    handled = [line for line in second.said().splitlines() if line.startswith("update ")]
    assert handled[-1] == "update 5 by node-2, term 2"
    assert not any(line.startswith(("update 1 ", "update 2 ", "update 3 ")) for line in handled)


def test_the_line_of_the_crontab_runs_once_and_again_after_a_death(
    recipe: Copied, tmp_path
) -> None:
    """Replaced are the job's path, when it is run again, and the slots: no new one may come."""
    cron = recipe("cron")
    cron.bed.liveness_s = 3.0
    (line,) = (RECIPES / "cron/crontab").read_text().splitlines()
    assert line in (RECIPES / "cron/README.md").read_text()
    job, ran = tmp_path / "report", tmp_path / "ran"
    job.write_text(f'#!/bin/sh\necho "$COORD_NODE $COORD_TERM" >> {ran}\nexec sleep "$LONG"\n')
    job.chmod(0o755)
    line = line.replace("/usr/local/bin/report", str(job)).replace("after 30s", "after 0.2s")
    words = shlex.split(line)
    # This hour's slot began two minutes ago: a slot is not made up for once the next one has come.
    minute = (datetime.now(UTC).minute - 2) % 60
    words = [f"{minute} * * * *" if word == "*/5 * * * *" else word for word in words]
    assert f"{minute} * * * *" in words
    extra = ["--late", "6m", "--early", "0", "--spread", "0"]
    command = [sys.executable, "-m", "coordinator.cli", *words[6:-2], *extra, *words[-2:]]

    def environ(machine: str, long_s: str) -> dict[str, str]:
        return cron.bed.command_of(machine, env={"LONG": long_s})[1]

    with subprocess.Popen(command, env=environ("m1", "600")) as first:
        node = RunningNode("m1", first, tmp_path / "m1.log")
        eventually(ran.exists, 30, "the first machine runs the job")
        node.send(signal.SIGKILL, "all")
        first.wait(10)
    done = subprocess.run(command, env=environ("m2", "0"), timeout=60, check=False)

    assert done.returncode == 0
    assert [one.split()[0] for one in ran.read_text().splitlines()] == ["m1", "m2"]


def test_every_recipe_is_short_and_listed() -> None:
    """At most 30 lines of code in one file; the list of recipes names each folder."""
    index = (RECIPES / "README.md").read_text()
    for folder in (path for path in RECIPES.iterdir() if path.is_dir()):
        files = [path for path in folder.rglob("*") if path.is_file() and path.name != "README.md"]
        assert f"]({folder.name}/README.md)" in index
        assert (folder / "README.md").is_file()
        lengths = {path.name: path.read_text().count("\n") for path in files}
        assert max(lengths.values()) <= 30, lengths
