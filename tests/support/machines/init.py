"""The first process of a virtual machine: it starts programs, and tells of what they wrote down.

usage: init.py ADDRESS GATEWAY      (as process 1)

One connection at a time asks it, one line of JSON each way. It needs nothing but Python, and no
package: whatever goes wrong on the machine, it can still tell.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time

PORT = 7000
#: A turn is no longer than this, so that the dead do not lie about.
TURN_S = 0.2
LOG_MAX = 8000
NO_CHILD = 0


def network(address, gateway):
    """Bring the one card up: the machine has the address that its cable had."""
    for words in (
        ("link", "set", "lo", "up"),
        ("link", "set", "eth0", "up"),
        ("address", "add", f"{address}/24", "dev", "eth0"),
        ("route", "add", "default", "via", gateway),
    ):
        subprocess.run(["/bin/busybox", "ip", *words], check=True)


def start(argv, env, cwd, log):
    """Start a program in a session of its own."""
    os.makedirs(cwd, exist_ok=True)
    with open(log, "ab") as out:
        process = subprocess.Popen(
            argv,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    # Process 1 collects every process that dies, this one too.
    process.returncode = 0
    return process.pid


def collect():
    """Let the dead go: who has lost his parent is a child of process 1."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0] != NO_CHILD:
            pass
    except ChildProcessError:
        return


def lives(pid):
    """Say whether a process lives; one that nobody has collected yet does not."""
    collect()
    return os.path.exists(f"/proc/{pid}")


def log(path):
    """Return the end of a file."""
    with open(path, "rb") as file:
        file.seek(max(0, os.path.getsize(path) - LOG_MAX))
        return file.read().decode(errors="replace")


def moments(record):
    """Return the moments of a recorder's whole lines."""
    with open(record, "rb") as file:
        *lines, _ = file.read().split(b"\n")
    return [float(line.split()[3]) for line in lines]


def lines(record, after):
    """Tell of a recorder's lines: the last one up to a moment, and those after it."""
    found = moments(record) if os.path.exists(record) else []
    before = max((moment for moment in found if moment <= after), default=None)
    late = sorted(moment for moment in found if moment > after)
    edges = [late[0], late[-1]] if late else []
    return {"before": before, "count": len(late), "late": edges}


def forget(record):
    """Empty a recorder's file: who appends to it goes on at its beginning."""
    if os.path.exists(record):
        os.truncate(record, 0)


def clocks():
    """Return the moment by both clocks: one goes on while the machine is suspended."""
    return {
        "boottime": time.clock_gettime(time.CLOCK_BOOTTIME),
        "monotonic": time.clock_gettime(time.CLOCK_MONOTONIC),
    }


def step(seconds):
    """Correct the wall clock."""
    time.clock_settime(time.CLOCK_REALTIME, time.time() + seconds)


def kill(pid):
    """Kill a process, or with -1 all but this one."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def to_memory():
    """Suspend the machine to memory; returns when it is awake again."""
    with open("/sys/power/state", "w") as state:
        state.write("mem")


DOES = (start, lives, log, lines, forget, clocks, step, kill)


def obey(asked):
    """Do what was asked and return the answer."""
    try:
        return {"done": {does.__name__: does for does in DOES}[asked.pop("do")](**asked)}
    except (OSError, subprocess.SubprocessError) as error:
        return {"failed": str(error)}


def serve(door):
    """Answer one connection until it ends."""
    peer, _ = door.accept()
    peer.settimeout(TURN_S)
    rest = b""
    while True:
        try:
            more = peer.recv(65536)
        except TimeoutError:
            collect()
            continue
        if not more:
            return
        *asked, rest = (rest + more).split(b"\n")
        for line in asked:
            order = json.loads(line)
            if order["do"] == "to_memory":
                # The answer goes first: the next one is given by a machine that has slept.
                answer(peer, {"done": None})
                to_memory()
            else:
                answer(peer, obey(order))


def answer(peer, said):
    peer.sendall(json.dumps(said).encode() + b"\n")


def main():
    network(*sys.argv[1:])
    with socket.create_server(("", PORT)) as door:
        while True:
            serve(door)


if __name__ == "__main__":
    main()
