"""One job a second for Celery's workers; `BROKER` is any URL that Celery knows."""

import json
import os

from celery import Celery

app = Celery("jobs", broker=os.environ.get("BROKER", "redis://localhost"))
app.conf.broker_transport_options = json.loads(os.environ.get("BROKER_OPTIONS", "{}"))
term = int(os.environ.get("COORD_TERM", "0"))
app.conf.beat_schedule = {
    "report": {"task": "jobs.report", "schedule": 1.0, "kwargs": {"term": term}},
}


@app.task
def report(term: int) -> None:
    """Do the work; a worker refuses a term below the highest that it has seen."""
    print(f"report of term {term}")
