"""Room on the stack for a step that must not break off in its middle."""

from __future__ import annotations

import sys
from typing import Final

FRAMES: Final = 150
"""Calls deep that the engine may go from where it is called; half of that is not unusual."""


def require_stack() -> None:
    """Raise `RecursionError` where a caller is so deep that a step it asks for could break off.

    In the middle of one the error would leave a wake-up, a slot, a place in line or a reply behind for
    ever; before one it is the caller's own affair.
    """
    try:
        # Cheap where the stack is not deep: there is no such frame.
        sys._getframe(sys.getrecursionlimit() - FRAMES)  # pyright: ignore[reportPrivateUsage]
    except ValueError:
        return
    raise RecursionError(f"fewer than {FRAMES} calls are left before the recursion limit")
