"""The guarded program of the campaign: units of work of its own, and units under the fence.

usage: worker.py RECORD SITE SCHEMA [--deaf] [CONNINFO]     lines: see history.py
Starts with `python -S`: its first line comes before anything is imported from SITE. Its first
process writes a line every few ms; a second one writes fenced units, so that an answer that does
not come holds up no line. With --deaf SIGTERM does not end it: it lives to the deadline. With
CAMPAIGN_UNFENCED=1 its units are written without the fence.
"""

import os
import signal
import sys
import time

STEP_S = 0.005
FENCED_EVERY_S = 0.025
AGAIN_S = 0.05


def boottime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def main() -> None:
    arguments = [word for word in sys.argv[1:] if word != "--deaf"]
    record, site, schema, conninfo = arguments
    if "--deaf" in sys.argv:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    who = " ".join(os.environ[key] for key in ("COORD_NODE", "COORD_TERM", "COORD_SESSION"))
    who += f" {os.getpid()}"
    fd = os.open(record, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    began = boottime()
    os.write(fd, f"U {who} {began:.6f} {boottime():.6f}\n".encode())
    if os.fork() == 0:
        sys.path.append(site)
        fenced = os.environ.get("CAMPAIGN_UNFENCED") != "1"
        Fenced(fd, who, schema, conninfo, fenced).work()
    while True:
        time.sleep(STEP_S)
        ended = boottime()
        os.write(fd, f"U {who} {began:.6f} {ended:.6f}\n".encode())
        began = ended


class Fenced:
    """Writes the next number into a table that knows no constraint: the fence alone protects it."""

    def __init__(self, fd: int, who: str, schema: str, conninfo: str, fenced: bool) -> None:
        import psycopg

        self._psycopg, self._fd, self._who, self._conninfo = psycopg, fd, who, conninfo
        node, term, session, pid = who.split()
        self._row = {"node": node, "term": int(term), "session": session, "pid": int(pid)}
        self._fence = f"SELECT {schema}.coord_fence(%s, %s, %s)" if fenced else ""
        self._next = f"SELECT coalesce(max(number), 0) + 1 FROM {schema}.campaign_unit"
        self._insert = (
            f"INSERT INTO {schema}.campaign_unit (number, node, term, session, pid, attempt)"
            " VALUES (%(number)s, %(node)s, %(term)s, %(session)s, %(pid)s, %(attempt)s)"
        )
        self._attempt, self._doubtful = 0, False

    def work(self) -> None:
        """Write unit after unit; a lost connection is replaced."""
        while True:
            try:
                with self._psycopg.connect(self._conninfo, autocommit=True) as connection:
                    connection.add_notice_handler(self._noticed)
                    while True:
                        self.write_one(connection)
                        time.sleep(FENCED_EVERY_S)
            except self._psycopg.Error:
                time.sleep(AGAIN_S)

    def write_one(self, connection) -> None:
        """Write one unit; say what became of it before an error goes on."""
        self._attempt += 1
        self._doubtful = False
        began, outcome = boottime(), "fail"
        connection.execute("BEGIN")
        if self._fence:
            holding = [os.environ["COORD_GROUP"], self._row["term"], self._row["session"]]
            connection.execute(self._fence, holding)
        (number,) = connection.execute(self._next).fetchone()
        self._say(f"B {self._who} {self._attempt} {number} {began:.6f}")
        try:
            row = self._row | {"number": number, "attempt": self._attempt}
            connection.execute(self._insert, row)
            outcome = "unknown"
            connection.execute("COMMIT")
            outcome = "unknown" if self._doubtful else "ok"
        finally:
            self._say(f"E {self._who} {self._attempt} {boottime():.6f} {outcome}")

    def _noticed(self, _notice) -> None:
        # A cancelled wait for the synchronous standby is reported as a success with a warning.
        self._doubtful = True

    def _say(self, line: str) -> None:
        os.write(self._fd, f"{line}\n".encode())


if __name__ == "__main__":
    main()
