"""Peer that one writes in an hour: a session advisory lock, polled, around a program.

usage: lock_script.py CONNINFO KEY naive|checked COMMAND...
naive:   the lock is asked for each second, then the program runs to its end.
checked: besides, the connection is tried each second, the program is ended when that fails, and
         SIGTERM goes through to the program.
"""

import signal
import subprocess
import sys
import threading

import psycopg

conninfo, key, how, *command = sys.argv[1:]
each_second = threading.Event()
connection = psycopg.connect(conninfo, autocommit=True)
while connection.execute("SELECT pg_try_advisory_lock(%s)", [int(key)]).fetchone() != (True,):
    each_second.wait(1.0)
program = subprocess.Popen(command)
if how == "checked":
    signal.signal(signal.SIGTERM, lambda *_: program.terminate())
    while program.poll() is None:
        try:
            connection.execute("SELECT 1")
        except psycopg.Error:
            program.kill()
        each_second.wait(1.0)
sys.exit(program.wait())
