"""Two parts that count their runs, one after the other and side by side."""

from __future__ import annotations

from collections import Counter
from typing import Final

from am2z_trio import chain, parallel, processor

RUNS: Final = Counter[str]()
"""Of all that has been run in this process, by the part's name."""


@processor(name="a")
async def a(state: dict[str, int]) -> dict[str, int]:
    RUNS["a"] += 1
    return {**state, "a": 1}


@processor(name="b")
async def b(state: dict[str, int]) -> dict[str, int]:
    RUNS["b"] += 1
    return {**state, "b": 1}


CHAIN: Final = chain("chained", [a, b])
SIDE_BY_SIDE: Final = parallel("side by side", [a, b])
