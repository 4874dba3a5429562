"""What both runtimes do; `local_runtime` and `queue_runtime` put a store under it."""

from __future__ import annotations

import secrets
import socket
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from math import inf
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

import msgspec

from am2z_trio.concurrency import TaskStatus, current_host
from am2z_trio.concurrency.stack import require_stack
from am2z_trio.engine.events.bus import Bus, EventStream, Handler, Subscription
from am2z_trio.engine.here import Here
from am2z_trio.engine.node.node import Node
from am2z_trio.engine.processors.processor import Processor, name_of
from am2z_trio.engine.processors.registry import Registry
from am2z_trio.engine.processors.result import ProcessorResult
from am2z_trio.engine.sessions.session import Session
from am2z_trio.engine.states.manager import StateManager
from am2z_trio.engine.submission.job import Job
from am2z_trio.engine.submission.request import SubmitRequest, require_session
from am2z_trio.model.callables import require_function, require_items
from am2z_trio.model.errors import ResourceError, RuntimeStateError
from am2z_trio.model.ids import meant_id
from am2z_trio.model.limits import MAX_ANY_ID_BYTES, MAX_NAME_BYTES, MAX_REASON_BYTES, MAX_SESSION_BYTES
from am2z_trio.model.options import JobOptions, require, require_seconds, require_text
from am2z_trio.model.records import QueueStats, plain_name, queue_name
from am2z_trio.model.runtime_options import RuntimeOptions
from am2z_trio.model.telling import text_of
from am2z_trio.store.ports import Store, StoreSettings

from .connection import ConnectionManager
from .dead_letters import DeadLetters
from .workers import WorkerManager

S = TypeVar("S")


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


class SessionStats(msgspec.Struct, frozen=True, kw_only=True):
    """One session in figures. The first three count its jobs on all nodes."""

    session: str
    waiting: int
    active: int
    delayed: int
    running_here: int
    """Jobs of it whose code runs on this node."""
    workers_here: int
    """Processors that have run for it on this node since it is here."""
    version: int
    """Of its state."""


def _not_running() -> RuntimeStateError:
    return RuntimeStateError("the runtime is not running: use `async with runtime:`")


class Runtime:
    """What both runtimes do. Enter one of the subclasses: `async with LocalRuntime() as runtime`.

    Entering starts the workers of every registered processor; leaving drains them for
    `shutdown_grace` seconds, then cancels what still runs and hands it back to its queue. A runtime
    can be entered again after it was left. While it is entered its methods may be called from any task of the
    event loop it was entered in, and are one `RuntimeStateError` from any other thread or loop, with nothing
    done: from a thread of that loop (plain processors run in one) by `anyio.from_thread.run` and `run_sync`.

    No job ends a node, whatever it raises or returns, with one exception: `KeyboardInterrupt`, which may
    be Ctrl-C, goes through from wherever it is raised and is the block's.

    What leaves the block is one exception, as itself: what the block has raised, or else that of which the
    node has ended. Where there are both at once it is the block's, the other one is a note of it and in the
    log; but `KeyboardInterrupt` comes before all. A group that the block raises is left as it is.
    """

    _shared = True
    """Whether there may be other nodes."""

    def __init__(self, options: RuntimeOptions) -> None:
        self._options = options
        name = plain_name(options.node or socket.gethostname())
        self._name = name
        self._registry = Registry(options.max_state_bytes)
        self._bus = Bus(name)
        self._node: Node | None = None
        self._entered: AsyncExitStack | None = None
        self._here: Here | None = None
        self.state = StateManager(self._running)
        """The sessions' states: `get`, `set`, `update`, `delete`, `lock`."""
        self.workers = WorkerManager(self._running, self._registry, self.register)
        """The workers of this node."""
        self.connection = ConnectionManager(self._perhaps_running)
        """How this node stands with its store."""
        self.dead_letters = DeadLetters(lambda: self._running().store)
        """The jobs that have failed for good, on all nodes."""

    @property
    def _settings(self) -> StoreSettings:
        options = self._options
        return StoreSettings(
            lease=options.lease,
            disconnect_grace=options.disconnect_grace,
            result_ttl=options.result_ttl,
            state_ttl=options.state_ttl,
            state_history=options.state_history,
        )

    def _open_store(self, node: str) -> AbstractAsyncContextManager[Store]:
        raise NotImplementedError

    # --- life -------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._entered is not None:
            raise RuntimeStateError("the runtime is entered already; make a second one instead")
        stack = AsyncExitStack()
        self._entered, self._here = stack, Here(current_host())
        try:
            node_id = f"{self._name}-{secrets.token_hex(4)}"
            store = await stack.enter_async_context(self._open_store(node_id))
            node = Node(node_id, self._options, self._registry, self._bus, store, shared=self._shared)
            await stack.enter_async_context(node.open())
            self._node = node
        except BaseException:
            self._entered = self._here = None
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
        self._require_here()
        stack, self._entered = self._entered, None
        assert stack is not None
        try:
            return await stack.__aexit__(kind, value, traceback)
        finally:
            self._node = self._here = None

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

        Returns when no job of this node runs any more; the `async with` block may then be left. A job that
        does not end although it was cancelled is waited for some seconds here and reported; the block is a
        nursery, which ends with its last task. This call only waits: when it is cancelled, the node stops all
        the same. Called again, or when the block is left meanwhile, the shortest grace counts. A job may call
        it, and is then one of those that have to end within the grace.
        """
        if grace is not None:
            grace = require_seconds("stop.grace", grace)
        node = self._running()
        await node.stop(self._options.shutdown_grace if grace is None else grace)

    @property
    def is_started(self) -> bool:
        """Whether the runtime is entered and not stopped."""
        return self._node is not None and not self._node.stopped

    @property
    def serves(self) -> bool:
        """Whether it works queues off while it is entered; not with `workers=False`."""
        return self._options.workers

    @property
    def node_id(self) -> str:
        """This node's id in records and events; a new one each time the runtime is entered."""
        if self._node is None:
            raise _not_running()
        return self._node.id

    @property
    def is_entered(self) -> bool:
        """Whether the runtime is inside its block, stopped or not."""
        return self._node is not None

    @property
    def node(self) -> Node:
        """The running node: for the engine's own rooms."""
        return self._running()

    def _running(self) -> Node:
        require_stack()
        node = self._node
        if node is None:
            raise _not_running()
        node.here.require()
        return node

    def _perhaps_running(self) -> Node | None:
        return None if self._node is None else self._running()

    def _require_here(self) -> None:
        """While the runtime is entered it is used in its own event loop alone; before, anywhere."""
        if self._here is not None:
            self._here.require()

    # --- processors -------------------------------------------------------------------------

    def register(self, *processors: Processor[Any]) -> None:
        """Add processors and what they depend on; while running, serve them at once.

        A name that is known already is replaced: the next job runs the new function. Two different
        processors of one name in one call are a `DuplicateProcessorError`, and a circle of `depends_on`, by
        name, a `ConfigurationError` that spells it; nothing is added then.
        """
        self._require_here()
        added = self._registry.add(processors)
        if self._node is not None:
            for registered in added:
                self._node.fleet.serve(registered)
                self._node.emitter.emit("processor:registered", processor=registered.processor.name)

    def register_many(self, processors: Iterable[Processor[Any]]) -> None:
        """`register`, for a list."""
        self.register(*require_items("processors", processors, "processors"))

    def unregister(self, processor: Processor[Any] | str) -> bool:
        """Forget a processor. Its running jobs end; those that wait stay for other nodes. On the last node
        that serves it, a call of it by name is an error from then on, or from when the runtime is entered.

        Returns whether it was known.
        """
        self._require_here()
        name = name_of(processor)
        removed = self._registry.remove(name)
        if self._node is not None:
            self._node.fleet.retire_removed()
            self._node.submissions.directory.forget(name)
        if removed is not None and self._node is not None:
            self._node.emitter.emit("processor:unregistered", processor=name)
        return removed is not None

    async def forget_processor(self, processor: Processor[Any] | str) -> bool:
        """Make a processor unknown that no node serves any more: a call of it by name is an error again.

        Returns whether any node had announced it. One with jobs left, dead letters included, is a
        `ResourceError`, and one that is registered here, or that another node serves, a `RuntimeStateError`.
        Its counts and what else its queue keeps go. What nobody has served for a week, and has no jobs, is
        forgotten by itself; by name it is an error a day after somebody served it last.
        """
        name, node = name_of(processor), self._running()
        if self._registry.get(name) is not None:
            raise RuntimeStateError(
                f"processor {name!r} is registered here: unregister it first", context={"processor": name}
            )
        found = await node.store.forget_queue(queue_name(name))
        if found.workers:
            raise RuntimeStateError(
                f"processor {name!r} is served by {found.workers} nodes: unregister it there first",
                context={"processor": name, "workers": found.workers},
            )
        if found.jobs:
            raise ResourceError(
                f"processor {name!r} has {found.jobs:,} jobs left, dead letters included: it stays known",
                context={"processor": name, "jobs": found.jobs},
            )
        node.submissions.directory.forget(name)
        return found.known

    async def pause(self, processor: Processor[Any] | str) -> None:
        """Start no job of the processor on any node, until `resume`; what runs goes on, what comes waits.

        Its waiting jobs count as paused. A pause outlives the runtime and has no end of its own.
        """
        await self._pause(processor, True)

    async def resume(self, processor: Processor[Any] | str) -> None:
        """Start jobs of the processor again."""
        await self._pause(processor, False)

    async def _pause(self, processor: Processor[Any] | str, on: bool) -> None:
        name = name_of(processor)
        await self._running().store.pause(queue_name(name), on)
        self._running().emitter.emit("queue:paused" if on else "queue:resumed", processor=name)

    def list_processors(self) -> list[str]:
        """Names of the processors registered here, in order."""
        return self._registry.names()

    async def sync_processors(self) -> list[str]:
        """Names of all processors that can be called by name: any node serves them, or has within the last
        day. This node's own have been announced by then."""
        node = self._running()
        await node.fleet.announcements.wait_done()
        return await node.submissions.directory.known_processors()

    # --- running jobs -----------------------------------------------------------------------

    async def execute(
        self,
        processor: Processor[S] | str,
        state: S | None = None,
        *,
        session: str | None = None,
        timeout: float | None = None,
        wait_for_worker: float | None = None,
        total_timeout: float | None = None,
        options: JobOptions | None = None,
        job_id: str | None = None,
    ) -> ProcessorResult[S]:
        """Run a processor and wait for its final outcome, after all retries.

        With a state, that is the input, and in a session the output is committed. Without one, the
        processor works on the session's stored state, as a transaction. `timeout` (seconds) overrides the
        processor's: it bounds each attempt's run. `total_timeout` bounds all of it, from here to the outcome:
        a `TotalTimeoutError` then, and the job is cancelled wherever it is.

        A job that no live node serves waits until one does. After a second that is said at WARNING, once per
        processor, and the result tells for how long (`metadata.waited_for_worker`). `wait_for_worker`:
        seconds after which it is taken back then, with a `NoWorkerError`; 0: at once. By name, a processor
        that nobody serves or has served within the last day is an error at once, and so is one that was
        unregistered by the last node that served it; given itself, it needs no worker yet.

        `job_id` (1 to 200 characters, no '/' or control character, no '@' in front) makes the call
        idempotent: while the job is under way, and for `result_ttl` seconds after it has completed (an hour
        by default, on both runtimes), the id is not run again, and all who ask for it hear its one outcome.
        One that has ended without completing runs anew when it is asked for again. It goes on while anybody
        waits for it: each caller's deadline, cancellation and limits (`wait_for_worker`, `total_timeout`) are
        its own, and only when the last one has gone is the job cancelled; one that was given to `submit` goes
        on by itself, within the limits it was given there. `timeout` and options are the first caller's. Each
        session has ids of its own, and so have the jobs without one: the same `job_id` in two sessions is two
        jobs (in full, `@alice/order-17`; see `model.ids`). In one, it is a `ConfigurationError` to give it to
        another processor, or with another state unless it runs anew. An id that the engine has made joins
        that job, which must be there: `JobNotFoundError`.

        Never raises for a job that fails: the result says so, an unknown processor or a state that
        does not fit included. While Redis is away it waits, as every call does, until Redis is back or
        the scope around it ends. If this call is cancelled, or its scope's
        deadline passes, the job is cancelled wherever it is; a deadline also travels with it.
        """
        request = SubmitRequest(
            session=session,
            timeout=timeout,
            wait_for_worker=wait_for_worker,
            total_timeout=total_timeout,
            options=options,
            job_id=job_id,
        )
        return await self._running().submissions.execute(processor, state, request)

    async def execute_many(
        self,
        processor: Processor[S] | str,
        states: Iterable[S],
        *,
        session: str | None = None,
        timeout: float | None = None,
        wait_for_worker: float | None = None,
        total_timeout: float | None = None,
        options: JobOptions | None = None,
    ) -> list[ProcessorResult[S]]:
        """Run a processor once per state, side by side; results in the order of the states.

        A state that fails is a failed result at its place and does not disturb the others. If this
        call is cancelled, every job of it that has not ended is.
        """
        request = SubmitRequest(
            session=session,
            timeout=timeout,
            wait_for_worker=wait_for_worker,
            total_timeout=total_timeout,
            options=options,
        )
        return await self._running().submissions.execute_many(processor, states, request)

    async def submit(
        self,
        processor: Processor[S] | str,
        state: S | None = None,
        *,
        session: str | None = None,
        timeout: float | None = None,
        wait_for_worker: float | None = None,
        total_timeout: float | None = None,
        options: JobOptions | None = None,
        job_id: str | None = None,
    ) -> Job[S]:
        """Enqueue a job and return a handle once the store has it; the arguments are `execute`'s.

        The job does not end with the caller; its limits hold all the same, also while nobody waits for its
        result. Raises the error if it cannot be enqueued, or its limits are over before it is; cancelled
        while waiting, the job is taken back.
        """
        request = SubmitRequest(
            session=session,
            timeout=timeout,
            wait_for_worker=wait_for_worker,
            total_timeout=total_timeout,
            options=options,
            job_id=job_id,
            waits=False,
        )
        return await self._submit(processor, state, request)

    async def _submit(self, processor: Processor[S] | str, state: S | None, request: SubmitRequest) -> Job[S]:
        node = self._running()
        codec, waiter = await node.submissions.submit(processor, state, request)
        return Job(
            waiter,
            codec,
            processor=name_of(processor),
            session=request.session,
            here=node.here,
            view=self._view,
            cancel=self._cancel,
        )

    async def execute_in_session(
        self,
        processor: Processor[S] | str,
        state: S | None,
        session_id: str,
        *,
        timeout: float | None = None,
        wait_for_worker: float | None = None,
        total_timeout: float | None = None,
        options: JobOptions | None = None,
    ) -> ProcessorResult[S]:
        """`execute` with `session=session_id`."""
        session = require_text("session_id", session_id, most=MAX_SESSION_BYTES)
        return await self.execute(
            processor,
            state,
            session=session,
            timeout=timeout,
            wait_for_worker=wait_for_worker,
            total_timeout=total_timeout,
            options=options,
        )

    # --- sessions ---------------------------------------------------------------------------

    @asynccontextmanager
    async def session(
        self,
        id: str,
        *,
        processors: Iterable[Processor[Any]] = (),
        ttl: float | None = None,
    ) -> AsyncIterator[Session]:
        """Open a session around a block: `async with runtime.session("alice") as session`.

        Like a nursery: leaving the block waits for the jobs that were submitted through it; when the block
        fails or is cancelled, the session is stopped. When somebody else stops it, on whatever node, the
        block is cancelled and `SessionStoppedError` raised. A stop that this node has begun is waited for
        first. `processors` are registered if they are not yet; `ttl`: seconds after its last write at which
        the session's state expires, `inf` for never. Any number of blocks, on any nodes, may hold one session
        open.
        """
        id = require_session(id)
        if ttl is not None and ttl != inf:
            ttl = require_seconds("ttl", ttl, zero=False)
        wanted = [*require_items("processors", processors, "processors")]
        for one in wanted:
            require(isinstance(one, Processor), "processors", one, "must be processors (use @processor)")
        node = self._running()
        self.register(*(one for one in wanted if one.name not in self._registry.names()))
        async with node.opening.block(id, ttl) as hosted:
            session = Session(hosted, self.state, lambda: self._running().submissions, self._submit)
            yield session
            await session.wait_submitted()

    async def stop_session(self, id: str, grace: float = 0.0) -> None:
        """Stop a session on every node: here this is one cancel of its scope.

        Running jobs are cancelled at their next checkpoint, after `grace` seconds in which they may end
        by themselves and nothing else begins; waiting ones end. All their callers get a
        `SessionStoppedError`. Returns when no job, claim or key of the session is left but its state, and
        no task of it on this node; nothing it ran can write any more. The session may then be used anew.
        """
        id = require_session(id)
        grace = require_seconds("grace", grace)
        await self._running().stops.stop(id, grace)

    async def get_active_sessions(self) -> list[str]:
        """Ids of the sessions that are open on this node or have jobs on any, in no order."""
        node = self._running()
        return list(dict.fromkeys([*node.sessions.ids(), *await node.store.active_sessions()]))

    async def clean_all_sessions(self) -> int:
        """Stop every active session, on all nodes; returns how many. Their states stay."""
        ids = await self.get_active_sessions()
        for id in ids:
            await self.stop_session(id)
        return len(ids)

    async def get_session_stats(self, id: str) -> SessionStats:
        """One session in figures; all zero for one that nobody has used."""
        id = require_session(id)
        node = self._running()
        counts = await node.store.session_counts(id)
        hosted = node.sessions.get(id)
        return SessionStats(
            session=id,
            waiting=counts.waiting,
            active=counts.active,
            delayed=counts.delayed,
            running_here=0 if hosted is None else hosted.running,
            workers_here=0 if hosted is None else len(hosted.workers),
            version=(await node.states.store.read(id)).version,
        )

    async def _view(self, job_id: str) -> Any:
        return (await self._running().store.view([job_id]))[0]

    async def _cancel(self, job_id: str, reason: str) -> str | None:
        require(isinstance(reason, str), "reason", reason, "must be a text")
        return await self._running().store.cancel(job_id, text_of(reason, MAX_REASON_BYTES))

    # --- events -----------------------------------------------------------------------------

    def on(
        self, pattern: str, handler: Handler, *, session: str | None = None, job: Job[Any] | str | None = None
    ) -> Handler:
        """Call `handler(event)` for events of any node that match (`job:completed`, `job:*`, `*`).

        `session` and `job` (a handle, an id in full, or with `session` a `job_id` of it) narrow them down to
        those of one. An event costs as much as the handlers that it is for, however many others there are.

        A plain or an async function; it runs in a task of its own, one event at a time, and what it
        raises is logged. Whatever this node causes after `on` has returned is heard. A handler that is more
        than 10,000 events behind, or 16 MiB of them, loses the oldest, which is logged once a second.
        """
        self._require_here()
        require_function("handler", handler, "(event)")
        self._bus.add(_subscription(pattern, handler, session, job))
        return handler

    def off(
        self,
        pattern: str,
        handler: Handler | None = None,
        *,
        session: str | None = None,
        job: Job[Any] | str | None = None,
    ) -> int:
        """Remove the handlers of a pattern, all of them or those of one function, session or job; returns how
        many.

        None of them is called again. A call that is under way is cancelled, unless it is the handler itself
        that calls this: then it goes on to its end.
        """
        self._require_here()
        only = _filters(pattern, session, job)
        if handler is not None:
            require(callable(handler), "handler", handler, "must be a function")
        return self._bus.off(only.pattern, handler, only.session, only.job)

    def emit(self, event: str, data: Any = None) -> None:
        """Publish an event to every node that listens. Does not wait; delivery is at most once.

        Handlers get the data as another process would: maps, lists, texts, numbers. `ConfigurationError` for
        a name that begins as the engine's own do (`job:`, `session:` …); `ValidationError` for what cannot
        be sent, and for more than `model.limits.MAX_EVENT_BYTES` of it.
        """
        node = self._running()
        node.emitter.emit_for_user(event, data)

    @asynccontextmanager
    async def events(
        self, pattern: str = "*", *, session: str | None = None, job: Job[Any] | str | None = None
    ) -> AsyncIterator[EventStream]:
        """A stream of the events that match: `async with runtime.events("job:*", session="alice") as stream`.

        `session` and `job` are as for `on`. Everything that happens after entering is heard. Any number of
        tasks may read: each event goes to one of them. A reader that falls far behind loses the oldest
        events; `stream.dropped` counts them, and they are logged as those of a handler are.
        """
        node = self._running()
        subscription = _subscription(pattern, None, session, job)
        self._bus.add(subscription)
        try:
            await self._bus.watch()
            yield EventStream(subscription, node.host, node.here)
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
            workers=len(node.fleet.workers),
            running=node.fleet.busy,
            claimed=len(node.claims),
            waiting_callers=len(node.in_flight),
            jobs_run=node.fleet.jobs_run,
            connections=node.store.connections,
            completed=node.settler.completed,
            failed=node.settler.failed,
            abandoned_threads=node.threads.left_behind,
        )

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


class _Filters(NamedTuple):
    pattern: str
    session: str | None
    job: str | None


def _filters(pattern: str, session: str | None, job: Job[Any] | str | None) -> _Filters:
    """Which events are meant, checked."""
    session = None if session is None else require_session(session)
    if isinstance(job, Job):
        id: str | None = job.id
    else:
        id = meant_id(job, session) if isinstance(job, str) and session is not None else job
    return _Filters(
        require_text("pattern", pattern, most=MAX_NAME_BYTES),
        session,
        None if id is None else require_text("job", id, most=MAX_ANY_ID_BYTES),
    )


def _subscription(
    pattern: str, handler: Handler | None, session: str | None, job: Job[Any] | str | None
) -> Subscription:
    only = _filters(pattern, session, job)
    return Subscription(only.pattern, handler, session=only.session, job=only.job)
