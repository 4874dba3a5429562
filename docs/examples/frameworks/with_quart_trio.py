"""Quart-Trio: `python -m hypercorn --worker-class trio docs.examples.frameworks.with_quart_trio:app`."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from quart import Response, request
from quart_trio import QuartTrio

from am2z_trio import JobNotFoundError, LocalRuntime
from am2z_trio.contrib.asgi import sse

from .work import count

runtime = LocalRuntime()
runtime.register(count)
app = QuartTrio(__name__)


@app.errorhandler(JobNotFoundError)
async def no_such_job(error: JobNotFoundError) -> tuple[dict[str, str], int]:
    """What the engine raises, as an answer."""
    return {"detail": error.message}, 404


@app.while_serving
async def with_runtime() -> AsyncGenerator[None, None]:
    """The runtime lives as long as the application does."""
    async with runtime:
        yield


@app.post("/counts/<int:most>")
async def start(most: int) -> tuple[dict[str, str], int]:
    """Begin to count."""
    job = await runtime.submit(count, most)
    return {"id": job.id}, 202


@app.get("/counts/<id>/events")
async def follow(id: str) -> Response:
    """Look on; who leaves ends it."""
    last = request.headers.get("Last-Event-ID", "")
    if last == "end":
        return Response(status=204)
    response = Response(sse(await runtime.job(id)).chunks(last), content_type="text/event-stream")
    response.timeout = None
    return response


@app.get("/counts/<id>")
async def status(id: str) -> dict[str, str]:
    """Where it is."""
    return {"status": await (await runtime.job(id)).status()}
