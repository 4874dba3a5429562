"""A processor alone: a real `Context` of a run that no runtime knows, and that keeps what is done with it.

```python
import trio
from am2z_trio import Context, processor
from am2z_trio.testing.contexts import lone_context

@processor
async def charge(cents: int) -> int: ...

@processor
async def pay(cents: int, ctx: Context) -> int:
    await ctx.update_progress(0.5)
    ctx.emit("paying", {"cents": cents})
    return await ctx.call(charge, cents)

async def main():
    ctx = lone_context(session="alice", calls={charge: lambda cents: cents + 1})
    assert await ctx.run(pay, 100) == 101
    assert ctx.progress == [0.5]
    assert [(event.name, event.data) for event in ctx.emitted] == [("paying", {"cents": 100})]
    assert [(call.processor, call.state) for call in ctx.called] == [("charge", 100)]

trio.run(main)
```
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from inspect import isawaitable
from math import inf
from typing import Any, Final, NamedTuple, TypeVar, cast

import anyio
import anyio.from_thread
import anyio.to_thread
import msgspec
import sniffio

from am2z_trio.concurrency import CancelScope, current_host
from am2z_trio.concurrency.groups import unwrapped
from am2z_trio.engine.execution.job_nursery import JobNursery
from am2z_trio.engine.processors.context import CallRequest, Context
from am2z_trio.engine.processors.injection import Injection, Provided
from am2z_trio.engine.processors.processor import Processor, name_of
from am2z_trio.engine.processors.registry import Definition
from am2z_trio.engine.processors.result import Done, ProcessorResult, ResultMetadata, failed_result
from am2z_trio.engine.processors.run_facts import Meta
from am2z_trio.engine.states.access import NodeStates
from am2z_trio.engine.states.job_state import JobState
from am2z_trio.model.checks import require, require_count, require_number, require_text
from am2z_trio.model.codec import DEFAULT_MAX_BYTES, NIL, StateCodec, checksum, encode_state
from am2z_trio.model.errors import AM2ZError, JobCancelledError, ProcessorExecutionError
from am2z_trio.model.events import Event
from am2z_trio.model.limits import MAX_ANY_ID_BYTES, MAX_SESSION_BYTES
from am2z_trio.model.logs import JobLog, attributes
from am2z_trio.model.records import WIRE_VERSION, Grant, JobSpec, Scheduled, StateRecord
from am2z_trio.model.telling import described

S = TypeVar("S")

NODE: Final = "test"

logger: Final = logging.getLogger("am2z_trio.jobs")


class Logged(NamedTuple):
    """A line that `ctx.log` was given, at INFO or above."""

    level: str
    text: str


class Called(NamedTuple):
    """What `ctx.call` or `ctx.submit` was asked for."""

    processor: str
    state: Any
    key: str
    """As it stands in the call's id; `#1` for the first one without a key of its own, `>#1` of `submit`."""
    session: str | None


class Waited(NamedTuple):
    """What `ctx.sleep` or `ctx.wait_for` was asked for."""

    signal: str
    """Empty: `sleep`."""
    seconds: float | None


class FakeContext(Context):
    """A `Context` as a processor gets it. What is done with it is kept here, and goes nowhere else."""

    def __init__(
        self, spec: JobSpec, meta: Meta, stored: StateRecord | None, fakes: Fakes, scope: CancelScope
    ) -> None:
        self.progress = fakes.progress
        """What `update_progress` was told, in order."""
        self.emitted = fakes.emitted
        """Events as handlers would get them: `name`, `data`."""
        self.logged = fakes.logged
        """What `ctx.log` was given, at INFO and above; pytest's `caplog` has all of it, too."""
        self.called = fakes.called
        self.submitted = fakes.submitted
        self.waited = fakes.waited
        """What was slept and waited for; it has taken no time."""
        self._fakes = fakes
        self._grant = Grant(
            spec=spec,
            token="",
            attempt=meta.attempt,
            deliveries=meta.deliveries,
            remaining=None,
            stored=stored,
        )
        extra = attributes(processor=spec.processor, job=spec.id, session=spec.session)
        super().__init__(
            spec,
            meta,
            JobState(cast(NodeStates, _States()), self._grant, StateCodec(Any)),
            fakes,
            cancel_scope=scope,
            log=JobLog(logger, {**extra, "attempt": meta.attempt, "node": meta.node}, fakes.log),
        )

    async def run(self, processor: Processor[S], state: S) -> S:
        """Run the processor's code with this context as a runtime would: the state goes through its codec
        there and back, resources are given, `ctx.nursery` is there, a plain function runs in a thread.

        Returns the new state, or raises what the code raises, as itself. Its timeout, retries, breaker and
        fallback are a runtime's affair. In a session without a state of its own, `ctx.state` has none either.
        """
        return cast(S, await self._fakes.run(processor, state, self))

    def of(self, processor: Processor[Any]) -> StateCodec[Any]:
        """From now on this is a run of that processor: it reads the session's state as its own type."""
        codec = Definition(processor, DEFAULT_MAX_BYTES).codec
        self.processor, self.cancel_scope = processor.name, _scope()
        self.state = JobState(cast(NodeStates, _States()), self._grant, codec)
        return codec


class Fakes:
    """The services of a run: what it asks for is kept, and answered from what was given."""

    def __init__(
        self, answers: Mapping[Processor[Any] | str, Any], resources: object, signals: Mapping[str, Any]
    ) -> None:
        self.progress: list[float] = []
        self.emitted: list[Event] = []
        self.logged: list[Logged] = []
        self.called: list[Called] = []
        self.submitted: list[Called] = []
        self.waited: list[Waited] = []
        self._signals = {name: encode_state(value) for name, value in signals.items()}
        self._answers = {name_of(one): answer for one, answer in answers.items()}
        self._provided = Provided(resources)

    def now(self) -> float:
        return anyio.from_thread.run_sync(anyio.current_time) if _in_thread() else anyio.current_time()

    def emit(self, event: str, data: Any = None) -> None:
        self.emitted.append(Event.emitted(event, data, node=NODE))

    async def report(self, progress: float) -> None:
        self.progress.append(require_number("progress", progress))

    def log(self, level: str, text: str) -> None:
        self.logged.append(Logged(level, text))

    async def call(self, request: CallRequest, context: Context | None) -> Any:
        name = name_of(request.processor)
        self.called.append(_called(request))
        if name not in self._answers:
            raise AssertionError(
                f"{name!r} was called, for which the context was given no answer: calls={{{name!r}: …}}"
            )
        answer = self._answers[name]
        if isinstance(answer, Processor):
            made = FakeContext(*_facts(name, request.session), self, _scope())
            return await self.run(cast(Any, answer), request.state, made)
        if isinstance(answer, BaseException):
            raise answer
        found = answer(request.state) if callable(answer) else answer
        return await found if isawaitable(found) else found

    async def send(self, request: CallRequest) -> str:
        self.submitted.append(_called(request))
        return f"submitted-{len(self.submitted)}"

    async def wait(self, key: str, name: str, seconds: float | None) -> bytes | None:
        self.waited.append(Waited(name, seconds))
        if name and name not in self._signals and seconds is None:
            raise AssertionError(
                f"{name!r} is waited for, and no such signal was given: signals={{{name!r}: …}}"
            )
        return self._signals.get(name)

    def codec(self, kind: Any) -> StateCodec[Any]:
        return StateCodec(kind)

    async def call_each(self, many: int, call_of: Callable[[int], CallRequest], done: Done) -> None:
        for number in range(many):
            if not done(number, await self._result_of(call_of(number))):
                return

    async def _result_of(self, request: CallRequest) -> ProcessorResult[Any]:
        name = name_of(request.processor)
        try:
            state = await self.call(request, None)
        except AM2ZError as error:
            return failed_result(error, processor=name, session=request.session)
        except AssertionError:
            raise
        except Exception as error:
            raised = ProcessorExecutionError(described(error), cause=error)
            return failed_result(raised, processor=name, session=request.session)
        metadata = ResultMetadata(job_id="", processor=name, session_id=request.session, attempt=1)
        return ProcessorResult(success=True, state=state, error=None, execution_time=0.0, metadata=metadata)

    async def run(self, processor: Processor[Any], state: Any, context: FakeContext) -> Any:
        """As `FakeContext.run`."""
        require(isinstance(processor, Processor), "processor", processor, "must be a processor")
        codec = context.of(processor)
        given = codec.decode(codec.encode_exactly(state))
        async with AsyncExitStack() as stack:
            fn = processor.fn
            if processor.asked is not None:
                injection = Injection(processor, self._provided)
                fn = await stack.enter_async_context(injection.entered(context))
            output = await _run(processor, fn, given, context)
        return given if output is None else codec.decode(codec.encode_exactly(output))


async def _run(processor: Processor[Any], fn: Callable[..., Any], state: Any, context: FakeContext) -> Any:
    arguments = (state, context) if processor.passes_context else (state,)
    if not processor.is_async:
        returned = await anyio.to_thread.run_sync(partial(fn, *arguments))
        return await returned if isawaitable(returned) else returned
    if not processor.passes_context or processor.is_composed:
        return await fn(*arguments)
    host = current_host()
    with context.cancel_scope, unwrapped():
        async with host.open_nursery() as nursery:
            context.own(JobNursery(host, nursery))
            return await fn(*arguments)
    raise JobCancelledError("the processor's own scope was cancelled")


class _Scope:
    """Stands for a cancel scope where no event loop runs."""

    deadline = inf
    shield = cancel_called = cancelled_caught = False

    def cancel(self, reason: str | None = None) -> None:
        self.cancel_called = True


class _States:
    """What a job's state asks of its node, where the session's state is in the grant."""

    codec = staticmethod(StateCodec)

    def encode(self, state: object, kind: Any) -> bytes:
        return StateCodec(type(state) if kind is None else kind).encode_exactly(state)


def lone_context(
    *,
    session: str | None = None,
    state: Any = None,
    calls: Mapping[Processor[Any] | str, Any] | None = None,
    resources: object = None,
    signals: Mapping[str, Any] | None = None,
    job_id: str = "lone",
    attempt: int = 1,
    schedule: Scheduled | None = None,
) -> FakeContext:
    """A context for one run of a processor's code: `await ctx.run(price, order)`, or `await price.fn(order,
    ctx)` for the bare function. Its `progress`, `emitted`, `logged`, `called`, `submitted` and `waited` are
    lists of what it was asked for.

    `state` is what the session has stored, for `ctx.state`. `calls` answers `ctx.call`, by processor or name:
    a function of the state (async or plain), a processor that is to be run, an error that is raised, or the
    new state itself; a call without an answer is an `AssertionError`. `resources` is what a `lifespan` would
    provide. `signals` answers `ctx.wait_for`, by name; one that is missing has not come in time, or is an
    `AssertionError`. Waiting takes no time. It is made for one run, in the task of a test or
    outside of any event loop.
    """
    if session is not None:
        session = require_text("session", session, most=MAX_SESSION_BYTES)
    require(state is None or session is not None, "state", state, "is a session's: give the session, too")
    facts = _facts(
        "",
        session,
        job_id=require_text("job_id", job_id, most=MAX_ANY_ID_BYTES),
        attempt=require_count("attempt", attempt),
        schedule=schedule,
        stored=None if state is None else StateCodec(Any).encode(state),
    )
    return FakeContext(*facts, Fakes(calls or {}, resources, signals or {}), _scope())


def _facts(
    processor: str,
    session: str | None,
    *,
    job_id: str = "lone",
    attempt: int = 1,
    schedule: Scheduled | None = None,
    stored: bytes | None = None,
) -> tuple[JobSpec, Meta, StateRecord | None]:
    now = time.time()
    spec = JobSpec(
        version=WIRE_VERSION,
        id=job_id,
        processor=processor,
        session=session or "",
        state=msgspec.Raw(NIL),
        origin="",
        schedule=schedule,
    )
    meta = Meta(attempt=attempt, deliveries=attempt, started_at=datetime.fromtimestamp(now, UTC), node=NODE)
    record = StateRecord() if session else None
    if stored is not None:
        ms = int(now * 1000)
        record = StateRecord(version=1, checksum=checksum(stored), blob=stored, created=ms, updated=ms)
    return spec, meta, record


def _scope() -> CancelScope:
    try:
        return current_host().cancel_scope()
    except sniffio.AsyncLibraryNotFoundError:
        return cast(CancelScope, _Scope())


def _called(request: CallRequest) -> Called:
    return Called(name_of(request.processor), request.state, request.key, request.session)


def _in_thread() -> bool:
    """Whether this is none of an event loop's."""
    try:
        sniffio.current_async_library()
    except sniffio.AsyncLibraryNotFoundError:
        return True
    return False
