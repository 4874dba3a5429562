"""A shop that is busy, to look at: `python -m tests.web.shop [HOST:PORT]` serves its console until Ctrl-C.

Three workers of its own, on a private server, and a fourth that is killed: jobs in every state, sessions with
versions, a queue that is paused, one that nobody serves, schedules, dead letters, and an action on many that
is under way. It says on its standard output, as one line of JSON, where the console is and what is in it.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
import trio

from am2z_trio import (
    Context,
    Cron,
    Every,
    JobOptions,
    QueueOptions,
    QueueRuntime,
    RateLimit,
    RetryPolicy,
    processor,
)
from am2z_trio.admin import Admin, Principal
from am2z_trio.embedded.server import open_embedded_server
from am2z_trio.web import console
from am2z_trio.web.serving import serving

PREFIX: Final = "shop"
CARTS: Final = tuple(f"tenant-{n % 9}/cart-{n * 7919 % 65521:04x}" for n in range(24))
WORKERS: Final = ("worker-a", "worker-b", "worker-c")
FIRST: Final = "tenant-7/cart-98f1"


class Cart(msgspec.Struct):
    total: int = 0
    currency: str = "EUR"
    lines: list[dict[str, str | int]] = []
    card: str = ""
    number: int = 0


@processor(name="charge", queue=QueueOptions(global_concurrency=6, concurrency=4))
async def charge(cart: Cart, ctx: Context) -> Cart:
    """Slow, few at a time, with tasks of its own."""
    ctx.log.info("reserved %d cents", cart.total)
    await ctx.update_progress(0.3)
    ctx.nursery.start_soon(trio.sleep, 3_600)
    await ctx.call(price, cart)
    ctx.log.warning("the bank takes its time")
    await trio.sleep(3_600)
    return cart


@processor(name="price", queue=QueueOptions(concurrency=8), retry=RetryPolicy(max_attempts=2, backoff=0.2))
async def price(cart: Cart, ctx: Context) -> Cart:
    """Quick; fails for good where the number is negative."""
    await trio.sleep(0.02 + cart.number % 7 * 0.03)
    if cart.number < 0:
        kind = "no rate for currency" if cart.number % 2 else "the bank declined"
        raise ValueError(f"{kind} of order {-cart.number}")
    return msgspec.structs.replace(cart, total=cart.total + cart.number)


@processor(name="email", queue=QueueOptions(limiter=RateLimit(max=2, duration=1)), timeout=30)
async def email(cart: Cart) -> Cart:
    """A few per second."""
    return cart


@processor(name="thumbnail", retry=RetryPolicy(max_attempts=9, backoff=20.0))
async def thumbnail(cart: Cart) -> Cart:
    """Fails, and is tried again."""
    raise OSError("the picture's server does not answer")


@processor(name="report", timeout=600)
async def report(cart: Cart) -> Cart:
    return cart


@processor(name="embed")
async def embed(cart: Cart) -> Cart:
    """Served by one worker, which is gone."""
    await trio.sleep(3_600)
    return cart


@processor(name="archive", queue=QueueOptions(concurrency=2))
async def archive(cart: Cart) -> Cart:
    time.sleep(0.15)  # holds the loop, as somebody's code will
    return cart


SHOP: Final = (charge, price, email, thumbnail, report, archive)


async def work(url: str, name: str) -> None:
    """One worker, until it is killed."""
    async with runtime_of(url, node=name, workers=True) as runtime:
        runtime.register(*([embed] if name == "worker-d" else SHOP))
        await trio.sleep_forever()


def runtime_of(url: str, *, node: str, workers: bool) -> QueueRuntime:
    """One of the shop's."""
    return QueueRuntime(
        url,
        prefix=PREFIX,
        node=node,
        workers=workers,
        event_history=100_000,
        state_history=20,
        job_logs=100,
        lease=3,
        shutdown_grace=0,
    )


async def fill(runtime: QueueRuntime) -> str:
    """Have it so busy: what lasts, and what has been. Returns the id of the action on many."""
    ada = Admin(runtime, principal=Principal(name="ada", role="admin"), face="test")
    for n, name in enumerate(CARTS):
        lines: list[dict[str, str | int]] = [{"sku": f"A-{n}", "n": 2}]
        cart = Cart(total=1000 + n * 37, card="4111 1111", number=n, lines=lines)
        await runtime.submit(charge, cart, session=FIRST if n % 5 == 0 else name)
        await runtime.submit(thumbnail, cart, session=name)
        if n % 4 == 0:
            await runtime.submit(embed, cart, session=name)
            await runtime.submit(email, cart, options=JobOptions(delay=3_600 + n))
    for version in range(9):
        lines = [{"sku": f"A-{n}", "n": version + n} for n in range(version % 4 + 1)]
        await runtime.state.set(FIRST, Cart(total=100 * version, lines=lines, card="4111 1111"))
    dead = [await runtime.submit(price, Cart(number=-n), session=CARTS[n]) for n in range(1, 14)]
    for one in dead:
        await one.result()
    cancelled = await runtime.submit(report, Cart(), options=JobOptions(delay=900))
    await ada.cancel(cancelled.id, reason="the customer has closed the cart")
    await ada.pause("report", reason="the ledger is being moved")
    for n in range(5):
        await runtime.submit(report, Cart(number=n))
    await schedules(runtime, ada)
    await ada.begin_bulk("cancel", "status:delayed queue:email", reason="the campaign is off")
    bulk = await ada.begin_bulk("retry", "status:dead queue:price", rate=0.05, reason="the bank is back")
    runtime.emit("mine:shop-opened", {"by": "ada"})
    return bulk.id


async def schedules(runtime: QueueRuntime, ada: Admin) -> None:
    """Some that come, one that is paused, one in a zone whose clocks change."""
    for id, of, when, note in (
        ("nightly-report", report, Cron("30 2 * * *", tz="Europe/Berlin"), "the books of the day"),
        ("sweep", price, Every(5), "prices that are out of date"),
        ("newsletter", email, Cron("0 9 * * mon"), "once a week"),
        ("archive", archive, Every(3), ""),
        ("embed-all", embed, Every(30), ""),
    ):
        await runtime.schedules.upsert(id, of, when, state=Cart(number=3), note=note)
    await ada.pause_schedule("newsletter", reason="nobody writes it any more")
    await runtime.schedules.run_now("nightly-report")
    end = datetime.now(UTC) - timedelta(hours=1)
    await ada.backfill_schedule("nightly-report", end - timedelta(days=4), end, dry_run=False)


async def trade(runtime: QueueRuntime) -> None:
    """Orders, until cancelled."""
    n = 0
    while True:
        n += 1
        session = CARTS[n % len(CARTS)]
        await runtime.submit(price, Cart(number=n if n % 31 else -n), session=session)
        if n % 3 == 0:
            await runtime.submit(email, Cart(number=n), session=session)
        await trio.sleep(0.15)


@asynccontextmanager
async def shop(bind: tuple[str, int] = ("127.0.0.1", 0)) -> AsyncIterator[tuple[str, dict[str, str]]]:
    """The shop, open within the block, which gets where its console is, and what stands for what in
    addresses: a session, a queue and the like, and a job of each status."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(open_embedded_server())
        command = (sys.executable, "-m", "tests.web.shop", "--worker", server.url)
        workers = {name: subprocess.Popen([*command, name]) for name in (*WORKERS, "worker-d")}
        for one in workers.values():
            stack.callback(one.wait)
            stack.callback(one.kill)
        runtime = await stack.enter_async_context(runtime_of(server.url, node="console", workers=False))
        runtime.register(*SHOP, embed)
        while len(nodes := await runtime.control.nodes()) < len(workers):
            await trio.sleep(0.1)
        bulk = await fill(runtime)
        workers["worker-d"].send_signal(signal.SIGKILL)
        nursery = await stack.enter_async_context(trio.open_nursery())
        stack.callback(nursery.cancel_scope.cancel)
        nursery.start_soon(trade, runtime)
        app = console(runtime, authenticate=lambda request: Principal(name="ada", role="admin"))
        base = await stack.enter_async_context(serving(app, *bind))
        found = await Admin(runtime, principal=Principal(name="ada", role="admin")).search("", limit=200)
        jobs = {row.status: row.id for row in found.rows}
        yield (
            base,
            {
                "session": FIRST,
                "queue": "charge",
                "schedule": "nightly-report",
                "node": nodes[0].id,
                "bulk": bulk,
                "job": jobs["active"],
                **jobs,
            },
        )


async def main(bind: str) -> None:
    host, _, port = bind.rpartition(":")
    async with shop((host, int(port))) as (base, ids):
        print(msgspec.json.encode({"base": base, **ids}).decode(), flush=True)
        await trio.sleep_forever()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        _, _, url, name = sys.argv
        # Ctrl-C goes to all that run in the terminal; whoever has started this one ends it.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        trio.run(work, url, name)
    else:
        with contextlib.suppress(KeyboardInterrupt):
            trio.run(main, (*sys.argv[1:], "127.0.0.1:8485")[0])
