"""A FastAPI application whose jobs are looked at in all ways there are, for real servers to serve."""

from __future__ import annotations

from typing import Any

import anyio
from fastapi import FastAPI, WebSocket

from am2z_trio import AM2ZError, Context, LocalRuntime, processor
from am2z_trio.contrib.asgi import (
    JobStream,
    OnDisconnect,
    RuntimeDep,
    answer_error,
    jobs,
    lifespan,
    sse,
    websocket,
)


@processor
async def count(most: int, ctx: Context) -> int:
    for n in range(most):
        await ctx.update_progress((n + 1) / most)
        await anyio.sleep(0.01)
    return most


runtime = LocalRuntime(shutdown_grace=0, event_history=100_000)
runtime.register(count)
app = FastAPI(lifespan=lifespan(runtime))
app.add_exception_handler(AM2ZError, answer_error)


@app.get("/")
async def root() -> dict[str, bool]:
    return {"ok": True}


@app.post("/counts/{most}")
async def begin(most: int, runtime: RuntimeDep) -> dict[str, str]:
    return {"id": (await runtime.submit(count, most)).id}


@app.get("/counts/{id}")
async def status(id: str, runtime: RuntimeDep) -> dict[str, Any]:
    return {"status": await (await runtime.job(id)).status()}


def _asked(leave: bool) -> OnDisconnect:
    return "leave" if leave else "cancel"


@app.get("/counts/{id}/events", response_model=None)
async def events(id: str, runtime: RuntimeDep, leave: bool = False) -> JobStream:
    return sse(await runtime.job(id), on_disconnect=_asked(leave))


@app.websocket("/counts/{id}/socket")
async def socket(id: str, connection: WebSocket, runtime: RuntimeDep, leave: bool = False) -> None:
    await websocket(await runtime.job(id), on_disconnect=_asked(leave)).serve(connection)


app.mount("/jobs", jobs(runtime, processors=[count], authorize=lambda asked: True))
