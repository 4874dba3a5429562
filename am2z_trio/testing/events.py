"""Wait for what the engine tells: one event, heard from before its cause on.

```python
async with expect_event(runtime, "job:completed", session="alice") as expected:
    await client.post("/orders", ...)
event = await expected.wait()
```
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio

from am2z_trio.engine.events.subscription import EventStream
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.model.events import Event

Condition = Callable[[Event], bool]


class ExpectedEvent:
    """An event that is waited for; others are passed over and kept in `seen`."""

    def __init__(self, stream: EventStream, what: str, condition: Condition, timeout: float) -> None:
        self.seen: list[Event] = []
        """What has arrived so far and was another one."""
        self._stream = stream
        self._what = what
        self._condition = condition
        self._timeout = timeout
        self._found: Event | None = None

    async def wait(self) -> Event:
        """The event. Raises `AssertionError`, which says what came instead, after the timeout."""
        with anyio.move_on_after(self._timeout):
            while self._found is None:
                event = await self._stream.next()
                if self._condition(event):
                    self._found = event
                else:
                    self.seen.append(event)
        if self._found is None:
            names = ", ".join(f"{event.name} {event.job or event.session}".strip() for event in self.seen)
            raise AssertionError(
                f"no {self._what} within {self._timeout:g} s; there came: {names or 'nothing'}"
            )
        return self._found


@asynccontextmanager
async def expect_event(
    runtime: Runtime,
    pattern: str,
    *,
    job: str | None = None,
    processor: str | None = None,
    session: str | None = None,
    where: Condition | None = None,
    timeout: float = 10.0,
) -> AsyncIterator[ExpectedEvent]:
    """Listen from entering on; leaving the block waits for the event, if `wait` has not been called.

    `pattern` is as for `Runtime.on`; the other arguments narrow it down. `timeout` in seconds counts from
    the call of `wait`, or from leaving the block.
    """
    said = {"job": job, "processor": processor, "session": session}
    wanted = {name: value for name, value in said.items() if value is not None}

    def fits(event: Event) -> bool:
        return all(getattr(event, name) == value for name, value in wanted.items()) and (
            where is None or where(event)
        )

    what = " ".join([repr(pattern), *(f"{name}={value!r}" for name, value in wanted.items())])
    async with runtime.events(pattern) as stream:
        expected = ExpectedEvent(stream, what, fits, timeout)
        yield expected
        await expected.wait()


async def wait_for_event(
    runtime: Runtime,
    pattern: str,
    *,
    job: str | None = None,
    processor: str | None = None,
    session: str | None = None,
    where: Condition | None = None,
    timeout: float = 10.0,
) -> Event:
    """Wait for an event that happens from now on; its cause must be another task's, or of a later time.

    `expect_event` is for causes of one's own.
    """
    async with expect_event(
        runtime, pattern, job=job, processor=processor, session=session, where=where, timeout=timeout
    ) as expected:
        return await expected.wait()
