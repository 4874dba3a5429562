"""Which failures are of one kind: what an error says without what differs from one job to the next."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from am2z_trio.model.telling import cut
from am2z_trio.model.views.jobs import JobRow
from am2z_trio.model.views.search import Group

MOST_BYTES: Final = 200
"""Of a message that are compared."""

MOST_NAMED: Final = 5
"""Jobs of a group that are named."""

PARTS: Final = 10
"""Of the time in which jobs have failed, for each of which they are counted."""

_DIFFERS: Final = re.compile(
    r"""'[^']{0,200}'|"[^"]{0,200}"|\b0x[0-9a-fA-F]+|\b[0-9a-fA-F-]{8,}\b|\d+(?:[.,:]\d+)*"""
)
"""Quoted texts, addresses, ids, numbers and times."""


def fingerprint(code: str, message: str) -> str:
    """The same for errors of one kind. Its length is bounded, whatever the message is."""
    first = cut(message, MOST_BYTES * 4).partition("\n")[0]
    kind = cut(" ".join(_DIFFERS.sub("#", first).split()), MOST_BYTES)
    return f"{code}: {kind}" if code else kind


def groups_of(rows: Iterable[JobRow]) -> list[Group]:
    """Jobs by what has gone wrong, those of which there are most first."""
    found = dict[tuple[str, str], list[JobRow]]()
    for row in rows:
        key = row.processor, fingerprint(row.code, row.error or row.reason)
        found.setdefault(key, []).append(row)
    ends = [row.ended for some in found.values() for row in some]
    begin, end = min(ends, default=0), max(ends, default=0)
    groups = [
        Group(
            queue=queue,
            kind=kind,
            jobs=len(some),
            sessions=len({row.session for row in some if row.session}),
            newest=max(row.ended for row in some),
            oldest=min(row.ended for row in some),
            examples=tuple(row.id for row in some[:MOST_NAMED]),
            times=_times(some, begin, end),
        )
        for (queue, kind), some in found.items()
    ]
    return sorted(groups, key=lambda group: (-group.jobs, -group.newest, group.queue, group.kind))


def _times(rows: Iterable[JobRow], begin: int, end: int) -> tuple[int, ...]:
    """How many have ended in each part of that time."""
    parts = [0] * PARTS
    for row in rows:
        parts[min(PARTS - 1, (row.ended - begin) * PARTS // max(1, end - begin))] += 1
    return tuple(parts)
