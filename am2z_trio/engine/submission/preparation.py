"""Checks everything about a job, and writes it down."""

from __future__ import annotations

import time
from math import inf
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec

from am2z_trio.concurrency import Host
from am2z_trio.engine.claim import running_job
from am2z_trio.engine.processors.processor import Processor, name_of
from am2z_trio.model.checks import require
from am2z_trio.model.codec import StateCodec
from am2z_trio.model.errors import (
    AM2ZError,
    CallDepthExceededError,
    ConfigurationError,
    RuntimeStateError,
)
from am2z_trio.model.ids import child_id, is_made, made_prefix, maker, throttled_id
from am2z_trio.model.moments import seconds_until
from am2z_trio.model.options import JobOptions, Retention
from am2z_trio.model.records import (
    DEAD_TTL,
    NO_STATE,
    WIRE_VERSION,
    Bulk,
    Enqueue,
    Grant,
    JobSpec,
    callers_below,
    queue_name,
)
from am2z_trio.model.runtime_options import RuntimeOptions

from .directory import Directory, Entry
from .request import SubmitRequest, checked, limits_of
from .waiter import Limits

S = TypeVar("S")

NO_CALLERS: Final[list[str]] = []


class Prepared(NamedTuple, Generic[S]):
    """A job that can be sent."""

    codec: StateCodec[S]
    request: Enqueue
    limits: Limits | None
    assumed: bool
    """Its processor was known to be served some time ago."""
    shared: bool
    """Others may submit the very same job."""


class Preparation:
    """What this node's jobs are before they are sent."""

    def __init__(self, host: Host, node: str, options: RuntimeOptions, directory: Directory) -> None:
        self._host = host
        self._now = host.clock()
        self._node = node
        self._options = options
        self._directory = directory
        self._maker = maker()
        self._prefixed, self._last_prefix = 0, ""
        """What ids begin with that are made at this ms."""
        self._numbers = 0
        self.closed = False
        """No more jobs are accepted: the runtime is stopping."""
        self.overload: AM2ZError | None = None
        """Why no more jobs are accepted for now."""

    async def prepare(
        self,
        processor: Processor[S] | str,
        state: S | None,
        request: SubmitRequest,
        began: float | None = None,
        deadline: float | None = None,
    ) -> Prepared[S]:
        """Check everything about a job, and write it down. `began`: when its caller asked for it first, where
        it is asked for anew. `deadline`: its caller's, where that is known already; both by the host's
        clock."""
        now = self._now()
        if began is None:
            began = now
        # Calls of jobs that run are their business: a node that drains lets them end, or hands them back.
        if (self.closed or self.overload is not None) and not request.root:
            raise self._refusal()
        name = name_of(processor)
        entry: Entry[S] | None = self._directory.at_hand(processor, name, now)
        if entry is None:
            entry = await self._directory.find(processor, name, request, began)
        request = checked(name, state, request)
        defaults = entry.queue.default_job_options
        chosen = defaults if request.options is None else request.options.over(defaults)
        limits = limits_of(request, chosen, began)
        if chosen.throttle is not None:
            rule = "goes with `execute` and `submit`, without a job_id: it says which job is meant"
            require(not request.root and request.job_id is None, "options.throttle", chosen.throttle, rule)
        spec = self._spec(name, state, request, chosen, entry.codec)
        till = self._till(request, limits, deadline, shared=chosen.throttle is not None)
        enqueue = self._enqueue(spec, state, request, chosen, entry, limits, till)
        shared = request.job_id is not None
        if chosen.throttle is not None:
            shared, enqueue = True, self._kept(enqueue, chosen.throttle.window)
        return Prepared(entry.codec, enqueue, limits, entry.assumed, shared)

    def bulk_of(self, like: Enqueue, states: list[bytes], chosen: list[str], inputs: list[str]) -> Bulk:
        """Jobs that nobody waits for, like one that was prepared."""
        like = msgspec.structs.replace(
            like, spec=msgspec.structs.replace(like.spec, origin=""), again=bool(chosen)
        )
        first = self._numbers + 1
        self._numbers += 0 if chosen else len(states)
        return Bulk(
            like=like, states=states, prefix=self._prefix(), first=first, chosen=chosen, inputs=inputs
        )

    def joining(self, id: str, processor: str, session: str | None) -> Enqueue:
        """What asks for the outcome of a job that the store has, and makes none."""
        spec = JobSpec(WIRE_VERSION, id, processor, session or "", NO_STATE, self._node)
        return Enqueue(spec=spec, queue=queue_name(processor), joins=True)

    def _prefix(self) -> str:
        """What ids begin with that are made now."""
        now = int(time.time() * 1000)
        if now != self._prefixed:
            self._prefixed, self._last_prefix = now, made_prefix(now, self._maker)
        return self._last_prefix

    def _refusal(self) -> AM2ZError:
        stopping = RuntimeStateError("the runtime is stopping: it accepts no more jobs")
        return stopping if self.closed or self.overload is None else self.overload

    def _spec(
        self, name: str, state: S | None, request: SubmitRequest, chosen: JobOptions, codec: StateCodec[S]
    ) -> JobSpec:
        """What a worker is told of it."""
        depth, callers = 0, NO_CALLERS
        caller = self._caller(name, state, request)
        if caller is not None:
            depth = 0 if request.sends else self.depth_below(caller)
            callers = callers_below(caller.spec)
        blob = NO_STATE if state is None else msgspec.Raw(codec.encode(state))
        session = request.session or ""
        if request.root:
            id = child_id(request.root, request.key, name, b"" if request.by_key else bytes(blob), session)
        elif request.job_id is not None:
            id = request.job_id
        elif chosen.throttle is not None:
            throttle = chosen.throttle
            id = throttled_id(name, session, throttle.key, throttle.window, time.time())
        else:
            self._numbers += 1
            id = f"{self._prefix()}{self._numbers:x}"
        return JobSpec(
            WIRE_VERSION,
            id,
            name,
            session,
            blob,
            "" if request.sends else self._node,
            request.timeout,
            chosen.attempts,
            chosen.first_backoff,
            depth,
            "" if request.sends else request.root,
            request.commits or state is None if chosen.commit is None else chosen.commit,
            chosen.backoff_multiplier,
            callers,
        )

    def _enqueue(
        self,
        spec: JobSpec,
        state: S | None,
        request: SubmitRequest,
        chosen: JobOptions,
        entry: Entry[S],
        limits: Limits | None,
        till: float,
    ) -> Enqueue:
        """What the store is told of it. `till`: when it is to have ended, by the host's clock."""
        queue, now = entry.queue, time.time()
        joins = request.job_id is not None and is_made(request.job_id)
        return Enqueue(
            spec=spec,
            queue=queue_name(spec.processor),
            priority=queue.priority if chosen.priority is None else chosen.priority,
            delay=seconds_until(chosen.delay, now) if chosen.delay else 0.0,
            expires=None if chosen.expires is None else _expiry(chosen, now),
            # A caller that is cancelled already has the deadline -inf.
            deadline=None if till == inf else max(0.0, till - self._now()),
            lifo=bool(chosen.lifo),
            max_stalled=queue.max_stalled_count,
            max_size=_smaller(self._options.limits.max_queue_size, queue.max_size),
            again=(request.root != "" and not request.sends) or (request.job_id is not None and not joins),
            joins=joins,
            input="" if request.job_id is None or joins else entry.codec.digest(state),
            stays=not request.waits,
            debounce=chosen.debounce or "",
            on_complete=Retention.of(chosen.remove_on_complete),
            on_fail=Retention.of(chosen.remove_on_fail),
            sender=request.root if request.sends else "",
            builds_on=request.builds_on,
            tags=tuple(chosen.tags or ()),
            only_asked=limits is not None and limits.worker is not None,
            under=request.under,
        )

    def _kept(self, enqueue: Enqueue, window: float) -> Enqueue:
        """The record of a throttled job is kept for its window at least."""

        def at_least(own: Retention | None, usual: float) -> Retention | None:
            if own is None and window <= usual:
                return None
            return Retention(age=max(window, usual if own is None or own.age is None else own.age))

        return msgspec.structs.replace(
            enqueue,
            on_complete=at_least(enqueue.on_complete, self._options.result_ttl),
            on_fail=at_least(enqueue.on_fail, DEAD_TTL),
        )

    def _till(
        self, request: SubmitRequest, limits: Limits | None, deadline: float | None, *, shared: bool
    ) -> float:
        """When the job is to have ended, by the host's clock. `deadline`: as in `prepare`."""
        till = inf if limits is None else limits.till
        if not request.waits:
            # It does not end with its caller.
            return till
        if shared or request.job_id is not None:
            # One caller's deadline is not that of others who wait for the same job.
            return inf
        return min(till, self._host.effective_deadline() if deadline is None else deadline)

    def _caller(self, name: str, state: object, request: SubmitRequest) -> Grant | None:
        """The job that calls this one, or that waits for it."""
        if request.parent is not None:
            return request.parent
        outer = running_job() if request.waits else None
        if outer is None:
            return None
        spec = outer.grant.spec
        if state is None and spec.state == NO_STATE and request.session == spec.session:
            raise ConfigurationError(
                f"{spec.processor!r} works on the state of session {request.session!r} and would wait for "
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


def _smaller(one: int, other: int) -> int:
    """Of two limits, 0 for none."""
    return min(one, other) if one and other else one or other


def _expiry(chosen: JobOptions, now: float) -> float:
    """Seconds by which a job must have begun, which is not to be delayed for as long."""
    expires = seconds_until(chosen.expires or 0.0, now)
    later = chosen.delay is None or seconds_until(chosen.delay, now) < expires
    require(later, "JobOptions.expires", chosen.expires, "must be later than the delay: it could never begin")
    return expires
