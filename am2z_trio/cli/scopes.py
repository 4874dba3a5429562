"""A scope of the live tree, in words."""

from __future__ import annotations

from collections.abc import Iterator

from am2z_trio.model.views.tree import TreeRow
from am2z_trio.policy.spans import span

from .display import many


def told(row: TreeRow) -> Iterator[str]:
    """One row, in words."""
    if row.scope == "session" and not row.name:
        yield "no session"
    else:
        yield f"{row.scope} {row.name}"
    if row.scope in ("node", "session", "worker"):
        yield f" {many(row.jobs, 'job')}"
    if row.state not in ("open", "running"):
        yield f" {row.state}"
    if row.ran is not None:
        yield f" runs {span(row.ran)}"
    elif row.age is not None:
        yield f" {span(row.age)}"
    if row.left is not None:
        yield f" {span(row.left)} left" if row.left >= 0 else f" {span(-row.left)} too late"
    if row.attempt > 1:
        yield f" attempt {row.attempt}"
    if row.scope == "job" and row.jobs:
        more = row.jobs - len(row.waits_for)
        yield f" waits for {', '.join(row.waits_for)}{f' and {more} more' if more > 0 else ''}"
    if row.cancel_called:
        yield " cancelled"
    if row.shielded:
        yield " shielded"
