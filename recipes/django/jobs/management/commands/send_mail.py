"""manage.py send_mail: sends what is due, until it is told to stop."""

import os
import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand


class Command(BaseCommand):
    """Sends mail for as long as this node is active."""

    help = "Send mail until SIGTERM."

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Send, and wait a second; a mail that was begun is finished before the end."""
        ended = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: ended.set())
        while not ended.is_set():
            self.stdout.write(
                f"sent by {os.environ['COORD_NODE']}, term {os.environ['COORD_TERM']}"
            )
            self.stdout.flush()
            ended.wait(1)
