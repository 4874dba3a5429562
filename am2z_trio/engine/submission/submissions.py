"""What callers do: submit a job, or many, and wait for what becomes of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from am2z_trio.concurrency import Host, Spot
from am2z_trio.engine.claim import aside, running_job
from am2z_trio.engine.processors.processor import Processor, name_of
from am2z_trio.engine.processors.result import Done, ProcessorResult, failed_result
from am2z_trio.model.callables import require_items
from am2z_trio.model.codec import StateCodec
from am2z_trio.model.errors import AM2ZError, DeadlineExceededError, JobCancelledError, TotalTimeoutError
from am2z_trio.model.records import DEADLINE, PARENT_ENDED, Settled

from .bulk import BulkSubmission, Ids
from .directory import Directory
from .in_flight import InFlight
from .job import outcome_of
from .outgoing import ABANDONED, UNFOUNDED
from .preparation import Preparation
from .request import Asked, SubmitRequest, require_nobody_waits
from .waiter import Waiter

S = TypeVar("S")

AT_ONCE: Final = 100
"""Jobs that one task submits, or whose outcomes it reads, before others have a turn: some milliseconds."""

EARLY_AT_MOST: Final = 1.0
"""Seconds by which the store's clock, or a worker's, may see a deadline pass before its caller does."""

CALLER_GONE: Final = "the caller went away"

MOST_REPEATS: Final = 10
"""How often a caller may meet a job that was given up; each has ended then, and the next one is new."""

GIVEN_UP: Final = (CALLER_GONE, ABANDONED, PARENT_ENDED)


class _Place:
    """One of many jobs that one task waits for; their waiters wake it."""

    __slots__ = ("_bell", "_ended", "began", "codec", "id", "number", "repeats")

    def __init__(
        self, number: int, began: float, ended: deque[tuple[_Place, Settled | AM2ZError]], bell: Spot
    ) -> None:
        self.number = number
        self.began = began
        self.id = ""
        self.codec: StateCodec[Any] | None = None
        self.repeats = 0
        self._ended = ended
        self._bell = bell

    def wake(self, value: Any = None) -> None:
        self._ended.append((self, value))
        self._bell.wake()


class Submissions:
    """The jobs that this node submits."""

    def __init__(
        self, host: Host, in_flight: InFlight, directory: Directory, preparation: Preparation
    ) -> None:
        self._host = host
        self._now = host.clock()
        self._in_flight = in_flight
        self._prepare = preparation.prepare
        self.directory: Final = directory
        self.preparation: Final = preparation
        in_flight.judge = directory.unknown

    async def execute(
        self,
        processor: Processor[S] | str,
        state: S | None,
        request: SubmitRequest,
        *,
        began: float | None = None,
        repeats: int = MOST_REPEATS,
    ) -> ProcessorResult[S]:
        """Submit a job and wait for its outcome; cancelled meanwhile, the job is too, unless others wait.
        `began`: as in `prepare`."""
        name = name_of(processor)
        if began is None:
            began = self._now()
        deadline = self._host.effective_deadline()
        try:
            made = await self._prepare(processor, state, request, began, deadline)
        except AM2ZError as error:
            return failed_result(error, processor=name, session=request.session)
        spot = self._host.spot()
        shared = made.shared
        waiter = self._in_flight.submit(
            made.request, spot, shared=shared, limits=made.limits, assumed=made.assumed, alone=True
        )
        waiter.early = request.early
        try:
            waiting = None if request.root else running_job()
            if waiting is None:
                settled = await spot.park()
            else:
                async with waiting.holder.away(waiting):
                    settled = await spot.park()
            await self._out_of_time(waiter, settled, deadline)
        except BaseException:
            self._leave(waiter, request, deadline)
            raise
        result = outcome_of(waiter, settled, made.codec, name, request.session)
        if made.request.again and shared and waiter.known and repeats and was_given_up(result.error):
            # The last of its callers had gone before this one came: the job is run anew.
            return await self.execute(processor, state, request, began=began, repeats=repeats - 1)
        return result

    async def _out_of_time(self, waiter: Waiter, settled: Settled | AM2ZError, deadline: float) -> None:
        """A caller is cancelled by its own deadline, also where the job's end is heard of just before."""
        if isinstance(settled, Settled) and settled.reason == DEADLINE and not waiter.known:
            early = min(deadline, waiter.till) - self._now()
            # Unless the store's clock has jumped.
            if early < EARLY_AT_MOST:
                await self._host.sleep(max(0.0, early))

    def _leave(self, waiter: Waiter, request: SubmitRequest, deadline: float) -> None:
        """Nobody here waits any more: take the job back, unless its caller goes on somewhere else."""
        if request.caller_survives is None:
            self._in_flight.leaving.abandon(waiter, self._why_gone(deadline))
        else:
            # Whether this node ends may become known in this very step.
            self._in_flight.leaving.leave(waiter, self._why_gone(deadline), request.caller_survives)

    def _why_gone(self, deadline: float) -> str:
        return DEADLINE if self._now() >= deadline else CALLER_GONE

    async def execute_many(
        self, processor: Processor[S] | str, states: Iterable[S], request: SubmitRequest
    ) -> list[ProcessorResult[S]]:
        """Submit jobs and wait for all outcomes; cancelled meanwhile, the jobs are too."""
        name = name_of(processor)
        states = require_items("states", states, "states")
        deadline = self._host.effective_deadline()
        prepared: list[tuple[StateCodec[S], Waiter] | AM2ZError] = []
        try:
            for state in states:
                try:
                    made = await self._prepare(processor, state, request, None, deadline)
                except AM2ZError as error:
                    prepared.append(error)
                else:
                    waiter = self._in_flight.submit(
                        made.request, shared=made.shared, limits=made.limits, assumed=made.assumed
                    )
                    prepared.append((made.codec, waiter))
                if len(prepared) % AT_ONCE == 0:
                    await self._host.checkpoint()
            results: list[ProcessorResult[S]] = []
            for entry in prepared:
                if isinstance(entry, AM2ZError):
                    results.append(failed_result(entry, processor=name, session=request.session))
                else:
                    codec, waiter = entry
                    async with aside(waiter.outcome is None):
                        settled = await waiter.wait()
                    await self._out_of_time(waiter, settled, deadline)
                    results.append(outcome_of(waiter, settled, codec, name, request.session))
                if len(results) % AT_ONCE == 0:
                    await self._host.checkpoint()
        except BaseException:
            waiters = {entry[1].id: entry[1] for entry in prepared if not isinstance(entry, AM2ZError)}
            self._in_flight.leaving.leave_all(waiters, self._why_gone(deadline))
            raise
        return results

    async def execute_each(
        self, many: int, asked: Callable[[int], Asked], done: Done, caller_survives: Callable[[], bool]
    ) -> None:
        """Submit so many jobs and wait for all of them, in this one task: a job under way costs what is
        written down of it, and no task.

        `asked(n)` says which one is the n-th, and `done(n, result)` is told how it has ended, in the order in
        which they end, and whether the others are still waited for. Where they are not, or where this is
        cancelled, those that have not ended are: some in each of the next turns of the loop, unless
        `caller_survives` says so.
        """
        deadline = self._host.effective_deadline()
        bell = self._host.spot()
        ended: deque[tuple[_Place, Settled | AM2ZError]] = deque()
        waiting: dict[str, Waiter] = {}
        begun = steps = 0
        try:
            while begun < many or waiting:
                if ended:
                    place, outcome = ended.popleft()
                    result = await self._read(place, waiting.pop(place.id), outcome, deadline)
                    again = place.repeats < MOST_REPEATS and was_given_up(result.error)
                    place.repeats += 1
                elif begun < many:
                    place, result, again = _Place(begun, self._now(), ended, bell), None, True
                    begun += 1
                else:
                    await bell.park()
                    continue
                if again:
                    result = await self._begin(place, asked, waiting, deadline)
                if result is not None and not done(place.number, result):
                    return
                steps += 1
                if steps % AT_ONCE == 0:
                    await self._host.checkpoint()
        finally:
            self._in_flight.leaving.leave_all(waiting, self._why_gone(deadline), caller_survives)

    async def _begin(
        self, place: _Place, asked: Callable[[int], Asked], waiting: dict[str, Waiter], deadline: float
    ) -> ProcessorResult[Any] | None:
        """Submit one of many; its result, if it cannot be."""
        try:
            processor, state, request = asked(place.number)
            made = await self._prepare(processor, state, request, place.began, deadline)
        except AM2ZError as error:
            return failed_result(error, processor="", session=None)
        place.codec = made.codec
        waiter = self._in_flight.submit(made.request, place, limits=made.limits, assumed=made.assumed)
        waiter.early = request.early
        place.id = waiter.id
        waiting[waiter.id] = waiter
        return None

    async def _read(
        self, place: _Place, waiter: Waiter, outcome: Settled | AM2ZError, deadline: float
    ) -> ProcessorResult[Any]:
        await self._out_of_time(waiter, outcome, deadline)
        assert waiter.request is not None
        assert place.codec is not None
        spec = waiter.request.spec
        return outcome_of(waiter, outcome, place.codec, spec.processor, spec.session or None)

    async def submit(
        self, processor: Processor[S] | str, state: S | None, request: SubmitRequest
    ) -> tuple[StateCodec[S], Waiter]:
        """Submit a job that does not end with its caller, who awaits `accepted` next."""
        made = await self._prepare(processor, state, request)
        waiter = self._in_flight.submit(
            made.request,
            shared=made.shared,
            limits=made.limits,
            assumed=made.assumed,
            alone=True,
        )
        return made.codec, waiter

    async def accepted(self, waiter: Waiter) -> None:
        """Wait until the store has a job that was submitted; cancelled meanwhile, it is taken back."""
        try:
            await waiter.wait_accepted()
        except BaseException:
            self._in_flight.leaving.abandon(waiter, CALLER_GONE)
            raise
        if isinstance(waiter.outcome, AM2ZError):
            raise waiter.outcome

    async def send(self, processor: Processor[Any] | str, state: Any, request: SubmitRequest) -> str:
        """Submit a job for one that runs here and does not wait for it; returns its id when the store has
        it. Who is cancelled meanwhile may have sent it, or not, and sends the same one when it runs again."""
        made = await self._prepare(processor, state, request)
        require_nobody_waits(request.options)
        waiter = self._in_flight.submit(made.request, assumed=made.assumed, alone=True)
        try:
            await waiter.wait_accepted()
        finally:
            self._in_flight.unwatch(waiter)
            if waiter.state == "in line":
                waiter.state = "abandoned"
        if isinstance(waiter.outcome, AM2ZError):
            raise waiter.outcome
        return waiter.id

    async def submit_many(
        self,
        processor: Processor[S] | str,
        states: Iterable[S],
        job_ids: Iterable[str] | None,
        request: SubmitRequest,
    ) -> tuple[StateCodec[S], Ids]:
        """Submit jobs that nobody waits for; returns when the store has all of them."""
        states = require_items("states", states, "states")
        if job_ids is not None:
            job_ids = require_items("job_ids", job_ids, "ids, one for each state")
        submission = BulkSubmission(
            self._host, self.preparation, self._in_flight.send_bulk, processor, states, job_ids, request
        )
        return await submission.run(), submission.ids

    def join(self, job: str, processor: str, session: str | None) -> Waiter:
        """Wait for the outcome of a job that the store has."""
        return self._in_flight.submit(self.preparation.joining(job, processor, session), shared=True)


def was_given_up(error: AM2ZError | None) -> bool:
    """Whether a job was cancelled as its callers, or its caller's earlier run, had gone; it has ended now."""
    if isinstance(error, DeadlineExceededError):
        # Not where its time is over by which this very caller has bounded it.
        return not isinstance(error, TotalTimeoutError)
    return isinstance(error, JobCancelledError) and error.message in GIVEN_UP


def was_unfounded(error: AM2ZError | None) -> bool:
    """Whether a job was not accepted, as what its caller was told before has not been recorded."""
    return isinstance(error, JobCancelledError) and error.message == UNFOUNDED
