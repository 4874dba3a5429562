"""The runtime as a dependency of FastAPI's; imported when it is asked for, as that need not be there."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from fastapi.requests import HTTPConnection

from am2z_trio.engine.runtime.runtime import Runtime

from .lifespans import runtime_of


async def get_runtime(connection: HTTPConnection) -> Runtime:
    """The runtime that the application's `lifespan` has entered: `Depends(get_runtime)`, of requests and
    of WebSockets."""
    return runtime_of(connection)


RuntimeDep = Annotated[Runtime, Depends(get_runtime)]
"""As a parameter's annotation: `async def order(runtime: RuntimeDep)`."""
