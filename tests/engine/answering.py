"""A store whose answers a test decides."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal

from am2z_trio.concurrency.told import GiveUp, Told


def answer_with(
    store: Any, name: Literal["enqueue", "settle"], answer: Callable[..., Awaitable[Any]]
) -> None:
    """Have this answer what the store is asked, whether it is waited for or only begun."""

    def begin(asked: Any, told: Told, *more: Any) -> GiveUp | None:
        wanted = [told]

        async def call() -> None:
            try:
                found = await answer(asked, *more)
            except Exception as error:
                found = error
            for tell in wanted:
                tell(found)

        link = getattr(store, "link", None)
        return wanted.clear if link is not None and link.start_soon(call) else None

    setattr(store, name, answer)
    setattr(store, f"begin_{name}", begin)
