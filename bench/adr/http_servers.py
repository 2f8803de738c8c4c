"""Servers that a node could use for its HTTP endpoints, beside what an agent has loaded anyway.

python -m bench.adr.http_servers

Own is coordinator/web/server.py; waitress and uvicorn are measured where they are installed. For
each: the memory and the CPU time that it adds to an agent, and how long a check takes while 1,000
clients have sent half a request. docs/adr/0039 quotes the figures.
"""

from __future__ import annotations

import http.client
import importlib.util
import os
import select
import socket
import subprocess
import sys
import time
from pathlib import Path

SLOW_CLIENTS, CHECKS, GIVE_UP_S = 1000, 20, 5.0
SERVERS = ("own", "waitress", "uvicorn")


def serve(kind: str, port: int) -> None:
    """Serve 200 for every path until stdin ends; say before and after what it costs."""
    import coordinator.app.node.compose  # noqa: F401 - what every agent has loaded

    before = _resident_kb()
    began_s = time.process_time()
    if kind == "own":
        from coordinator.web.http1 import Reply
        from coordinator.web.server import Server

        Server("127.0.0.1", port, lambda *_: Reply(200, {"active": True}, 7))
        _ready(before, began_s)
    elif kind == "waitress":
        import threading

        from waitress import create_server

        def wsgi(_environ, start):
            start("200 OK", [("Content-Type", "application/json")])
            return [b'{"active": true}']

        server = create_server(wsgi, host="127.0.0.1", port=port)
        threading.Thread(target=server.run, daemon=True).start()
        _ready(before, began_s)
    else:
        import threading

        import uvicorn
        from starlette.applications import Starlette
        from starlette.responses import JSONResponse
        from starlette.routing import Route

        async def active(_request):
            return JSONResponse({"active": True})

        app = Starlette(routes=[Route("/active", active)])
        config = uvicorn.Config(app, port=port, log_level="critical", limit_concurrency=128)
        server = uvicorn.Server(config)
        threading.Thread(target=server.run, daemon=True).start()
        while not server.started:
            select.select([], [], [], 0.01)
        _ready(before, began_s)
    sys.stdin.read()
    os._exit(0)


def _ready(before_kb: int, began_s: float) -> None:
    print(_resident_kb() - before_kb, round((time.process_time() - began_s) * 1000), flush=True)


def _resident_kb() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("\nVmRSS:")[2].split()[0])


def measure(kind: str) -> str:
    """Return one line of the table."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "bench.adr.http_servers", kind, str(port)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    added_kb, cpu_ms = child.stdout.readline().split()
    slow = []
    try:
        for _ in range(SLOW_CLIENTS):
            client = socket.create_connection(("127.0.0.1", port), timeout=GIVE_UP_S)
            client.sendall(b"GET /active HTTP/1.1\r\nX:")
            slow.append(client)
        answers = [check(port) for _ in range(CHECKS)]
    finally:
        for client in slow:
            client.close()
        child.kill()
        child.wait()
    good = sorted(took_s for status, took_s in answers if status == 200)
    slowest = f"{good[len(good) // 2] * 1000:.1f}/{good[-1] * 1000:.1f} ms" if good else "-"
    return f"{kind:10} {int(added_kb):8} kB {cpu_ms:>6} ms {len(good):3}/{CHECKS} {slowest}"


def check(port: int) -> tuple[int, float]:
    """Ask /active once; return the status, 0 for none, and how long it took."""
    began_at = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=GIVE_UP_S)
    try:
        connection.request("GET", "/active")
        status = connection.getresponse().status
    except OSError:
        status = 0
    finally:
        connection.close()
    return status, time.monotonic() - began_at


def main() -> None:
    """Measure all that are installed."""
    if len(sys.argv) > 1:
        serve(sys.argv[1], int(sys.argv[2]))
    print(f"{'server':10} {'memory':>11} {'CPU':>9} answered, p50/longest")
    for kind in SERVERS:
        if kind == "own" or importlib.util.find_spec(kind):
            print(measure(kind), flush=True)


if __name__ == "__main__":
    main()
