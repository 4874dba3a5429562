"""What all of these applications do: count, and say how far they are."""

from __future__ import annotations

import anyio

from am2z_trio import Context, processor


@processor
async def count(most: int, ctx: Context) -> int:
    """Count up to it."""
    for n in range(most):
        await anyio.sleep(0.05)
        await ctx.update_progress((n + 1) / most)
    return most
