"""A guarded program that writes down when it lives: one line every few ms, append only.

usage: recorder.py FILE        lines: node term pid boottime walltime
The kernel's clock is the same for all nodes of a test, so an overlap cannot hide.
"""

import os
import sys
import time

STEP_S = 0.005


def main() -> None:
    node, term, pid = os.environ["COORD_NODE"], os.environ["COORD_TERM"], os.getpid()
    fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    while True:
        moment = time.clock_gettime(time.CLOCK_BOOTTIME)
        os.write(fd, f"{node} {term} {pid} {moment:.6f} {time.time():.6f}\n".encode())
        time.sleep(STEP_S)


if __name__ == "__main__":
    main()
