"""Waiting for a condition, never for time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import anyio
import pytest

PATIENCE: Final = 60.0
"""Seconds. What is waited for takes a moment; more is a machine with other things to do."""


async def until(condition: Callable[[], object], what: str = "", *, patience: float = PATIENCE) -> None:
    """Wait in a task until `condition()` holds; fail the test after `patience` seconds."""
    with anyio.move_on_after(patience) as scope:
        while not condition():
            await anyio.sleep(0.005)
    if scope.cancelled_caught:
        pytest.fail(f"waited {patience:g} s for {what or 'what does not happen'}")


def wait_until(condition: Callable[[], object], what: str, *, patience: float = PATIENCE) -> None:
    """As `until`, and block the thread."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {patience:g} s for {what}")
        time.sleep(0.005)
