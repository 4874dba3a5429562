"""How many there are of what the navigation leads to: asked with whatever page is asked for, seldom, and once
for all who may see the same."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from contextlib import suppress
from typing import Final

import anyio
import msgspec

from am2z_trio.admin import Admin, Principal
from am2z_trio.model.errors import AM2ZError
from am2z_trio.model.views.samples import Census

EVERY: Final = 2.0
"""Seconds for which they are not asked for again."""
MOST_KEPT: Final = 64
"""Principals of different rights for whom they are kept."""


class Count(msgspec.Struct, frozen=True):
    """One of them."""

    number: int
    is_bad: bool = False
    """Whether there should be none."""


class Counts:
    """Those of one console."""

    def __init__(self) -> None:
        self._known: Final = OrderedDict[Hashable, tuple[float, Mapping[str, Count]]]()
        """By rights: when they are to be asked for again, and as they were last."""

    def of(self, principal: Principal) -> Mapping[str, Count]:
        """By page, as they were last; empty where nobody has asked, and for whom may see nothing."""
        return self._known.get(_rights(principal), _UNKNOWN)[1] if "view" in principal.may else {}

    async def look(self, admin: Admin) -> None:
        """Ask for them, where they are old. What keeps them from being seen is for the page itself to say."""
        rights, now = _rights(admin.principal), anyio.current_time()
        due, known = self._known.get(rights, _UNKNOWN)
        if not admin.may("view") or now < due:
            return
        # Before it is asked: whoever comes meanwhile makes do with those that are known.
        self._keep(rights, now + EVERY, known)
        with suppress(AM2ZError):
            self._keep(rights, now + EVERY, _counted(await admin.census()))

    def _keep(self, rights: Hashable, due: float, counts: Mapping[str, Count]) -> None:
        self._known[rights] = due, counts
        self._known.move_to_end(rights)
        while len(self._known) > MOST_KEPT:
            self._known.popitem(last=False)


_UNKNOWN: Final[tuple[float, Mapping[str, Count]]] = 0.0, {}


def _rights(principal: Principal) -> Hashable:
    return principal.sessions, principal.queues


def _counted(census: Census) -> Mapping[str, Count]:
    dead = sum(one.dead for one in census.queues.values())
    return {
        "sessions": Count(census.sessions),
        "queues": Count(len(census.queues)),
        "dead": Count(dead, is_bad=dead > 0),
        "schedules": Count(len(census.schedules)),
        "nodes": Count(census.nodes),
    }
