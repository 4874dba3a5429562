"""Nodes: what runs on them now, and orders to them."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import msgspec

from am2z_trio.engine.processors.processor import Processor, name_of
from am2z_trio.engine.runtime.control import ControlManager, require_node_id, require_task
from am2z_trio.engine.submission.request import require_session
from am2z_trio.model.checks import require_seconds, require_text
from am2z_trio.model.errors import RuntimeStateError
from am2z_trio.model.events import Event
from am2z_trio.model.limits import MAX_ANY_ID_BYTES
from am2z_trio.model.records import MOST_ROWS
from am2z_trio.model.views.actions import Answer
from am2z_trio.model.views.health import NodeHealth
from am2z_trio.model.views.nodes import LostNode, LostNodes, NodeView
from am2z_trio.model.views.preview import Preview
from am2z_trio.model.views.stack import JobStack
from am2z_trio.model.views.tree import Tree, TreeRow

from .asking import Asking

MOST_PAGES: Final = 10
"""Of a thousand events each, that are looked at."""


class NodeDesk(Asking):
    """What an operator asks of nodes, and does with them.

    A node runs jobs of everybody: whoever is limited to some queues or sessions sees all nodes and no more
    than its own jobs on them, drains none, and stops workers of its own. Orders raise as `runtime.control`'s
    do: `RuntimeStateError` for a node that is not there, `ValidationError` where it refuses, and
    `UnknownOutcomeError` where it is silent: it may do it yet.
    """

    # --- what is there ----------------------------------------------------------------------

    async def nodes(self) -> list[NodeView]:
        """All nodes, by their ids. Of the processors that they serve those are named that are the
        principal's business; `served` and `claims` count all."""
        await self._require_view("nodes")
        return [self._shown_node(one) for one in await self._control.nodes()]

    async def node_health(self, node: str) -> NodeHealth:
        """How a node judges itself. Raises as orders do."""
        node = require_node_id(node)
        await self._require_view("node_health", node)
        return await self._control.health(node)

    async def node_healths(self) -> dict[str, NodeHealth | None]:
        """How all nodes judge themselves, by their ids; `None` of one that does not answer."""
        await self._require_view("node_healths")
        return await self._control.healths()

    async def lost_nodes(self, *, within: float = 3600.0) -> LostNodes:
        """Nodes from which jobs that are the principal's business were taken in the last so many seconds, by
        the history of events (`event_history`)."""
        within = require_seconds("within", within)
        await self._require_view("lost_nodes")
        since, found, before = self.now() - round(within * 1000), dict[str, list[Event]](), None
        for _ in range(MOST_PAGES):
            page = await self._runtime.events.history("job:stalled", before=before, limit=1_000)
            events = [one for one in page.events if one.at >= since]
            for event in reversed(events):
                if self.principal.is_for(queue=event.processor, session=event.session):
                    found.setdefault(event.node, []).append(event)
            before = page.last
            if len(events) < len(page.events) or not page.more:
                return LostNodes(nodes=_lost(found), kept=page.kept)
        return LostNodes(nodes=_lost(found), more=True)

    async def tree(
        self,
        *,
        node: str | None = None,
        session: str | None = None,
        processor: Processor[Any] | str | None = None,
        job: str | None = None,
        depth: int = 4,
        offset: int = 0,
        limit: int = MOST_ROWS,
    ) -> Tree:
        """What runs now, as `runtime.control.tree` has it, in rows that are the principal's business. A page
        of a node may be shorter than `limit` therefore; what nodes and sessions count is of all."""
        await self._require_view("tree")
        found = await self._control.tree(
            node=node,
            session=session,
            processor=processor,
            job=job,
            depth=depth,
            offset=offset,
            limit=limit,
        )
        if self.principal.sees_all:
            return found
        return Tree(
            nodes=[
                msgspec.structs.replace(one, rows=[row for row in one.rows if self._sees_scope(row)])
                for one in found.nodes
            ]
        )

    async def stack(self, job_id: str) -> JobStack | None:
        """Where the code of a running job is, task by task; `None` if no node that answers has it, or it is
        none that the principal sees."""
        job_id = require_text("job_id", job_id, most=MAX_ANY_ID_BYTES)
        await self._require_view("stack", job_id)
        found = await self._control.stack(job_id)
        theirs = found is not None and self.principal.is_for(queue=found.processor, session=found.session)
        return found if theirs else None

    # --- what may be done -------------------------------------------------------------------

    async def preview_cancel(self, job_id: str) -> Preview:
        """What `cancel` would do. Raises `JobNotFoundError`."""
        await self._require_view("preview_cancel")
        row = await self._row(job_id)
        return await self._control.preview_cancel(row.id)

    async def preview_drain(self, node: str) -> Preview:
        """What `drain_node` would do."""
        node = require_node_id(node)
        await self._require_view("preview_drain", node, whole=True)
        return await self._control.preview_drain(node)

    async def drain_node(self, node: str, *, grace: float | None = None, reason: str = "") -> Answer:
        """Have a node claim no more jobs, as `runtime.control.drain_node` does. One that was drained already
        is not done, but given the newest grace."""
        node, reason = require_node_id(node), self._reason(reason)
        if grace is not None:
            grace = require_seconds("grace", grace)

        async def foresee() -> dict[str, object]:
            await self._require_node(node)
            return {"grace": grace, **_counted(await self._control.preview_drain(node))}

        acting = self._acting("drain", "drain_node", target=node, whole=True, foresee=foresee, reason=reason)
        async with acting as under:
            done = await self._control.drain_node(node, grace)
            told = "it claims no more jobs" if done else "it was drained already"
            under.result = answer = Answer(done=done, text=told)
            return answer

    async def undrain_node(self, node: str, *, reason: str = "") -> Answer:
        """Have a node claim jobs again."""
        node, reason = require_node_id(node), self._reason(reason)
        foresee = partial(self._require_node, node)
        acting = self._acting(
            "drain", "undrain_node", target=node, whole=True, foresee=foresee, reason=reason
        )
        async with acting as under:
            done = await self._control.undrain_node(node)
            told = "it claims jobs again" if done else "it was not drained"
            under.result = answer = Answer(done=done, text=told)
            return answer

    async def preview_stop_worker(
        self, node: str, processor: Processor[Any] | str, session: str | None = None
    ) -> Preview:
        """What `stop_worker` would do."""
        node, name = require_node_id(node), name_of(processor)
        if session is not None:
            session = require_session(session)
        await self._require(
            "view",
            "preview_stop_worker",
            target=name,
            queue=name,
            session=session,
            whole=True,
        )
        return await self._control.preview_stop_worker(node, name, session)

    async def stop_worker(
        self, node: str, processor: Processor[Any] | str, session: str | None = None, *, reason: str = ""
    ) -> Answer:
        """Have a node serve a processor no more, as `runtime.control.stop_worker` does. With a session, that
        session's worker alone, and what it runs: that takes the permission to stop sessions, and else the one
        to drain."""
        node, name, reason = require_node_id(node), name_of(processor), self._reason(reason)
        if session is not None:
            session = require_session(session)

        async def foresee() -> dict[str, object]:
            await self._require_node(node)
            told = _counted(await self._control.preview_stop_worker(node, name, session))
            return {"node": node, "session": session, **told}

        acting = self._acting(
            "drain" if session is None else "stop_session",
            "stop_worker",
            target=name,
            queue=name,
            session=session,
            whole=True,
            foresee=foresee,
            reason=reason,
        )
        async with acting as under:
            done = await self._control.stop_worker(node, name, session)
            told = "it takes no more jobs there" if done else "there is none"
            under.result = answer = Answer(done=done, text=told)
            return answer

    async def cancel_task(self, node: str, job_id: str, token: str, path: str, *, reason: str = "") -> Answer:
        """Cancel one task of a job's nursery, by what its row in the tree says; the job goes on."""
        node, reason = require_node_id(node), self._reason(reason)
        token, path = require_task(token, path)
        row = await self._row(job_id)

        async def foresee() -> dict[str, object]:
            await self._require_node(node)
            return {"node": node, "path": path}

        async with self._acting_on(row, "cancel", "cancel_task", reason, foresee=foresee) as under:
            done = await self._control.cancel_task(node, row.id, token, path)
            other = "there is none: it has ended, or its job runs under another token now, or elsewhere"
            told = "it ends at its next checkpoint, and its job goes on" if done else other
            under.result = answer = Answer(done=done, text=told)
            return answer

    # --- whose it is ------------------------------------------------------------------------

    @property
    def _control(self) -> ControlManager:
        return self._runtime.control

    async def _require_node(self, node: str) -> None:
        if all(one.id != node for one in await self._control.nodes()):
            raise RuntimeStateError(f"there is no node {node!r}", context={"node": node})

    def _shown_node(self, one: NodeView) -> NodeView:
        served = {name: n for name, n in one.concurrency.items() if self.principal.is_for(queue=name)}
        return msgspec.structs.replace(one, concurrency=served)

    def _sees_scope(self, row: TreeRow) -> bool:
        """A node is everybody's; a session has no queue."""
        return row.scope == "node" or self.principal.is_for(queue=row.processor or None, session=row.session)


def _lost(found: dict[str, list[Event]]) -> list[LostNode]:
    nodes = [
        LostNode(
            id=id,
            at=max(one.at for one in events),
            jobs=len({one.job for one in events}),
            processors=sorted({one.processor for one in events}),
        )
        for id, events in found.items()
    ]
    return sorted(nodes, key=lambda one: -one.at)


def _counted(told: Preview) -> dict[str, object]:
    """A preview as the audit keeps it: in figures."""
    return {
        "running": len(told.running),
        "more": told.more,
        "silent": bool(told.silent),
        "callers": sum(told.callers.values()),
    }
