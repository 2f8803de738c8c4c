"""Polls for updates, handles them in order, and remembers how far it has come."""

import json
import os
import threading
import urllib.error
import urllib.request
from pathlib import Path

import coordinator

held = coordinator.held()
saved = Path(os.environ["COORD_STATE_FILE"])
offset = int(saved.read_text()) if saved.exists() else 0

while True:
    held.check()
    url = f"{os.environ['API']}/getUpdates?offset={offset}&timeout=20"
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            updates = json.load(answer)["result"]
    except urllib.error.HTTPError as error:
        if error.code != 409:  # the server has not noticed yet that the former poller is gone
            raise
        updates = threading.Event().wait(1) or []
    for update in updates:
        print(f"update {update['update_id']} by {held.node}, term {held.term}", flush=True)
        offset = update["update_id"] + 1
    if updates:
        held.state.put(str(offset).encode())
