"""Where the jobs of a query can be: the cheapest places that hold all of them, in the order of looking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from am2z_trio.model.views.jobs import Source

from .query import Kind, Query, Text

Kept = Literal["ids", "node", "session"] | Source
"""Jobs by their ids; those that a node holds; those of a session that have not ended; or one of a queue's
lists."""

LISTS: Final[tuple[Source, ...]] = ("active", "waiting", "later", "dead", "recent")
"""What is under way comes first, what has ended last."""

ENDED: Final[tuple[Source, ...]] = ("dead", "recent")
"""Those of them that hold what has ended."""

HELD_IN: Final[dict[Kind, tuple[Source, ...]]] = {
    "active": ("active",),
    "waiting": ("waiting",),
    "delayed": ("later",),
    "parked": ("later",),
    "dead": ("dead",),
    "failed": ("dead", "recent"),
    "completed": ("recent",),
    "cancelled": ("recent",),
}
"""Where jobs of a status are. A dead letter is among what has ended, too, as long as that is listed."""

PART_OF: Final[dict[Kind, Kind]] = {"dead": "failed", "parked": "delayed"}
"""Those that are another one as well: who refuses that refuses them."""


class Queue(msgspec.Struct, frozen=True):
    """One that there is."""

    name: str
    processor: str


class Place(msgspec.Struct, frozen=True):
    """Somewhere to look."""

    kept: Kept
    name: str = ""
    """Of the session, or the queue."""
    ids: tuple[str, ...] = ()


def plan(query: Query, queues: Sequence[Queue]) -> list[Place]:
    """Where to look for what the query asks for, of these queues."""
    ids = _exact(query.wanted("id"))
    if ids is not None:
        return [Place("ids", ids=ids)]
    nodes = _exact(query.wanted("node"))
    if nodes is not None:
        return [Place("node", name) for name in nodes]
    sources: list[Source] = _sources(query)
    sessions = _exact(query.wanted("session"))
    places = list[Place]()
    words = [term for term in query.wanted("word") if not term.prefix]
    if words:
        places.append(Place("ids", ids=tuple(dict.fromkeys(term.text for term in words))))
    if {*sources} - {*ENDED}:
        named = sessions or [term.text for term in words]
        places += [Place("session", name) for name in dict.fromkeys(named)]
    if sessions is not None:
        # What is under way is among the sessions' own.
        sources = [source for source in ENDED if source in sources]
    # In an order of their own: who reads on may know of others, or have heard of them in another order.
    wanted = sorted((queue for queue in queues if _fits(query, queue)), key=lambda queue: queue.name)
    return places + [Place(source, queue.name) for source in sources for queue in wanted]


def _exact(terms: Sequence[Text]) -> tuple[str, ...] | None:
    """What the terms ask for, where that is told in full; `None` where it is not, or nothing is."""
    if not terms or any(term.prefix for term in terms):
        return None
    return tuple(dict.fromkeys(term.text for term in terms))


def _sources(query: Query) -> list[Source]:
    wanted = [term.text for term in query.wanted("status")] or list[str](HELD_IN)
    refused = {
        term.text
        for term in query.terms
        if isinstance(term, Text) and term.field == "status" and term.negated
    }
    held = set[Source]()
    for kind, sources in HELD_IN.items():
        if kind in wanted and not refused & {kind, PART_OF.get(kind, kind)}:
            held.update(sources)
    if query.wanted("node"):
        # Only who runs a job holds it.
        held &= {"active"}
    return [source for source in LISTS if source in held]


def _fits(query: Query, queue: Queue) -> bool:
    """Whether the query can ask for jobs of this queue."""
    found, asked = False, False
    for term in query.terms:
        if not isinstance(term, Text) or term.field != "queue":
            continue
        name = queue.processor
        same = name.startswith(term.text) if term.prefix else name == term.text
        if term.negated and same:
            return False
        if not term.negated:
            asked, found = True, found or same
    return found or not asked
