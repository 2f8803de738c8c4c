"""Writes a note each fifth of a second into the database that its argument names."""

import os
import signal
import sqlite3
import sys
import threading

ended = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: ended.set())
notes = sqlite3.connect(sys.argv[1], isolation_level=None)
notes.execute("PRAGMA journal_mode = WAL")
notes.execute("CREATE TABLE IF NOT EXISTS note (id INTEGER PRIMARY KEY, node TEXT, term INTEGER)")
while not ended.wait(0.2):
    values = (os.environ["COORD_NODE"], int(os.environ["COORD_TERM"]))
    notes.execute("INSERT INTO note (node, term) VALUES (?, ?)", values)
    (count,) = notes.execute("SELECT count(*) FROM note").fetchone()
    print(f"{count} notes, node {values[0]}, term {values[1]}", flush=True)
