"""Litestar: `python -m uvicorn docs.examples.frameworks.with_litestar:app`."""

from __future__ import annotations

from typing import Any

from litestar import Litestar, Request, Response, asgi, get, post
from litestar.response import Stream

from am2z_trio import JobNotFoundError, LocalRuntime
from am2z_trio.contrib.asgi import jobs, lifespan, runtime_of, sse

from .work import count

runtime = LocalRuntime()
runtime.register(count)


@post("/counts/{most:int}", status_code=202)
async def start(request: Request[Any, Any, Any], most: int) -> dict[str, str]:
    """Begin to count."""
    return {"id": (await runtime_of(request).submit(count, most)).id}


@get("/counts/{id:str}/events")
async def follow(request: Request[Any, Any, Any], id: str) -> Stream:
    """Look on; who leaves ends it."""
    return Stream(sse(await runtime_of(request).job(id)).chunks(), media_type="text/event-stream")


def no_such_job(request: Request[Any, Any, Any], error: JobNotFoundError) -> Response[dict[str, str]]:
    """What the engine raises, as an answer."""
    return Response({"detail": error.message}, status_code=404)


app = Litestar(
    lifespan=[lifespan(runtime)],
    exception_handlers={JobNotFoundError: no_such_job},
    route_handlers=[
        start,
        follow,
        asgi("/jobs", is_mount=True)(jobs(runtime, processors=[count], authorize=lambda asked: True)),
    ],
)
