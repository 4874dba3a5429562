"""What pages had to show last, for those that are opened while Redis is away: as it was, with its age."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from typing import Any, Final

import msgspec

MOST_PAGES: Final = 64
"""Pages that are kept: those that were seen last."""


class Known(msgspec.Struct, frozen=True):
    """What one page had to show."""

    template: str
    facts: Mapping[str, Any]
    at: int
    """When that was so: ms since the epoch."""


class LastKnown:
    """The pages of one console as they were last, whoever has looked: those of one key show the same."""

    def __init__(self) -> None:
        self._pages: Final = OrderedDict[Hashable, Known]()

    def saw(self, key: Hashable, known: Known | None) -> None:
        """This is what it shows now."""
        if known is None:
            return
        self._pages[key] = known
        self._pages.move_to_end(key)
        while len(self._pages) > MOST_PAGES:
            self._pages.popitem(last=False)

    def get(self, key: Hashable) -> Known | None:
        """What it has shown last, if that is kept."""
        return self._pages.get(key)
