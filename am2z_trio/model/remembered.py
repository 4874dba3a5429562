"""What a function says of a type, remembered; a type that has no hash it is asked of anew each time."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")

MOST: Final = 1000
"""Types of which it is remembered."""


def has_hash(kind: object) -> bool:
    """`Annotated[int, []]` has the method, and no hash."""
    try:
        hash(kind)
    except TypeError:
        return False
    return True


class Remembered(Generic[T]):
    """Such a function."""

    def __init__(self, fn: Callable[[Any], T]) -> None:
        self._fn = fn
        self._known = lru_cache(maxsize=MOST)(fn)
        self.forget: Final = self._known.cache_clear
        """To be called when it may say something else than before."""

    def __call__(self, kind: Any) -> T:
        return self._known(kind) if has_hash(kind) else self._fn(kind)
