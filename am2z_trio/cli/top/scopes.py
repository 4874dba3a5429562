"""What runs, as `am2z top` shows it: nodes, and below them what they hold, line by line."""

from __future__ import annotations

from typing import Final

import msgspec

from am2z_trio.admin import Admin

from ..scopes import told

MOST_SCOPES: Final = 200
"""Of each node that are shown."""

JOBS_DEEP: Final = 3


class ScopeLine(msgspec.Struct, frozen=True, kw_only=True):
    """One scope, or why a node says nothing."""

    text: str
    job: str = ""
    """Its id, of one that is a job: it can be selected."""
    calls: int = 0


async def looked_at(admin: Admin, queue: str) -> list[ScopeLine]:
    """What runs of a queue, or of all where it is empty."""
    found = list[ScopeLine]()
    tree = await admin.tree(processor=queue or None, depth=JOBS_DEEP, limit=MOST_SCOPES)
    for node in tree.nodes:
        if node.silent or node.refusal:
            why = node.refusal or "silent: it has not answered within a second"
            found.append(ScopeLine(text=f"node {node.node}  ({why})"))
        for row in node.rows:
            is_job = row.scope == "job"
            found.append(
                ScopeLine(
                    text="   " * row.level + " ".join(told(row)),
                    job=row.job if is_job else "",
                    calls=row.jobs if is_job else 0,
                )
            )
        if node.next is not None:
            found.append(ScopeLine(text=f"   and more: am2z tree --node {node.node}"))
    return found
