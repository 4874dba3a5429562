"""A worker that is killed amid its job: given the URL, it says the job's id when its code runs."""

from __future__ import annotations

import sys

import trio

from am2z_trio import QueueRuntime, processor

started = trio.Event() if __name__ == "__main__" else None


@processor(name="shop.dies")
async def dies(n: int) -> int:
    if started is not None:
        started.set()
        await trio.sleep_forever()
    return n


async def main(url: str, started: trio.Event) -> None:
    async with QueueRuntime(url) as runtime:
        runtime.register(dies)
        job = await runtime.submit(dies, 1)
        await started.wait()
        print(job.id, flush=True)
        await job.result()


if __name__ == "__main__":
    assert started is not None
    trio.run(main, sys.argv[1], started)
