"""The shop over HTTP: `python -m uvicorn docs.examples.shop.app:app`, and open http://127.0.0.1:8000.

Redis is a private one that comes with the extra `embedded`; `REDIS_URL` names another.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI
from fastapi import Path as InPath
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field

from am2z_trio import AM2ZError, QueueRuntime
from am2z_trio.contrib.asgi import JobStream, RuntimeDep, answer_error, lifespan, sse

from .work import Order, fulfil
from .work import lifespan as of_the_workers

PAGE = Path(__file__).with_name("page.html").read_text(encoding="utf-8")

url = os.environ.get("REDIS_URL")
runtime = QueueRuntime(url, embedded=url is None, lifespan=of_the_workers)
runtime.register(fulfil)

app = FastAPI(title="Shop", lifespan=lifespan(runtime))
app.add_exception_handler(AM2ZError, answer_error)  # no such order: 404, and so on


class Wanted(BaseModel):
    """What a buyer sends."""

    article: str = Field(max_length=40)
    quantity: int = Field(ge=1, le=50)


@app.get("/", response_class=HTMLResponse)
async def page() -> str:
    """The shop's one page."""
    return PAGE


@app.post("/orders", status_code=202)
async def order(wanted: Wanted, runtime: RuntimeDep) -> dict[str, str]:
    """Take an order."""
    job = await runtime.submit(fulfil, Order(article=wanted.article, quantity=wanted.quantity))
    return {"id": job.id}


OrderId = Annotated[str, InPath(pattern=r"^[0-9a-v]{19}-[0-9a-f]+$")]


@app.get("/orders/{id}/events", response_model=None)
async def follow(id: OrderId, runtime: RuntimeDep) -> JobStream:
    """Its buyer looks on; an order whose buyer leaves is cancelled."""
    return sse(await runtime.job(id), on_disconnect="cancel")


@app.get("/orders/{id}")
async def status(id: OrderId, runtime: RuntimeDep) -> dict[str, str]:
    """Where an order is."""
    return {"status": await (await runtime.job(id)).status()}
