"""What `runtime.control` says of an order before it is given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from am2z_trio.model.errors import JobCancelledError, JobNotFoundError, SessionStoppedError
from am2z_trio.model.transitions import TERMINAL
from am2z_trio.model.views.preview import Action, Preview
from am2z_trio.model.views.tree import Tree
from am2z_trio.store.ports import Store

LookAt = Callable[..., Awaitable[Tree]]
"""`ControlManager.tree`."""

_HEARS: Final = f"Callers hear {JobCancelledError.__name__} ({JobCancelledError.code})."
CANCELLED: Final = (
    "Those that run are cancelled at their next checkpoint, and so is what they have called; those that wait "
    f"end at once. {_HEARS}"
)
STOPPED: Final = (
    "All jobs of the session end, on every node, and its blocks are cancelled; its state stays. Callers hear "
    f"{SessionStoppedError.__name__} ({SessionStoppedError.code})."
)
ENDS: Final = "It has ended already: nothing is going to happen."
DRAINED: Final = (
    "It claims no more jobs. Those that run go on, and callers notice nothing; with a grace, those that have "
    "not ended by then go back to their queues and are run again elsewhere, no attempt used. Until it is "
    "undrained it still counts as serving its queues: what nobody else serves waits."
)
UNSERVED: Final = (
    "The node claims no more jobs of this processor; those that run go on. What no other node serves waits "
    "for one that does."
)
WORKER_STOPPED: Final = (
    f"Its jobs that run are cancelled. {_HEARS} What waits is run by another worker of the session."
)


class Previews:
    """Of one runtime."""

    def __init__(self, store: Callable[[], Store], tree: LookAt) -> None:
        self._store = store
        self._tree = tree

    async def of_job(self, job: str) -> Preview:
        (view,) = await self._store().view([job])
        if view is None:
            raise JobNotFoundError(f"there is no record of job {job}", context={"job": job})
        if view.status in TERMINAL:
            return Preview(action="cancel job", target=job, outcome=ENDS)
        found = await self._running("cancel job", job, await self._tree(job=job, depth=3))
        return msgspec.structs.replace(
            found,
            waiting=int(view.status == "waiting"),
            delayed=int(view.status == "later"),
            outcome=CANCELLED,
        )

    async def of_session(self, session: str) -> Preview:
        counts = await self._store().session_counts(session)
        lock = await self._store().states.lock_standing(session)
        found = await self._running("stop session", session, await self._tree(session=session, depth=3))
        return msgspec.structs.replace(
            found,
            waiting=counts.waiting,
            delayed=counts.delayed,
            lock_held=lock.left > 0,
            lock_waiting=lock.waiting,
            outcome=STOPPED,
        )

    async def of_node(self, node: str) -> Preview:
        found = await self._running("drain node", node, await self._tree(node=node, depth=3))
        return msgspec.structs.replace(found, outcome=DRAINED)

    async def of_worker(self, node: str, processor: str, session: str | None) -> Preview:
        tree = await self._tree(node=node, processor=processor, session=session, depth=3)
        found = await self._running("stop worker", processor, tree)
        return msgspec.structs.replace(found, outcome=UNSERVED if session is None else WORKER_STOPPED)

    async def _running(self, action: Action, target: str, tree: Tree) -> Preview:
        """What nodes hold of it, and who waits for that."""
        rows = {one.node: [row for row in one.rows if row.scope == "job"] for one in tree.nodes}
        jobs = [row for found in rows.values() for row in found]
        records = await self._store().inspection.rows([row.job for row in jobs])
        return Preview(
            action=action,
            target=target,
            running=jobs,
            more=any(one.next is not None for one in tree.nodes),
            nodes={node: len(found) for node, found in rows.items() if found},
            silent=[one.node for one in tree.nodes if one.silent or one.refusal],
            callers=dict(Counter(origin for record in records if record for origin in record.origins)),
        )
