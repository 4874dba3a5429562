"""How names are spelled where they stand in a key."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import Final

_PLAIN: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")


def plain_name(text: str) -> str:
    """Spell any text so that it can stand in a key: itself where harmless, else `~` + a digest.

    Injective up to SHA-256 collisions, and user text can never shape a key: `~` is not a plain
    character, so no plain name equals a digest.
    """
    if _PLAIN.match(text):
        return text
    return "~" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:40]


@lru_cache(maxsize=1000)
def queue_name(processor: str) -> str:
    """Name a processor's queue. Remembered: there are few, and each of their jobs asks."""
    return plain_name(processor)
