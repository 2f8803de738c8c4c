"""Run seeds: `python -m tests.simulation.run --seeds N [--first K] [--break NAME] [--jobs J]`."""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext

from tests.simulation import faults
from tests.simulation.checkers import violations
from tests.simulation.history import History
from tests.simulation.settings import draw
from tests.simulation.world import World
from tests.support.memory_store import MemoryDatabase


def run_seed(seed: int, database: type[MemoryDatabase] = MemoryDatabase) -> History:
    """Run the world of one seed to its end."""
    settings = draw(seed)
    world = World(settings, database)
    faults.schedule(world, faults.plan(settings))
    return world.run()
