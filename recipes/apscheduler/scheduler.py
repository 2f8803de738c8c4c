"""A job each second, on the active node alone."""

import signal

from apscheduler.schedulers.blocking import BlockingScheduler

import coordinator

held = coordinator.held()
scheduler = BlockingScheduler()


@scheduler.scheduled_job("interval", seconds=1)
def report() -> None:
    """Do nothing once the deadline has passed: the guardian is about to kill this process."""
    held.check()
    print(f"report by {held.node}, term {held.term}", flush=True)


signal.signal(signal.SIGTERM, lambda *_: scheduler.shutdown(wait=False))
scheduler.start()
