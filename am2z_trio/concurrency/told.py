"""Answers for which no task waits: whoever has asked is called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Told = Callable[[Any], None]
"""Called with an answer, or with the exception that there is instead: it must not wait, nor raise."""

GiveUp = Callable[[], None]
"""Has nobody told any more."""
