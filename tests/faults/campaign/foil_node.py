"""The origin's pattern, restated: a node that coordinates as its SQL did, to be judged beside ours.

usage: foil_node.py NAME RECORD SITE CONNINFO LIVENESS_S HEARTBEAT_S

Every node writes its heartbeat with the server's time, reads the token's row, and compares the
holder's last heartbeat with the server's clock. When that is too old, or the row names nobody, or
names the node itself, the node writes its own name into the row: one upsert without a condition,
READ COMMITTED. The program runs while the node's last look named it, and nothing stops it between
two looks. There is no fence; who believes to hold writes.
"""

import os
import sys
import threading
import time

BEAT = (
    "INSERT INTO origin_health VALUES ('orders', %s, now()) ON CONFLICT (group_id, task_id)"
    " DO UPDATE SET last_heartbeat = excluded.last_heartbeat"
)
LOOK = (
    "SELECT token.task_id, token.term,"
    " coalesce(now() - health.last_heartbeat > make_interval(secs => %s), true)"
    " FROM origin_token AS token LEFT JOIN origin_health AS health USING (group_id, task_id)"
)
TAKE = (
    "INSERT INTO origin_token VALUES ('orders', %s, %s, now()) ON CONFLICT (group_id)"
    " DO UPDATE SET task_id = excluded.task_id, term = excluded.term,"
    " acquired_at = excluded.acquired_at"
)
NEXT = "SELECT coalesce(max(number), 0) + 1 FROM campaign_unit"
WRITE = (
    "INSERT INTO campaign_unit (number, node, term, session, pid, attempt)"
    " VALUES (%s, %s, %s, %s, %s, %s)"
)
STEP_S = 0.005
UNIT_EVERY_S = 0.025


def boottime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Node:
    """One node: a thread that coordinates, one that works, and one that writes units."""

    def __init__(self, name: str, record: str, conninfo: str, liveness_s: float, beat_s: float):
        self._name, self._conninfo = name, conninfo
        self._liveness_s, self._beat_s = liveness_s, beat_s
        self._fd = os.open(record, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._term: int | None = None  #: while this node believes to hold
        self._attempt = 0

    def live(self) -> None:
        """Start the working threads, and coordinate for ever."""
        for work in (self._work, self._write_units):
            threading.Thread(target=work, daemon=True).start()
        with self._connect() as connection:
            while True:
                self._term = self._coordinate(connection)
                time.sleep(self._beat_s)

    def _connect(self):
        import psycopg

        return psycopg.connect(self._conninfo, autocommit=True)

    def _coordinate(self, connection) -> int | None:
        connection.execute(BEAT, [self._name])
        row = connection.execute(LOOK, [self._liveness_s]).fetchone()
        holder, term, dead = row or ("", 0, True)
        if holder == self._name and self._term is not None:
            return int(term)
        if not dead and holder != self._name:
            return None
        connection.execute(TAKE, [self._name, term + 1])
        return int(term) + 1

    def _who(self, term: int) -> str:
        # One life of the process and one term are what the origin has of a session.
        return f"{self._name} {term} {self._name}-{os.getpid()} {os.getpid()}"

    def _work(self) -> None:
        began, before = boottime(), None
        while True:
            time.sleep(STEP_S)
            ended, term = boottime(), self._term
            if term is not None:
                since = began if term == before else ended
                os.write(self._fd, f"U {self._who(term)} {since:.6f} {ended:.6f}\n".encode())
            began, before = ended, term

    def _write_units(self) -> None:
        with self._connect() as connection:
            while True:
                time.sleep(UNIT_EVERY_S)
                if self._term is not None:
                    self._write_unit(connection, self._term)

    def _write_unit(self, connection, term: int) -> None:
        self._attempt += 1
        who, began = self._who(term), boottime()
        with connection.transaction():
            (number,) = connection.execute(NEXT).fetchone()
            self._say(f"B {who} {self._attempt} {number} {began:.6f}")
            row = [number, self._name, term, f"{self._name}-{os.getpid()}", os.getpid()]
            connection.execute(WRITE, [*row, self._attempt])
        self._say(f"E {who} {self._attempt} {boottime():.6f} ok")

    def _say(self, line: str) -> None:
        os.write(self._fd, f"{line}\n".encode())


def main() -> None:
    name, record, site, conninfo, liveness_s, beat_s = sys.argv[1:]
    sys.path.append(site)
    Node(name, record, conninfo, float(liveness_s), float(beat_s)).live()


if __name__ == "__main__":
    main()
