"""A session as its user holds it: `async with runtime.session("alice") as session`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, TypeVar, overload

from am2z_trio.concurrency import CancelScope, current_host
from am2z_trio.engine.processors.processor import Processor
from am2z_trio.engine.processors.result import ProcessorResult
from am2z_trio.engine.states.locks import SessionLock
from am2z_trio.engine.states.manager import StateManager, Versioned
from am2z_trio.engine.submission.bulk import Jobs
from am2z_trio.engine.submission.job import Job, has_ended
from am2z_trio.engine.submission.request import SubmitRequest
from am2z_trio.engine.submission.submissions import AT_ONCE, Submissions
from am2z_trio.model.options import JobOptions

from .hosted import HostedSession

S = TypeVar("S")
T = TypeVar("T")

KEPT: Final = 100
"""Jobs that were submitted through an open session before it first looks which of them have ended."""

Submit = Callable[[Processor[Any] | str, Any, SubmitRequest], Awaitable[Job[Any]]]
"""Enqueues a job and returns a handle on it."""

SubmitMany = Callable[
    [Processor[Any] | str, Iterable[Any], Iterable[str] | None, SubmitRequest], Awaitable[Jobs[Any]]
]
"""Enqueues many and returns handles on them."""


SendSignal = Callable[[str, str, Any], Awaitable[None]]
"""Sends a signal to a session."""


class SessionState:
    """`runtime.state` for one session."""

    def __init__(self, states: StateManager, session: str) -> None:
        self._states = states
        self._session = session

    @overload
    async def get(self) -> Versioned[Any] | None: ...
    @overload
    async def get(self, type: type[T]) -> Versioned[T] | None: ...
    async def get(self, type: Any = Any) -> Versioned[Any] | None:
        """As `StateManager.get`."""
        return await self._states.get(self._session, type)

    async def set(
        self,
        state: T,
        *,
        expected: Versioned[Any] | None = None,
        type: Any = None,
        ttl: float | None = None,
    ) -> Versioned[T]:
        """As `StateManager.set`."""
        return await self._states.set(self._session, state, expected=expected, type=type, ttl=ttl)

    @overload
    async def update(
        self, fn: Callable[[Any], Awaitable[T | None]], *, type: Any = None, max_conflicts: int | None = None
    ) -> Versioned[T]: ...

    @overload
    async def update(
        self, fn: Callable[[Any], T | None], *, type: Any = None, max_conflicts: int | None = None
    ) -> Versioned[T]: ...

    async def update(
        self, fn: Callable[[Any], Any], *, type: Any = None, max_conflicts: int | None = None
    ) -> Versioned[Any]:
        """As `StateManager.update`."""
        return await self._states.update(self._session, fn, type=type, max_conflicts=max_conflicts)

    async def delete(self) -> bool:
        """As `StateManager.delete`."""
        return await self._states.delete(self._session)

    def lock(self, *, lease: float = 10.0) -> AbstractAsyncContextManager[SessionLock]:
        """As `StateManager.lock`."""
        return self._states.lock(self._session, lease=lease)


class Session:
    """An open session. Its methods are the runtime's, for this session."""

    def __init__(
        self,
        hosted: HostedSession,
        states: StateManager,
        submissions: Callable[[], Submissions],
        submit: Submit,
        submit_many: SubmitMany,
        signal: SendSignal,
    ) -> None:
        """`submissions`, `submit`, `submit_many` and `signal` raise where the runtime has been left."""
        self.id = hosted.id
        self.state = SessionState(states, hosted.id)
        self._hosted = hosted
        self._submissions = submissions
        self._submit = submit
        self._submit_many = submit_many
        self._signal = signal
        self._submitted: list[Job[Any]] = []
        self._many: list[Jobs[Any]] = []
        self._look_at = KEPT

    @property
    def cancel_scope(self) -> CancelScope:
        """The scope of the session on this node. Cancelling it stops the session: its jobs, wherever
        they are, and the block that opened it."""
        return self._hosted.cancel_scope

    async def execute(
        self,
        processor: Processor[S] | str,
        state: S | None = None,
        *,
        timeout: float | None = None,
        wait_for_worker: float | None = None,
        total_timeout: float | None = None,
        options: JobOptions | None = None,
        job_id: str | None = None,
    ) -> ProcessorResult[S]:
        """As `Runtime.execute`."""
        request = SubmitRequest(
            session=self.id,
            timeout=timeout,
            wait_for_worker=wait_for_worker,
            total_timeout=total_timeout,
            options=options,
            job_id=job_id,
        )
        return await self._submissions().execute(processor, state, request)

    async def execute_many(
        self,
        processor: Processor[S] | str,
        states: Iterable[S],
        *,
        timeout: float | None = None,
        wait_for_worker: float | None = None,
        total_timeout: float | None = None,
        options: JobOptions | None = None,
    ) -> list[ProcessorResult[S]]:
        """As `Runtime.execute_many`."""
        request = SubmitRequest(
            session=self.id,
            timeout=timeout,
            wait_for_worker=wait_for_worker,
            total_timeout=total_timeout,
            options=options,
        )
        return await self._submissions().execute_many(processor, states, request)

    async def submit(
        self,
        processor: Processor[S] | str,
        state: S | None = None,
        *,
        timeout: float | None = None,
        wait_for_worker: float | None = None,
        total_timeout: float | None = None,
        options: JobOptions | None = None,
        job_id: str | None = None,
    ) -> Job[S]:
        """As `Runtime.submit`; leaving the session's block waits for the job."""
        request = SubmitRequest(
            session=self.id,
            timeout=timeout,
            wait_for_worker=wait_for_worker,
            total_timeout=total_timeout,
            options=options,
            job_id=job_id,
            waits=False,
        )
        job: Job[S] = await self._submit(processor, state, request)
        self._submitted.append(job)
        if len(self._submitted) >= self._look_at:
            # A session may be open for long: those that have ended need not be waited for.
            self._submitted = [job for job in self._submitted if not has_ended(job)]
            self._look_at = max(KEPT, 2 * len(self._submitted))
        return job

    async def submit_many(
        self,
        processor: Processor[S] | str,
        states: Iterable[S],
        *,
        timeout: float | None = None,
        total_timeout: float | None = None,
        options: JobOptions | None = None,
        job_ids: Iterable[str] | None = None,
    ) -> Sequence[Job[S]]:
        """As `Runtime.submit_many`; leaving the session's block waits for the jobs, if all were accepted."""
        request = SubmitRequest(
            session=self.id, timeout=timeout, total_timeout=total_timeout, options=options, waits=False
        )
        jobs: Jobs[S] = await self._submit_many(processor, states, job_ids, request)
        self._many.append(jobs)
        return jobs

    async def signal(self, name: str, value: Any = None) -> None:
        """As `Runtime.signal_session`: one of the session's jobs takes it."""
        await self._signal(self.id, name, value)

    async def wait_submitted(self) -> None:
        """Wait until everything that was submitted has ended."""
        steps = 0
        while self._many or self._submitted:
            # Out of the list first: others may submit meanwhile.
            if self._many:
                await self._many.pop().wait()
            else:
                await self._submitted.pop().result()
            steps += 1
            if steps % AT_ONCE == 0:
                await current_host().checkpoint()
