"""The service for operators as tests ask it, and what they wait for before they do."""

from __future__ import annotations

from typing import Any

import anyio

from am2z_trio.admin import Admin, Principal
from am2z_trio.engine.runtime.runtime import Runtime
from tests.support.waiting import PATIENCE


def admin(runtime: Runtime, role: str = "admin", **limits: Any) -> Admin:
    """The service, asked by one person of a role."""
    return Admin(runtime, principal=Principal(name="ada@laptop", role=role, **limits), face="test")


async def until_active(runtime: Runtime, id: str) -> None:
    """Wait for the job to run."""
    job = await runtime.job(id)
    with anyio.fail_after(PATIENCE):
        while await job.status() != "active":
            await anyio.sleep(0.01)
