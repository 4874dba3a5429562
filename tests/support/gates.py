"""A processor whose jobs run until they may end, and what became of its runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio

from am2z_trio import Context, Processor, processor


class Gate:
    """Its jobs return what they were given once `go` is set. To be made in a running loop."""

    def __init__(
        self,
        name: str = "gated",
        *,
        on_begin: Callable[[], None] = lambda: None,
        on_cancel: Callable[[], None] = lambda: None,
        counts: bool = False,
        **options: Any,
    ) -> None:
        """`counts`: a run that may end adds one to the state of its session. `options`: the processor's."""
        self.name = name
        self.go = anyio.Event()
        """They may end."""
        self.began = anyio.Event()
        """One has begun."""
        self.runs: list[int] = []
        """What they were given, in the order of their beginning."""
        self.running = 0
        self.cancelled: list[int] = []
        self._on_begin, self._on_cancel = on_begin, on_cancel
        run = self._run_counted if counts else self._run
        self.processor: Processor[int] = processor(name=name, **options)(run)

    async def _run(self, n: int) -> int:
        self.runs.append(n)
        self.running += 1
        self.began.set()
        self._on_begin()
        try:
            await self.go.wait()
        except BaseException:
            self.cancelled.append(n)
            self._on_cancel()
            raise
        finally:
            self.running -= 1
        return n

    async def _run_counted(self, n: int, ctx: Context) -> int:
        await self._run(n)
        await ctx.state.update(lambda effects: (effects or 0) + 1, int)
        return n
