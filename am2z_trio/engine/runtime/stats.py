"""A runtime in figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from am2z_trio.engine.submission.request import require_session
from am2z_trio.model.records import QueueStats, queue_name
from am2z_trio.model.views.health import NodeHealth, Reason

from .life import Life


class RuntimeStats(msgspec.Struct, frozen=True, kw_only=True):
    """One node in figures."""

    node: str
    uptime: float
    """Seconds since the runtime was entered."""
    processors: int
    workers: int
    running: int
    """Jobs whose code runs now."""
    claimed: int
    """Jobs this node holds, running ones included."""
    waiting_callers: int
    """Jobs this node has submitted and still waits for."""
    jobs_run: int
    """Runs of jobs since the runtime was entered, attempts and re-runs included."""
    connections: dict[str, str]
    completed: int = 0
    """Jobs that have completed on this node since the runtime was entered, calls included; `get_queue_stats`
    has those of all nodes."""
    failed: int = 0
    """Jobs that have failed for good here; an attempt that is followed by another is none."""
    abandoned_threads: int = 0
    """Threads of plain functions whose jobs have ended before them."""
    processes: int = 0
    """Processes for jobs with `run_in="process"` that are there, those that wait for one included."""


class SessionWorkerStats(msgspec.Struct, frozen=True, kw_only=True):
    """One processor's worker in a session on this node, for as long as it is there."""

    running: int
    """Jobs whose code runs now."""
    completed: int
    failed: int
    """Jobs that have failed for good."""


class SessionStats(msgspec.Struct, frozen=True, kw_only=True):
    """One session in figures. The first three count its jobs on all nodes."""

    session: str
    waiting: int
    active: int
    delayed: int
    running_here: int
    """Jobs of it whose code runs on this node."""
    workers_here: int
    """Processors that have a worker in it on this node."""
    version: int
    """Of its state."""
    workers: Mapping[str, SessionWorkerStats] = {}
    """Those workers, by processor."""


class FigureMethods(Life):
    """What a runtime's user may ask about it."""

    def get_stats(self) -> RuntimeStats:
        """This node in figures."""
        node = self._running()
        return RuntimeStats(
            node=node.id,
            uptime=node.host.now() - node.started_at,
            processors=len(self._registry.names()),
            workers=len(node.fleet.workers),
            running=node.fleet.busy,
            claimed=len(node.claims),
            waiting_callers=len(node.in_flight),
            jobs_run=node.fleet.jobs_run,
            connections=node.store.connections,
            completed=node.settler.completed,
            failed=node.settler.failed,
            abandoned_threads=node.sites.threads.left_behind,
            processes=len(node.sites.processes.pool),
        )

    async def health(self) -> NodeHealth:
        """Whether this node is alive and ready for work, and why not. Asks the store; takes a second at most,
        and raises nothing for an answer of "no", outside of the runtime's block either."""
        node = self._perhaps_running()
        if node is None:
            reason = Reason(code="stopping", text="the runtime is not running: use `async with runtime:`")
            return NodeHealth(node="", live=False, ready=False, reasons=[reason])
        return await node.control.health.look()

    async def get_queue_stats(self) -> Mapping[str, QueueStats]:
        """Counts per processor, of all nodes together: those registered here, those that any node serves or
        has served, and those with jobs that nobody serves (`workers` is 0 then)."""
        node = self._running()
        await node.fleet.announcements.wait_done()
        store, known = node.store, await node.store.known_queues()
        here = self._registry.names()
        names: Sequence[str] = list(dict.fromkeys([*here, *(info.processor for info in known)]))
        found = zip(names, await store.stats([queue_name(name) for name in names]), strict=True)
        shown = {*here, *(info.processor for info in known if info.known)}
        return {name: stats for name, stats in found if name in shown or stats.jobs}

    async def get_session_stats(self, id: str) -> SessionStats:
        """One session in figures; all zero for one that nobody has used."""
        id = require_session(id)
        node = self._running()
        counts = await node.store.session_counts(id)
        hosted = node.sessions.get(id)
        workers = [] if hosted is None else list(hosted.workers.values())
        return SessionStats(
            session=id,
            waiting=counts.waiting,
            active=counts.active,
            delayed=counts.delayed,
            running_here=sum(worker.running for worker in workers),
            workers_here=len(workers),
            version=(await node.states.store.read(id)).version,
            workers={
                worker.processor: SessionWorkerStats(
                    running=worker.running, completed=worker.completed, failed=worker.failed
                )
                for worker in workers
            },
        )
