"""Starlette on Trio: `hypercorn --worker-class trio docs.examples.frameworks.with_starlette:app`."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

from am2z_trio import AM2ZError, LocalRuntime
from am2z_trio.contrib.asgi import (
    JobStream,
    answer_error,
    jobs,
    lifespan,
    runtime_of,
    sse,
    websocket,
)

from .work import count

runtime = LocalRuntime()
runtime.register(count)


async def start(request: Request) -> JSONResponse:
    """Begin to count."""
    job = await runtime_of(request).submit(count, int(request.path_params["most"]))
    return JSONResponse({"id": job.id}, 202)


async def follow(request: Request) -> JobStream:
    """Look on; who leaves ends it."""
    return sse(await runtime_of(request).job(request.path_params["id"]))


async def follow_by_socket(connection: WebSocket) -> None:
    """The same over a WebSocket."""
    job = await runtime_of(connection).job(connection.path_params["id"])
    await websocket(job).serve(connection)


app = Starlette(
    lifespan=lifespan(runtime),
    exception_handlers={AM2ZError: answer_error},
    routes=[
        Route("/counts/{most:int}", start, methods=["POST"]),
        Route("/counts/{id}/events", follow),
        WebSocketRoute("/counts/{id}/socket", follow_by_socket),
        Mount("/jobs", jobs(runtime, processors=[count], authorize=lambda asked: True)),
    ],
)
