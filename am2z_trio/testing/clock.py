"""Virtual time: a runtime in memory that lives by a clock which jumps to where something is to happen.

```python
import trio
from am2z_trio import Every, LocalRuntime, processor
from am2z_trio.testing.clock import virtual_time

@processor
async def sweep(runs: int) -> int: ...

async def main():
    async with LocalRuntime() as runtime:
        runtime.register(sweep)
        await runtime.schedules.upsert("hourly", sweep, Every(3600), state=1)
        await trio.sleep(24 * 3600)                            # a day, which takes a moment
        print((await runtime.get_queue_stats())["sweep"].completed)      # 24

trio.run(main, clock=virtual_time())
```
"""

from __future__ import annotations

import trio.testing


def virtual_time() -> trio.testing.MockClock:
    """A Trio clock that stands still while anything is to be done, and then jumps to the next time at which
    something is: `trio.run(main, clock=virtual_time())`, or with AnyIO `anyio.run(main, backend="trio",
    backend_options={"clock": virtual_time()})`.

    Delays, backoffs, timeouts, deadlines, schedules and leases of a `LocalRuntime` go by it, and so does its
    time of day. What waits for something outside of Trio (a thread, a server) sees it jump ahead meanwhile:
    so it is no clock for Redis. asyncio has none like it.
    """
    return trio.testing.MockClock(autojump_threshold=0)
