"""What a processor gets to see and do besides its state."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple, Protocol, TypeVar, cast

import msgspec

from am2z_trio.concurrency import CancelScope, Nursery
from am2z_trio.concurrency.stack import require_stack
from am2z_trio.engine.states.job_state import JobState
from am2z_trio.model.checks import require_text
from am2z_trio.model.errors import RuntimeStateError
from am2z_trio.model.ids import call_key
from am2z_trio.model.limits import MAX_KEY_BYTES
from am2z_trio.model.options import JobOptions
from am2z_trio.model.records import JobSpec

from .processor import Processor
from .result import Done
from .shape import RunContext

S = TypeVar("S")


class Meta(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about this run."""

    attempt: int
    """1 for the first."""
    deliveries: int
    """How often the job was handed to a worker, this time included."""
    started_at: datetime
    """When this attempt began, UTC."""
    node: str
    """The node it runs on."""


class Debug(msgspec.Struct, frozen=True, kw_only=True):
    """What helps to find out how a run came about."""

    call_stack: list[str]
    """Names of the processors whose jobs have called one another, the outermost first and this one last,
    whether by `ctx.call`, as a composition or by `runtime.execute`, and wherever they run. Of more than a
    hundred, or 4 KiB, some in the midst are left out, with a `…` in their place."""


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


class Services(Protocol):
    """What a run asks of the node it is on."""

    def emit(self, event: str, data: Any = None) -> None:
        """Publish an event in the name of the job."""
        ...

    async def report(self, progress: float) -> None:
        """Record progress."""
        ...

    async def call(self, request: CallRequest, context: Context) -> Any:
        """Run another job and return what it returned, or raise its error."""
        ...

    async def call_each(self, many: int, call_of: Callable[[int], CallRequest], done: Done) -> None:
        """As `Context.call_each`."""
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
        "call_depth",
        "cancel_scope",
        "execution_id",
        "log",
        "meta",
        "processor",
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
        self.call_depth = spec.depth
        """How many jobs are above this one."""
        self.meta = meta
        self.cancel_scope = cancel_scope
        """Cancelled when the job is to stop; the processor then sees `Cancelled` at its next await."""
        self.state = state
        """The session's stored state: `await ctx.state.read()`, `await ctx.state.update(fn)`."""
        self.log = log
        """A logger that adds `processor`, `job` and `session` to each record, escaped as in the engine's own:
        a format may name them."""
        self._callers = spec.callers
        self._services = services
        self._calls = 0
        self._nursery: Nursery | None = None

    @property
    def deadline(self) -> float:
        """When this run will be cancelled, on the host's clock; `inf` for never."""
        return self.cancel_scope.deadline

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

    async def update_progress(self, progress: float) -> None:
        """Record progress, 0 to 1 or any other finite number. Refused silently when the job was taken
        away."""
        require_stack()
        await self._services.report(progress)
