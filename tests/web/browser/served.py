"""A process of the browser tests: a console and a worker in one, with one of every situation, and names that
would be code where somebody forgot to escape them.

It says on its standard output, as one line of JSON, where what is. `/-count` tells how often it was asked.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import hypercorn
import hypercorn.trio
import msgspec
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from am2z_trio import Context, Cron, Every, JobOptions, QueueOptions, QueueRuntime, RetryPolicy, processor
from am2z_trio.admin import ROLES, Admin, Principal
from am2z_trio.web import console, proxy_header

PREFIX: Final = "/deep/down"
"""Where the same console is mounted once more."""

EVIL: Final = '</script><img src=x onerror="window.pwned=1"><b>'
TURNED: Final = "\u202egnp.\u202c{{7*7}}{}"
ODD: Final = "a/../b%2fc?d#e&f\r\ng\x00h"
ODD_ID: Final = 'odd "<img src=x onerror=1>.~%2f {}'
LONG: Final = "10k" * 3_400

NAMES: Final = (EVIL, TURNED, ODD)


@dataclass
class Order:
    number: int
    card: str = "4111"
    note: str = EVIL


@processor(name="charge", queue=QueueOptions(global_concurrency=1, max_size=1000))
async def charge(order: Order, ctx: Context) -> Order:
    """Runs until it is cancelled; one at a time, so that others wait."""
    ctx.log.info("about to charge %s", EVIL)
    await ctx.update_progress(0.4)
    ctx.nursery.start_soon(trio.sleep_forever)
    await trio.sleep_forever()
    return order


@processor(name="price", retry=RetryPolicy(max_attempts=1))
async def price(order: Order, ctx: Context) -> Order:
    """Completes, and fails for good where the number is negative."""
    if order.number < 0:
        raise ValueError(f"no price for {order.number}: {EVIL} {TURNED} {ODD}")
    ctx.emit("priced", {EVIL: EVIL})
    return order


@processor(name=EVIL, retry=RetryPolicy(max_attempts=1))
async def evil(state: dict[str, Any]) -> dict[str, Any]:
    """Its name is what somebody would write who means harm."""
    raise RuntimeError(LONG)


async def prepare(runtime: QueueRuntime) -> dict[str, dict[str, str]]:
    """Have one of everything; returns their ids by what stands for them in addresses, and by name."""
    for one in (charge, price, evil):
        runtime.register(one)
    ada = Admin(runtime, principal=Principal(name=EVIL, role="admin"), face="test")
    session = f"tenant-7/{EVIL}"
    active = await runtime.submit(charge, Order(1), session=session)
    await until(runtime, active.id, "active")
    waiting = await runtime.submit(charge, Order(2), session=session)
    delayed = await runtime.submit(price, Order(3), options=JobOptions(delay=86_400))
    completed = await runtime.submit(price, Order(4), session="tenant-8")
    await completed.result()
    dead = await runtime.submit(price, Order(-1), session="tenant-8")
    await dead.result()
    odd = await runtime.submit(evil, {EVIL: ODD, "long": LONG}, session=ODD, job_id=ODD_ID)
    await odd.result()
    for n in range(3):
        await runtime.state.set("tenant-8", Order(n, note=NAMES[n]))
        await runtime.state.set(ODD, {EVIL: n, "list": [1, 2, {"deep": NAMES[n]}]})
    for id, when in ((EVIL, Every(86_400)), ("nightly", Cron("30 2 * * *", tz="Europe/Berlin"))):
        await runtime.schedules.upsert(id, price, when, state=Order(7), note=EVIL)
    await runtime.schedules.run_now("nightly")
    await ada.cancel(delayed.id, reason=EVIL)
    await ada.pause(EVIL, reason=TURNED)
    bulk = await ada.begin_bulk("cancel", 'queue:nobody session:"a b"', reason=ODD)
    runtime.emit("mine:evil", {EVIL: [ODD, TURNED]})
    return {
        "session": {"plain": "tenant-8", "evil": session, "odd": ODD},
        "queue": {"plain": "charge", "evil": EVIL},
        "job": {
            "active": active.id,
            "waiting": waiting.id,
            "cancelled": delayed.id,
            "completed": completed.id,
            "dead": dead.id,
            "odd": odd.id,
        },
        "schedule": {"plain": "nightly", "evil": EVIL},
        "node": {"plain": runtime.node_id},
        "bulk": {"plain": bulk.id},
    }


async def until(runtime: QueueRuntime, id: str, status: str) -> None:
    job = await runtime.job(id)
    while await job.status() != status:
        await trio.sleep(0.01)


def whoever(name: str) -> Principal | None:
    """`ada.operator` is an operator."""
    role = name.rpartition(".")[2]
    return Principal(name=name, role=role) if role in ROLES else None


async def main(url: str, socket: str) -> None:
    async with QueueRuntime(
        url, event_history=10_000, state_history=10, job_logs=100, shutdown_grace=0
    ) as runtime:
        ids = await prepare(runtime)
        app = console(runtime, authenticate=proxy_header("X-User", trusted=["127.0.0.1"], role=whoever))

        async def count(_: Request) -> JSONResponse:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            return JSONResponse({"rss": pages * os.sysconf("SC_PAGE_SIZE"), **counted(app)})

        async def act(request: Request) -> JSONResponse:
            """What else happens there: an event, or a job."""
            runtime.emit("mine:act", request.query_params.get("what", ""))
            return JSONResponse({})

        outer = Starlette(
            routes=[Route("/-count", count), Route("/-act", act), Mount(PREFIX, app), Mount("/", app)]
        )
        config = hypercorn.Config()
        config.bind = [f"fd://{socket}"]
        config.errorlog = "-"
        print(msgspec.json.encode(ids).decode(), flush=True)
        await hypercorn.trio.serve(outer, config)  # type: ignore[arg-type]


def counted(app: Starlette) -> dict[str, int]:
    """How much the console is at now, as it says itself."""
    hub = app.state.hub
    return {"looks": hub.looks, "pollers": hub.pollers, "streams": hub.streams}


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2])
