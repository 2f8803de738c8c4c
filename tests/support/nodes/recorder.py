"""A guarded program that writes down when it lives: one line every few ms, append only.

usage: recorder.py FILE        lines: node term pid boottime walltime
Where it is told to report progress, it does so while it lives.
The kernel's clock is the same for all nodes of a test, so an overlap cannot hide.
"""

import os
import socket
import sys
import time

STEP_S = 0.005
#: Steps from one report of progress to the next.
REPORT_STEPS = 20


def main() -> None:
    node, term, pid = os.environ["COORD_NODE"], os.environ["COORD_TERM"], os.getpid()
    fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    address = os.environ.get("NOTIFY_SOCKET", "").replace("@", "\0", 1)
    line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if address else None
    steps = 0
    while True:
        if line is not None and steps % REPORT_STEPS == 0:
            line.sendto(b"WATCHDOG=1", address)
        steps += 1
        moment = time.clock_gettime(time.CLOCK_BOOTTIME)
        os.write(fd, f"{node} {term} {pid} {moment:.6f} {time.time():.6f}\n".encode())
        time.sleep(STEP_S)


if __name__ == "__main__":
    main()
