"""`runtime.from_thread`: the runtime as other threads may use it, each call blocking until it is done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from functools import update_wrapper
from typing import Any, Concatenate, Final, Generic, ParamSpec, TypeVar, overload

import anyio

from am2z_trio.engine.events.subscription import EventStream
from am2z_trio.engine.node.portal import Portal
from am2z_trio.engine.processors.processor import Processor
from am2z_trio.engine.processors.result import ProcessorResult
from am2z_trio.engine.sessions.session import Session, SessionState
from am2z_trio.engine.states.manager import StateManager
from am2z_trio.engine.submission.job import Job
from am2z_trio.model.checks import require_seconds
from am2z_trio.model.events import Event
from am2z_trio.model.transitions import TERMINAL

from .dead_letters import DeadLetters
from .drain import DrainMethods
from .explain import ExplainMethods
from .jobs import JobMethods
from .processors import ProcessorMethods
from .samples import SampleMethods
from .schedules import ScheduleManager
from .sessions import SessionMethods
from .signals import SignalMethods
from .stats import FigureMethods

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")
R = TypeVar("R")

LOOK_AGAIN_AFTER: Final = 1.0
"""Seconds without an event after which it is looked whether a job goes on: an event may be missed."""


class Blocking(Generic[R]):
    """Something of a runtime as a thread sees it. `blocking` makes its methods."""

    def __init__(self, portal: Callable[[], Portal], target: R) -> None:
        self._portal = portal
        self._target = target


def blocking(
    method: Callable[Concatenate[Any, P], Awaitable[T]],
) -> Callable[Concatenate[Blocking[Any], P], T]:
    """The method of the same arguments that waits, in its thread, until the async one is done."""

    def call(self: Blocking[Any], /, *args: P.args, **kwargs: P.kwargs) -> T:
        target = self._target  # pyright: ignore[reportPrivateUsage]
        portal = self._portal()  # pyright: ignore[reportPrivateUsage]
        return portal.call(method, target, *args, **kwargs)

    update_wrapper(call, method)
    return call


class SyncEvents(Blocking[EventStream]):
    """A stream of events for a thread: iterate over it, or ask for the `next`."""

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        return self._portal().call(self._target.next)

    def next(self, timeout: float | None = None) -> Event | None:
        """Wait for the next event; `None` if there is none within so many seconds."""
        if timeout is None:
            return next(self)
        return self._portal().call(_within, require_seconds("timeout", timeout), self._target)

    @property
    def dropped(self) -> int:
        """As `EventStream.dropped`."""
        return self._target.dropped


async def _within(seconds: float, stream: EventStream) -> Event | None:
    with anyio.move_on_after(seconds):
        return await stream.next()
    return None


class SyncJob(Blocking[Job[S]]):
    """`Job` for a thread."""

    @property
    def id(self) -> str:
        return self._target.id

    @property
    def processor(self) -> str:
        return self._target.processor

    @property
    def session_id(self) -> str | None:
        return self._target.session_id

    def __repr__(self) -> str:
        return repr(self._target)

    def result(self, timeout: float | None = None) -> ProcessorResult[S]:
        """Wait for the final outcome; `TimeoutError` after so many seconds. The job goes on then, and also
        when the wait is interrupted; `cancel` cancels it."""
        if timeout is None:
            return self._portal().call(self._target.result)
        seconds = require_seconds("timeout", timeout)
        found = self._portal().call(_result_within, seconds, self._target)
        if found is None:
            raise TimeoutError(f"job {self.id} has not ended within {seconds:g} s")
        return found

    status = blocking(Job[Any].status)
    waits = blocking(Job[Any].waits)
    progress = blocking(Job[Any].progress)
    logs = blocking(Job[Any].logs)
    cancel = blocking(Job[Any].cancel)
    signal = blocking(Job[Any].signal)

    def iter_progress(self) -> Iterator[float]:
        """What it reports, as it does, from what it has reported so far on; ends with the job."""
        with self.events("job:*") as events:
            last = self.progress()
            yield last
            while self.status() not in TERMINAL:
                event = events.next(timeout=LOOK_AGAIN_AFTER)
                now = last if event is None or event.name != "job:progress" else event.data["progress"]
                if now != last:
                    last = now
                    yield last
        if (now := self.progress()) != last:
            yield now

    @contextmanager
    def events(self, pattern: str = "job:*") -> Iterator[SyncEvents]:
        """As `Job.events`: `with job.events() as events: for event in events: ...`."""
        with self._portal().wrap(self._target.events(pattern)) as stream:
            yield SyncEvents(self._portal, stream)


async def _result_within(seconds: float, job: Job[S]) -> ProcessorResult[S] | None:
    with anyio.move_on_after(seconds):
        return await job.result()
    return None


class SyncSessionState(Blocking[SessionState]):
    """`Session.state` for a thread."""

    get = blocking(SessionState.get)
    set = blocking(SessionState.set)
    update = blocking(SessionState.update)
    delete = blocking(SessionState.delete)


class SyncSession(Blocking[Session]):
    """An open session for a thread; its methods are the runtime's, for this session."""

    execute = blocking(Session.execute)
    execute_many = blocking(Session.execute_many)
    signal = blocking(Session.signal)

    @property
    def id(self) -> str:
        return self._target.id

    def submit(self, processor: Processor[S] | str, state: S | None = None, **options: Any) -> SyncJob[S]:
        """As `Session.submit`, with its options."""
        target: Any = self._target
        return SyncJob(self._portal, self._portal().call(target.submit, processor, state, **options))

    def submit_many(
        self, processor: Processor[S] | str, states: Iterable[S], **options: Any
    ) -> Sequence[SyncJob[S]]:
        """As `Session.submit_many`, with its options. `states` is read in the runtime's loop, which waits for
        it meanwhile."""
        return _submit_many(self._portal, self._target, processor, states, options)

    @property
    def state(self) -> SyncSessionState:
        """Its state: `get`, `set`, `update`, `delete`."""
        return SyncSessionState(self._portal, self._target.state)


class SyncState(Blocking[StateManager]):
    """`runtime.state` for a thread."""

    get = blocking(StateManager.get)
    set = blocking(StateManager.set)
    update = blocking(StateManager.update)
    delete = blocking(StateManager.delete)
    exists = blocking(StateManager.exists)
    get_version = blocking(StateManager.get_version)
    history = blocking(StateManager.history)


class SyncSchedules(Blocking[ScheduleManager]):
    """`runtime.schedules` for a thread."""

    upsert = blocking(ScheduleManager.upsert)
    amend = blocking(ScheduleManager.amend)
    sync = blocking(ScheduleManager.sync)
    get = blocking(ScheduleManager.get)
    get_many = blocking(ScheduleManager.get_many)
    last_runs = blocking(ScheduleManager.last_runs)
    list = blocking(ScheduleManager.list)
    pause = blocking(ScheduleManager.pause)
    resume = blocking(ScheduleManager.resume)
    remove = blocking(ScheduleManager.remove)
    next = blocking(ScheduleManager.next)
    runs = blocking(ScheduleManager.runs)
    backfill = blocking(ScheduleManager.backfill)

    def run_now(self, id: str) -> SyncJob[Any]:
        """As `ScheduleManager.run_now`."""
        return SyncJob(self._portal, self._portal().call(self._target.run_now, id))


class SyncDeadLetters(Blocking[DeadLetters]):
    """`runtime.dead_letters` for a thread."""

    count = blocking(DeadLetters.count)
    list = blocking(DeadLetters.list)
    show = blocking(DeadLetters.show)
    retry = blocking(DeadLetters.retry)
    retry_all = blocking(DeadLetters.retry_all)
    drop = blocking(DeadLetters.drop)
    drop_all = blocking(DeadLetters.drop_all)


def _submit_many(
    portal: Callable[[], Portal],
    target: Any,
    processor: Processor[S] | str,
    states: Iterable[S],
    options: dict[str, Any],
) -> list[SyncJob[S]]:
    """Of a runtime, or of a session of it."""
    return [SyncJob(portal, job) for job in portal().call(_submitted, target, processor, states, options)]


async def _submitted(
    target: Any, processor: Processor[S] | str, states: Iterable[S], options: dict[str, Any]
) -> list[Job[S]]:
    """All handles, which are made when they are looked at: here."""
    return list(await target.submit_many(processor, states, **options))


class FromThread(Blocking[Any]):
    """A runtime for other threads. Its methods are those of the runtime, and block until they are done.

    Called in the thread of the runtime's loop, in a fork of its process, or once it was left, each is one
    `RuntimeStateError`, and nothing has been done. A thread that is interrupted by Ctrl-C, or is a worker
    thread of AnyIO's whose task is cancelled, cancels what it waits for: the job of an `execute`, too.
    """

    execute = blocking(JobMethods.execute)
    execute_many = blocking(JobMethods.execute_many)
    job_logs = blocking(JobMethods.job_logs)
    execute_in_session = blocking(JobMethods.execute_in_session)
    signal = blocking(SignalMethods.signal)
    signal_session = blocking(SignalMethods.signal_session)
    explain = blocking(ExplainMethods.explain)
    forget_processor = blocking(ProcessorMethods.forget_processor)
    samples = blocking(SampleMethods.samples)
    census = blocking(SampleMethods.census)
    throughput = blocking(SampleMethods.throughput)
    pause = blocking(SessionMethods.pause)
    resume = blocking(SessionMethods.resume)
    stop_session = blocking(SessionMethods.stop_session)
    clean_all_sessions = blocking(SessionMethods.clean_all_sessions)
    get_session_stats = blocking(FigureMethods.get_session_stats)
    get_active_sessions = blocking(SessionMethods.get_active_sessions)
    sync_processors = blocking(SessionMethods.sync_processors)
    get_queue_stats = blocking(DrainMethods.get_queue_stats)
    health = blocking(DrainMethods.health)
    drain = blocking(DrainMethods.drain)

    @overload
    def call(self, fn: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    def call(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T: ...
    def call(self, fn: Callable[P, Any], *args: P.args, **kwargs: P.kwargs) -> Any:
        """Call any function in the runtime's loop, await what it returns if that can be, and return that:
        `runtime.from_thread.call(runtime.control.nodes)`."""
        return self._portal().call(fn, *args, **kwargs)

    def start_task_soon(self, fn: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """As `call`, without waiting: a future, whose `result(timeout=)` waits and whose `cancel()` cancels
        what was called."""
        return self._portal().start_task_soon(fn, *args, **kwargs)

    def wrap_async_context_manager(self, opened: AbstractAsyncContextManager[T]) -> AbstractContextManager[T]:
        """An async context manager of the runtime's loop as one for this thread's `with`."""
        return self._portal().wrap(opened)

    def register(self, *processors: Processor[Any]) -> None:
        """As `Runtime.register`."""
        self._portal().call(self._target.register, *processors)

    def unregister(self, processor: Processor[Any] | str) -> bool:
        """As `Runtime.unregister`."""
        return bool(self._portal().call(self._target.unregister, processor))

    def emit(self, event: str, data: Any = None) -> None:
        """As `Runtime.emit`."""
        self._portal().call(self._target.emit, event, data)

    @overload
    def submit(self, processor: Processor[S], state: S | None = None, **options: Any) -> SyncJob[S]: ...
    @overload
    def submit(self, processor: str, state: Any = None, **options: Any) -> SyncJob[Any]: ...
    def submit(self, processor: Any, state: Any = None, **options: Any) -> SyncJob[Any]:
        """As `Runtime.submit`, with its options."""
        return SyncJob(self._portal, self._portal().call(self._target.submit, processor, state, **options))

    def submit_many(
        self, processor: Processor[S] | str, states: Iterable[S], **options: Any
    ) -> Sequence[SyncJob[S]]:
        """As `Runtime.submit_many`, with its options. `states` is read in the runtime's loop, which waits for
        it meanwhile."""
        return _submit_many(self._portal, self._target, processor, states, options)

    def job(self, job_id: str, type: Any = None, *, session: str | None = None) -> SyncJob[Any]:
        """As `Runtime.job`."""
        return SyncJob(self._portal, self._portal().call(self._target.job, job_id, type, session=session))

    @contextmanager
    def session(
        self, id: str, *, processors: Iterable[Processor[Any]] = (), ttl: float | None = None
    ) -> Iterator[SyncSession]:
        """As `Runtime.session`: `with runtime.session("alice") as session`."""
        opened = self._target.session(id, processors=processors, ttl=ttl)
        with self._portal().wrap(opened) as session:
            yield SyncSession(self._portal, session)

    @contextmanager
    def events(
        self,
        pattern: str = "*",
        *,
        session: str | None = None,
        job: SyncJob[Any] | str | None = None,
        since: str | None = None,
    ) -> Iterator[SyncEvents]:
        """As `Runtime.events`: `with runtime.events("job:*") as events: for event in events: ...`."""
        id = job.id if isinstance(job, SyncJob) else job
        opened = self._target.events(pattern, session=session, job=id, since=since)
        with self._portal().wrap(opened) as stream:
            yield SyncEvents(self._portal, stream)

    @property
    def state(self) -> SyncState:
        """Session states: `get`, `set`, `update`, `delete`, `history`."""
        return SyncState(self._portal, self._target.state)

    @property
    def schedules(self) -> SyncSchedules:
        """What is to run by the clock."""
        return SyncSchedules(self._portal, self._target.schedules)

    @property
    def dead_letters(self) -> SyncDeadLetters:
        """The jobs that have failed for good."""
        return SyncDeadLetters(self._portal, self._target.dead_letters)
