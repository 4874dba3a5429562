"""`runtime.workers`: who works on this node, and stopping some of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from am2z_trio.engine.claim import Stop
from am2z_trio.engine.processors.processor import Processor, name_of
from am2z_trio.engine.submission.request import require_session
from am2z_trio.model.errors import ProcessorNotFoundError
from am2z_trio.model.records import queue_name

if TYPE_CHECKING:
    from .runtime import Runtime


class WorkerManager:
    """The workers of this node: one per processor, and one per processor in each session that is here.

    A processor's worker claims; what it claims of a session is run by the session's worker, in the
    session's nursery.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def has_worker(self, processor: Processor[Any] | str, session: str | None = None) -> bool:
        """Whether this node serves the processor; with a session, whether the session has a worker
        of it here."""
        node, queue = self._runtime.node, queue_name(name_of(processor))
        if session is not None:
            session = require_session(session)
        if session is None:
            worker = node.fleet.workers.get(queue)
            return worker is not None and not worker.closing
        hosted = node.sessions.get(session)
        return hosted is not None and queue in hosted.workers

    def get_worker_count(self) -> int:
        """Workers on this node, those of sessions included."""
        node = self._runtime.node
        hosted = (node.sessions.get(id) for id in node.sessions.ids())
        return len(node.fleet.workers) + sum(
            len(session.workers) for session in hosted if session is not None
        )

    async def stop_worker(self, processor: Processor[Any] | str, session: str | None = None) -> bool:
        """Stop one worker of this node and wait until it has ended; `False` if there is none.

        A processor's worker claims no more and lets its running jobs end; registering the processor
        again starts a new one. A session's worker has its running jobs cancelled.
        """
        node, queue = self._runtime.node, queue_name(name_of(processor))
        if not self.has_worker(processor, session):
            return False
        if session is None:
            fleet, worker = node.fleet, node.fleet.workers[queue]
            fleet.stop_serving(queue)
            await fleet.wait_until(lambda: not fleet.is_at_work(worker))
            return True
        hosted = node.sessions.get(session)
        assert hosted is not None
        stopped = hosted.take_worker(queue)
        assert stopped is not None
        node.claims.cancel_all(session, queue, Stop("cancelled", "its worker was stopped"))
        await stopped.wait_idle()
        return True

    async def stop_all(self) -> int:
        """Stop every worker of this node: sessions at once, then processors, whose running jobs end.

        Returns how many there were.
        """
        node, count = self._runtime.node, self.get_worker_count()
        for session in node.sessions.ids():
            await self._runtime.stop_session(session)
        fleet, stopped = node.fleet, list(node.fleet.workers.values())
        fleet.stop_serving(*fleet.workers)
        await fleet.wait_until(lambda: not any(map(fleet.is_at_work, stopped)))
        return count

    def create_session_worker(self, processor: Processor[Any] | str, session: str) -> None:
        """Have a worker for this processor in this session, until the session is stopped."""
        session = require_session(session)
        if isinstance(processor, Processor):
            if processor.name not in self._runtime.list_processors():
                self._runtime.register(processor)
        elif (name := name_of(processor)) not in self._runtime.list_processors():
            raise ProcessorNotFoundError(
                f"this node has registered no processor named {name!r}", context={"processor": name}
            )
        node = self._runtime.node
        node.require_open(session)
        node.sessions.open(session).pin(queue_name(name_of(processor)))

    async def stop_session_workers(self, session: str) -> int:
        """Stop the session, which here is one cancel of its scope. Returns how many workers it had here."""
        hosted = self._runtime.node.sessions.get(require_session(session))
        count = 0 if hosted is None else len(hosted.workers)
        await self._runtime.stop_session(session)
        return count
