"""A worker as jobsync's README has it for work that goes on: programs follow its tokens. A peer.

usage: jobsync_node.py NAME SETTINGS TASKS COMMAND...

SETTINGS is JSON: {"config": arguments of CoordinationConfig, "job": further ones of Job}; TASKS are
separated by commas. Run by the peers' own Python. A task's program runs while `can_claim_task` says
that the task is this node's: asked when jobsync reports a change, and each second besides. A worker
whose node jobsync has given up joins again, as a supervisor would have it do.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import threading

from jobsync import CoordinationConfig, Job, Task

LOOK_S = 1.0
STOP_MAX_S = 5.0


class Programs:
    """One program for each task that is ours."""

    def __init__(self, node, tasks, command):
        self._node, self._tasks, self._command = node, tasks, command
        self._running = {}
        self._started = 0

    def follow(self, job):
        """Stop what is no longer ours, and start what is."""
        owned = {task for task in self._tasks if job.can_claim_task(Task(task))}
        self._stop(self._running.keys() - owned)
        for task in sorted(owned - self._running.keys()):
            self._started += 1
            words = {"COORD_TASK": task, "COORD_NODE": self._node, "COORD_TERM": str(self._started)}
            self._running[task] = subprocess.Popen(self._command, env={**os.environ, **words})

    def stop(self):
        """Stop everything."""
        self._stop(set(self._running))

    def _stop(self, tasks):
        ending = [self._running.pop(task) for task in tasks]
        for program in ending:
            program.terminate()
        for program in ending:
            program.wait(STOP_MAX_S)


def main():
    name, settings_text, tasks, *command = sys.argv[1:]
    settings = json.loads(settings_text)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    told, changed = threading.Event(), threading.Event()

    def tell(*_):
        told.set()
        changed.set()

    signal.signal(signal.SIGTERM, tell)
    programs = Programs(name, tasks.split(","), command)
    config = CoordinationConfig(**settings["config"])
    while not told.is_set():
        with Job(
            name, coordination_config=config, on_rebalance=changed.set, **settings["job"]
        ) as job:
            while not told.is_set() and job.am_i_healthy():
                programs.follow(job)
                changed.wait(LOOK_S)
                changed.clear()
            programs.stop()


if __name__ == "__main__":
    main()
