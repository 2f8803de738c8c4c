"""Loads, waits at its gate, and acts once its node is active."""

import os
import signal

import coordinator

print("loaded", os.environ["COORD_NODE"], flush=True)

opened = coordinator.gate()  # TokenLostError: the gate is closed for good

print("acts", os.environ["COORD_NODE"], "term", opened.term, flush=True)
signal.pause()
