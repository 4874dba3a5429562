"""One process as its node has it: started, talked with, stopped, reaped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import msgspec

from am2z_trio.concurrency import Host, TaskStatus
from am2z_trio.engine.processors.imported import Place
from am2z_trio.model.crashes import ProcessCrashedError
from am2z_trio.model.error_records import error_of
from am2z_trio.model.errors import AM2ZError, ResourceError
from am2z_trio.model.retry import Retry

from .protocol import (
    Ask,
    BrokenConversationError,
    Channel,
    Done,
    Failed,
    FromChild,
    Load,
    Loaded,
    Run,
    Stop,
    most_bytes,
)
from .whereabouts import Looking

if TYPE_CHECKING:
    # Else it would be loaded with AnyIO's streams and sockets.
    from anyio.abc import Process

ROOT: Final = str(Path(__file__).parents[4])
"""Where this package is imported from."""

PROGRAM: Final = (
    "import sys; sys.path[:0] = [sys.argv[4]]; "
    "from am2z_trio.engine.execution.processes.child import main; "
    "main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[5])"
)

TERM_GRACE: Final = 0.5
"""Seconds from SIGTERM, which a process may meet in its own way, to SIGKILL."""

REAP_WITHIN: Final = 5.0
"""Seconds that the kernel may take to end what was killed."""

Heard = Callable[[Ask], Awaitable[None]]


class Child:
    """One process, from when it is ready. One job at a time talks with it."""

    def __init__(
        self, host: Host, process: Process, channel: Channel[FromChild], looking: Looking, lifeline: int
    ) -> None:
        """`lifeline`: a descriptor that, when it is closed, ends the process and its group."""
        self.jobs = 0
        """Runs that it was given."""
        self.pid = process.pid
        self.looking = looking
        self.over = host.event()
        """Set when it has ended and was reaped."""
        self._host = host
        self._process = process
        self._channel = channel
        self._lifeline = lifeline
        self._known: dict[str, Place] = {}

    @property
    def is_well(self) -> bool:
        """Whether it may be given a job."""
        return self._process.returncode is None and not self._channel.closed

    def knows(self, name: str, place: Place) -> bool:
        """Whether it has imported that processor already."""
        return self._known.get(name) == place

    # --- what it is told --------------------------------------------------------------------

    async def load(self, name: str, place: Place, max_state_bytes: int) -> None:
        """Have it import a processor. Raises what that has come to; ended in the middle, it is of no use."""
        self._channel.post(Load.of(place, name, max_state_bytes))
        answer = await self._hear(name)
        if isinstance(answer, Failed):
            raise error_of(answer.error)
        if not isinstance(answer, Loaded):
            raise await self._lost(name, "has answered what nobody has asked")
        self._known[name] = place

    async def run(self, run: Run, heard: Heard) -> Done:
        """Have it run a job, and answer what that asks for. Raises the job's error."""
        self.jobs += 1
        self._channel.post(run)
        name = run.grant.spec.processor
        while True:
            told = await self._hear(name)
            if isinstance(told, Done):
                return told
            if isinstance(told, Failed):
                error = error_of(told.error)
                if isinstance(error, Retry):
                    error.defer = told.defer
                raise error
            if isinstance(told, Loaded):
                raise await self._lost(name, "has answered what nobody has asked")
            await heard(told)

    def answer(self, answer: msgspec.Struct) -> None:
        self._channel.post(answer)

    async def stop(self, grace: float) -> None:
        """End the job that it runs: politely, and after `grace` seconds by ending the process. Bounded; to be
        called shielded."""
        host = self._host
        if grace > 0 and self.is_well:
            self._channel.post(Stop())
            with host.cancel_scope(deadline=host.now() + grace), suppress(AM2ZError):
                while not isinstance(await self._hear(""), Done | Failed):
                    pass
                return
        await self.end()

    async def _hear(self, name: str) -> FromChild:
        try:
            told = await self._channel.receive()
        except BrokenConversationError as broken:
            raise await self._lost(name, f"has said {broken}") from None
        if told is None:
            raise await self._lost(name, "")
        return told

    async def _lost(self, name: str, why: str) -> AM2ZError:
        """What a job fails with whose process is of no use any more."""
        host = self._host
        if not why:
            # It has hung up: most likely it has ended, and how is known at once.
            with host.cancel_scope(deadline=host.now() + 1):
                await self.over.wait()
        code = self._process.returncode
        if code is None:
            await self.end()
            return crashed(name, why or "has hung up", {})
        return crashed(name, *_how(code))

    # --- its life ---------------------------------------------------------------------------

    async def live(self, *, task_status: TaskStatus) -> None:
        """Own it until it has ended and is reaped."""
        try:
            async with self._host.open_nursery() as nursery:
                nursery.start_soon(self._channel.run)
                nursery.start_soon(self.looking.run)
                task_status.started(self)
                await self._process.wait()
                nursery.cancel_scope.cancel()
        finally:
            self._channel.close()
            await self.end()
            os.close(self._lifeline)
            self.over.set()

    def hang_up(self) -> None:
        """It is to end by itself."""
        self._channel.close()

    async def end(self) -> None:
        """End it, and all that it has started; returns when it is reaped. Bounded."""
        host = self._host
        if self.over.is_set():
            # Its number may be another one's by now.
            return
        with host.cancel_scope(shield=True):
            _signal_group(self.pid, signal.SIGTERM)
            with host.cancel_scope(deadline=host.now() + TERM_GRACE):
                await self._process.wait()
            # Also where it has obeyed: of what it has started not all may have.
            _signal_group(self.pid, signal.SIGKILL)
            with host.cancel_scope(deadline=host.now() + REAP_WITHIN):
                await self._process.wait()


async def started(host: Host, max_state_bytes: int) -> Child:
    """Start a process. Its first job has it import all that it needs. Raises `ResourceError` where the system
    has none to give, or no more descriptors."""
    with ExitStack() as lent, ExitStack() as kept:
        try:
            ours, theirs = socket.socketpair()
            kept.callback(ours.close)
            lent.callback(theirs.close)
            looks, shows = socket.socketpair()
            kept.callback(looks.close)
            lent.callback(shows.close)
            end, lifeline = os.pipe()
            kept.callback(os.close, lifeline)
            lent.callback(os.close, end)
            command = [
                *(sys.executable, *_flags(), "-c", PROGRAM),
                *(str(theirs.fileno()), str(end), str(shows.fileno()), ROOT, host.name),
            ]
            # Shielded, so that there is never a process of which nobody has the handle. It is one fork.
            with host.cancel_scope(shield=True):
                process = await anyio.open_process(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=None,
                    stderr=None,
                    start_new_session=True,
                    pass_fds=(theirs.fileno(), end, shows.fileno()),
                )
        except OSError as raised:
            raise ResourceError(
                f"no process can be started: {raised.strerror}", context={"command": sys.executable}
            ) from raised
        kept.pop_all()
    channel = Channel[FromChild](host, ours, FromChild, most_bytes(max_state_bytes))
    return Child(host, process, channel, Looking(host, looks), lifeline)


def _flags() -> list[str]:
    # As `multiprocessing` does.
    return list(subprocess._args_from_interpreter_flags())  # type: ignore[attr-defined]


def _signal_group(leader: int, number: signal.Signals) -> None:
    # PermissionError: what macOS says of a group in which everybody has ended.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


def crashed(name: str, why: str, context: Mapping[str, object]) -> ProcessCrashedError:
    """A job's process has ended under it, or is of no use any more."""
    return ProcessCrashedError(f"the process of {name!r} {why}", context={"processor": name, **context})


def _how(code: int) -> tuple[str, dict[str, object]]:
    """How a process has ended, by its exit code."""
    if code >= 0:
        return f"has ended under it, with exit code {code}", {"exit_code": code}
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    hint = ", as the kernel does where memory is short" if -code == signal.SIGKILL else ""
    return f"was ended under it by {name}{hint}", {"signal": name}
