"""Nodes, as `am2z top` lists them: how full each is, how it judges itself, and what runs longest there."""

from __future__ import annotations

from typing import Final

import msgspec

from am2z_trio.model.views.health import NodeHealth
from am2z_trio.model.views.nodes import NodeView
from am2z_trio.model.views.tree import NodeTree, TreeRow
from am2z_trio.policy.spans import span

from ..display import shown
from .columns import Column

BAR: Final = 12
"""Cells of a full bar."""

EIGHTHS: Final = " ▏▎▍▌▋▊▉"

TAIL: Final = 6
"""Characters of a job's id that tell it from others on a screen."""

COLUMNS: Final = (
    Column("NODE", 0, is_text=True, most=20),
    Column("STATE", 3, is_text=True),
    Column("SLOTS", 1),
    Column("BUSY", 5, is_text=True),
    Column("LOOP P99", 2),
    Column("MEMORY", 4),
    Column("LEASE", 7),
    Column("LONGEST RUN", 6, is_text=True, most=16),
)


class LongestRun(msgspec.Struct, frozen=True, kw_only=True):
    """The job of a node whose code has run longest."""

    job: str
    processor: str
    ran: float
    """Seconds."""
    timeout: float | None
    """Seconds that it may take; `None`: as long as it likes."""
    of_some: bool
    """The node has more jobs than were looked at: another one may run longer."""


class NodeRow(msgspec.Struct, frozen=True, kw_only=True):
    """One node as it is listed."""

    node: str
    state: str
    """`serving`, `not ready`, `silent`, `draining`, `unheard` or `lost`."""
    claims: int
    """Jobs that it holds."""
    slots: int | None
    """Jobs that may run there at a time; `None`: it has not said."""
    loop_p99: float | None
    """Seconds by which its event loop is late; `None`, as is the next: it is silent."""
    memory_mb: float | None
    lease: float
    """Seconds until others get its jobs."""
    longest: LongestRun | None


def node_row(node: NodeView, health: NodeHealth | None, tree: NodeTree | None) -> NodeRow:
    """What is known of a node: its standing, its own judgement, and what runs there."""
    return NodeRow(
        node=node.id,
        state=_state(node, health),
        claims=node.claims,
        slots=_slots(node),
        loop_p99=None if health is None else health.figures.loop_lag_p99,
        memory_mb=None if health is None else health.figures.memory_mb,
        lease=node.lease,
        longest=None if tree is None else _longest(tree),
    )


def _state(node: NodeView, health: NodeHealth | None) -> str:
    if node.status != "serving":
        return node.status
    if health is None:
        return "silent"
    return "serving" if health.ready else "not ready"


def _slots(node: NodeView) -> int | None:
    """Where not all that it serves is named, its own limit is the one that is known."""
    if len(node.concurrency) < max(1, node.served):
        return node.max_running
    served = sum(node.concurrency.values())
    return served if node.max_running is None else min(served, node.max_running)


def _longest(tree: NodeTree) -> LongestRun | None:
    runs = [(row.ran, row) for row in tree.rows if row.scope == "job" and row.ran is not None]
    if not runs:
        return None

    def ran(one: tuple[float, TreeRow]) -> float:
        return one[0]

    seconds, row = max(runs, key=ran)
    return LongestRun(
        job=row.job,
        processor=row.processor,
        ran=seconds,
        timeout=row.timeout,
        of_some=tree.next is not None,
    )


def cells(row: NodeRow, *, whole: bool) -> list[object]:
    """A row as text, column by column; `whole`: no id is cut."""
    return [
        shown(row.node),
        row.state,
        f"{row.claims:,}/{'?' if row.slots is None else f'{row.slots:,}'}",
        bar(row.claims, row.slots),
        "-" if row.loop_p99 is None else span(row.loop_p99),
        "-" if row.memory_mb is None else f"{row.memory_mb:,.0f} MB",
        span(row.lease),
        "-" if row.longest is None else run_text(row.longest, whole=whole),
    ]


def run_text(run: LongestRun, *, whole: bool) -> str:
    """`41 m 02 s, no timeout  charge …8812`: what it is about first, as the end may be cut."""
    limit = "no timeout" if run.timeout is None else f"of {span(run.timeout)}"
    job = run.job if whole or len(run.job) <= TAIL else f"…{run.job[-TAIL:]}"
    least = "at least " if run.of_some else ""
    return f"{least}{span(run.ran)}, {limit}  {shown(run.processor)} {shown(job)}"


def bar(part: int, of: int | None) -> str:
    """How much of it is taken, in eighths of a cell."""
    if not of:
        return "·" * BAR if of is None or not part else "█" * BAR
    full, rest = divmod(min(part, of) * BAR * 8 // of, 8)
    begun = EIGHTHS[rest] if rest else ""
    return ("█" * full + begun).ljust(BAR, "·")
