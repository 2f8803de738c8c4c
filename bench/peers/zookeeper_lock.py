"""Peer that one writes with kazoo: its Lock around a program that is killed when in doubt.

usage: zookeeper_lock.py HOSTS SESSION_TIMEOUT_S COMMAND...

Run by the peers' own Python. As kazoo's documentation advises, a listener acts on SUSPENDED (no
connection, the lock may be lost) and on LOST (it is). The program is killed at the first of them:
to wait for LOST would keep it running while the server may already have given the lock away.
"""

import signal
import subprocess
import sys
import threading

from kazoo.client import KazooClient
from kazoo.protocol.states import KazooState

LOCK_PATH = "/bench/lock"
CONNECT_MAX_S = 15.0


class Guard:
    """Keeps the program from running while the session is in doubt or a stop was asked for."""

    def __init__(self, command):
        self._command = command
        self._lock = threading.RLock()
        self._doubt = False
        self._program = None

    def hear(self, state):
        """Take in the state of the session, which kazoo reports on a thread of its own."""
        with self._lock:
            self._doubt = state != KazooState.CONNECTED
            if self._doubt and self._program is not None:
                self._program.kill()

    def run(self):
        """Run the program to its end; None when the session was in doubt before it began."""
        with self._lock:
            if self._doubt:
                return None
            self._program = subprocess.Popen(self._command)
        return self._program.wait()

    def stop(self, *_):
        """Pass SIGTERM on; without a program there is nothing to wait for."""
        if self._program is None:
            raise SystemExit(0)
        self._program.terminate()


def main():
    hosts, timeout_s, *command = sys.argv[1:]
    guard = Guard(command)
    signal.signal(signal.SIGTERM, guard.stop)
    client = KazooClient(hosts, timeout=float(timeout_s))
    client.add_listener(guard.hear)
    client.start(CONNECT_MAX_S)
    try:
        lock = client.Lock(LOCK_PATH, "bench")
        lock.acquire()
        code = guard.run()
        if client.connected:
            lock.release()
    finally:
        client.stop()  # ends the session, and with it the lock, where the server can be reached
    return 1 if code is None else code


if __name__ == "__main__":
    sys.exit(main())
