"""What a job's function may ask for while it runs in a process: `ctx`, by way of the node."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from math import inf
from threading import get_ident
from typing import Any, NoReturn, cast

import anyio.from_thread
import msgspec

from am2z_trio.concurrency import CancelScope, Event, Host
from am2z_trio.engine.processors.context import CallRequest, Context
from am2z_trio.engine.processors.processor import Processor, name_of
from am2z_trio.engine.processors.registry import Definition
from am2z_trio.engine.processors.result import Done as Told
from am2z_trio.engine.processors.run_facts import Meta
from am2z_trio.engine.states.access import NodeStates
from am2z_trio.engine.states.job_state import JobState
from am2z_trio.model.checks import require, require_number, require_seconds, require_text
from am2z_trio.model.codec import NIL, StateCodec, encode_state
from am2z_trio.model.error_records import error_of
from am2z_trio.model.errors import ConfigurationError, RuntimeStateError
from am2z_trio.model.events import Event as JobEvent
from am2z_trio.model.limits import MAX_SESSION_BYTES
from am2z_trio.model.logs import JobLog, attributes
from am2z_trio.model.options import JobOptions
from am2z_trio.model.records import StateRecord
from am2z_trio.model.telling import described, text_of

from .protocol import MOST_LINE, Answer, Call, Channel, Emit, Line, ReadState, Report, Run, ToChild, Wait


class ChildContext(Context):
    """The context of a run in a process. Its scope is cancelled when the node says so."""

    __slots__ = ("_ends", "_now")

    def limit(self, ends: float) -> None:
        """When the node stops it, by this process's clock; told by the engine."""
        self._ends = ends

    @property
    def deadline(self) -> float:
        return self._ends


class Asking:
    """Questions to the node, and its answers."""

    def __init__(self, host: Host, channel: Channel[ToChild]) -> None:
        self.channel = channel
        self._host = host
        self._loop = get_ident()
        self._numbers = itertools.count(1)
        self._open: dict[int, tuple[Event, list[Answer]]] = {}

    async def ask(self, question: Callable[[int], msgspec.Struct]) -> Answer:
        """Raises the error that the node answers with."""
        number, heard, box = next(self._numbers), self._host.event(), list[Answer]()
        self._open[number] = heard, box
        try:
            await self.channel.say(question(number))
            await heard.wait()
        finally:
            del self._open[number]
        (answer,) = box
        if answer.error is not None:
            raise error_of(answer.error)
        return answer

    def answered(self, answer: Answer) -> None:
        """The node has answered; nobody may wait for it any more."""
        if answer.number in self._open:
            heard, box = self._open[answer.number]
            box.append(answer)
            heard.set()

    @property
    def is_in_loop(self) -> bool:
        """Whether who asks is in the event loop's thread."""
        return get_ident() == self._loop

    def tell(self, message: msgspec.Struct) -> None:
        """Say something that is not answered, from any thread. A thread waits for its turn."""
        if self.is_in_loop:
            self.channel.post(message)
        else:
            anyio.from_thread.run(self.channel.say, message)


class ChildServices:
    """What one run asks of its node, in the name of its job."""

    def __init__(self, asking: Asking, host: Host, max_state_bytes: int) -> None:
        self._host = host
        self._asks: Asking | None = asking
        self._max_state_bytes = max_state_bytes

    def close(self) -> None:
        """The run is over: what it has left behind asks for nothing more, in the name of the next one."""
        self._asks = None

    @property
    def _asking(self) -> Asking:
        if self._asks is None:
            raise RuntimeStateError("the job is over: its ctx is not to be used any more")
        return self._asks

    def now(self) -> float:
        now = self._host.now
        return now() if self._asking.is_in_loop else anyio.from_thread.run_sync(now)

    def emit(self, event: str, data: Any = None) -> None:
        checked = JobEvent.emitted(event, data, node="")
        self._asking.tell(Emit(event, msgspec.Raw(msgspec.msgpack.encode(checked.data))))

    def log(self, line: Line) -> None:
        """Have the node log this."""
        self._asking.tell(line)

    async def report(self, progress: float) -> None:
        value = float(require_number("progress", progress))
        await self._asking.ask(lambda number: Report(number, value))

    async def call(self, request: CallRequest, context: Context) -> Any:
        if request.inline:
            raise ConfigurationError(
                "ctx.call(inline=True) is for processors that run in their node's own process: a call from "
                "run_in='process' is a job of its own",
                context={"field": "inline", "value": True},
            )
        kind = request.processor.state_type if isinstance(request.processor, Processor) else Any
        codec: StateCodec[Any] = StateCodec(kind, max_bytes=self._max_state_bytes)
        return codec.decode(await self._ask(request))

    async def send(self, request: CallRequest) -> str:
        return msgspec.msgpack.decode(await self._ask(request, sent=True), type=str)

    async def _ask(self, request: CallRequest, *, sent: bool = False) -> msgspec.Raw:
        name, session, timeout, options = name_of(request.processor), *_exactly(request)
        state = NIL
        if request.state is not None:
            state = msgspec.Raw(encode_state(request.state, max_bytes=self._max_state_bytes))
        answer = await self._asking.ask(
            lambda number: Call(
                number, name, state, request.key, session, timeout, options, request.by_key, sent
            )
        )
        return answer.value

    async def wait(self, key: str, name: str, seconds: float | None) -> bytes | None:
        answer = await self._asking.ask(lambda number: Wait(number, key, name, seconds))
        return None if answer.value == NIL else msgspec.msgpack.decode(answer.value, type=bytes)

    def codec(self, kind: Any) -> StateCodec[Any]:
        return StateCodec(kind, max_bytes=self._max_state_bytes)

    async def call_each(self, many: int, call_of: Callable[[int], CallRequest], done: Told) -> NoReturn:
        raise ConfigurationError("a composition runs in its node's own process")

    async def read(self, session: str) -> StateRecord:
        """As of a store of states, for the session of this job."""
        answer = await self._asking.ask(ReadState)
        assert answer.record is not None
        return answer.record


def _exactly(request: CallRequest) -> tuple[str | None, float | None, JobOptions | None]:
    """Session, timeout and options of a call as they can be sent, refused as the node would refuse them."""
    session, timeout, options = request.session, request.timeout, request.options
    if session is not None:
        session = require_text("session", session, most=MAX_SESSION_BYTES)
    if timeout is not None:
        timeout = require_seconds("timeout", timeout, zero=False)
    require(options is None or isinstance(options, JobOptions), "options", options, "must be JobOptions")
    return session, timeout, options


def context_of(
    run: Run,
    definition: Definition,
    asking: Asking,
    host: Host,
    scope: CancelScope,
    max_state_bytes: int,
) -> tuple[ChildContext, ChildServices]:
    """The context of a run, and what it stands on."""
    grant, services = run.grant, ChildServices(asking, host, max_state_bytes)
    spec = grant.spec
    states = NodeStates(host, cast("Any", services), max_bytes=max_state_bytes)
    stored = JobState(states, grant, definition.codec)
    context = ChildContext(
        spec,
        Meta(
            attempt=grant.attempt,
            deliveries=grant.deliveries,
            started_at=datetime.fromtimestamp(run.started, UTC),
            node=run.node,
        ),
        stored,
        services,
        cancel_scope=scope,
        log=JobLog(
            _logger(services, run.level),
            {
                **attributes(processor=spec.processor, job=spec.id, session=spec.session),
                "attempt": grant.attempt,
                "node": run.node,
            },
        ),
    )
    context.limit(inf if run.remaining is None else host.now() + run.remaining)
    return context, services


class _ToNode(logging.Handler):
    """Hands what a job logs to its node, which logs it."""

    def __init__(self, services: ChildServices) -> None:
        super().__init__()
        self._services = services

    def emit(self, record: logging.LogRecord) -> None:
        trace = described(record.exc_info[1]) if record.exc_info and record.exc_info[1] else ""
        self._services.log(Line(record.levelno, text_of(record.getMessage(), MOST_LINE), trace))


def _logger(services: ChildServices, level: int) -> logging.Logger:
    logger = logging.Logger("am2z_trio.jobs", level)
    logger.addHandler(_ToNode(services))
    return logger
