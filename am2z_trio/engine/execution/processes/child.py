"""The program that runs in a job's process: it imports the function, calls it, and says what came of it.

It ends when its node hangs up, and with it whatever it has started: by the kernel's hand where that can be
asked (a signal to the group when the lifeline breaks, whatever the code in here is at), else by a thread's.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import sys
import threading
import traceback
from contextlib import suppress
from inspect import isawaitable
from typing import Any, Final, NamedTuple

import anyio
import anyio.to_thread
import msgspec
from outcome import Error, Outcome, Value

from am2z_trio.concurrency import CancelScope, Host, Nursery, current_host
from am2z_trio.concurrency.groups import leaves, unwrapped
from am2z_trio.engine.claim import Claim
from am2z_trio.engine.execution.attempt import Attempt
from am2z_trio.engine.execution.failures import as_error, cut_off
from am2z_trio.engine.execution.job_nursery import JobNursery
from am2z_trio.engine.execution.settlements import encoded
from am2z_trio.engine.processors.imported import found_at
from am2z_trio.engine.processors.processor import Processor
from am2z_trio.engine.processors.registry import Definition
from am2z_trio.model.error_records import record_of
from am2z_trio.model.errors import ConfigurationError, JobCancelledError
from am2z_trio.model.records import Grant
from am2z_trio.model.retry import Retry
from am2z_trio.model.telling import described

from .context import Asking, ChildContext, context_of
from .protocol import Answer, Channel, Done, Failed, Load, Loaded, Run, Stop, ToChild
from .whereabouts import Underway, Whereabouts

MOST: Final = 2**31
"""Bytes of what a node may say: it keeps to its own limits."""


NOBODY: Final[Any] = None
"""Who holds the claim: the node does."""


class Known(NamedTuple):
    """A processor that was found."""

    definition: Definition
    max_state_bytes: int


class Program:
    """What goes on in one process: one job at a time."""

    def __init__(
        self, host: Host, channel: Channel[ToChild], nursery: Nursery, whereabouts: Whereabouts
    ) -> None:
        self._host = host
        self._whereabouts = whereabouts
        self._channel = channel
        self._nursery = nursery
        self._asking = Asking(host, channel)
        self._known: dict[str, Known] = {}
        self._scope: CancelScope | None = None

    async def serve(self) -> None:
        """Do as the node says, until it hangs up."""
        while (told := await self._channel.receive()) is not None:
            if isinstance(told, Run):
                self._scope = scope = self._host.cancel_scope()
                self._nursery.start_soon(self._run, told, scope)
            elif isinstance(told, Answer):
                self._asking.answered(told)
            elif isinstance(told, Stop):
                if self._scope is not None:
                    self._scope.cancel()
            else:
                self._load(told)

    def _load(self, load: Load) -> None:
        sys.path[:] = map(os.fsdecode, load.path)
        try:
            processor = found_at(load.place, load.name)
            definition = Definition(processor, load.max_state_bytes)
        except BaseException as raised:
            error = ConfigurationError(
                f"{load.name!r} cannot be imported in a process of its own: {described(raised)}",
                context={"processor": load.name, "module": load.module},
                cause=raised,
            )
            self._channel.post(Failed(record_of(error)))
        else:
            self._known[load.name] = Known(definition, load.max_state_bytes)
            self._channel.post(Loaded())

    async def _run(self, run: Run, scope: CancelScope) -> None:
        answer: msgspec.Struct = Failed(record_of(JobCancelledError("the job was stopped")))
        spec = run.grant.spec
        self._whereabouts.underway = underway = Underway(self._host, spec.processor, run.grant.token)
        try:
            with scope:
                answer = await self._outcome(run, scope, underway)
        except BaseException as raised:
            if self._is_stopped(raised):
                raise
            error = as_error(raised, run.grant)
            answer = Failed(record_of(error), error.defer if isinstance(error, Retry) else None)
        self._scope = self._whereabouts.underway = None
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        await self._channel.say(answer)

    def _is_stopped(self, raised: BaseException) -> bool:
        """Whether the job ends as it was told to. Ctrl-C is its node's affair: in here it is an error."""
        return any(map(self._host.is_cancellation, leaves(raised)))

    async def _outcome(self, run: Run, scope: CancelScope, underway: Underway) -> Done:
        grant, now = run.grant, self._host.now()
        definition, most = self._known[grant.spec.processor]
        attempt = Attempt(Claim(grant, NOBODY, now), definition, now, run.started)
        attempt.state = attempt.read_input()
        context, services = context_of(run, definition, self._asking, self._host, scope, most)
        try:
            output = await self._call(definition.processor, attempt.state, context, grant, underway)
        finally:
            services.close()
        if output is None:
            output = attempt.unchanged()
        return Done(msgspec.Raw(encoded(grant, definition.codec, output)), context.state.updated)

    async def _call(
        self,
        processor: Processor[Any],
        state: Any,
        context: ChildContext,
        grant: Grant,
        underway: Underway,
    ) -> Any:
        """What the function returns. Its tasks end with it, and what it raises is an error of the job."""
        arguments = (state, context) if processor.takes_context else (state,)
        output, ended = None, False
        with unwrapped():
            async with self._host.open_nursery() as nursery:
                underway.nursery = JobNursery(self._host, nursery)
                context.own(underway.nursery)
                try:
                    output = await self._returned(processor, arguments, underway)
                except BaseException as raised:
                    if self._is_stopped(raised):
                        raise
                    raise as_error(raised, grant)  # noqa: B904
                ended = True
        if not ended:
            raise cut_off(grant)
        return output

    async def _returned(
        self, processor: Processor[Any], arguments: tuple[Any, ...], underway: Underway
    ) -> Any:
        if processor.is_async:
            return await processor.fn(*arguments)
        cancelled = anyio.get_cancelled_exc_class()

        def call() -> Outcome[Any]:
            # In a box: hosts refuse a thread's coroutine, and end with its `SystemExit`.
            underway.thread = threading.get_ident()
            try:
                return Value(processor.fn(*arguments))
            except cancelled:
                raise
            except BaseException as raised:
                return Error(raised)
            finally:
                underway.thread = 0

        underway.code = call.__code__
        # Waited for, even when it is to stop: it hears of that by `check_cancelled`, or is killed.
        returned = (await anyio.to_thread.run_sync(call)).unwrap()
        return await returned if isawaitable(returned) else returned


# --- the process --------------------------------------------------------------------------------------


def _die_with(lifeline: int) -> None:
    """Have this process end, and all that it has started, when the other end of this pipe is closed."""

    def watch() -> None:
        with suppress(OSError):
            os.read(lifeline, 1)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, name="am2z lifeline", daemon=True).start()
    ask = getattr(fcntl, "F_SETSIG", None)
    if ask is not None:
        # Also where code that holds Python's lock would keep the thread from it.
        with suppress(OSError):
            fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
            fcntl.fcntl(lifeline, ask, signal.SIGKILL)
            fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)


async def _talk(end: socket.socket, whereabouts: Whereabouts) -> None:
    host = current_host()
    channel = Channel[ToChild](host, end, ToChild, MOST)
    async with host.open_nursery() as nursery:
        nursery.start_soon(channel.run)
        await Program(host, channel, nursery, whereabouts).serve()
        nursery.cancel_scope.cancel()


def main(talk: int, lifeline: int, shows: int, host: str) -> None:
    """Serve the node at the other end of these descriptors."""
    _die_with(lifeline)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    whereabouts = Whereabouts(socket.socket(fileno=shows))
    whereabouts.start()
    code = 1
    try:
        anyio.run(_talk, socket.socket(fileno=talk), whereabouts, backend=host)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        # Threads that go on are nobody's.
        os._exit(code)
