"""Jobs that a runtime's user asks for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar, overload
from weakref import WeakValueDictionary

from am2z_trio.engine.events.subscription import EventStream
from am2z_trio.engine.node.node import Node
from am2z_trio.engine.processors.processor import Processor, name_of
from am2z_trio.engine.processors.result import ProcessorResult
from am2z_trio.engine.submission.bulk import Jobs
from am2z_trio.engine.submission.job import Desk, Job
from am2z_trio.engine.submission.request import SubmitRequest, require_session
from am2z_trio.engine.submission.waiter import Waiter
from am2z_trio.model.checks import require, require_text
from am2z_trio.model.codec import StateCodec
from am2z_trio.model.errors import JobNotFoundError
from am2z_trio.model.ids import meant_id
from am2z_trio.model.limits import MAX_ANY_ID_BYTES, MAX_REASON_BYTES, MAX_SESSION_BYTES
from am2z_trio.model.options import JobOptions
from am2z_trio.model.records import EventPage, JobView, LogLine
from am2z_trio.model.runtime_options import RuntimeOptions
from am2z_trio.model.telling import text_of

from .signals import SignalMethods

S = TypeVar("S")


class JobMethods(SignalMethods):
    """What a runtime's user may do with jobs."""

    def __init__(self, options: RuntimeOptions) -> None:
        super().__init__(options)
        self._joined = WeakValueDictionary[str, Waiter]()
        """Who waits for jobs that somebody else may have submitted: handles of one job do it together."""

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

        With a state, that is the input, and in a session the output is committed. Without one, the processor
        works on the session's stored state, as a transaction. `timeout` (seconds) overrides the processor's:
        it bounds each attempt's run. `total_timeout` bounds all of it, from here to the outcome: a
        `TotalTimeoutError` then, and the job is cancelled wherever it is.

        A job that no live node serves waits until one does. After a second that is said at WARNING, once per
        processor, and the result tells for how long (`metadata.waited_for_worker`). `wait_for_worker`:
        seconds after which it is taken back then, with a `NoWorkerError`; 0: at once. By name, a processor
        that nobody serves or has served within the last day is an error at once, and so is one that was
        unregistered by the last node that served it; given itself, it needs no worker yet.

        `job_id` (1 to 200 characters, no '/' or control character, no '@' in front) makes the call
        idempotent: while the job is under way, and for `result_ttl` seconds after it has completed (an hour
        by default), the id is not run again, and all who ask for it hear its one outcome. One that has ended
        without completing runs anew when asked for again. It goes on while anybody waits for it: each
        caller's deadline, cancellation and limits (`wait_for_worker`, `total_timeout`) are its own, and only
        when the last one has gone is the job cancelled; one that was given to `submit` goes on by itself,
        within its own limits. `timeout` and options are the first caller's. Each session has ids of its own,
        and so have the jobs without one: the same `job_id` in two sessions is two jobs (in full,
        `@alice/order-17`; see `model.ids`). In one, it is a `ConfigurationError` to give it to another
        processor, or with another state unless it runs anew. An id that the engine has made joins that job,
        which must be there: `JobNotFoundError`.

        Never raises for a job that fails, an unknown processor or a state that does not fit included: the
        result says so. While Redis is away it waits, as every call does, until Redis is back or its scope
        ends. Cancelled, or past its scope's deadline (it travels along), it cancels the job wherever that is.
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

    async def submit_many(
        self,
        processor: Processor[S] | str,
        states: Iterable[S],
        *,
        session: str | None = None,
        timeout: float | None = None,
        total_timeout: float | None = None,
        options: JobOptions | None = None,
        job_ids: Iterable[str] | None = None,
    ) -> Sequence[Job[S]]:
        """Enqueue a job per state and return handles once the store has all of them: far cheaper than to
        `submit` each, as what they share is sent once for hundreds of them.

        They are accepted in the order of the states, up to 250 jobs or 256 KiB in one step, which is taken
        whole; while the store takes one, the next is read from `states`. So a generator of millions is read
        as fast as they are accepted, and little is held of them. The sequence makes its handles when they
        are looked at (`jobs[7]`, `jobs[7].id`), and takes about a byte for each, or those of `job_ids`.

        What has been accepted are always the first ones, and they stay. Where one cannot be, what is raised
        is its error: the message names it (`states[7]`), those before it have been accepted and none behind
        it has; `context` has `index` and `accepted`, which are the same. Where the store refuses a step as a
        whole the message names it (`states[250] to states[499]`), and of an `UnknownOutcomeError` these may
        have been accepted, or not. What `states` raises itself is raised on, when what came before has been
        accepted. Cancelled, it ends between two steps, or in one that is then taken, or not.

        `job_ids`: as many as there are states, each as `submit` takes `job_id`, and none that the engine has
        made; with them all of it may be asked for again, and nothing runs twice.

        Nobody waits for these jobs: each goes on by itself, within its `timeout` and `total_timeout` (which
        is counted from when it is sent, and looked at by the worker that takes it). `Job.result` asks the
        store for the outcome, which is there for as long as the job's record (`result_ttl`; in memory, of
        ids that nobody has chosen, a minute); what a store has lost with its memory is not sent again.
        `wait_for_worker` is not for them, whether given or a processor's default.
        """
        request = SubmitRequest(
            session=session, timeout=timeout, total_timeout=total_timeout, options=options, waits=False
        )
        return await self._submit_many(processor, states, job_ids, request)

    async def _submit_many(
        self,
        processor: Processor[S] | str,
        states: Iterable[S],
        job_ids: Iterable[str] | None,
        request: SubmitRequest,
    ) -> Jobs[S]:
        node, name = self._running(), name_of(processor)
        codec, ids = await node.submissions.submit_many(processor, states, job_ids, request)
        return Jobs(ids, lambda id: self._handle(id, codec, name, request.session))

    @overload
    async def job(self, job_id: str, *, session: str | None = None) -> Job[Any]: ...
    @overload
    async def job(self, job_id: str, type: type[S], *, session: str | None = None) -> Job[S]: ...
    async def job(self, job_id: str, type: Any = None, *, session: str | None = None) -> Job[Any]:
        """The handle of a job that any process has submitted, as `submit` returns it: by its id in full, or
        with `session` by the `job_id` that it was given there.

        `type` is that of its result, which is checked when it is read; without one it is what the processor
        of that name returns if it is registered here, else plain data. Waiting for the result changes
        nothing for the job, and neither does going away: it goes on, and `cancel` alone cancels it.

        One look at its record. Raises `JobNotFoundError` if there is none: it was never accepted, or ended
        longer ago than its record is kept (`result_ttl`). Where that goes before the result is asked for, the
        result is a failed one.
        """
        id = require_text("job_id", job_id, most=MAX_ANY_ID_BYTES)
        if session is not None:
            id = meant_id(id, require_session(session))
        node = self._running()
        codec: StateCodec[Any] | None = None if type is None else node.states.codec(type)
        view = await self._view(id)
        if view is None:
            raise JobNotFoundError(f"no record of job {id}", context={"job": id})
        if codec is None:
            definition = self._registry.get(view.processor)
            codec = node.states.codec(Any) if definition is None else definition.codec
        return self._handle(id, codec, view.processor, view.session or None)

    def _handle(self, id: str, codec: StateCodec[S], processor: str, session: str | None) -> Job[S]:
        """The handle of a job that others may wait for, too. It waits from when its result is asked for."""

        def join(id: str) -> Waiter:
            waiter = self._joined.get(id)
            if waiter is None or waiter.outcome is not None:
                waiter = self._joined[id] = self._running().submissions.join(id, processor, session)
            return waiter

        desk = self._desk(self._running())
        return Job(id, join, codec, processor=processor, session=session, desk=desk)

    def _desk(self, node: Node) -> Desk:
        return Desk(
            node.here,
            self._view,
            node.store.inspection.rows,
            self._cancel,
            self._events_of,
            self.job_logs,
            self._signal_job,
            self._history_of,
            node.store.chronicle.newest,
        )

    def _events_of(self, pattern: str, job_id: str) -> AbstractAsyncContextManager[EventStream]:
        return self.events(pattern, job=job_id)

    async def _history_of(self, job_id: str, since: str, limit: int) -> EventPage:
        return await self.events.history(job=job_id, since=since, limit=limit)

    async def _submit(self, processor: Processor[S] | str, state: S | None, request: SubmitRequest) -> Job[S]:
        node, name = self._running(), name_of(processor)
        codec, waiter = await node.submissions.submit(processor, state, request)
        # While the store has it before itself.
        desk = self._desk(node)
        job = Job(waiter.id, waiter, codec, processor=name, session=request.session, desk=desk)
        await node.submissions.accepted(waiter)
        return job

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

    async def job_logs(self, job_id: str) -> list[LogLine]:
        """What a job has logged by `ctx.log` so far, the oldest line first, where the nodes that run it keep
        that (`job_logs`). Lines arrive within a second, also behind the job's end, and stay as long as its
        record. Raises `JobNotFoundError` where there is none."""
        id = require_text("job_id", job_id, most=MAX_ANY_ID_BYTES)
        found = await self._running().store.logs.read(id)
        if found is None:
            raise JobNotFoundError(f"no record of job {id}", context={"job": id})
        return found

    async def _view(self, job_id: str) -> JobView | None:
        return (await self._running().store.view([job_id]))[0]

    async def _cancel(self, job_id: str, reason: str) -> str | None:
        require(isinstance(reason, str), "reason", reason, "must be a text")
        return await self._running().store.cancel(job_id, text_of(reason, MAX_REASON_BYTES))
