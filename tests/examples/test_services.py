"""Examples of services in the environment of `make examples`, on a database of their own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.nodes.processes import eventually
from tests.support.servers.postgres import free_port

ROOT = Path(__file__).parents[2]
OWN = ROOT / ".venv-examples"
WITHIN_S = 90.0

pytestmark = [pytest.mark.long, pytest.mark.real]


def program(name: str) -> str:
    path = OWN / "bin" / name
    if not path.exists():
        pytest.skip(f"{name} is not here: `make examples` makes its environment")
    return str(path)


class Service:
    """A process with its output."""

    def __init__(self, argv: list[str], environ: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                argv, env=environ, cwd=log.parent, stdout=out, stderr=subprocess.STDOUT
            )

    def said(self) -> str:
        return self.log.read_text()

    def wait_for(self, pattern: str) -> str:
        eventually(lambda: re.search(pattern, self.said()) is not None, WITHIN_S, self.said)
        found = re.search(pattern, self.said())
        assert found is not None
        return found[0]

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WITHIN_S)


@pytest.fixture
def environ(database) -> dict[str, str]:
    return os.environ | {
        "COORD_DATABASE_URL": database.conninfo,
        "COORD_DATABASE_SCHEMA": database.schema,
        "COORD_GROUP_ID": "orders",
        "COORD_HEARTBEAT_FREQUENCY": "0.3",
        "COORD_LIVENESS_CHECK_INTERVAL": "5",
        "PYTHONPATH": str(ROOT),
    }


@pytest.fixture
def start(environ, tmp_path) -> Iterator[Callable[..., Service]]:
    made: list[Service] = []

    def start(*argv: str, **more: str) -> Service:
        made.append(Service(list(argv), environ | more, tmp_path / f"{len(made)}.log"))
        return made[-1]

    yield start
    for each in made:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait()


def nothing_is_held(database) -> None:
    held = "SELECT group_id FROM token_holder WHERE session IS NOT NULL"
    assert database.query(held) == []


def test_fastapi(start, database):
    port = str(free_port())
    app = "examples.services.fastapi_app:app"
    service = start(program("uvicorn"), app, "--port", port, "--workers", "1")
    service.wait_for("Application startup complete")

    request = urllib.request.Request(f"http://127.0.0.1:{port}/reports/june", method="POST")
    with urllib.request.urlopen(request, timeout=WITHIN_S) as answer:
        assert answer.read() == b'{"report":"june"}'
    service.wait_for("report june is made")
    eventually(
        lambda: database.query("SELECT 1 FROM schedule WHERE fired_count > 1"),
        WITHIN_S,
        service.said,
    )
    service.end()

    nothing_is_held(database)


def test_gunicorn_with_fork(start, database):
    port = free_port()
    app = "examples.services.gunicorn_app"
    options = ["--preload", "--workers", "2", "--bind", f"127.0.0.1:{port}"]
    service = start(program("gunicorn"), *options, "--config", f"python:{app}", f"{app}:app")

    first = service.wait_for(r"tidy (\d+) term 1")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=WITHIN_S) as answer:
        assert re.fullmatch(rb"\d+ 1\n", answer.read())
    os.kill(int(first.split()[1]), signal.SIGKILL)
    second = service.wait_for(r"tidy (\d+) term 2")
    assert service.end() == 0

    assert first.split()[1] != second.split()[1]
    nothing_is_held(database)


def test_celery_prefork(start, database, tmp_path):
    # The transport of files that kombu has: what is sent lies where the worker looks.
    (tmp_path / "data_in").mkdir()
    (tmp_path / "data_out").symlink_to("data_in")
    broker, out = {"BROKER_URL": "filesystem://"}, tmp_path / "out"
    send = (
        "import examples.services.celery_app as it;"
        f"[it.settle.delay({str(out)!r}) for _ in range(8)]"
    )
    app = "examples.services.celery_app"
    worker = start(program("celery"), "-A", app, "worker", "--concurrency", "3", **broker)
    sender = start(program("python"), "-c", send, **broker)
    assert sender.process.wait(WITHIN_S) == 0, sender.said()
    eventually(lambda: out.exists() and out.read_text().count("end") == 8, WITHIN_S, worker.said)
    worker.end()

    lines = [line.split() for line in out.read_text().splitlines()]
    assert [line[0] for line in lines] == ["begin", "end"] * 8
    assert [int(line[2]) for line in lines[::2]] == list(range(1, 9))
    nothing_is_held(database)


def test_multiprocessing_with_spawn(start, database):
    service = start(sys.executable, "-m", "examples.services.pool")

    assert service.process.wait(WITHIN_S) == 0, service.said()
    assert sorted(re.findall(r"term (\d)", service.said())) == ["1", "2", "3", "4"]
    nothing_is_held(database)


def test_jupyter_with_its_running_loop(start, database, tmp_path):
    cells = (ROOT / "examples/services/notebook.py").read_text().split("# %%\n")[1:]
    script = tmp_path / "run.py"
    script.write_text(
        "import sys, nbformat; from nbclient import NotebookClient\n"
        f"cells = [nbformat.v4.new_code_cell(each) for each in {cells!r}]\n"
        "book = nbformat.v4.new_notebook(cells=cells)\n"
        "NotebookClient(book, kernel_name='python3', timeout=80).execute()\n"
        "print([out['text'] for c in book.cells for out in c.outputs if 'text' in out])\n"
    )
    service = start(program("python"), str(script))

    assert service.process.wait(WITHIN_S) == 0, service.said()
    assert "['awaited, term 1\\n', 'plain, term 2\\n']" in service.said()
    nothing_is_held(database)


def test_an_application_is_typed_for_pyright_too(tmp_path):
    application = ROOT / "tests/support/holders/typed_application.py"
    wrong = tmp_path / "wrong.py"
    wrong.write_text(application.read_text().replace("report(3)", 'report("3")'))
    argv = [program("pyright"), "--pythonpath", str(OWN / "bin/python")]

    right = subprocess.run([*argv, str(application)], cwd=ROOT, capture_output=True, text=True)
    bad = subprocess.run([*argv, str(wrong)], cwd=ROOT, capture_output=True, text=True)

    assert right.returncode == 0, right.stdout
    assert bad.returncode == 1
    assert "reportArgumentType" in bad.stdout
