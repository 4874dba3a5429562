"""A runtime that lives as long as the application does, and is found by its requests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, cast

from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.model.callables import is_async_generator
from am2z_trio.model.checks import require
from am2z_trio.model.errors import RuntimeStateError

KEY: Final = "am2z_runtime"
"""Its name in an application's state."""

AppLifespan = Callable[[Any], AbstractAsyncContextManager[Any]]


def lifespan(
    runtime: Runtime, within: AppLifespan | Callable[[Any], AsyncIterator[Any]] | None = None
) -> AppLifespan:
    """The lifespan of a FastAPI, Starlette or Litestar application that enters the runtime at its start, and
    drains and leaves it at its end: `FastAPI(lifespan=lifespan(runtime))`, `Litestar(lifespan=[...])`.

    `within`: the application's own, entered when the runtime is there, and left before it goes; what it
    yields is state of the requests as ever. An async generator function will do, too. The runtime lives in
    the server's event loop: Trio under Hypercorn's Trio worker, asyncio under Uvicorn.
    """
    require(isinstance(runtime, Runtime), "runtime", runtime, "must be a QueueRuntime or a LocalRuntime")
    require(within is None or callable(within), "within", within, "must be a function (app)")
    own: Any = asynccontextmanager(cast("Any", within)) if within and is_async_generator(within) else within

    @asynccontextmanager
    async def entered(app: Any) -> AsyncIterator[dict[str, Any]]:
        async with runtime:
            state = getattr(app, "state", None)
            if state is not None:
                setattr(state, KEY, runtime)
            if own is None:
                yield {KEY: runtime}
                return
            async with own(app) as given:
                yield {**(given or {}), KEY: runtime}

    return entered


def runtime_of(connection: Any) -> Runtime:
    """The runtime of the application that a request or a WebSocket (or its ASGI scope) is for. Raises
    `RuntimeStateError` where `lifespan` has put none there."""
    scope: Any = getattr(connection, "scope", connection)
    state: Any = scope.get("state")
    found: Any = cast("dict[str, Any]", state).get(KEY) if type(state) is dict else getattr(state, KEY, None)
    if found is None:
        found = getattr(getattr(scope.get("app"), "state", None), KEY, None)
    if found is None:
        raise RuntimeStateError(
            "this application has no runtime: it needs lifespan(runtime), of am2z_trio.contrib.asgi"
        )
    return found  # type: ignore[no-any-return]
