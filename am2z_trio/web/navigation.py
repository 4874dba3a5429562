"""Where one goes from anywhere: the console's main pages, by their keys."""

from __future__ import annotations

from typing import Final, NamedTuple


class Entry(NamedTuple):
    """One line of the navigation."""

    page: str
    label: str
    icon: str
    key: str
    """After `g`; empty for none."""
    short: str = ""
    """On a phone's bar; empty: it is not there."""


NAVIGATION: Final[tuple[tuple[str, tuple[Entry, ...]], ...]] = (
    (
        "",
        (
            Entry("overview", "Overview", "home", "o", "Overview"),
            Entry("tree", "Live tree", "tree", "t", "Tree"),
        ),
    ),
    (
        "Work",
        (
            Entry("sessions", "Sessions", "person", "s"),
            Entry("queues", "Queues", "lines", "q", "Queues"),
            Entry("jobs", "Jobs", "rows", "j", "Jobs"),
            Entry("dead", "Dead letters", "warning", "d", "Dead"),
            Entry("bulks", "Bulk actions", "stack", "b"),
            Entry("schedules", "Schedules", "clock", "c"),
        ),
    ),
    (
        "System",
        (
            Entry("nodes", "Nodes", "server", "n"),
            Entry("redis", "Redis", "disk", "r"),
            Entry("events", "Events", "pulse", "e"),
            Entry("audit", "Audit", "shield", "a"),
        ),
    ),
)

SECTIONS: Final = {
    "session": "sessions",
    "queue": "queues",
    "all-queues": "queues",
    "job": "jobs",
    "why": "jobs",
    "bulk": "bulks",
    "schedule": "schedules",
    "schedule-new": "schedules",
    "node": "nodes",
}
"""Pages that are of another one's entry."""


def section_of(page: str) -> str:
    """Which entry is the page's: `queues` for `queue.pause`."""
    first = page.partition(".")[0]
    return SECTIONS.get(first, first)
