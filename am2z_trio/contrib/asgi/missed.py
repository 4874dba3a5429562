"""What a client has not heard of a job while it was away, where a history of events is kept.

An event's id says when it happened, by the store's clock, and which of the job's events of that millisecond
it is. Live events and those of the history have the same, so the history is read only for who comes back.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncGenerator
from typing import Any, Final, NamedTuple

import msgspec

from am2z_trio.engine.submission.job import Job, history_of, newest_of
from am2z_trio.model.events import Event

LOOKS: Final = 5
"""Calls of the history at most for one who comes back, of 10,000 events each."""

PAGE: Final = 500
"""Events of the job in each."""

_MARK: Final = re.compile(r"(\d{1,15})\.(\d{1,7})", re.ASCII)


class Mark(NamedTuple):
    """An event's id: milliseconds, and how many of the job's events of then have been heard with it."""

    at: int
    nth: int = 0

    @classmethod
    def of(cls, text: str) -> Mark | None:
        """What an id says that a client has sent; `None`: nothing that was one."""
        found = _MARK.fullmatch(text)
        return None if found is None else cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.at}.{self.nth}"


class Hearing:
    """A job's events as one client hears them: those that it has missed, if it says what it has heard, and
    then those that happen."""

    def __init__(self, job: Job[Any], since: Mark | None) -> None:
        self._job: Final = job
        self._since: Final = since
        self._again: Final = Counter[tuple[int, str, bytes]]()
        """Told from the history, and perhaps once more as they happened."""
        self.mark = since or Mark(0)
        """Of what was heard last."""

    async def begin(self) -> None:
        """To be called before what happens is listened to: from here on one who comes back has missed it."""
        if self._since is None:
            place = await newest_of(self._job)
            self.mark = Mark(int(place.partition("-")[0] or 0))

    async def missed(self) -> AsyncGenerator[Event, None]:
        """What has happened since, in order; none where no history is kept. To be asked while what happens is
        listened to already, so that nothing falls between the two."""
        if self._since is None:
            return
        since, heard = self._since, 0
        place = f"{max(0, since.at - 1)}-0"
        for _ in range(LOOKS):
            page = await history_of(self._job, place, PAGE)
            for event in page.events:
                heard += event.at == since.at
                if event.at > since.at or (event.at == since.at and heard > since.nth):
                    self._note(event)
                    self._again[_key(event)] += 1
                    yield event
            place = page.last
            if not page.more:
                return

    def is_new(self, event: Event) -> bool:
        """Whether one that happens has not been told from the history."""
        key = _key(event)
        if self._again[key]:
            self._again[key] -= 1
            return False
        self._note(event)
        return True

    def _note(self, event: Event) -> None:
        mark = self.mark
        self.mark = Mark(event.at, mark.nth + 1 if event.at == mark.at else 1)


def _key(event: Event) -> tuple[int, str, bytes]:
    return event.at, event.name, msgspec.msgpack.encode(event.data)
