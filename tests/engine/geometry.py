"""What is computed in other interpreters: it imports nothing that cannot be loaded there."""

from __future__ import annotations

import os
import time


def area(sides: dict[str, int]) -> dict[str, int]:
    return {"area": sides["a"] * sides["b"], "pid": os.getpid()}


def refuse(n: int) -> int:
    raise ValueError(f"no {n}")


def linger(n: int) -> int:
    time.sleep(n)
    return n
