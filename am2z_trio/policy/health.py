"""What a node's figures say of it: alive, and ready for work, or the reasons why not. Pure.

| code | not | when |
|---|---|---|
| `loop_stuck` | live, ready | the event loop has given no sign of life for `STUCK` |
| `stopping` | ready | it is being left |
| `draining` | ready | it was told to claim no more |
| `store_silent` | ready | the store has not answered for `SILENT` |
| `lease_lost` | ready | others are about to get its jobs |
| `memory` | ready | the process takes more than `max_memory_mb` |
| `loop_late` | ready | one sign of life in a hundred comes later than `LATE` |
| `wedged` | ready | a queue has a job that may run here, and a free place, and is not claimed for `WEDGED` |
| `refused` | ready | anything else for which it cannot claim: rights, threads, a worker that has ended |
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from am2z_trio.model.views.health import Figures, NodeHealth, Reason

STUCK: Final = 10.0
"""Seconds without a sign of life after which a loop will not come back by itself."""

SILENT: Final = 2.0
"""Seconds: a node asks at least once a second."""

LATE: Final = 0.25
"""Seconds of lag at which jobs' timers and cancellations are noticeably late."""

WEDGED: Final = 5.0


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a node beside its figures."""

    node: str
    figures: Figures
    stopping: bool = False
    draining: float | None = None
    """Seconds for which it has been drained."""
    lease_lost: bool = False
    wedged: Mapping[str, float] = {}
    """By processor: seconds for which a job of it has waited beside a free place."""
    refused: str = ""
    """Why it cannot claim, in a few words, whatever that is."""


def judge(facts: Facts) -> NodeHealth:
    """The node's own judgement of itself."""
    reasons = list(_reasons(facts))
    if not reasons and facts.refused:
        # What has a reason of its own is told by that.
        reasons = [Reason(code="refused", text=facts.refused)]
    return NodeHealth(
        node=facts.node,
        live=all(reason.code != "loop_stuck" for reason in reasons),
        ready=not reasons,
        reasons=reasons,
        figures=facts.figures,
    )


def _reasons(facts: Facts) -> Iterator[Reason]:
    figures = facts.figures
    if figures.loop_silent >= STUCK:
        text = f"the event loop has given no sign of life for {figures.loop_silent:.1f} s"
        if figures.kept_by:
            place = figures.kept_by[0]
            text += f"; it was mostly at {place.file}:{place.line} in {place.function}"
        yield _beyond("loop_stuck", text, figures.loop_silent, STUCK, since=figures.loop_silent)
    if facts.stopping:
        yield Reason(code="stopping", text="the runtime is being left, and claims no more jobs")
    if facts.draining is not None:
        text = "the node is drained, and claims no more jobs until it is undrained"
        yield Reason(code="draining", text=text, since=facts.draining)
    silent = figures.store_silent
    if silent >= SILENT:
        yield _beyond(
            "store_silent", f"the store has not answered for {silent:.1f} s", silent, SILENT, since=silent
        )
    if facts.lease_lost:
        yield Reason(code="lease_lost", text="the node's lease is over, and others may get its jobs")
    memory, limit = figures.memory_mb, figures.memory_limit_mb
    if limit is not None and memory > limit:
        text = f"the process takes {memory:,.0f} MB of memory, the limit is {limit:,.0f} (max_memory_mb)"
        yield _beyond("memory", text, memory, limit)
    lag = figures.loop_lag_p99
    if lag >= LATE:
        text = f"the event loop is {lag * 1000:,.0f} ms late in one of a hundred times"
        yield _beyond("loop_late", text, lag, LATE)
    for processor, seconds in facts.wedged.items():
        if seconds >= WEDGED:
            text = f"jobs of {processor!r} wait beside a free place, and none was claimed for {seconds:.0f} s"
            yield _beyond("wedged", text, seconds, WEDGED, since=seconds)


def _beyond(code: str, text: str, value: float, limit: float, *, since: float | None = None) -> Reason:
    return Reason(code=code, text=text, since=since, value=value, limit=limit)
