"""Queues, as `am2z top` lists them: in figures, and in an order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal

import msgspec

from am2z_trio.model.views.samples import QueueNow, Sample, Throughput
from am2z_trio.policy.spans import span
from am2z_trio.policy.throughput import throughput

from ..display import shown
from .columns import Column

LOOK_BACK: Final = 60.0
"""Seconds for which rates and quantiles are told."""

Sort = Literal["wait", "rate", "age", "name"]
SORTS: Final[tuple[Sort, ...]] = ("wait", "rate", "age", "name")

BARS: Final = " ▁▂▃▄▅▆▇█"


class QueueRow(msgspec.Struct, frozen=True, kw_only=True):
    """One queue as it is listed."""

    queue: str
    """Its processor's name."""
    state: str
    """`flowing`, `idle`, `held`, `paused`, `circuit open` or `unserved`."""
    waiting: int
    active: int
    delayed: int
    oldest: float
    """Seconds."""
    rate: float
    """Jobs completed per second."""
    failed: float
    """Per second."""
    wait_p95: float | None
    run_p50: float | None
    run_p95: float | None
    dead: int
    nodes: int
    """Live nodes that serve it."""
    last: list[int]
    """Jobs completed in each ten seconds of the last minute, the latest last."""
    paused: bool = False
    """Whatever else its state is."""


COLUMNS: Final = (
    Column("QUEUE", 0, is_text=True, most=28),
    Column("STATE", 1, is_text=True),
    Column("WAIT", 2),
    Column("RUN", 3),
    Column("LATER", 10),
    Column("OLDEST", 5),
    Column("/S", 4),
    Column("FAIL/S", 9),
    Column("WAIT P95", 11),
    Column("RUN P50", 13),
    Column("RUN P95", 7),
    Column("DEAD", 6),
    Column("NODES", 12),
    Column("LAST 60 S", 8),
)


def state_of(now: QueueNow) -> str:
    """What there is to say of a queue, the worst first."""
    has_jobs = now.waiting or now.active or now.delayed
    if has_jobs and not now.workers:
        return "unserved"
    if now.paused:
        return "paused"
    if now.breaker_open:
        return "circuit open"
    if now.held:
        return "held"
    return "flowing" if has_jobs else "idle"


def row_of(name: str, now: QueueNow, samples: Sequence[Sample]) -> QueueRow:
    going: Throughput = throughput(name, samples, LOOK_BACK)
    done = {sample.at // 10_000: sample.completed for sample in samples}
    latest = max(done, default=0)
    return QueueRow(
        queue=name,
        state=state_of(now),
        waiting=now.waiting,
        active=now.active,
        delayed=now.delayed,
        oldest=now.oldest,
        rate=going.completed,
        failed=going.failed,
        wait_p95=going.wait_p95,
        run_p50=going.run_p50,
        run_p95=going.run_p95,
        dead=now.dead,
        nodes=now.workers,
        last=[done.get(latest - back, 0) for back in range(5, -1, -1)] if done else [],
        paused=now.paused,
    )


def ordered(rows: Sequence[QueueRow], sort: Sort) -> list[QueueRow]:
    """Most of what is asked for first."""
    keys: dict[Sort, Callable[[QueueRow], float]] = {
        "wait": lambda row: -row.waiting,
        "rate": lambda row: -row.rate,
        "age": lambda row: -row.oldest,
        "name": lambda row: 0,
    }
    return sorted(rows, key=lambda row: (keys[sort](row), row.queue))


def matching(rows: Sequence[QueueRow], text: str) -> list[QueueRow]:
    """Those that have the text in their name or state, in whichever case."""
    text = text.casefold()
    return [row for row in rows if text in row.queue.casefold() or text in row.state]


def cells(row: QueueRow) -> list[object]:
    """A row as text, column by column."""
    return [
        shown(row.queue),
        row.state,
        row.waiting,
        row.active,
        row.delayed,
        span(row.oldest) if row.waiting else "-",
        rate(row.rate),
        rate(row.failed),
        *("-" if one is None else span(one) for one in (row.wait_p95, row.run_p50, row.run_p95)),
        row.dead,
        row.nodes,
        spark(row.last),
    ]


def rate(each_second: float) -> str:
    """Three figures, or all that stand before the point."""
    return f"{each_second:,.0f}" if each_second >= 100 else f"{each_second:.3g}"


def spark(counts: Sequence[int]) -> str:
    """Counts as bars, the largest full."""
    most = max(counts, default=0)
    return "".join(BARS[-(-count * (len(BARS) - 1) // most)] if most else BARS[0] for count in counts)
