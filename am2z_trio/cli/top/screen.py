"""What a person has chosen by keys: an order, a queue, a text to filter by, and what is to be done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from .rows import SORTS, QueueRow, Sort, matching, ordered

MOST: Final = 100
"""Queues that are shown, of those that come first."""

MOST_FILTER: Final = 200
"""Characters."""

PAGE: Final = 10
"""Rows that a page is."""

KEYS: Final = (
    ("↑ ↓", "select a queue; page up and page down by ten, home and end to the first and the last"),
    ("p", "pause the selected queue, or resume it; y says yes, which is written to the audit"),
    ("s", f"sort by another: {', '.join(SORTS)}"),
    ("/", "show queues with this text in their name or state; enter keeps it, escape shows all"),
    ("?", "these keys"),
    ("q", "quit"),
)

Mode = Literal["list", "filter", "ask", "keys"]


class Pausing(msgspec.Struct, frozen=True):
    """A queue is to be paused, or else resumed."""

    queue: str
    on: bool


Wish = Literal["quit"] | Pausing


class Screen:
    """Changes key by key; what is wished is for others to do."""

    def __init__(self, sort: Sort) -> None:
        self.sort: Sort = sort
        self.mode: Mode = "list"
        self.filter = ""
        self.selected: str | None = None
        """A queue by its name: wherever it stands in the order."""
        self.asked: Pausing | None = None
        """What is done if it is said yes: the same, however rows move meanwhile."""
        self.notice = ""
        """What has become of the last wish; until the next key."""

    def shown(self, queues: Sequence[QueueRow]) -> list[QueueRow]:
        """Those that are to be seen, in order."""
        return ordered(matching(queues, self.filter), self.sort)[:MOST]

    def press(self, key: str, queues: Sequence[QueueRow]) -> Wish | None:
        """Do as the key says, on a screen with these queues."""
        self.notice = ""
        match self.mode:
            case "filter":
                self._write(key)
            case "ask":
                return self._answer(key)
            case "keys":
                self.mode = "list"
            case "list":
                return self._command(key, self.shown(queues))
        return None

    def _command(self, key: str, rows: list[QueueRow]) -> Wish | None:
        match key:
            case "q":
                return "quit"
            case "s":
                self.sort = SORTS[(SORTS.index(self.sort) + 1) % len(SORTS)]
            case "/":
                self.mode = "filter"
            case "?":
                self.mode = "keys"
            case "escape":
                self.filter, self.selected = "", None
            case "p":
                self._ask([row for row in rows if row.queue == self.selected])
            case "up" | "down" | "page up" | "page down" | "home" | "end":
                self._move(key, rows)
            case _:
                pass
        return None

    def _move(self, key: str, rows: list[QueueRow]) -> None:
        if not rows:
            return
        names = [row.queue for row in rows]
        last = len(names) - 1
        at = names.index(self.selected) if self.selected in names else -1
        steps = {"up": -1, "down": 1, "page up": -PAGE, "page down": PAGE, "home": -last - 1, "end": last + 1}
        self.selected = names[min(max(at + steps[key], 0), last)]

    def _ask(self, rows: list[QueueRow]) -> None:
        if not rows:
            self.notice = "select a queue first: ↑ ↓"
            return
        self.mode, self.asked = "ask", Pausing(rows[0].queue, not rows[0].paused)

    def _answer(self, key: str) -> Wish | None:
        asked = self.asked
        if key in ("y", "Y"):
            self.mode, self.asked = "list", None
            return asked
        if key in ("n", "N", "q", "escape"):
            self.mode, self.asked, self.notice = "list", None, "nothing was changed"
        return None

    def _write(self, key: str) -> None:
        match key:
            case "enter":
                self.mode = "list"
            case "escape":
                self.mode, self.filter = "list", ""
            case "backspace":
                self.filter = self.filter[:-1]
            case "clear":
                self.filter = ""
            case _ if len(key) == 1:
                self.filter = (self.filter + key)[:MOST_FILTER]
            case _:
                pass
