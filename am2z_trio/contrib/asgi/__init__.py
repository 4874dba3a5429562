"""A runtime in a web application: FastAPI, Starlette, Litestar, Quart, or anything else that speaks ASGI.

```python
from fastapi import FastAPI
from am2z_trio import LocalRuntime, processor
from am2z_trio.contrib.asgi import JobStream, RuntimeDep, lifespan, sse

@processor
async def price(order: dict[str, int]) -> dict[str, int]:
    return order | {"price": 5}

runtime = LocalRuntime()
runtime.register(price)
app = FastAPI(lifespan=lifespan(runtime))

@app.post("/orders", response_model=None)
async def order(runtime: RuntimeDep) -> JobStream:
    return sse(await runtime.submit(price, {"kites": 2}))
```

Nothing in here needs a framework: all of it is plain ASGI, and what is Starlette's or FastAPI's is imported
when it is asked for.

* `lifespans` - the runtime lives as long as the application, and is found by its requests; `fastapi` - as a
  dependency
* `streams`, `sockets` - a job as server-sent events and over a WebSocket; `telling` - what is told of it, the
  same for both; `missed` - and what somebody who comes back has not heard; `leaving` - what becomes of a job
  whose client has left
* `application` - one of its own that submits, shows and cancels jobs of the processors it is given;
  `requests` - what it is asked, bounded; `problems` - what is answered where something is wrong
* `types` - the shapes of ASGI
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .application import AskedJob, Authorize, jobs
from .leaving import OnDisconnect
from .lifespans import AppLifespan, lifespan, runtime_of
from .problems import answer_error
from .sockets import JobSocket, websocket
from .streams import JobStream, sse

if TYPE_CHECKING:
    from .fastapi import RuntimeDep, get_runtime

__all__ = [
    "AppLifespan",
    "AskedJob",
    "Authorize",
    "JobSocket",
    "JobStream",
    "OnDisconnect",
    "RuntimeDep",
    "answer_error",
    "get_runtime",
    "jobs",
    "lifespan",
    "runtime_of",
    "sse",
    "websocket",
]


def __getattr__(name: str) -> Any:
    """FastAPI's, when somebody asks for it."""
    if name in ("RuntimeDep", "get_runtime"):
        from . import fastapi

        return getattr(fastapi, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
