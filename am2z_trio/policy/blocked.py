"""Processors whose code keeps the event loop of nodes to itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from am2z_trio.model.views.findings import Finding
from am2z_trio.model.views.health import Blocked

from .spans import span
from .standings import NodeStanding


def blocking(nodes: Sequence[NodeStanding], at: int) -> Iterator[Finding]:
    """One finding for each processor, with the place that has kept a loop for longest."""
    found: dict[str, list[tuple[Blocked, str]]] = {}
    for node in nodes:
        for one in node.blocked:
            found.setdefault(one.processor, []).append((one, node.name))
    for name, places in found.items():
        worst, on = max(places, key=lambda place: (place[0].longest, place[1]))
        times = sum(place.times for place, _ in places)
        last = min(place.ago for place, _ in places)
        often = "a job" if times == 1 else f"{times:,} jobs"
        yield Finding(
            code="loop_blocked",
            severity="warning",
            text=f"{often} of {name} kept the event loop, {span(last)} ago last, and for "
            f"{span(worst.longest)} at {worst.file}:{worst.line} on {on}: nothing else gets on there",
            target=name,
            since=at - round(last * 1000),
            action="code that blocks belongs into a plain def, which runs in a thread, or run_in='process'",
        )
