"""What both runtimes do; `local_runtime` and `queue_runtime` put a store under it."""

from __future__ import annotations

import itertools
import secrets
import socket
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from math import inf
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import msgspec

from am2z_trio.concurrency import TaskStatus
from am2z_trio.model.codec import StateCodec
from am2z_trio.model.errors import (
    AM2ZError,
    ConfigurationError,
    ProcessorNotFoundError,
    RuntimeStateError,
)
from am2z_trio.model.events import Event
from am2z_trio.model.options import (
    JobOptions,
    QueueOptions,
    RuntimeOptions,
    require,
    require_seconds,
)
from am2z_trio.model.records import (
    NO_STATE,
    WIRE_VERSION,
    Enqueue,
    JobSpec,
    QueueStats,
    plain_name,
    queue_name,
)
from am2z_trio.store.ports import Store, StoreSettings

from .bus import Bus, EventStream, Handler, Subscription
from .job import Job, ProcessorResult, failed_result, read_result
from .node import Node
from .processor import Processor
from .registry import Registry
from .results import Waiter
from .states import StateManager

S = TypeVar("S")

PREPARED_AT_ONCE: Final = 500
"""States `execute_many` encodes before it lets other tasks have a turn: some milliseconds."""

CALLER_GONE: Final = "the caller went away"


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


class Runtime:
    """What both runtimes do. Enter one of the subclasses: `async with LocalRuntime() as runtime`.

    Entering starts the workers of every registered processor; leaving drains them for
    `shutdown_grace` seconds, then cancels what still runs and hands it back to its queue. A runtime
    can be entered again after it was left. Methods may be called from any task of the host's loop.
    """

    def __init__(self, options: RuntimeOptions) -> None:
        self._options = options
        name = plain_name(options.node or socket.gethostname())
        self._name = name
        self._registry = Registry(options.max_state_bytes)
        self._any_codec: StateCodec[Any] = StateCodec(Any, max_bytes=options.max_state_bytes)
        self._bus = Bus(name)
        self._node: Node | None = None
        self._entered: AsyncExitStack | None = None
        self._job_ids = self._new_ids()
        self._known_elsewhere: set[str] = set()
        self.state = StateManager(self._running)
        """The sessions' states: `get`, `set`, `update`, `delete`, `lock`."""

    @property
    def _settings(self) -> StoreSettings:
        options = self._options
        return StoreSettings(
            lease=options.lease,
            result_ttl=options.result_ttl,
            state_ttl=options.state_ttl,
            state_history=options.state_history,
        )

    def _open_store(self, node: str) -> AbstractAsyncContextManager[Store]:
        raise NotImplementedError

    def _new_ids(self) -> itertools.count[int]:
        # 80 random bits per runtime, then a counter: unique without asking anybody.
        self._id_prefix = secrets.token_hex(10)
        return itertools.count(1)

    # --- life -------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._entered is not None:
            raise RuntimeStateError("the runtime is entered already; make a second one instead")
        stack = AsyncExitStack()
        self._entered = stack
        try:
            node_id = f"{self._name}-{secrets.token_hex(4)}"
            store = await stack.enter_async_context(self._open_store(node_id))
            node = Node(node_id, self._options, self._registry, self._bus, store)
            await stack.enter_async_context(node.open())
            self._node = node
        except BaseException:
            self._entered = None
            # What was opened so far is closed by the stack; a failed enter closes itself.
            await stack.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        stack, self._entered = self._entered, None
        assert stack is not None
        try:
            return await stack.__aexit__(kind, value, traceback)
        finally:
            self._node = None

    async def run(self, *, task_status: TaskStatus | None = None) -> None:
        """Enter, serve until cancelled or `stop`ped, leave: `await nursery.start(runtime.run)`."""
        async with self:
            if task_status is not None:
                task_status.started(self)
            await self.wait_stopped()

    async def wait_stopped(self) -> None:
        """Wait until `stop` has ended this node's work."""
        await self._running().wait_stopped()

    async def stop(self, grace: float | None = None) -> None:
        """End from within: drain for `grace` seconds (default: `shutdown_grace`), then cancel.

        Returns when no job of this node runs any more; the `async with` block may then be left.
        """
        if grace is not None:
            require_seconds("stop.grace", grace)
        node = self._running()
        await node.stop(self._options.shutdown_grace if grace is None else grace)

    @property
    def is_started(self) -> bool:
        """Whether the runtime is entered and not stopped."""
        return self._node is not None and not self._node.stopped

    @property
    def node_id(self) -> str:
        """This node's id in records and events; a new one each time the runtime is entered."""
        return self._running().id

    def _running(self) -> Node:
        if self._node is None:
            raise RuntimeStateError("the runtime is not running: use `async with runtime:`")
        return self._node

    # --- processors -------------------------------------------------------------------------

    def register(self, *processors: Processor[Any]) -> None:
        """Add processors and what they depend on; while running, serve them at once.

        A name that is known already is replaced: the next job runs the new function. Two different
        processors of one name in one call are a `DuplicateProcessorError`, and nothing is added.
        """
        added = self._registry.add(processors)
        if self._node is not None:
            for registered in added:
                self._node.serve(registered)
                self._tell("processor:registered", registered.processor.name)

    def register_many(self, processors: Iterable[Processor[Any]]) -> None:
        """`register`, for a list."""
        self.register(*processors)

    def unregister(self, processor: Processor[Any] | str) -> bool:
        """Forget a processor. Its running jobs end; those that wait stay for other nodes.

        Returns whether it was known.
        """
        name = _name_of(processor)
        if self._node is not None:
            self._node.stop_serving(queue_name(name))
        removed = self._registry.remove(name)
        if removed is not None and self._node is not None:
            self._tell("processor:unregistered", name)
        return removed is not None

    def _tell(self, event: str, processor: str) -> None:
        self._bus.emit(Event(event, 0, self._running().id, processor=processor))

    def list_processors(self) -> list[str]:
        """Names of the processors registered here, in order."""
        return self._registry.names()

    async def sync_processors(self) -> list[str]:
        """Names of all processors that any node has announced."""
        known = await self._running().store.known_queues()
        self._known_elsewhere = {info.processor for info in known}
        return list(dict.fromkeys(info.processor for info in known))

    # --- running jobs -----------------------------------------------------------------------

    async def execute(
        self,
        processor: Processor[S] | str,
        state: S | None = None,
        *,
        session: str | None = None,
        timeout: float | None = None,
        options: JobOptions | None = None,
        job_id: str | None = None,
    ) -> ProcessorResult[S]:
        """Run a processor and wait for its final outcome, after all retries.

        With a state, that is the input, and in a session the output is committed. Without one, the
        processor works on the session's stored state, as a transaction. `timeout` (seconds)
        overrides the processor's. `job_id` makes the call idempotent: a known id is not run again,
        its earlier outcome is returned.

        Never raises for a job that fails: the result says so, an unknown processor, a state that
        does not fit or an unreachable Redis included. If this call is cancelled, or its scope's
        deadline passes, the job is cancelled wherever it is; a deadline also travels with it.
        """
        name = _name_of(processor)
        try:
            codec, request = await self._request(processor, state, session, timeout, options, job_id)
        except AM2ZError as error:
            return failed_result(error, processor=name, session=session)
        node = self._running()
        spot = node.host.spot()
        waiter = node.results.submit(request, spot, shared=job_id is not None)
        try:
            settled = await spot.park()
        except BaseException:
            node.results.abandon(waiter, CALLER_GONE)
            raise
        if isinstance(settled, AM2ZError):
            return failed_result(settled, processor=name, session=session, job_id=waiter.id)
        return read_result(settled, codec, processor=name, session=session)

    async def execute_many(
        self,
        processor: Processor[S] | str,
        states: Iterable[S],
        *,
        session: str | None = None,
        timeout: float | None = None,
        options: JobOptions | None = None,
    ) -> list[ProcessorResult[S]]:
        """Run a processor once per state, side by side; results in the order of the states.

        A state that fails is a failed result at its place and does not disturb the others. If this
        call is cancelled, every job of it that has not ended is.
        """
        name = _name_of(processor)
        node = self._running()
        prepared: list[tuple[StateCodec[S], Waiter] | AM2ZError] = []
        try:
            for state in states:
                try:
                    codec, request = await self._request(processor, state, session, timeout, options, None)
                except AM2ZError as error:
                    prepared.append(error)
                else:
                    prepared.append((codec, node.results.submit(request)))
                if len(prepared) % PREPARED_AT_ONCE == 0:
                    await node.host.checkpoint()
            results: list[ProcessorResult[S]] = []
            for entry in prepared:
                if isinstance(entry, AM2ZError):
                    results.append(failed_result(entry, processor=name, session=session))
                    continue
                codec, waiter = entry
                settled = await waiter.wait()
                if isinstance(settled, AM2ZError):
                    results.append(failed_result(settled, processor=name, session=session, job_id=waiter.id))
                else:
                    results.append(read_result(settled, codec, processor=name, session=session))
        except BaseException:
            for entry in prepared:
                if not isinstance(entry, AM2ZError):
                    node.results.abandon(entry[1], CALLER_GONE)
            raise
        return results

    async def submit(
        self,
        processor: Processor[S] | str,
        state: S | None = None,
        *,
        session: str | None = None,
        timeout: float | None = None,
        options: JobOptions | None = None,
        job_id: str | None = None,
    ) -> Job[S]:
        """Enqueue a job and return a handle once the store has it; the arguments are `execute`'s.

        The job does not end with the caller. Raises the error if it cannot be enqueued; cancelled
        while waiting, the job is taken back.
        """
        codec, request = await self._request(processor, state, session, timeout, options, job_id)
        node = self._running()
        waiter = node.results.submit(
            msgspec.structs.replace(request, deadline=None), shared=job_id is not None
        )
        try:
            await waiter.wait_accepted()
        except BaseException:
            node.results.abandon(waiter, CALLER_GONE)
            raise
        if isinstance(waiter.outcome, AM2ZError):
            raise waiter.outcome
        return Job(
            waiter,
            codec,
            processor=request.spec.processor,
            session=session,
            view=self._view,
            cancel=self._cancel,
        )

    async def _request(
        self,
        processor: Processor[S] | str,
        state: S | None,
        session: str | None,
        timeout: float | None,
        options: JobOptions | None,
        job_id: str | None,
    ) -> tuple[StateCodec[S], Enqueue]:
        """Check everything about a job before it is sent, and write it down."""
        node = self._running()
        if node.stopped:
            raise RuntimeStateError("the runtime is stopping: it accepts no more jobs")
        name = _name_of(processor)
        codec, queue_options = await self._look_up(processor, name)
        require(
            session is None or (isinstance(session, str) and session != ""),
            "session",
            session,
            "must be a text that is not empty, or None",
        )
        if state is None and session is None:
            raise ConfigurationError(
                f"{name!r} was given neither a state nor a session whose stored state it could work on"
            )
        if timeout is not None:
            require_seconds("timeout", timeout, zero=False)
        require(
            options is None or isinstance(options, JobOptions),
            "options",
            options,
            "must be JobOptions",
        )
        require(
            job_id is None or (isinstance(job_id, str) and 0 < len(job_id) <= 200),
            "job_id",
            job_id,
            "must be a text of 1 to 200 characters",
        )
        chosen = options or queue_options.default_job_options
        host = node.host
        deadline = host.effective_deadline()
        spec = JobSpec(
            WIRE_VERSION,
            job_id if job_id is not None else f"{self._id_prefix}-{next(self._job_ids):x}",
            name,
            session or "",
            NO_STATE if state is None else msgspec.Raw(codec.encode(state)),
            node.id,
            timeout,
            chosen.attempts,
            chosen.backoff,
        )
        return codec, Enqueue(
            spec=spec,
            queue=queue_name(name),
            priority=queue_options.priority if chosen.priority is None else chosen.priority,
            delay=chosen.delay,
            deadline=None if deadline == inf else deadline - host.now(),
            max_stalled=queue_options.max_stalled_count,
        )

    async def _look_up(self, processor: Processor[S] | str, name: str) -> tuple[StateCodec[S], QueueOptions]:
        registered = self._registry.get(name)
        if registered is not None:
            return registered.codec, registered.processor.queue
        if name not in self._known_elsewhere and name not in await self.sync_processors():
            here = ", ".join(self._registry.names()) or "none"
            raise ProcessorNotFoundError(
                f"no node has registered a processor named {name!r} (registered here: {here})",
                context={"processor": name},
            )
        if isinstance(processor, Processor):
            codec: StateCodec[S] = StateCodec(processor.state_type, max_bytes=self._options.max_state_bytes)
            return codec, processor.queue
        return self._any_codec, QueueOptions()

    async def _view(self, job_id: str) -> Any:
        return (await self._running().store.view([job_id]))[0]

    async def _cancel(self, job_id: str, reason: str) -> str | None:
        return await self._running().store.cancel(job_id, reason)

    # --- events -----------------------------------------------------------------------------

    def on(self, pattern: str, handler: Handler) -> Handler:
        """Call `handler(event)` for events of any node that match (`job:completed`, `job:*`, `*`).

        A plain or an async function; it runs in a task of its own, one event at a time, and what it
        raises is logged. Whatever this node causes after `on` has returned is heard.
        """
        require(
            isinstance(pattern, str) and pattern != "",
            "pattern",
            pattern,
            "must be a text",
        )
        require(callable(handler), "handler", handler, "must be a function")
        self._bus.on(pattern, handler)
        return handler

    def off(self, pattern: str, handler: Handler | None = None) -> int:
        """Remove a handler, or all handlers of a pattern; returns how many."""
        return self._bus.off(pattern, handler)

    def emit(self, event: str, data: Any = None) -> None:
        """Publish an event to every node that listens. Does not wait; delivery is at most once."""
        require(isinstance(event, str) and event != "", "event", event, "must be a text")
        node = self._running()
        self._bus.emit(Event(event, 0, node.id, data=data))

    @asynccontextmanager
    async def events(self, pattern: str = "*") -> AsyncIterator[EventStream]:
        """A stream of the events that match: `async with runtime.events("job:*") as stream`.

        Everything that happens after entering is heard. A reader that falls far behind loses the
        oldest events; `stream.dropped` counts them.
        """
        node = self._running()
        subscription = Subscription(pattern)
        self._bus.add(subscription)
        try:
            await self._bus.watch()
            yield EventStream(subscription, node.host)
        finally:
            self._bus.remove(subscription)

    # --- looking at it ----------------------------------------------------------------------

    def get_stats(self) -> RuntimeStats:
        """This node in figures."""
        node = self._running()
        return RuntimeStats(
            node=node.id,
            uptime=node.host.now() - node.started_at,
            processors=len(self._registry.names()),
            workers=len(node.workers),
            running=node.busy,
            claimed=len(node.claims),
            waiting_callers=len(node.results),
            jobs_run=node.jobs_run,
            connections=node.store.connections,
        )

    async def get_queue_stats(self) -> Mapping[str, QueueStats]:
        """Counts per processor, of all nodes together: those registered here and those announced."""
        store = self._running().store
        names: Sequence[str] = list(dict.fromkeys([*self._registry.names(), *await self.sync_processors()]))
        stats = await store.stats([queue_name(name) for name in names])
        return dict(zip(names, stats, strict=True))


def _name_of(processor: Processor[Any] | str) -> str:
    if isinstance(processor, Processor):
        return processor.name
    require(
        isinstance(processor, str) and processor != "",
        "processor",
        processor,
        "must be a processor or its name",
    )
    return processor
