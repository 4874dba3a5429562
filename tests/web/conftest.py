"""The console over a real Redis with a worker, and programs that ask it in the name of each role.

```python
async def test_…(open_site):
    async with open_site() as site:
        page = await site.as_("viewer").get("/queues")
```
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import httpx
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.requests import Request

from am2z_trio import JobOptions, QueueOptions, QueueRuntime, RetryPolicy, processor
from am2z_trio.admin import ROLES, Principal
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.web import console
from am2z_trio.web.application import application
from am2z_trio.web.routes import Route
from am2z_trio.web.view import Console
from tests.support.waiting import PATIENCE

BASE = "http://127.0.0.1"
OURS = {"Sec-Fetch-Site": "same-origin"}
"""What a browser adds to what a page of the console asks for."""

_numbers = itertools.count()


@processor(name="charge", queue=QueueOptions(global_concurrency=1))
async def charge(n: int) -> int:
    """Runs until it is cancelled; one at a time, so that others wait."""
    await anyio.sleep_forever()
    return n


@processor(name="price", retry=RetryPolicy(max_attempts=1))
async def price(n: int) -> int:
    """Completes, and fails for good where the number is negative."""
    if n < 0:
        raise ValueError(f"no price for {n}")
    return n * 2


class Look(msgspec.Struct):
    """What an event says."""

    state: str
    text: str
    parts: dict[str, str]


Seen = tuple[Look, str]
"""An event, and its id."""


class Stream:
    """An event stream as it comes to one browser."""

    def __init__(self) -> None:
        self.begun = anyio.Event()
        self.status = 0
        self.left = False
        self._gone = anyio.Event()
        self._into, self._out = anyio.create_memory_object_stream[bytes](1000)

    async def run(self, app: Starlette, path: str, role: str, last_id: str) -> None:
        """Ask for it, and take what comes."""
        path, _, query = path.partition("?")
        names = {"host": "127.0.0.1", "accept": "text/event-stream", "x-test-role": role}
        if last_id:
            names["last-event-id"] = last_id
        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in names.items()],
        }

        async def receive() -> dict[str, Any]:
            await self._gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                self.status = message["status"]
                self.begun.set()
            elif message["body"]:
                self._into.send_nowait(message["body"])

        await app(scope, receive, send)
        self._into.close()
        self.left = True

    async def next(self) -> Seen:
        """The next event. Raises `anyio.EndOfStream` at the end."""
        with anyio.fail_after(PATIENCE):
            data = await self._out.receive()
        lines = dict(line.split(": ", 1) for line in data.decode().strip().split("\n"))
        return msgspec.json.decode(lines["data"], type=Look), lines["id"]

    def leave(self) -> None:
        """Close the browser's tab."""
        self._gone.set()

    def close(self) -> None:
        """Nothing is read any more."""
        self._into.close()
        self._out.close()


class Site:
    """A console, and what is to be seen in it: `jobs` has an id for each of `active`, `waiting`, `delayed`,
    `completed` and `dead`."""

    def __init__(self, runtime: Runtime, app: Starlette, stack: AsyncExitStack) -> None:
        self.runtime = runtime
        self.app = app
        self.jobs: dict[str, str] = {}
        self.place: dict[str, str] = {}
        """What another runtime of the same namespace is made with: `redis` and `prefix`."""
        self._stack = stack
        self._clients: dict[str, httpx.AsyncClient] = {}

    @asynccontextmanager
    async def listen(self, path: str, *, role: str = "viewer", last_id: str = "") -> AsyncIterator[Stream]:
        """Look at a page live, as a browser of this role does."""
        stream = Stream()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(stream.run, self.app, path, role, last_id)
                with anyio.fail_after(PATIENCE):
                    await stream.begun.wait()
                yield stream
                stream.leave()
        finally:
            stream.close()

    def as_(self, role: str) -> httpx.AsyncClient:
        """A browser of somebody of this role."""
        if role not in self._clients:
            headers = {"X-Test-Role": role, **OURS}
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=True)
            self._clients[role] = httpx.AsyncClient(transport=transport, base_url=BASE, headers=headers)
            self._stack.push_async_callback(self._clients[role].aclose)
        return self._clients[role]


OpenSite = Callable[..., AbstractAsyncContextManager[Site]]


def who_by_header(request: Request) -> Principal | None:
    """Whoever the test says it is."""
    role = request.headers.get("X-Test-Role", "")
    return Principal(name=f"{role}@test", role=role) if role in ROLES else None


@pytest.fixture
def open_site(redis_server) -> OpenSite:
    """`open_site(work=True)`: a site; with `work` its jobs are there, else it is empty. `routes`: other ones
    than the console's."""

    @asynccontextmanager
    async def site(
        *, work: bool = False, routes: Sequence[Route] | None = None, event_history: int = 1_000
    ) -> AsyncIterator[Site]:
        prefix = f"web{next(_numbers)}"
        async with (
            AsyncExitStack() as stack,
            QueueRuntime(
                redis_server.url, prefix=prefix, event_history=event_history, shutdown_grace=0
            ) as runtime,
        ):
            if routes is None:
                app = console(runtime, authenticate=who_by_header)
            else:
                app = application(Console(runtime), routes, who_by_header, ["127.0.0.1"])
            opened = Site(runtime, app, stack)
            opened.place = {"redis": redis_server.url, "prefix": prefix}
            if work:
                await put_to_work(opened)
            yield opened

    return site


async def put_to_work(site: Site) -> None:
    """Have a job in each situation."""
    runtime = site.runtime
    for one in (charge, price):
        runtime.register(one)
    active = await runtime.submit(charge, 1, session="tenant-7/cart-98f1")
    await until(runtime, active.id, "active")
    waiting = await runtime.submit(charge, 2, session="tenant-7/cart-98f1")
    delayed = await runtime.submit(price, 3, options=JobOptions(delay=600))
    completed = await runtime.submit(price, 21)
    await completed.result()
    dead = await runtime.submit(price, -1)
    await dead.result()
    site.jobs = {
        "active": active.id,
        "waiting": waiting.id,
        "delayed": delayed.id,
        "completed": completed.id,
        "dead": dead.id,
    }


async def until(runtime: Runtime, id: str, status: str) -> None:
    """Wait for a job to be so."""
    job = await runtime.job(id)
    with anyio.fail_after(PATIENCE):
        while await job.status() != status:
            await anyio.sleep(0.01)
