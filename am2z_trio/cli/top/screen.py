"""What a person has chosen by keys: an order, a queue, a text to filter by, and what is to be done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from .rows import SORTS, QueueRow, Sort, matching, ordered
from .scopes import ScopeLine
from .wishes import Asked, Cancelling, Explaining, Looking, Pausing, Redriving, Wish

MOST: Final = 100
"""Queues that are shown, of those that come first."""

MOST_FILTER: Final = 200
"""Characters."""

PAGE: Final = 10
"""Rows that a page is."""

KEYS: Final = (
    ("↑ ↓", "select a queue; page up and page down by ten, home and end to the first and the last"),
    ("t", "what runs, of the selected queue or of all; there ↑ ↓ select a job"),
    (
        "e",
        "explain: why the selected job is as it is, or the job of the selected queue that waits for longest",
    ),
    ("c", "cancel the selected job; as all below once y has said yes, which is written to the audit"),
    ("p", "pause the selected queue, or resume it"),
    ("r", "run the dead letters of the selected queue again"),
    ("s", f"sort by another: {', '.join(SORTS)}"),
    ("/", "show queues with this text in their name or state; enter keeps it, escape shows all"),
    ("?", "these keys"),
    ("q", "quit"),
)

Mode = Literal["list", "filter", "ask", "keys", "tree", "why"]


class Screen:
    """Changes key by key; what is wished is for others to do."""

    def __init__(self, sort: Sort) -> None:
        self.sort: Sort = sort
        self.mode: Mode = "list"
        self.filter = ""
        self.selected: str | None = None
        """A queue by its name: wherever it stands in the order."""
        self.asked: Asked | None = None
        """What is done if it is said yes: the same, however rows move meanwhile."""
        self.scopes: list[ScopeLine] = []
        """What runs, as it was seen last; of `scope_queue`, or of all queues."""
        self.scope_queue = ""
        self.job: str | None = None
        """The selected one of those that run."""
        self.why: list[str] = []
        """What was explained last."""
        self._from: Mode = "list"
        """Where a question, or an explanation, goes back to."""
        self.notice = ""
        """What has become of the last wish; until the next key."""

    def shown(self, queues: Sequence[QueueRow]) -> list[QueueRow]:
        """Those that are to be seen, in order."""
        return ordered(matching(queues, self.filter), self.sort)[:MOST]

    @property
    def shows_scopes(self) -> bool:
        """Whether what runs is shown, or is behind a question."""
        return self.mode == "tree" or (self.mode in ("ask", "why") and self._from == "tree")

    def explain(self, lines: list[str]) -> None:
        """Show these until a key is pressed, unless somebody is busy with something else by now."""
        if self.mode in ("list", "tree"):
            self._from, self.mode, self.why = self.mode, "why", lines

    def press(self, key: str, queues: Sequence[QueueRow]) -> Wish | Literal["quit"] | None:
        """Do as the key says, on a screen with these queues."""
        self.notice = ""
        match self.mode:
            case "filter":
                self._write(key)
            case "ask":
                return self._answer(key)
            case "keys":
                self.mode = "list"
            case "why":
                self.mode = self._from
            case "tree":
                return self._among_scopes(key)
            case "list":
                return self._command(key, self.shown(queues))
        return None

    def _command(self, key: str, rows: list[QueueRow]) -> Wish | Literal["quit"] | None:
        selected = next((row for row in rows if row.queue == self.selected), None)
        match key:
            case "q":
                return "quit"
            case "t":
                self.mode, self.scopes, self.job = "tree", [], None
                self.scope_queue = "" if selected is None else selected.queue
                return Looking(self.scope_queue)
            case "e" | "p" | "r":
                return self._of_queue(key, selected)
            case "c":
                self.notice = "select a job first: t shows what runs"
            case "s":
                self.sort = SORTS[(SORTS.index(self.sort) + 1) % len(SORTS)]
            case "/":
                self.mode = "filter"
            case "?":
                self.mode = "keys"
            case "escape":
                self.filter, self.selected = "", None
            case _:
                self.selected = moved(key, [row.queue for row in rows], self.selected)
        return None

    def _of_queue(self, key: str, row: QueueRow | None) -> Wish | None:
        if row is None:
            self.notice = "select a queue first: ↑ ↓"
        elif key == "e":
            return Explaining(queue=row.queue)
        elif key == "p":
            self._ask(Pausing(row.queue, not row.paused))
        elif row.dead:
            self._ask(Redriving(row.queue, row.dead))
        else:
            self.notice = f"{row.queue} has no dead letters"
        return None

    def _among_scopes(self, key: str) -> Wish | Literal["quit"] | None:
        jobs = [line for line in self.scopes if line.job]
        selected = next((line for line in jobs if line.job == self.job), None)
        match key:
            case "q":
                return "quit"
            case "escape" | "t":
                self.mode = "list"
            case "e" | "c":
                if selected is None:
                    self.notice = "select a job first: ↑ ↓"
                elif key == "e":
                    return Explaining(job=selected.job)
                else:
                    self._ask(Cancelling(selected.job, selected.calls))
            case _:
                self.job = moved(key, [line.job for line in jobs], self.job)
        return None

    def _ask(self, asked: Asked) -> None:
        self._from, self.mode, self.asked = self.mode, "ask", asked

    def _answer(self, key: str) -> Wish | None:
        asked = self.asked
        if key in ("y", "Y"):
            self.mode, self.asked = self._from, None
            return asked
        if key in ("n", "N", "q", "escape"):
            self.mode, self.asked, self.notice = self._from, None, "nothing was changed"
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


def moved(key: str, names: Sequence[str], selected: str | None) -> str | None:
    """Which of them is selected after such a key; what is none of these keys moves nothing."""
    last = len(names) - 1
    steps = {"up": -1, "down": 1, "page up": -PAGE, "page down": PAGE, "home": -last - 1, "end": last + 1}
    if key not in steps or not names:
        return selected
    at = names.index(selected) if selected in names else -1
    return names[min(max(at + steps[key], 0), last)]
