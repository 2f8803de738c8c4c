"""`coord ui` as a process, for tests."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START_S = 60.0
ANSWER_S = 30.0


@dataclass(frozen=True)
class PageServer:
    """One page; `said` is what the process wrote to stderr."""

    process: subprocess.Popen[str]
    url: str
    said: list[str]

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.removeprefix("http://").rstrip("/").rpartition(":")
        return host, int(port)

    def asked(
        self, method: str, path: str, body: str | None = None, **headers: str
    ) -> tuple[int, dict[str, str], str]:
        """Make one request; return status, headers and text."""
        connection = http.client.HTTPConnection(*self.address, timeout=ANSWER_S)
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        try:
            connection.request(method, path, body, named)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        return answer.status, {key.lower(): value for key, value in answer.headers.items()}, text

    def document(self, path: str) -> Any:
        """Return the JSON of a path that is there."""
        status, _, text = self.asked("GET", path)
        assert status == 200, text
        return json.loads(text)

    def stop(self) -> int:
        """End it as an administrator does, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(START_S)


@contextmanager
def served(conninfo: str, schema: str, home: Path, *arguments: str) -> Iterator[PageServer]:
    """Run `coord ui` on a free port for the body of a `with`."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith("COORD_")}
    environ |= {"COORD_DATABASE_URL": conninfo, "COORD_DATABASE_SCHEMA": schema}
    command = [sys.executable, "-m", "coordinator.cli", "ui", "--timeout", "30"]
    process = subprocess.Popen(
        [*command, "--listen", "127.0.0.1:0", *arguments],
        cwd=home,
        env=environ,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    said: list[str] = []
    listener = threading.Thread(target=lambda: said.extend(process.stderr or ()), name="stderr")
    listener.start()
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url, f"the page has not started: {said}"
        yield PageServer(process, url, said)
    finally:
        process.kill()
        process.wait()
        listener.join()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
