"""How many records there are in the places of a query, each of which is asked for once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from am2z_trio.model.views.jobs import QueueTotals
from am2z_trio.store.ports import Store

from .plan import Place

MOST_OF_ONE: Final = 10_000
"""Jobs of one session, or one node, that are looked through."""


class Extents:
    """About, as jobs come and go."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._queues = dict[str, QueueTotals]()
        self._others = dict[Place, int]()

    async def of(self, *plans: Sequence[Place]) -> list[int]:
        """Of several plans, each."""
        places = dict.fromkeys(place for plan in plans for place in plan)
        await self._know(places)
        return [sum(map(self._one, plan)) for plan in plans]

    async def _know(self, places: Iterable[Place]) -> None:
        queues = list[str]()
        for place in places:
            if place.kept == "session":
                counts = await self._store.session_counts(place.name)
                self._others[place] = counts.active + counts.waiting + counts.delayed
            elif place.kept == "node":
                self._others[place] = len(await self._store.inspection.of_node(place.name, MOST_OF_ONE))
            elif place.kept == "ids":
                self._others[place] = len(place.ids)
            else:
                queues.append(place.name)
        totals = await self._store.inspection.totals([*dict.fromkeys(queues)])
        self._queues = {one.queue: one for one in totals}

    def _one(self, place: Place) -> int:
        known = self._others.get(place)
        return int(getattr(self._queues[place.name], place.kept)) if known is None else known
