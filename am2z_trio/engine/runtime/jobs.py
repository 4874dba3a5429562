"""Jobs that a runtime's user asks for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from am2z_trio.engine.processors.processor import Processor, name_of
from am2z_trio.engine.processors.result import ProcessorResult
from am2z_trio.engine.submission.job import Job
from am2z_trio.engine.submission.request import SubmitRequest
from am2z_trio.model.checks import require, require_text
from am2z_trio.model.limits import MAX_REASON_BYTES, MAX_SESSION_BYTES
from am2z_trio.model.options import JobOptions
from am2z_trio.model.records import JobView
from am2z_trio.model.telling import text_of

from .life import Life

S = TypeVar("S")


class JobMethods(Life):
    """What a runtime's user may do with jobs."""

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

    async def _view(self, job_id: str) -> JobView | None:
        return (await self._running().store.view([job_id]))[0]

    async def _cancel(self, job_id: str, reason: str) -> str | None:
        require(isinstance(reason, str), "reason", reason, "must be a text")
        return await self._running().store.cancel(job_id, text_of(reason, MAX_REASON_BYTES))
