"""Jobs on their way into the store: what gathers while a call is under way goes with the next one."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from am2z_trio.concurrency import Host
from am2z_trio.model.errors import (
    AM2ZError,
    ConfigurationError,
    JobCancelledError,
    JobNotFoundError,
    ResourceError,
    SessionStoppedError,
    UnknownOutcomeError,
)
from am2z_trio.model.records import Enqueue, EnqueueAnswer
from am2z_trio.store.ports import Store

from .history import History
from .leaving import Leaving
from .waiter import Waiter
from .waiters import Waiters

BATCH: Final = 100
"""Jobs per enqueue call; bounds the time one script holds the store."""

ABANDONED: Final = "its caller went away while it was submitted"


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
        read_soon: Callable[[str], None],
    ) -> None:
        """`before_send` is awaited before each call; `read_soon` is told of a job whose outcome is there, and
        not here."""
        self._store = store
        self._waiters = waiters
        self._history = history
        self._leaving = leaving
        self._before_send = before_send
        self._read_soon = read_soon
        self._line: deque[Waiter] = deque()
        self._bell = host.spot()

    def append(self, waiter: Waiter) -> None:
        """Send its job soon."""
        self._line.append(waiter)
        self._bell.wake()

    def forget_all(self) -> None:
        self._line.clear()

    async def run(self) -> None:
        line = self._line
        while True:
            while not line:
                await self._bell.park()
            await self._before_send()
            batch: list[Waiter] = []
            while line and len(batch) < BATCH:
                waiter = line.popleft()
                if waiter.state == "in line":
                    waiter.state = "being sent"
                    batch.append(waiter)
            if batch:
                await self._send(batch)

    async def _send(self, batch: list[Waiter], *, in_doubt: bool = False) -> None:
        """`in_doubt`: the store may have taken these, or may do so yet, so a refusal is no verdict."""
        requests: list[Enqueue] = []
        for waiter in batch:
            assert waiter.request is not None
            requests.append(waiter.request)
        try:
            history = self._history.name or await self._history.ask()
            answers = await self._store.enqueue(requests)
        except AM2ZError as error:
            unknown = isinstance(error, UnknownOutcomeError)
            in_doubt = in_doubt or unknown or bool(error.context.get("in_doubt"))
            if len(batch) > 1:
                # One of them may be at fault; the others must not suffer.
                for waiter in batch:
                    await self._send([waiter], in_doubt=in_doubt)
                return
            self._waiters.remove(batch[0])
            if in_doubt and not unknown:
                why = f"the job may have been accepted, or not, when it was sent first: {error.message}"
                error = UnknownOutcomeError(why, cause=error)
            batch[0].resolve(error)
            return
        for waiter, request, answer in zip(batch, requests, answers, strict=True):
            self._on_answer(waiter, request, answer, history)

    def _on_answer(self, waiter: Waiter, request: Enqueue, answer: EnqueueAnswer, history: str) -> None:
        if answer.status not in ("queued", "dup"):
            self._waiters.remove(waiter)
            waiter.resolve(_refusal(request, answer))
            return
        waiter.known = answer.status == "dup"
        if waiter.state == "abandoned":
            self._leaving.take_back(waiter, ABANDONED)
            return
        waiter.state = "joined" if waiter.shared and waiter.known else "sent"
        waiter.history = history
        waiter.accept()
        if answer.settled is not None:
            self._waiters.resolve_from(waiter, answer.settled)
        elif waiter.look:
            self._read_soon(waiter.id)


def _refusal(request: Enqueue, answer: EnqueueAnswer) -> AM2ZError:
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
    if answer.status == "unknown":
        return JobNotFoundError(
            f"job_id={spec.id!r}: there is no record of that job, and an id that the engine has made can be "
            "asked for, but not chosen",
            context={"job": spec.id},
        )
    return ResourceError(
        f"{answer.waiting:,} jobs wait for {spec.processor!r}, the limit is {request.max_size:,} "
        "(max_queue_size, QueueOptions.max_size)",
        context={"processor": spec.processor, "waiting": answer.waiting, "limit": request.max_size},
    )
