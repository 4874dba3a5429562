"""What a processor gets to see and do besides its state."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from math import inf
from typing import Any, Final, NamedTuple, Protocol, TypeVar, cast, overload

import anyio.from_thread

from am2z_trio.concurrency import CancelScope, Nursery
from am2z_trio.concurrency.stack import require_stack
from am2z_trio.engine.states.job_state import JobState
from am2z_trio.model.checks import require_text
from am2z_trio.model.codec import StateCodec
from am2z_trio.model.errors import RuntimeStateError, ValidationError
from am2z_trio.model.ids import call_key, sent_key
from am2z_trio.model.limits import MAX_KEY_BYTES, MAX_NAME_BYTES
from am2z_trio.model.moments import When, require_when, seconds_until
from am2z_trio.model.options import JobOptions
from am2z_trio.model.records import JobSpec
from am2z_trio.model.waits import WaitTimeoutError
from am2z_trio.policy.spans import span

from .processor import Processor
from .result import Done
from .run_facts import Debug, Meta
from .shape import RunContext
from .sync_context import SyncContext

S = TypeVar("S")
T = TypeVar("T")
D = TypeVar("D")

RAISES: Final = object()
"""No default: what comes of a wait that is over is an error."""


def read_signal(codec: StateCodec[T], name: str, value: bytes) -> T:
    """What was sent, as its type."""
    try:
        return codec.decode(value)
    except ValidationError as error:
        raise ValidationError(f"signal {name!r}: {error.message}", context={"signal": name}) from error


class CallRequest(NamedTuple):
    """What `Context.call` was asked for."""

    processor: Processor[Any] | str
    state: Any
    key: str
    session: str | None = None
    timeout: float | None = None
    options: JobOptions | None = None
    inline: bool = False
    early: bool = False
    """Whether its outcome may be told before it is recorded."""
    by_key: bool = False
    """Of one that nobody waits for: its key alone says which it is, whatever it is given."""


class Services(Protocol):
    """What a run asks of the node it is on."""

    def now(self) -> float:
        """The host's clock; from the job's thread, too."""
        ...

    def emit(self, event: str, data: Any = None) -> None:
        """Publish an event in the name of the job."""
        ...

    async def report(self, progress: float) -> None:
        """Record progress."""
        ...

    async def call(self, request: CallRequest, context: Context) -> Any:
        """Run another job and return what it returned, or raise its error."""
        ...

    async def send(self, request: CallRequest) -> str:
        """Submit another job, wait for nothing of it, and return its id."""
        ...

    async def call_each(self, many: int, call_of: Callable[[int], CallRequest], done: Done) -> None:
        """As `Context.call_each`."""
        ...

    async def wait(self, key: str, name: str, seconds: float | None) -> bytes | None:
        """Wait so many seconds, or for a signal of a name, which is returned; `None`: the time is over."""
        ...

    def codec(self, kind: Any) -> StateCodec[Any]:
        """Of values of this type."""
        ...


class JobRuntime:
    """The little of the runtime a processor may use."""

    __slots__ = ("emit",)

    def __init__(self, emit: Callable[[str, Any], None]) -> None:
        self.emit = emit


class Context(RunContext):
    """One run of one job. Not to be used after the processor has returned."""

    __slots__ = (
        "_callers",
        "_calls",
        "_nursery",
        "_services",
        "_waits",
        "call_depth",
        "cancel_scope",
        "execution_id",
        "log",
        "meta",
        "processor",
        "schedule",
        "session_id",
        "state",
    )

    def __init__(
        self,
        spec: JobSpec,
        meta: Meta,
        state: JobState,
        services: Services,
        *,
        cancel_scope: CancelScope,
        log: logging.LoggerAdapter[logging.Logger],
    ) -> None:
        self.processor = spec.processor
        """Name of the processor that runs."""
        self.session_id = spec.session or None
        """The job's session, or `None`."""
        self.execution_id = spec.id
        """The job's id in full, with its session's part (`@alice/order-17`): the same for every attempt."""
        self.schedule = spec.schedule
        """Of a job that a schedule has made: its `id`, the nominal time (`instant`), and how many earlier
        times it stands for beside its own (`missed`); else `None`."""
        self.call_depth = spec.depth
        """How many jobs are above this one."""
        self.meta = meta
        self.cancel_scope = cancel_scope
        """Cancelled when the job is to stop; the processor then sees `Cancelled` at its next await."""
        self.state = state
        """The session's stored state: `await ctx.state.read()`, `await ctx.state.update(fn)`."""
        self.log = log
        """A logger that adds `processor`, `job`, `session`, `attempt` and `node` to each record, and of a job
        that is traced `trace_id`, escaped as in the engine's own: a format may name them."""
        self._callers = spec.callers
        self._services = services
        self._calls = self._waits = 0
        self._nursery: Nursery | None = None

    @property
    def deadline(self) -> float:
        """When this run will be cancelled, on the host's clock; `inf` for never."""
        return self.cancel_scope.deadline

    @property
    def remaining(self) -> float:
        """Seconds until this run will be cancelled, 0 at the least; `inf` for never."""
        deadline = self.deadline
        return inf if deadline == inf else max(0.0, deadline - self._services.now())

    def check_cancelled(self) -> None:
        """In a plain `def`: end here if the job is to stop, by raising what the async library raises then.

        A thread cannot be stopped from outside, and a process is killed: a function that calls this now and
        then ends in good order, and gives its thread or process back. Code that awaits needs it not, and
        elsewhere than in the thread of the job it is a `RuntimeStateError`.
        """
        try:
            anyio.from_thread.check_cancelled()
        except RuntimeError as error:
            raise RuntimeStateError(
                "ctx.check_cancelled() is for a plain def, in its own thread; what awaits is cancelled there"
            ) from error

    @property
    def sync(self) -> SyncContext:
        """What of this is awaited, for a plain `def`: `ctx.sync.call(...)` waits in the function's thread."""
        return SyncContext(self.call, self.update_progress, self.state)

    @property
    def idempotency_key(self) -> str:
        """Same for every run of this job, and no other session's: give it to services that drop repeated
        requests."""
        return self.execution_id

    @property
    def debug(self) -> Debug:
        """Where this run comes from: `ctx.debug.call_stack`."""
        return Debug(call_stack=[*self._callers, self.processor])

    @property
    def runtime(self) -> JobRuntime:
        return JobRuntime(self._services.emit)

    def emit(self, event: str, data: Any = None) -> None:
        """Publish an event to every node that listens; as `runtime.emit`."""
        require_stack()
        self._services.emit(event, data)

    @property
    def nursery(self) -> Nursery:
        """Tasks of this job: the job ends when they have ended, and they are cancelled with it."""
        if self._nursery is None:
            raise RuntimeStateError("ctx.nursery is there for processors that are `async def`")
        return self._nursery

    @property
    def services(self) -> Services:
        """What this asks; for the engine, where the job's code is elsewhere."""
        return self._services

    def own(self, nursery: Nursery) -> None:
        """The nursery of this run; told by the engine."""
        self._nursery = nursery

    async def call(
        self,
        processor: Processor[S] | str,
        state: S | None = None,
        *,
        key: str | None = None,
        session: str | None = None,
        timeout: float | None = None,
        options: JobOptions | None = None,
        inline: bool = False,
    ) -> S:
        """Run another processor as a job of its own and return the state it returned; raises its error.

        The job belongs to this one's session, inherits its deadline, and is cancelled with it, wherever
        it runs. What it returns is not committed: that is for this job to do; in a `session` of its own
        it is. While this job waits, its slot is free for others, so a processor may call itself even
        where one may run at a time.

        The call is durable: when this job is run again, after a crash or for another attempt, a call that
        has completed is answered with its outcome, given the same `key`, processor and state. The key is
        the call's number in this run by default; calls that are made side by side should be given theirs.

        `inline` runs the processor right here, with its timeout, retries and events and no queue between;
        it is then run again with this job.
        """
        require_stack()
        if key is None:
            self._calls += 1
            key = f"#{self._calls}"
        else:
            key = call_key(require_text("key", key, most=MAX_KEY_BYTES))
        request = CallRequest(processor, state, key, session, timeout, options, inline)
        return cast(S, await self._services.call(request, self))

    async def submit(
        self,
        processor: Processor[S] | str,
        state: S | None = None,
        *,
        key: str | None = None,
        session: str | None = None,
        timeout: float | None = None,
        options: JobOptions | None = None,
    ) -> str:
        """Submit another job and go on: fire and forget. Returns its id once the store has it.

        Nobody waits for it: it has its own life, attempts and deadline, and goes on when this job ends,
        however that ends. It belongs to this job's session, and as with `call` what it returns is committed
        in a `session` of its own only; its `ctx.debug.call_stack` and trace name this job.

        It is submitted once for all runs of this job: one that is run again, after a crash or for another
        attempt, submits nothing twice, however long ago its first run was. Under a `key`, the first one
        counts, whatever a later run would give it; without one, a job is known by its number in this run,
        its processor and its state.

        Raises what `runtime.submit` does, and `JobCancelledError` where this job has ended meanwhile.
        """
        require_stack()
        if key is None:
            self._calls += 1
            place = f"#{self._calls}"
        else:
            place = call_key(require_text("key", key, most=MAX_KEY_BYTES))
        request = CallRequest(
            processor, state, sent_key(place), session, timeout, options, by_key=key is not None
        )
        return await self._services.send(request)

    async def call_part(self, processor: Processor[Any], state: Any, key: str, *, inline: bool) -> Any:
        """What `chain` and `route` are made of: a call whose outcome may be told before it is recorded.

        For code that does no more with it than to call on, or to return it: the store takes neither before
        that outcome is recorded, and if it is not, this job is run again. None of a user's is to see it.
        """
        request = CallRequest(processor, state, call_key(key), inline=inline, early=not inline)
        return await self._services.call(request, self)

    async def call_each(self, many: int, call_of: Callable[[int], CallRequest], done: Done) -> None:
        """What `parallel` and `batch` are made of: so many calls, none of them inline, in this one task.

        `done(n, result)` is told of each as it ends, and answers whether the others are still waited for; if
        not, they are cancelled, and this returns.
        """
        await self._services.call_each(many, call_of, done)

    async def sleep(self, seconds: When, *, key: str | None = None) -> None:
        """Sleep for so many seconds, or until a moment, durably: a minute or a month.

        The job is *parked* meanwhile, if that is more than a second: it has no place, no claim and no task,
        on any node, and nothing is lost when all of them are down. Then it is run again from its beginning,
        and what it has slept, waited for and called (`ctx.call`) is not done again, but answered from what is
        written down. So whatever stands before a wait in the processor's code runs again when the job goes
        on: what has effects belongs into a `ctx.call`.

        A wait is known by its `key`: by default its number among the waits of this run. Waits that are begun
        side by side, or not in every run, are to be given theirs. It is counted from when it first began, in
        whatever run; no attempt is used, and `timeout` bounds each run of the code by itself.
        """
        require_stack()
        wait = seconds_until(require_when("seconds", seconds), time.time())
        await self._services.wait(self._wait_key(key), "", wait)

    @overload
    async def wait_for(self, name: str, *, timeout: When | None = None, key: str | None = None) -> Any: ...
    @overload
    async def wait_for(
        self, name: str, type: type[T], *, timeout: When | None = None, key: str | None = None
    ) -> T: ...
    @overload
    async def wait_for(
        self,
        name: str,
        type: type[T] = ...,
        *,
        timeout: When | None = None,
        default: D,
        key: str | None = None,
    ) -> T | D: ...
    async def wait_for(
        self,
        name: str,
        type: Any = Any,
        *,
        timeout: When | None = None,
        default: Any = RAISES,
        key: str | None = None,
    ) -> Any:
        """Wait for a signal (`runtime.signal`, `Job.signal`, `Session.signal`) and return its value, as this
        type. As `sleep` the job is parked meanwhile, durably, and run again from its beginning then.

        Each signal is delivered once: to one wait for its name, which gets it in every later run, too. One
        that is sent before anybody waits for it is kept. Signals to the job are taken in their order; of its
        session's jobs that wait for those to the session, each takes one, the longest-waiting job first.

        `timeout`: seconds from when the wait first began, or a moment; then `default` is returned, or
        `WaitTimeoutError` raised, in every later run as well. A value that does not fit the type is a
        `ValidationError`. Whatever else the job does while it waits is cancelled when it is parked, but for
        jobs that it has called: it is parked when none of them runs any more.
        """
        require_stack()
        name = require_text("name", name, most=MAX_NAME_BYTES)
        codec = self._services.codec(type)
        seconds = None if timeout is None else seconds_until(require_when("timeout", timeout), time.time())
        value = await self._services.wait(self._wait_key(key), name, seconds)
        if value is not None:
            return read_signal(codec, name, value)
        if default is RAISES:
            raise WaitTimeoutError(
                f"{self.processor!r} has waited for signal {name!r} for {span(seconds or 0)}, and none came",
                context={"signal": name, "job": self.execution_id},
            )
        return default

    def _wait_key(self, key: str | None) -> str:
        if key is None:
            self._waits += 1
            return f"#{self._waits}"
        return call_key(require_text("key", key, most=MAX_KEY_BYTES))

    async def update_progress(self, progress: float) -> None:
        """Record progress, 0 to 1 or any other finite number. Refused silently when the job was taken
        away."""
        require_stack()
        await self._services.report(progress)
