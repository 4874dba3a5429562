"""A process of the browser tests: the console of a server to which nobody has submitted anything yet."""

from __future__ import annotations

import sys

import hypercorn
import hypercorn.trio
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from am2z_trio import QueueRuntime
from am2z_trio.admin import Principal
from am2z_trio.web import console, proxy_header


async def ready(_: Request) -> JSONResponse:
    return JSONResponse({})


async def main(url: str, socket: str) -> None:
    async with QueueRuntime(url, prefix="fresh", workers=False) as runtime:
        admin = proxy_header(
            "X-User", trusted=["127.0.0.1"], role=lambda name: Principal(name=name, role="admin")
        )
        app = console(runtime, authenticate=admin)
        config = hypercorn.Config()
        config.bind = [f"fd://{socket}"]
        config.errorlog = "-"
        print("{}", flush=True)
        routes = [Route("/-count", ready), Mount("/", app)]
        await hypercorn.trio.serve(Starlette(routes=routes), config)  # type: ignore[arg-type]


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2])
