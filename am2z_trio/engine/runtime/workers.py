"""`runtime.workers`: who works on this node, and stopping some of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from am2z_trio.engine.claim import Stop
from am2z_trio.engine.node.node import Node
from am2z_trio.engine.processors.processor import Processor, name_of
from am2z_trio.engine.processors.registry import Registry
from am2z_trio.engine.submission.request import require_session
from am2z_trio.model.errors import ProcessorNotFoundError
from am2z_trio.model.records import queue_name


class WorkerManager:
    """The workers of this node: one per processor, and one per processor in each session that is here.

    What this node claims of a session is run by the session's worker, a task of the session's nursery; all
    else is run by the processor's. A session's worker is there from its first job, or from
    `create_session_worker`, for as long as the session is.
    """

    def __init__(
        self, running: Callable[[], Node], registry: Registry, register: Callable[[Processor[Any]], None]
    ) -> None:
        self._running = running
        self._registry = registry
        self._register = register

    def has_worker(self, processor: Processor[Any] | str, session: str | None = None) -> bool:
        """Whether this node serves the processor; with a session, whether the session has a worker
        of it here."""
        node, queue = self._running(), queue_name(name_of(processor))
        if session is not None:
            session = require_session(session)
        if session is None:
            worker = node.fleet.workers.get(queue)
            return worker is not None and not worker.closing
        hosted = node.sessions.get(session)
        return hosted is not None and queue in hosted.workers

    def get_worker_count(self) -> int:
        """Workers on this node, those of sessions included."""
        node = self._running()
        hosted = (node.sessions.get(id) for id in node.sessions.ids())
        return len(node.fleet.workers) + sum(
            len(session.workers) for session in hosted if session is not None
        )

    async def stop_worker(self, processor: Processor[Any] | str, session: str | None = None) -> bool:
        """Stop one worker of this node and wait until it has ended; `False` if there is none.

        With a processor's no more of its jobs are claimed, and those that run end, in sessions, too;
        registering the processor again starts a new one. A session's worker has its running jobs cancelled.
        """
        node, queue = self._running(), queue_name(name_of(processor))
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
        await stopped.wait_over()
        return True

    async def stop_all(self) -> int:
        """Stop every worker of this node: sessions at once, then processors, whose running jobs end.

        Returns how many there were.
        """
        node, count = self._running(), self.get_worker_count()
        for session in node.sessions.ids():
            await node.stops.stop(session, 0.0)
        fleet, stopped = node.fleet, list(node.fleet.workers.values())
        fleet.stop_serving(*fleet.workers)
        await fleet.wait_until(lambda: not any(map(fleet.is_at_work, stopped)))
        return count

    def create_session_worker(self, processor: Processor[Any] | str, session: str) -> None:
        """Have a worker for this processor in this session, until the session or the processor's worker is
        stopped. A `RuntimeStateError` with `workers=False`."""
        session = require_session(session)
        if isinstance(processor, Processor):
            if self._registry.get(processor.name) is None:
                self._register(processor)
        elif self._registry.get(name := name_of(processor)) is None:
            raise ProcessorNotFoundError(
                f"this node has registered no processor named {name!r}", context={"processor": name}
            )
        node = self._running()
        node.opening.require_room(session)
        node.fleet.pin_worker(name_of(processor), session)

    async def stop_session_workers(self, session: str) -> int:
        """Stop the session, which here is one cancel of its scope. Returns how many workers it had here."""
        session, node = require_session(session), self._running()
        hosted = node.sessions.get(session)
        count = 0 if hosted is None else len(hosted.workers)
        await node.stops.stop(session, 0.0)
        return count
