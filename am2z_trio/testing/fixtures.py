"""A runtime as a fixture, for each of the ways in which async tests are run.

A runtime is a nursery: it is entered and left in one task. AnyIO's own plugin, which is there wherever this
package is, runs a test and its fixtures in one task, on Trio and on asyncio:

```python
import pytest
from am2z_trio import LocalRuntime, processor

pytestmark = pytest.mark.anyio

@processor
async def double(n: int) -> int:
    return 2 * n

@pytest.fixture
async def runtime():
    async with LocalRuntime() as runtime:       # or QueueRuntime(embedded=True): same code
        runtime.register(double)
        yield runtime

async def test_double(runtime):
    assert (await runtime.execute(double, 21)).unwrap() == 42
```

pytest-trio does the same for its fixtures:

```python
import pytest
from am2z_trio import LocalRuntime, processor

@processor
async def double(n: int) -> int:
    return 2 * n

@pytest.fixture
async def runtime():
    async with LocalRuntime() as runtime:
        runtime.register(double)
        yield runtime

@pytest.mark.trio
async def test_double(runtime):
    assert (await runtime.execute(double, 21)).unwrap() == 42
```

pytest-asyncio sets a fixture up in one task, runs the test in another, and tears down in a third, where no
nursery can be left: AnyIO says "Attempted to exit cancel scope in a different task than it was entered in".
There the runtime gets a task of its own:

```python
import pytest
import pytest_asyncio
from am2z_trio import LocalRuntime, processor
from am2z_trio.testing.fixtures import in_own_task

@processor
async def double(n: int) -> int:
    return 2 * n

@pytest_asyncio.fixture
async def runtime():
    async with in_own_task(LocalRuntime()) as runtime:
        runtime.register(double)
        yield runtime

@pytest.mark.asyncio
async def test_double(runtime):
    assert (await runtime.execute(double, 21)).unwrap() == 42
```

What belongs to the test's own task stays there: sessions (`async with runtime.session(...)`), locks and event
streams are opened within the test.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

import sniffio

from am2z_trio.model.errors import ConfigurationError

R = TypeVar("R", bound=AbstractAsyncContextManager[Any])


@asynccontextmanager
async def in_own_task(runtime: R) -> AsyncGenerator[R]:
    """`async with runtime`, in an asyncio task of its own: entered and left from whichever tasks. A state
    manager will do as well.

    Raises what entering raises; on leaving, what ended the runtime meanwhile. Cancelled, it waits until the
    runtime has been left. On asyncio only: Trio's and AnyIO's fixtures do without.
    """
    if sniffio.current_async_library() != "asyncio":
        raise ConfigurationError("in_own_task is for asyncio: elsewhere a fixture enters the runtime itself")
    entered, leave = asyncio.Event(), asyncio.Event()

    async def serve() -> None:
        async with runtime:
            entered.set()
            await leave.wait()

    task = asyncio.create_task(serve(), name="am2z runtime")
    task.add_done_callback(lambda _: entered.set())
    try:
        await entered.wait()
        if task.done():
            await task
        yield runtime
    except BaseException:
        if not entered.is_set():
            task.cancel()
        leave.set()
        # What is raised here tells more than what it may raise.
        await asyncio.gather(task, return_exceptions=True)
        raise
    leave.set()
    await task
