"""Jupyter: its loop is running already, so a cell awaits; a plain cell uses a Coordinator.

Each part between the marks is one cell.
"""

# %%
from coordinator import AsyncCoordinator, Coordinator

coordinator = AsyncCoordinator.from_config()

# %%
async with coordinator.token("notebook", timeout="30s") as token:
    print("awaited, term", token.term)

# %%
await coordinator.close()  # noqa: F704

# %%
with Coordinator.from_config() as plain, plain.token("notebook", timeout="30s") as held:
    print("plain, term", held.term)
