"""A client process that is killed while it waits for `held` jobs."""

from __future__ import annotations

import os
import sys

import anyio

from am2z_trio import QueueRuntime


async def main(jobs: int) -> None:
    async with QueueRuntime(os.environ["E2E_REDIS"], workers=False) as client:
        await client.execute_many("held", range(jobs))


if __name__ == "__main__":
    anyio.run(main, int(sys.argv[1]), backend="trio")
