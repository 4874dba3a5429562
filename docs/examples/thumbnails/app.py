"""The thumbnail service over HTTP: `python -m uvicorn docs.examples.thumbnails.app:app`, and open
http://127.0.0.1:8000. Programs send a picture by `curl --data-binary @photo.jpg http://127.0.0.1:8000/pictures`.

Redis is a private one that comes with the extra `embedded`; `REDIS_URL` names another. The pictures lie in
`pictures`, or where `PICTURES` says.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final
from uuid import uuid4

import anyio
from fastapi import FastAPI, HTTPException, Request
from fastapi import Path as InPath
from fastapi.responses import FileResponse, HTMLResponse

from am2z_trio import Processor, QueueRuntime, ResourceError
from am2z_trio.contrib.asgi import RuntimeDep, jobs, lifespan

from .work import FOLDER, MAX_WAITING, Picture, sample, shrink

PAGE: Final = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
MAX_BYTES: Final = 8 * 1024 * 1024
SHOWN: Final = 60
"""Thumbnails in the gallery."""
KEPT: Final = 4 * MAX_WAITING
"""Files, the newest: all that are shown or waited for, and some more."""

url = os.environ.get("REDIS_URL")
runtime = QueueRuntime(url, embedded=url is None)
runtime.register(shrink, sample)
FOLDER.mkdir(parents=True, exist_ok=True)

app = FastAPI(title="Thumbnails", lifespan=lifespan(runtime))
# How a job gets on, and how it has ended. Jobs are submitted by pictures alone, and nobody cancels another's.
LOOKING: Final = ("status", "result", "events")
app.mount(
    "/jobs", jobs(runtime, processors=[shrink, sample], authorize=lambda asked: asked.action in LOOKING)
)


@app.get("/", response_class=HTMLResponse)
async def page() -> str:
    """The service's one page."""
    return PAGE


@app.post("/pictures", status_code=202)
async def upload(request: Request, runtime: RuntimeDep) -> dict[str, str]:
    """Take a picture: the body is the file."""
    picture = Picture(name=uuid4().hex)
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_BYTES:
            raise HTTPException(413, f"a picture may have {MAX_BYTES >> 20} MiB at most")
    await anyio.Path(picture.upload).write_bytes(data)
    return await submitted(shrink, picture, runtime)


@app.post("/samples", status_code=202)
async def draw_one(runtime: RuntimeDep) -> dict[str, str]:
    """Have a picture drawn, for who has none at hand."""
    return await submitted(sample, Picture(name=uuid4().hex), runtime)


async def submitted(processor: Processor[Picture], picture: Picture, runtime: RuntimeDep) -> dict[str, str]:
    try:
        job = await runtime.submit(processor, picture, job_id=picture.name)
    except ResourceError:
        await anyio.Path(picture.upload).unlink(missing_ok=True)
        raise HTTPException(503, "too many pictures are waiting", {"Retry-After": "5"}) from None
    await anyio.to_thread.run_sync(tidy)
    return {"job": f"/jobs/{job.id}", "thumbnail": f"/pictures/{job.id}.jpg"}


@app.get("/pictures")
def gallery() -> list[str]:
    """The newest thumbnails."""
    return [f"/pictures/{file.name}" for file in newest("*.jpg")[:SHOWN]]


@app.get("/pictures/{name}.jpg", response_class=FileResponse)
def thumbnail(name: Annotated[str, InPath(pattern=r"^[0-9a-f]{32}$")]) -> Path:
    """One of them."""
    file = Picture(name=name).thumbnail
    if not file.exists():
        raise HTTPException(404, "there is no such thumbnail, or not yet")
    return file


def tidy() -> None:
    """Drop the oldest."""
    for file in newest("*")[KEPT:]:
        file.unlink(missing_ok=True)


def newest(pattern: str) -> list[Path]:
    """Files of the folder, the newest first."""
    ages = dict[Path, int]()
    for file in FOLDER.glob(pattern):
        with suppress(FileNotFoundError):  # dropped meanwhile
            ages[file] = file.stat().st_mtime_ns
    return sorted(ages, key=ages.__getitem__, reverse=True)
