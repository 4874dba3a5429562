"""Nodes: who is there, how each judges itself, what keeps its event loop, and what was lost of late."""

from __future__ import annotations

from typing import Final, Literal

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response

from am2z_trio.model.errors import RuntimeStateError, UnknownOutcomeError
from am2z_trio.model.views.actions import Answer
from am2z_trio.model.views.health import NodeHealth
from am2z_trio.model.views.nodes import NodeView
from am2z_trio.model.views.stack import JobStack
from am2z_trio.model.views.tree import NodeTree

from ..routes import Action, Page, Route
from ..view import View

LOOP_LATE: Final = "loop_late"

MOST_STACKS: Final = 20
"""Jobs of one node whose lines are shown at once."""

LOST_FOR: Final = 3600
"""Seconds for which a node that was lost is told of."""

Kind = Literal["ready", "late", "draining", "silent", "lost", "warn"]


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A node, and what it says of itself."""

    node: NodeView
    health: NodeHealth | None = None

    @property
    def state(self) -> tuple[Kind, str]:
        """Its status, and what is said of it."""
        match self.node.status:
            case "lost":
                return "lost", "lost"
            case "unheard":
                return "silent", "not heard"
            case "draining":
                return "draining", "draining"
            case _:
                return self._own()

    def _own(self) -> tuple[Kind, str]:
        if self.health is None:
            return "silent", "silent"
        codes = {one.code for one in self.health.reasons}
        if LOOP_LATE in codes:
            return "late", "late loop"
        return ("ready", "ready") if self.health.ready else ("warn", "not ready")

    @property
    def is_troubled(self) -> bool:
        """Whether it says why it is not ready, or what has kept its event loop."""
        health = self.health
        return health is not None and (bool(health.figures.kept_by) or not health.ready)

    @property
    def slots(self) -> int:
        """Jobs that it may run at a time; 0 where it serves more processors than are told."""
        each = self.node.concurrency
        return self.node.max_running or (sum(each.values()) if len(each) == self.node.served else 0)

    @property
    def share(self) -> float:
        """How much of that it holds."""
        return self.node.claims / self.slots if self.slots else 0.0


async def show_all(view: View) -> Response:
    """All of them."""
    admin = view.admin
    nodes = await admin.nodes()
    healths = await admin.node_healths() if nodes else {}
    rows = [Standing(node=one, health=healths.get(one.id)) for one in nodes]
    lost = await admin.lost_nodes(within=LOST_FOR)
    troubled = [row for row in rows if row.is_troubled]
    return view.render(
        "nodes/list.html",
        rows=rows,
        lost=lost,
        troubled=troubled,
        drains=view.may("drain") and view.principal.sees_all,
        readiness=readiness,
        tail=tail,
    )


async def show(view: View) -> Response:
    """One of them, with the lines where its jobs are."""
    id = view.id("node")
    found = [one for one in await view.admin.nodes() if one.id == id]
    health, tree = None, NodeTree(node=id, silent=True)
    if found:
        health = (await view.admin.node_healths()).get(id)
        (tree,) = (await view.admin.tree(node=id, depth=3)).nodes
    lost = [one for one in (await view.admin.lost_nodes(within=LOST_FOR)).nodes if one.id == id]
    if not found and not lost:
        raise HTTPException(404, f"There is no node {id!r}, and none was lost of late.")
    jobs = [row for row in tree.rows if row.scope == "job"]
    return view.render(
        "nodes/one.html",
        row=Standing(node=found[0], health=health) if found else None,
        lost=lost[0] if lost else None,
        id=id,
        jobs=jobs,
        silent=tree.silent,
        stacks=await _stacks(view, [row.job for row in jobs[:MOST_STACKS]]) if view.query("stacks") else None,
        most=MOST_STACKS,
        drains=view.may("drain") and view.principal.sees_all,
        readiness=readiness,
        tail=tail,
    )


async def _stacks(view: View, jobs: list[str]) -> list[JobStack]:
    found = list[JobStack]()
    for job in jobs:
        stack = await view.admin.stack(job)
        if stack is not None:
            found.append(stack)
    return found


def tail(file: str) -> str:
    """A file and its folder: what tells it from others."""
    return "/".join(file.rsplit("/", 2)[-2:])


def readiness(health: NodeHealth) -> str:
    """What `/readyz` of the node answers now."""
    reasons = [{"code": one.code, "text": one.text, "since": one.since} for one in health.reasons]
    told = msgspec.json.encode({"ready": health.ready, "reasons": reasons})
    return msgspec.json.format(told, indent=2).decode()


async def undrain(view: View) -> Response:
    try:
        answer = await view.admin.undrain_node(view.id("node"), reason=view.reason)
    except (RuntimeStateError, UnknownOutcomeError) as error:
        answer = Answer(done=False, text=error.message)
    to = "tree" if view.field("back", most=10) == "tree" else "nodes"
    return view.done(answer, view.url(to))


ROUTES: list[Route] = [
    Page("nodes", show_all, live=["rows", "loops"], every=2.0),
    Page("node", show, live=["facts"], every=2.0),
    Action("node.undrain", undrain),
]
