"""Processors that call each other in a circle."""

from __future__ import annotations

from typing import Any

import anyio

from am2z_trio import Context, QueueOptions, processor
from am2z_trio.engine.runtime.runtime import Runtime


class Circle:
    """Processors that call each other in a circle, down to 0; how many of one run at a time."""

    def __init__(self, length: int, how: str, **options: Any) -> None:
        self.runtime: Runtime | None = None
        self.running = [0] * length
        self.most = 0
        self.processors = [self._make(place, length, how, options) for place in range(length)]

    def _make(self, place: int, length: int, how: str, options: dict[str, Any]) -> Any:
        @processor(name=f"circle-{place}", queue=QueueOptions(**options))
        async def step(n: int, ctx: Context) -> int:
            with self._runs(place):
                await anyio.sleep(0.001)
            if n == 0:
                return 0
            following = f"circle-{(place + 1) % length}"
            if how == "ctx.call":
                found: int = await ctx.call(following, n - 1)
            elif how == "execute":
                assert self.runtime is not None
                found = (await self.runtime.execute(following, n - 1, session=ctx.session_id)).unwrap()
            else:
                assert self.runtime is not None
                job = await self.runtime.submit(following, n - 1, session=ctx.session_id)
                found = (await job.result()).unwrap()
            with self._runs(place):
                await anyio.sleep(0.001)
            return found + 1

        return step

    def _runs(self, place: int) -> Any:
        circle = self

        class Runs:
            def __enter__(self) -> None:
                circle.running[place] += 1
                circle.most = max(circle.most, circle.running[place])

            def __exit__(self, *_: object) -> None:
                circle.running[place] -= 1

        return Runs()
