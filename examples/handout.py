"""A hand-out with acknowledgement: documents in order, each at least once, never after its ack.

    GET  /batch    the next documents behind what was acknowledged
    POST /ack      {"lastId": 17}: everything up to 17 is done

What was acknowledged is the task's cursor, saved under its term: a node that has lost the task
cannot move it any more, so an acknowledgement that was answered with 200 is never forgotten.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from sqlalchemy import text

from coordinator import HeldTask, TokenLostError

NEXT = text("SELECT id, body FROM document WHERE id > :last_id ORDER BY id LIMIT :batch")


class Handout(BaseHTTPRequestHandler):
    """One connection of one reader."""

    task: HeldTask

    def do_GET(self) -> None:
        """Hand out the next documents."""
        with self.task.transaction() as connection:
            cursor = self.task.cursor_in(connection) or {"lastId": 0}
            values = {"last_id": cursor["lastId"], "batch": int(self.task.options["batch"])}
            rows = connection.execute(NEXT, values).mappings().all()
        self._answer(200, [dict(row) for row in rows])

    def do_POST(self) -> None:
        """Take an acknowledgement; 409 when this node does not hold the task any more."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            with self.task.transaction() as connection:
                known = self.task.cursor_in(connection) or {"lastId": 0}
                last = max(known["lastId"], int(asked["lastId"]))
                self.task.save_cursor(connection, {"lastId": last})
        except TokenLostError as error:
            self._answer(409, {"error": str(error)})
        else:
            self._answer(200, {"lastId": last})

    def log_message(self, *_: Any) -> None:
        """Say nothing: every request would be a line."""

    def _answer(self, status: int, answer: Any) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def run(context: Any) -> None:
    """Serve until the node is told to stop, or loses the task."""
    Handout.task = HeldTask()
    host, _, port = str(Handout.task.options["listen"]).rpartition(":")
    with HTTPServer((host, int(port)), Handout) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        context.stop_event.wait()
        server.shutdown()
