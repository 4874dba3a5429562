"""Ours in memory, on Trio: client and worker in one process. `MEASURE JOBS`; prints the harness's figures."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import anyio

from am2z_trio import LocalRuntime
from benchmarks.contenders import driver, tally
from benchmarks.contenders.am2z.client import Client
from benchmarks.contenders.contender import TALLY
from benchmarks.jobs import JOBS, make


class LocalClient(Client):
    """Serves itself."""

    def make_runtime(self) -> LocalRuntime:
        runtime = LocalRuntime()
        runtime.register(*JOBS.values())
        return runtime


async def calls(jobs: int) -> driver.Figures:
    client = LocalClient("")
    client.told = driver.arguments(["calls", f"--jobs={jobs}"])
    return driver.rates_of_calls(await driver.drive(client))


async def drain(job: str, jobs: int) -> driver.Figures:
    """Submit all, then begin: in memory nobody else could know the processor."""
    payload, directory = make(100), Path(os.environ[TALLY])
    async with LocalRuntime() as runtime:
        runtime.register(JOBS[job])
        await runtime.pause(job)
        for _ in range(jobs):
            await runtime.submit(JOBS[job], payload)
        await runtime.resume(job)
        # Looking at a file now and then costs nothing, where an event per job would be measured too.
        while (count := tally.read(directory)).jobs < jobs:  # noqa: ASYNC110
            await anyio.sleep(0.005)
    return {"jobs/s": count.jobs / count.seconds}


async def main(measure: str, jobs: int) -> Any:
    return await (calls(jobs) if measure == "calls" else drain(measure, jobs))


if __name__ == "__main__":
    name, number = sys.argv[1:]
    print(json.dumps(anyio.run(main, name, int(number), backend="trio")))
