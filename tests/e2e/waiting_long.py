"""What the worker processes of the tests of waits serve. Settings come from the environment."""

from __future__ import annotations

import os
from pathlib import Path

from am2z_trio import Context, QueueRuntime, processor

MARKS = Path(os.environ.get("E2E_MARKS", "."))


@processor
async def drafts(name: str, ctx: Context) -> str:
    """Say how often this was run."""
    with (MARKS / f"drafts-{name}").open("a", encoding="utf-8") as runs:
        runs.write(f"{ctx.meta.deliveries} ")
    return f"draft of {name}"


@processor
async def publishes(heard: list[str], ctx: Context) -> list[str]:
    """Call, wait for two people and for a time; in every run."""
    draft = await ctx.call(drafts, "letter")
    first = await ctx.wait_for("review", str)
    await ctx.sleep(1.5)
    second = await ctx.wait_for("review", str, timeout=3600)
    return [draft, first, second, f"attempt {ctx.meta.attempt}"]


runtime = QueueRuntime(os.environ["E2E_REDIS"])
runtime.register(drafts, publishes)
