"""Jobs on their way out: everything about a job is checked and written down before it is sent."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable
from math import inf
from typing import Any, Final, Generic, NamedTuple, TypeVar

import msgspec

from am2z_trio.concurrency import Host, Spot
from am2z_trio.engine.claim import aside, running_job
from am2z_trio.engine.processors.processor import Processor, name_of
from am2z_trio.engine.processors.registry import Registry
from am2z_trio.engine.processors.result import Done, ProcessorResult, failed_result
from am2z_trio.model.callables import require_items
from am2z_trio.model.codec import StateCodec
from am2z_trio.model.errors import (
    AM2ZError,
    CallDepthExceededError,
    ConfigurationError,
    DeadlineExceededError,
    JobCancelledError,
    ProcessorNotFoundError,
    RuntimeStateError,
    TotalTimeoutError,
)
from am2z_trio.model.ids import child_id, chosen_id, is_made, made_prefix
from am2z_trio.model.limits import MAX_SESSION_BYTES
from am2z_trio.model.options import (
    JobOptions,
    QueueOptions,
    Retention,
    RuntimeOptions,
    require,
    require_seconds,
    require_text,
)
from am2z_trio.model.records import (
    DEADLINE,
    NO_STATE,
    PARENT_ENDED,
    WIRE_VERSION,
    Enqueue,
    Grant,
    JobSpec,
    QueueInfo,
    Settled,
    callers_below,
    queue_name,
)
from am2z_trio.store.ports import Store

from .in_flight import InFlight
from .job import outcome_of
from .outgoing import ABANDONED
from .waiter import Limits, Waiter

S = TypeVar("S")

AT_ONCE: Final = 100
"""Jobs that one task submits, or whose outcomes it reads, before others have a turn: some milliseconds."""

LOOK_AGAIN_AFTER: Final = 30.0
"""Seconds for which the processors of other nodes, and the options of their queues, are taken as known."""

EARLY_AT_MOST: Final = 1.0
"""Seconds by which the store's clock, or a worker's, may see a deadline pass before its caller does."""

CALLER_GONE: Final = "the caller went away"

MOST_REPEATS: Final = 10
"""How often a caller may meet a job that was given up; each has ended then, and the next one is new."""

GIVEN_UP: Final = (CALLER_GONE, ABANDONED, PARENT_ENDED)

ANY_OPTIONS: Final = JobOptions()

NO_CALLERS: Final[list[str]] = []


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller says about a job, apart from processor and state."""

    session: str | None = None
    timeout: float | None = None
    options: JobOptions | None = None
    job_id: str | None = None
    """What the user gave, and in full once it is checked."""
    parent: Grant | None = None
    """The running job that calls, if one does."""
    root: str = ""
    """The job in the store that it is part of."""
    key: str = ""
    """Which of its calls this is."""
    commits: bool = True
    """Whether what a child returns is committed in its session."""
    wait_for_worker: float | None = None
    total_timeout: float | None = None
    waits: bool = True
    """Whether the caller waits for its outcome."""
    goes_on: Callable[[], bool] | None = None
    """Asked when the call is cancelled: whether the job that calls will be run again, and call again."""


Asked = tuple[Processor[Any] | str, Any, Ask]
"""Processor, state, and the rest of what a caller says about a job."""


class Prepared(NamedTuple, Generic[S]):
    """A job that can be sent."""

    codec: StateCodec[S]
    request: Enqueue
    limits: Limits | None
    assumed: bool
    """Its processor was known to be served some time ago."""


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
        self,
        host: Host,
        node: str,
        options: RuntimeOptions,
        registry: Registry,
        store: Store,
        in_flight: InFlight,
        *,
        shared: bool,
    ) -> None:
        """`shared`: there may be other nodes, now or later."""
        self._host = host
        self._shared = shared
        self._node = node
        self._options = options
        self._registry = registry
        self._store = store
        self._in_flight = in_flight
        in_flight.judge = self.unknown
        self._any_codec: StateCodec[Any] = StateCodec(Any, max_bytes=options.max_state_bytes)
        self._known_elsewhere: dict[str, QueueOptions] = {}
        self._looked_at = -inf
        self._id_prefix = made_prefix()
        self._seen_at: dict[str, float] = {}
        self._numbers = itertools.count(1)
        self.closed = False
        """No more jobs are accepted: the runtime is stopping."""
        self.overload: AM2ZError | None = None
        """Why no more jobs are accepted for now."""

    async def known_processors(self) -> list[str]:
        """Names of all processors that any node serves, or has served lately."""
        known = [info for info in await self._store.known_queues() if info.known]
        self._known_elsewhere = {info.processor: info.options for info in known}
        self._looked_at = self._host.now()
        return list(dict.fromkeys(info.processor for info in known))

    def forget(self, processor: str) -> None:
        """Look again whether any node has it before the next job of it is submitted."""
        self._known_elsewhere.pop(processor, None)
        self._seen_at.pop(processor, None)

    async def execute(
        self,
        processor: Processor[S] | str,
        state: S | None,
        ask: Ask,
        *,
        began: float | None = None,
        repeats: int = MOST_REPEATS,
    ) -> ProcessorResult[S]:
        """Submit a job and wait for its outcome; cancelled meanwhile, the job is too, unless others wait.
        `began`: as in `prepare`."""
        name = name_of(processor)
        if began is None:
            began = self._host.now()
        try:
            made = await self.prepare(processor, state, ask, began)
        except AM2ZError as error:
            return failed_result(error, processor=name, session=ask.session)
        spot = self._host.spot()
        shared = ask.job_id is not None
        waiter = self._in_flight.submit(
            made.request, spot, shared=shared, limits=made.limits, assumed=made.assumed
        )
        deadline = self._host.effective_deadline()
        try:
            waiting = None if ask.root else running_job()
            if waiting is None:
                settled = await spot.park()
            else:
                async with waiting.holder.away(waiting):
                    settled = await spot.park()
            await self._out_of_time(waiter, settled, deadline)
        except BaseException:
            self._leave(waiter, ask, deadline)
            raise
        result = outcome_of(waiter, settled, made.codec, name, ask.session)
        if made.request.again and shared and waiter.known and repeats and was_given_up(result.error):
            # The last of its callers had gone before this one came: the job is run anew.
            return await self.execute(processor, state, ask, began=began, repeats=repeats - 1)
        return result

    async def _out_of_time(self, waiter: Waiter, settled: Settled | AM2ZError, deadline: float) -> None:
        """A caller is cancelled by its own deadline, also where the job's end is heard of just before."""
        if isinstance(settled, Settled) and settled.reason == DEADLINE and not waiter.known:
            early = min(deadline, waiter.till) - self._host.now()
            # Unless the store's clock has jumped.
            if early < EARLY_AT_MOST:
                await self._host.sleep(max(0.0, early))

    def _leave(self, waiter: Waiter, ask: Ask, deadline: float) -> None:
        """Nobody here waits any more: take the job back, unless its caller goes on somewhere else."""
        if ask.goes_on is None:
            self._in_flight.leaving.abandon(waiter, self._why_gone(deadline))
        else:
            # Whether this node ends may become known in this very step.
            self._in_flight.leaving.leave(waiter, self._why_gone(deadline), ask.goes_on)

    def _why_gone(self, deadline: float) -> str:
        return DEADLINE if self._host.now() >= deadline else CALLER_GONE

    async def execute_many(
        self, processor: Processor[S] | str, states: Iterable[S], ask: Ask
    ) -> list[ProcessorResult[S]]:
        """Submit jobs and wait for all outcomes; cancelled meanwhile, the jobs are too."""
        name = name_of(processor)
        states = require_items("states", states, "states")
        deadline = self._host.effective_deadline()
        prepared: list[tuple[StateCodec[S], Waiter] | AM2ZError] = []
        try:
            for state in states:
                try:
                    made = await self.prepare(processor, state, ask)
                except AM2ZError as error:
                    prepared.append(error)
                else:
                    waiter = self._in_flight.submit(made.request, limits=made.limits, assumed=made.assumed)
                    prepared.append((made.codec, waiter))
                if len(prepared) % AT_ONCE == 0:
                    await self._host.checkpoint()
            results: list[ProcessorResult[S]] = []
            for entry in prepared:
                if isinstance(entry, AM2ZError):
                    results.append(failed_result(entry, processor=name, session=ask.session))
                else:
                    codec, waiter = entry
                    async with aside(waiter.outcome is None):
                        settled = await waiter.wait()
                    await self._out_of_time(waiter, settled, deadline)
                    results.append(outcome_of(waiter, settled, codec, name, ask.session))
                if len(results) % AT_ONCE == 0:
                    await self._host.checkpoint()
        except BaseException:
            waiters = {entry[1].id: entry[1] for entry in prepared if not isinstance(entry, AM2ZError)}
            self._in_flight.leaving.leave_all(waiters, self._why_gone(deadline))
            raise
        return results

    async def execute_each(
        self, many: int, asked: Callable[[int], Asked], done: Done, goes_on: Callable[[], bool]
    ) -> None:
        """Submit so many jobs and wait for all of them, in this one task: a job under way costs what is
        written down of it, and no task.

        `asked(n)` says which one is the n-th, and `done(n, result)` is told how it has ended, in the order in
        which they end, and whether the others are still waited for. Where they are not, or where this is
        cancelled, those that have not ended are: some in each of the next turns of the loop, unless `goes_on`
        says that their caller does.
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
                    place, result, again = _Place(begun, self._host.now(), ended, bell), None, True
                    begun += 1
                else:
                    await bell.park()
                    continue
                if again:
                    result = await self._begin(place, asked, waiting)
                if result is not None and not done(place.number, result):
                    return
                steps += 1
                if steps % AT_ONCE == 0:
                    await self._host.checkpoint()
        finally:
            self._in_flight.leaving.leave_all(waiting, self._why_gone(deadline), goes_on)

    async def _begin(
        self, place: _Place, asked: Callable[[int], Asked], waiting: dict[str, Waiter]
    ) -> ProcessorResult[Any] | None:
        """Submit one of many; its result, if it cannot be."""
        try:
            processor, state, ask = asked(place.number)
            made = await self.prepare(processor, state, ask, place.began)
        except AM2ZError as error:
            return failed_result(error, processor="", session=None)
        place.codec = made.codec
        waiter = self._in_flight.submit(made.request, place, limits=made.limits, assumed=made.assumed)
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
        self, processor: Processor[S] | str, state: S | None, ask: Ask
    ) -> tuple[StateCodec[S], Waiter]:
        """Submit a job that does not end with its caller; returns when the store has it."""
        made = await self.prepare(processor, state, ask)
        waiter = self._in_flight.submit(
            made.request, shared=ask.job_id is not None, limits=made.limits, assumed=made.assumed
        )
        try:
            await waiter.wait_accepted()
        except BaseException:
            self._in_flight.leaving.abandon(waiter, CALLER_GONE)
            raise
        if isinstance(waiter.outcome, AM2ZError):
            raise waiter.outcome
        return made.codec, waiter

    async def prepare(
        self, processor: Processor[S] | str, state: S | None, ask: Ask, began: float | None = None
    ) -> Prepared[S]:
        """Check everything about a job, and write it down. `began`: when its caller asked for it first, where
        it is asked for anew."""
        if began is None:
            began = self._host.now()
        # Calls of jobs that run are their business: a node that drains lets them end, or hands them back.
        if self.closed and not ask.root:
            raise RuntimeStateError("the runtime is stopping: it accepts no more jobs")
        if self.overload is not None and not ask.root:
            raise self.overload
        name = name_of(processor)
        codec, queue_options, assumed = await self._look_up_in_time(processor, name, ask, began)
        ask = _checked(name, state, ask)
        caller = self._caller(name, state, ask)
        depth, callers = 0, NO_CALLERS
        if caller is not None:
            depth, callers = self.depth_below(caller), callers_below(caller.spec)
        chosen = (ask.options or ANY_OPTIONS).over(queue_options.default_job_options)
        limits = _limits(ask, chosen, began)
        deadline = self._deadline(ask, limits)
        blob = NO_STATE if state is None else msgspec.Raw(codec.encode(state))
        if ask.root:
            id = child_id(ask.root, ask.key, name, bytes(blob), ask.session or "")
        else:
            id = ask.job_id if ask.job_id is not None else f"{self._id_prefix}{next(self._numbers):x}"
        joins = ask.job_id is not None and is_made(ask.job_id)
        spec = JobSpec(
            WIRE_VERSION,
            id,
            name,
            ask.session or "",
            blob,
            self._node,
            ask.timeout,
            chosen.attempts,
            chosen.first_backoff,
            depth,
            ask.root,
            ask.commits,
            chosen.backoff_multiplier,
            callers,
        )
        request = Enqueue(
            spec=spec,
            queue=queue_name(name),
            priority=queue_options.priority if chosen.priority is None else chosen.priority,
            delay=chosen.delay or 0.0,
            # A caller that is cancelled already has the deadline -inf.
            deadline=None if deadline == inf else max(0.0, deadline - self._host.now()),
            max_stalled=queue_options.max_stalled_count,
            max_size=_smaller(self._options.limits.max_queue_size, queue_options.max_size),
            again=ask.root != "" or (ask.job_id is not None and not joins),
            joins=joins,
            input="" if ask.job_id is None or joins else codec.digest(state),
            stays=not ask.waits,
            debounce=chosen.debounce or "",
            on_complete=Retention.of(chosen.remove_on_complete),
            on_fail=Retention.of(chosen.remove_on_fail),
        )
        return Prepared(codec, request, limits, assumed)

    def _deadline(self, ask: Ask, limits: Limits | None) -> float:
        """When the job is to have ended, by the host's clock."""
        till = inf if limits is None else limits.till
        if not ask.waits:
            # It does not end with its caller.
            return till
        # One caller's deadline is not that of others who wait for the same job.
        return inf if ask.job_id is not None else min(till, self._host.effective_deadline())

    def _caller(self, name: str, state: object, ask: Ask) -> Grant | None:
        """The job that calls this one, or that waits for it."""
        if ask.parent is not None:
            return ask.parent
        outer = running_job() if ask.waits else None
        if outer is None:
            return None
        spec = outer.grant.spec
        if state is None and spec.state == NO_STATE and ask.session == spec.session:
            raise ConfigurationError(
                f"{spec.processor!r} works on the state of session {ask.session!r} and would wait for "
                f"{name!r}, which works on it, too: use ctx.call, which is part of its transaction",
                context={"processor": name, "session": spec.session},
            )
        return outer.grant

    def depth_below(self, parent: Grant) -> int:
        """How deep a job that this one calls is; raises `CallDepthExceededError` where that is too deep."""
        depth = parent.spec.depth + 1
        most = self._options.max_call_depth
        if depth > most:
            raise CallDepthExceededError(
                f"{parent.spec.processor!r} is {depth - 1} calls deep and may call no further "
                f"(max_call_depth={most})",
                context={"processor": parent.spec.processor, "depth": depth, "max_call_depth": most},
            )
        return depth

    async def _look_up_in_time(
        self, processor: Processor[S] | str, name: str, ask: Ask, began: float
    ) -> tuple[StateCodec[S], QueueOptions, bool]:
        """`_look_up`, which may have to ask the store, within the time in which the job is to end."""
        total = ask.total_timeout
        if total is None and isinstance(ask.options, JobOptions):
            total = ask.options.total_timeout
        if total is None or (self._options.workers and self._registry.get(name) is not None):
            # Nothing is asked of the store.
            return await self._look_up(processor, name)
        total = require_seconds("total_timeout", total, zero=False)
        with self._host.cancel_scope(deadline=began + total):
            return await self._look_up(processor, name)
        raise TotalTimeoutError(
            f"the job of {name!r} could not be submitted within {total:g} s (total_timeout): "
            "the store did not answer",
            context={"processor": name, "seconds": total},
        )

    async def _look_up(
        self, processor: Processor[S] | str, name: str
    ) -> tuple[StateCodec[S], QueueOptions, bool]:
        """How its states are written, how its jobs are queued, and whether it is only taken to be known."""
        registered = self._registry.get(name)
        if registered is not None:
            if not self._options.workers:
                await self._make_seen(registered.processor)
            return registered.codec, registered.processor.queue, False
        if isinstance(processor, Processor) and self._shared:
            # It needs no worker yet: somebody may come to serve it.
            await self._make_seen(processor)
            assumed = False
        else:
            assumed = await self._require_known(name)
        if isinstance(processor, Processor):
            codec: StateCodec[S] = StateCodec(processor.state_type, max_bytes=self._options.max_state_bytes)
            return codec, processor.queue, assumed
        return self._any_codec, self._known_elsewhere[name], assumed

    async def _require_known(self, name: str) -> bool:
        """Raise the error of one that nobody serves, nor has lately; returns whether that was not asked
        anew."""
        looked_lately = self._host.now() - self._looked_at < LOOK_AGAIN_AFTER
        if looked_lately and name in self._known_elsewhere:
            return True
        if name not in await self.known_processors():
            raise self.not_found(name)
        return False

    def not_found(self, name: str) -> ProcessorNotFoundError:
        """The error of a name that nobody serves."""
        here = ", ".join(self._registry.names()) or "none"
        return ProcessorNotFoundError(
            f"no node serves a processor named {name!r}, nor has lately (registered here: {here})",
            context={"processor": name},
        )

    async def unknown(self, names: Iterable[str]) -> dict[str, AM2ZError]:
        """Those of them that nobody serves any more, nor has lately, with the error of that."""
        known = set(await self.known_processors())
        return {name: self.not_found(name) for name in names if name not in known}

    async def _make_seen(self, processor: Processor[Any]) -> None:
        """Have every node see that there are jobs of it, whoever serves it."""
        name, now = processor.name, self._host.now()
        if now - self._seen_at.get(name, -inf) < LOOK_AGAIN_AFTER:
            return
        info = QueueInfo(queue=queue_name(name), processor=name, options=processor.queue)
        # Before the store has answered: of many that are submitted at once, one tells it.
        self._seen_at[name] = now
        try:
            await self._store.announce([info], serves=False)
        except BaseException:
            if self._seen_at.get(name) == now:
                del self._seen_at[name]
            raise


def _smaller(one: int, other: int) -> int:
    """Of two limits, 0 for none."""
    return min(one, other) if one and other else one or other


def was_given_up(error: AM2ZError | None) -> bool:
    """Whether a job was cancelled as its callers, or its caller's earlier run, had gone; it has ended now."""
    if isinstance(error, DeadlineExceededError):
        # Not where its time is over by which this very caller has bounded it.
        return not isinstance(error, TotalTimeoutError)
    return isinstance(error, JobCancelledError) and error.message in GIVEN_UP


def require_session(session: object) -> str:
    """A session id is any text that is not empty, up to 16 KiB of it."""
    return require_text("session", session, most=MAX_SESSION_BYTES)


def _checked(name: str, state: object, ask: Ask) -> Ask:
    """What is asked, in exact types."""
    if state is None and ask.session is None:
        raise ConfigurationError(
            f"{name!r} was given neither a state nor a session whose stored state it could work on"
        )
    session, timeout, job_id = ask.session, ask.timeout, ask.job_id
    if session is not None:
        session = require_session(session)
    if timeout is not None:
        timeout = require_seconds("timeout", timeout, zero=False)
    require(
        ask.options is None or isinstance(ask.options, JobOptions),
        "options",
        ask.options,
        "must be JobOptions",
    )
    if job_id is not None:
        job_id = chosen_id(job_id, session)
    if session is ask.session and timeout is ask.timeout and job_id is ask.job_id:
        return ask
    return msgspec.structs.replace(ask, session=session, timeout=timeout, job_id=job_id)


def _limits(ask: Ask, chosen: JobOptions, began: float) -> Limits | None:
    """How long the caller of a job waits, which was asked for at this time; `None`: for ever."""
    worker, total = ask.wait_for_worker, ask.total_timeout
    worker = chosen.wait_for_worker if worker is None else require_seconds("wait_for_worker", worker)
    total = chosen.total_timeout if total is None else require_seconds("total_timeout", total, zero=False)
    if worker is None and total is None:
        return None
    return Limits(worker, inf if total is None else began + total, inf if total is None else total)
