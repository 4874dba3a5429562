"""What a caller gets back: a result, or a handle on a job that is still on its way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

import msgspec

from am2z_trio.engine.claim import aside
from am2z_trio.engine.events.subscription import EventStream
from am2z_trio.engine.here import Here
from am2z_trio.engine.processors.result import ProcessorResult, ResultMetadata, failed_result
from am2z_trio.model.codec import NIL, RecordDecoder, StateCodec
from am2z_trio.model.error_records import error_of
from am2z_trio.model.errors import (
    AM2ZError,
    DeadlineExceededError,
    JobCancelledError,
    JobExpiredError,
    JobNotFoundError,
    JobStalledError,
    SessionStoppedError,
    ValidationError,
)
from am2z_trio.model.moments import time_of
from am2z_trio.model.records import (
    DEADLINE,
    EXPIRED,
    SESSION_STOPPED,
    STALLED,
    UNREADABLE,
    WIRE_VERSION,
    EventPage,
    JobView,
    LogLine,
    ResultRecord,
    Settled,
    WaitFacts,
)
from am2z_trio.model.views.jobs import JobRow, Shown, told_status

if TYPE_CHECKING:
    from .waiter import Waiter

S = TypeVar("S")

_decode_result: Final = RecordDecoder[ResultRecord](ResultRecord)


def read_result(
    settled: Settled, codec: StateCodec[S], *, processor: str, session: str | None
) -> ProcessorResult[S]:
    """Decode an outcome; an unreadable one is a failed result, never an exception."""
    if settled.result == NIL:
        return failed_result(
            _store_error(settled),
            processor=processor,
            session=session,
            job_id=settled.id,
        )
    try:
        record = _decode_result(settled.result)
        if record.version > WIRE_VERSION:
            raise ValidationError(
                f"the outcome of job {settled.id} was written by a newer version: {record.version}, "
                f"and this one reads {WIRE_VERSION}",
                context={"job": settled.id},
            )
        if record.error is None and settled.status != "completed":
            raise ValidationError(
                f"the record of job {settled.id}, which is {settled.status}, does not say why",
                context={"job": settled.id},
            )
        error = None if record.error is None else error_of(record.error)
        state = None if error is not None else codec.decode(record.state)
    except AM2ZError as unreadable:
        return failed_result(unreadable, processor=processor, session=session, job_id=settled.id)
    return ProcessorResult(
        success=error is None,
        state=state,
        error=error,
        execution_time=record.execution_time,
        metadata=ResultMetadata(
            job_id=settled.id,
            processor=processor,
            session_id=session,
            attempt=record.attempt,
            node=record.node,
            earlier_errors=[error_of(earlier.error) for earlier in record.earlier],
            started_at=time_of(record.started),
        ),
    )


def _store_error(settled: Settled) -> AM2ZError:
    """The error of a job that the store ended by itself, so that no worker described it."""
    context = {"job": settled.id}
    if settled.reason == SESSION_STOPPED:
        return SessionStoppedError("the job's session was stopped", context=context)
    if settled.status == "completed":
        return ValidationError(
            "the job has completed, and its outcome is gone from its record", context=context
        )
    if settled.reason.startswith(UNREADABLE):
        return ValidationError(
            f"the job's record cannot be read{settled.reason[len(UNREADABLE) :]}", context=context
        )
    if settled.reason == DEADLINE:
        return DeadlineExceededError(
            "the job's deadline passed before a worker could start it", context=context
        )
    if settled.reason == EXPIRED:
        return JobExpiredError("the job had not begun by when it was to (expires)", context=context)
    if settled.status == "cancelled":
        return JobCancelledError(settled.reason or "cancelled", context=context)
    return JobStalledError(STALLED, context=context)


def outcome_of(
    waiter: Waiter, settled: Settled | AM2ZError, codec: StateCodec[S], processor: str, session: str | None
) -> ProcessorResult[S]:
    """The result of a job as its waiter has it."""
    if isinstance(settled, AM2ZError):
        result: ProcessorResult[S] = failed_result(
            settled, processor=processor, session=session, job_id=waiter.id
        )
    else:
        result = read_result(settled, codec, processor=processor, session=session)
    error = waiter.error_of(result.error)
    if error is not result.error or waiter.unserved:
        metadata = msgspec.structs.replace(result.metadata, waited_for_worker=waiter.unserved)
        result = msgspec.structs.replace(result, error=error, metadata=metadata)
    return result


class Desk(NamedTuple):
    """What handles ask of the runtime that has made them."""

    here: Here
    view: Callable[[str], Awaitable[JobView | None]]
    rows: Callable[[Sequence[str]], Awaitable[list[JobRow | None]]]
    """Jobs as they are listed."""
    cancel: Callable[[str, str], Awaitable[str | None]]
    events: Callable[[str, str], AbstractAsyncContextManager[EventStream]]
    """A stream of the events that match a pattern, of one job."""
    logs: Callable[[str], Awaitable[list[LogLine]]]
    signal: Callable[[str, str, Any], Awaitable[None]]
    history: Callable[[str, str, int], Awaitable[EventPage]]
    """What has happened to a job behind a place of the history of events, at most so much."""
    newest: Callable[[], Awaitable[str]]
    """The place of what was written there last."""


class Job(Generic[S]):
    """A job that the store has. Dropping the handle changes nothing: the job runs on. `id` is in full."""

    __slots__ = ("_codec", "_desk", "_waiter", "id", "processor", "session_id")

    def __init__(
        self,
        id: str,
        waiter: Waiter | Callable[[str], Waiter],
        codec: StateCodec[S],
        *,
        processor: str,
        session: str | None,
        desk: Desk,
    ) -> None:
        """`waiter`: who waits for its outcome here, or what begins to, given its id."""
        self.id = id
        self.processor = processor
        self.session_id = session
        self._waiter = waiter
        self._codec = codec
        self._desk = desk

    def __repr__(self) -> str:
        return f"<job {self.id} of {self.processor!r}>"

    async def result(self) -> ProcessorResult[S]:
        """Wait for the final outcome. Any number of tasks may wait, any number of times.

        Cancelling the wait does not cancel the job; `cancel` does.
        """
        self._desk.here.require()
        waiter = listen(self)
        async with aside(waiter.outcome is None, uncalled=self.id):
            settled = await waiter.wait()
        return outcome_of(waiter, settled, self._codec, self.processor, self.session_id)

    async def status(self) -> Shown:
        """The job's status now, in the word that all faces have for it: `waiting`, `delayed`, `parked` (it
        has begun, and waits without a worker: `waits` says for what), `active`, `completed`, `failed` or
        `cancelled`. Raises `JobNotFoundError` when its record is gone."""
        status = (await self._look()).status
        if status != "later":
            return told_status(status)
        row = await self._row()
        return told_status(row.status, parked=bool(row.waits))

    async def waits(self) -> list[WaitFacts]:
        """What it waits for that no other job brings, since when and until when, while it is parked: names of
        signals, empty for a time, and ms since the epoch; some, of very many. Raises `JobNotFoundError`."""
        return list((await self._row()).waits)

    async def progress(self) -> float:
        """What the processor reported last; 0.0 at first."""
        return (await self._look()).progress

    async def logs(self) -> list[LogLine]:
        """What it has logged so far by `ctx.log`, where that is kept: as `runtime.job_logs`."""
        return await self._desk.logs(self.id)

    async def cancel(self, reason: str = "cancelled by its submitter") -> bool:
        """Ask for the job to be cancelled; `False` if it had ended already.

        A waiting job has ended when this returns; a running one ends at its next checkpoint.
        """
        before = await self._desk.cancel(self.id, reason)
        return before not in (None, "completed", "failed", "cancelled")

    async def signal(self, name: str, value: Any = None) -> None:
        """Send the job a signal, which its `ctx.wait_for` waits for or will: as `runtime.signal`."""
        await self._desk.signal(self.id, name, value)

    def events(self, pattern: str = "job:*") -> AbstractAsyncContextManager[EventStream]:
        """A stream of this job's events, as `runtime.events` is: `async with job.events() as stream`."""
        return self._desk.events(pattern, self.id)

    async def _row(self) -> JobRow:
        (row,) = await self._desk.rows([self.id])
        if row is None:
            raise JobNotFoundError(f"no record of job {self.id}", context={"job": self.id})
        return row

    async def _look(self) -> JobView:
        view = await self._desk.view(self.id)
        if view is None:
            raise JobNotFoundError(f"no record of job {self.id}", context={"job": self.id})
        return view


def has_ended(job: Job[Any]) -> bool:
    """Whether this node has heard of its outcome."""
    waiter = job._waiter  # pyright: ignore[reportPrivateUsage]
    return not callable(waiter) and waiter.outcome is not None


def listen(job: Job[Any]) -> Waiter:
    """Wait for its outcome from now on, if nobody here does."""
    waiter = job._waiter  # pyright: ignore[reportPrivateUsage]
    if callable(waiter):
        waiter = job._waiter = waiter(job.id)  # pyright: ignore[reportPrivateUsage]
    return waiter


async def history_of(job: Job[Any], since: str, limit: int) -> EventPage:
    """Its events in the history, behind that place."""
    return await job._desk.history(job.id, since, limit)  # pyright: ignore[reportPrivateUsage]


async def newest_of(job: Job[Any]) -> str:
    """The place of what was written last into the history of events, of any job; empty: nothing."""
    return await job._desk.newest()  # pyright: ignore[reportPrivateUsage]


def plain_state(job: Job[Any], state: Any) -> Any:
    """The state that a job has returned, as plain data: maps, lists, texts, numbers, bytes."""
    codec = job._codec  # pyright: ignore[reportPrivateUsage]
    return msgspec.msgpack.decode(codec.form(codec.encode(state)))
