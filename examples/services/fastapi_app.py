"""FastAPI: one process of all workers runs the schedule; each request may hold a token.

uvicorn examples.services.fastapi_app:app --workers 4     (COORD_DATABASE_URL names the database)
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import BackgroundTasks, FastAPI

from coordinator import AsyncCoordinator, AsyncJobContext

coordinator = AsyncCoordinator.from_config()
runs: list[int] = []


@coordinator.every("1s", name="refresh", error_policy="LOG_AND_CONTINUE")
async def refresh(context: AsyncJobContext) -> None:
    """Run in one worker process at a time."""
    runs.append(context.term)


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Run the schedules while this worker serves."""
    async with coordinator:
        await coordinator.start()
        yield  # leaving the block stops the schedules and ends the session


app = FastAPI(lifespan=lifespan)


@app.post("/reports/{name}")
async def report(name: str, background: BackgroundTasks) -> dict[str, str]:
    """Answer at once, and make the report afterwards."""
    background.add_task(make, name)
    return {"report": name}


@coordinator.exclusive("report", timeout="30s")
async def make(name: str) -> None:
    """Make a report, in one process at a time."""
    print(f"report {name} is made", flush=True)
