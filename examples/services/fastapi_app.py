"""FastAPI: one worker of all runs the schedule. `uvicorn examples.services.fastapi_app:app`"""

from contextlib import asynccontextmanager

from fastapi import BackgroundTasks, FastAPI

from coordinator import AsyncCoordinator, AsyncJobContext

coordinator = AsyncCoordinator.from_config()  # COORD_DATABASE_URL names the database


@coordinator.every("1s", error_policy="LOG_AND_CONTINUE")
async def refresh(_: AsyncJobContext) -> None:
    """Run in one worker process at a time."""


@coordinator.exclusive("report", timeout="30s")
async def make(name: str) -> None:
    """Make a report, in one process at a time."""
    print(f"report {name} is made", flush=True)


@asynccontextmanager
async def lifespan(_app: FastAPI):  # type: ignore[no-untyped-def]
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
