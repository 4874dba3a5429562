"""Jobs on their way into the store: what gathers while a call is under way goes with the next one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NoReturn

from am2z_trio.concurrency import Host
from am2z_trio.concurrency.batching import Batching, Fifo, Verdict
from am2z_trio.concurrency.told import GiveUp, Told
from am2z_trio.model.errors import (
    AM2ZError,
    ConfigurationError,
    JobCancelledError,
    JobNotFoundError,
    ResourceError,
    SessionStoppedError,
    UnknownOutcomeError,
)
from am2z_trio.model.ids import is_made
from am2z_trio.model.records import Bulk, BulkAnswer, Enqueue, EnqueueAnswer
from am2z_trio.store.ports import BATCH, Store

from .leaving import Leaving
from .looking import History
from .waiter import Waiter
from .waiters import Waiters

ABANDONED: Final = "its caller went away while it was submitted"
UNFOUNDED: Final = "what the job that calls was told has not been recorded"


Sending = tuple[Waiter, Enqueue]
Enqueuing = Callable[[list[Enqueue]], Awaitable[list[EnqueueAnswer]]]
Beginning = Callable[[list[Enqueue], Told], GiveUp | None]


class _Line(Fifo[Sending]):
    """Those that nobody has abandoned meanwhile."""

    def take(self, most: int) -> list[Sending]:
        batch: list[Sending] = []
        while self and len(batch) < most:
            sending = self.popleft()
            if sending[0].state == "in line":
                sending[0].state = "being sent"
                batch.append(sending)
            else:
                sending[0].accept()
        return batch


class Outgoing:
    """The line of jobs to be sent. It is bounded by the callers that wait on it, one entry each."""

    def __init__(
        self,
        host: Host,
        store: Store,
        waiters: Waiters,
        history: History,
        leaving: Leaving,
        *,
        before_send: Callable[[], Awaitable[None]],
        may_send: Callable[[], bool],
        read_soon: Callable[[str], None],
    ) -> None:
        """`before_send` is awaited before each call, unless `may_send` says that there is no need;
        `read_soon` is told of a job whose outcome is there, and
        not here."""
        self._store = store
        self.enqueue: Enqueuing | None = None
        """How they are sent, if not by the store alone."""
        self.begin_calls: Beginning | None = None
        """The same of those that jobs of this node have called, for somebody who does not wait."""
        self._waiters = waiters
        self._history = history
        self._leaving = leaving
        self._before_send = before_send
        self._may_send = may_send
        self._read_soon = read_soon
        self._line = _Line()
        self._line_behind = _Line()
        """Those that are built on outcomes, which have been sent."""
        self._may_begin = False
        """Some of the line may be begun here as it is sent."""
        self._batching = self._batching_of(host, self._line)
        self._batching_behind = self._batching_of(host, self._line_behind)

    def _batching_of(self, host: Host, line: _Line) -> Batching[Sending]:
        batching = Batching(host, line, self._send, self._refused, self._taken, refusal=AM2ZError, most=BATCH)
        batching.begin = self._begin
        return batching

    def append(self, waiter: Waiter, request: Enqueue, *, alone: bool = False) -> None:
        """Send its job soon. `alone`: no others are appended in the same step."""
        waiter.in_doubt = False
        if request.builds_on:
            self._line_behind.append((waiter, request))
            self._batching_behind.ring(alone=alone)
            return
        if request.under:
            self._may_begin = True
        self._line.append((waiter, request))
        self._batching.ring(alone=alone)

    def forget_all(self) -> None:
        self._line.clear()
        self._line_behind.clear()

    def run(self) -> Awaitable[NoReturn]:
        return self._batching.run()

    def run_behind(self) -> Awaitable[NoReturn]:
        """Send what is built on outcomes, until cancelled: right behind these, beside what is under way."""
        return self._batching_behind.run()

    async def send_bulk(self, bulk: Bulk) -> BulkAnswer:
        """Send jobs that nobody waits for, beside the line."""
        await self._before_send()
        return await self._store.enqueue_bulk(bulk)

    async def _send(self, batch: list[Sending]) -> tuple[str, list[EnqueueAnswer]]:
        await self._before_send()
        history = self._history.name or await self._history.ask()
        return history, await (self.enqueue or self._store.enqueue)([request for _, request in batch])

    def _begin(self, batch: list[Sending], told: Told) -> GiveUp | None:
        history = self._history.name
        if not history or not self._may_send():
            return None

        def answered(answers: list[EnqueueAnswer] | Exception) -> None:
            told(answers if isinstance(answers, Exception) else (history, answers))

        requests = [request for _, request in batch]
        are_calls, self._may_begin = self._may_begin, self._may_begin and bool(self._line)
        if self.begin_calls is not None and (requests[0].spec.parent or are_calls):
            return self.begin_calls(requests, answered)
        return self._store.begin_enqueue(requests, answered, ())

    async def _refused(self, batch: Sequence[Sending], error: AM2ZError) -> Verdict:
        unknown = isinstance(error, UnknownOutcomeError)
        if unknown or error.context.get("in_doubt"):
            for waiter, _ in batch:
                waiter.in_doubt = True
        if len(batch) > 1:
            # One of them may be at fault; the others must not suffer.
            return "each"
        ((waiter, _),) = batch
        self._waiters.remove(waiter)
        if waiter.in_doubt and not unknown:
            why = f"the job may have been accepted, or not, when it was sent first: {error.message}"
            error = UnknownOutcomeError(why, cause=error)
        waiter.resolve(error)
        return "over"

    def _taken(self, batch: Sequence[Sending], answered: tuple[str, list[EnqueueAnswer]]) -> None:
        history, answers = answered
        for (waiter, request), answer in zip(batch, answers, strict=True):
            self._on_answer(waiter, request, answer, history)

    def _on_answer(self, waiter: Waiter, request: Enqueue, answer: EnqueueAnswer, history: str) -> None:
        if answer.status not in ("queued", "dup"):
            self._waiters.remove(waiter)
            waiter.resolve(refusal_of(request, answer))
            return
        waiter.known = answer.status == "dup"
        if waiter.state == "abandoned":
            self._leaving.take_back(waiter, ABANDONED)
            waiter.accept()
            return
        waiter.state = "joined" if waiter.shared and waiter.known else "sent"
        waiter.history = history
        waiter.accept()
        if answer.settled is not None:
            self._waiters.resolve_from(waiter, answer.settled)
        elif waiter.look:
            self._read_soon(waiter.id)


def refusal_of(request: Enqueue, answer: EnqueueAnswer) -> AM2ZError:
    """Why the store has not taken a job."""
    spec = request.spec
    if answer.status == "stopped":
        return SessionStoppedError(
            f"session {spec.session!r} is being stopped: it accepts no jobs",
            context={"session": spec.session},
        )
    if answer.status == "orphan":
        return JobCancelledError("the job that calls has ended itself", context={"parent": spec.parent})
    if answer.status == "taken":
        rule = {
            "session": "it is the id of a job of another session",
            "processor": f"it is the id of a job of {answer.processor!r}, not of {spec.processor!r}",
        }.get(answer.other, "it is the id of a job that was given another input")
        return ConfigurationError(
            f"job_id={spec.id!r}: {rule}",
            context={"field": "job_id", "value": spec.id, "rule": rule, "processor": answer.processor},
        )
    if answer.status == "unfounded":
        return JobCancelledError(UNFOUNDED, context={"parent": spec.parent})
    if answer.status == "unknown":
        rule = ", and an id that the engine has made can be asked for, but not chosen"
        why = rule if is_made(spec.id) else ""
        return JobNotFoundError(
            f"job_id={spec.id!r}: there is no record of that job{why}", context={"job": spec.id}
        )
    return ResourceError(
        f"{answer.waiting:,} jobs wait for {spec.processor!r}, the limit is {request.max_size:,} "
        "(max_queue_size, QueueOptions.max_size)",
        context={"processor": spec.processor, "waiting": answer.waiting, "limit": request.max_size},
    )
