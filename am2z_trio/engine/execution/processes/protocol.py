"""What a node and the process of one of its jobs say to each other.

A frame is four bytes of length and one message. A frame that is longer than agreed, or no message, ends the
conversation: nothing is allocated for it.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from datetime import datetime
from typing import Any, Final, Generic, Self, TypeVar

import anyio
import msgspec

from am2z_trio.concurrency import Host
from am2z_trio.engine.processors.imported import Place
from am2z_trio.model.codec import NIL
from am2z_trio.model.error_records import ErrorRecord
from am2z_trio.model.limits import KIB
from am2z_trio.model.options import JobOptions
from am2z_trio.model.records import Grant, StateRecord
from am2z_trio.model.views.stack import TaskStack

M = TypeVar("M")

LENGTH: Final = struct.Struct(">I")

SLACK: Final = 4096 * KIB
"""Bytes of a frame beside the states in it: errors, lines, what an event carries."""

MOST_LINE: Final = 1024 * KIB
"""Bytes of what a job logs in one line; what is longer is cut."""

AT_ONCE: Final = 256 * 1024
"""Bytes that are read at once, and that may wait to be written before whoever writes waits, too."""


def most_bytes(max_state_bytes: int) -> int:
    """Of one frame: it has two states at most."""
    return min(2 * max_state_bytes + SLACK, 2**32 - 1)


# --- the node says ------------------------------------------------------------------------------------


class Load(msgspec.Struct, frozen=True, tag="load"):
    """Import a processor: the answer is `Loaded`, or `Failed`."""

    module: str
    file: bytes
    attribute: str
    """Its place, as `imported` says it."""
    name: str
    """The processor's."""
    path: list[bytes]
    """Where modules are looked for: the node's `sys.path`. Names of files need be no text."""
    max_state_bytes: int

    @classmethod
    def of(cls, place: Place, name: str, max_state_bytes: int) -> Self:
        """What a process is to load that finds modules where this one does. Of what else is in `sys.path`,
        such as a `Path`, Python takes no notice."""
        found: list[object] = [*sys.path]
        path = [os.fsencode(one) for one in found if isinstance(one, str)]
        file = os.fsencode(place.file)
        return cls(place.module, file, place.attribute, name, path, max_state_bytes)

    @property
    def place(self) -> Place:
        """Where the processor is."""
        return Place(self.module, os.fsdecode(self.file), self.attribute)


class Run(msgspec.Struct, frozen=True, tag="run"):
    """Run a job once: the answer is `Done`, or `Failed`."""

    grant: Grant
    started: float
    node: str
    remaining: float | None
    """Seconds until the node stops it."""
    level: int
    """Lines of a level below this one are not wanted."""


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """End the job that runs."""


class Answer(msgspec.Struct, frozen=True, tag="answer"):
    """To `Report`, `Call` and `ReadState`."""

    number: int
    value: msgspec.Raw = NIL
    record: StateRecord | None = None
    error: ErrorRecord | None = None


# --- the child says -----------------------------------------------------------------------------------


class Loaded(msgspec.Struct, frozen=True, tag="loaded"):
    """It knows the processor now."""


class Done(msgspec.Struct, frozen=True, tag="done"):
    """The job has returned this state; `updated`: and made this of its session's."""

    state: msgspec.Raw
    updated: bytes | None = None


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The job, or what was to be loaded, has failed, or was told to end."""

    error: ErrorRecord
    defer: float | datetime | None = None
    """Of a `Retry`, which asks for it."""


class Emit(msgspec.Struct, frozen=True, tag="emit"):
    event: str
    data: msgspec.Raw


class Report(msgspec.Struct, frozen=True, tag="report"):
    number: int
    progress: float


class Line(msgspec.Struct, frozen=True, tag="line"):
    """What the job has logged."""

    level: int
    text: str
    trace: str = ""


class Call(msgspec.Struct, frozen=True, tag="call"):
    """Another job: what it returns is waited for, or, if it is only submitted, its id."""

    number: int
    processor: str
    state: msgspec.Raw
    key: str
    session: str | None
    timeout: float | None
    options: JobOptions | None
    by_key: bool = False
    sent: bool = False
    """It is only submitted."""


class Wait(msgspec.Struct, frozen=True, tag="wait"):
    """For a signal of this name, or for some seconds: the answer is the signal's value, or nil."""

    number: int
    key: str
    name: str
    seconds: float | None


class ReadState(msgspec.Struct, frozen=True, tag="read"):
    """Its session's state, as the node knows it."""

    number: int


# --- on a line of their own ---------------------------------------------------------------------------


class Where(msgspec.Struct, frozen=True, tag="where"):
    """The node asks where the code of the job is: the answer is `There`."""


class There(msgspec.Struct, frozen=True, tag="there"):
    token: str
    """Of the job that it is at; empty if it is at none."""
    tasks: list[TaskStack]
    """With the source lines: what a process names, its node does not read."""
    more: int = 0
    """Tasks that are left out."""


ToChild = Load | Run | Stop | Answer
Ask = Emit | Report | Line | Call | Wait | ReadState
FromChild = Loaded | Done | Failed | Ask

_encode: Final = msgspec.msgpack.Encoder().encode


def framed(message: msgspec.Struct) -> bytes:
    data = _encode(message)
    return LENGTH.pack(len(data)) + data


class BrokenConversationError(Exception):
    """The other side says what is no message."""


class Channel(Generic[M]):
    """One end of the conversation, which hears messages of one kind. Not more than one task receives."""

    def __init__(self, host: Host, end: socket.socket, heard: Any, most: int) -> None:
        """`most`: bytes of one message that is received."""
        end.setblocking(False)
        self._host = host
        self._socket = end
        self._decode = msgspec.msgpack.Decoder(heard).decode
        self.most = most
        self._in = bytearray()
        self._out = bytearray()
        self._bell = host.spot()
        self._drained = host.event()
        self.closed = False

    def post(self, message: msgspec.Struct) -> None:
        """Say something soon, after what was said before."""
        self._out += framed(message)
        self._bell.wake()

    async def say(self, message: msgspec.Struct) -> None:
        """`post`, and wait while much of what was said is still to be written."""
        self.post(message)
        while len(self._out) > AT_ONCE and not self.closed:
            await self._drained.wait()

    async def run(self) -> None:
        """Write what is said, until cancelled or nobody listens."""
        try:
            while True:
                while self._out:
                    try:
                        sent = self._socket.send(memoryview(self._out)[:AT_ONCE].tobytes())
                    except BlockingIOError:
                        await anyio.wait_writable(self._socket)
                    else:
                        del self._out[:sent]
                    self._drained.set()
                    self._drained = self._host.event()
                await self._bell.park()
        except OSError:
            # Who receives hears of it, too.
            return
        finally:
            self.closed = True
            self._drained.set()

    async def receive(self) -> M | None:
        """The next message; `None` when the other side has hung up."""
        while (message := self._next()) is None:
            try:
                data = self._socket.recv(AT_ONCE)
            except BlockingIOError:
                await anyio.wait_readable(self._socket)
                continue
            except OSError:
                return None
            if not data:
                return None
            self._in += data
        return message

    def _next(self) -> M | None:
        if len(self._in) < LENGTH.size:
            return None
        (size,) = LENGTH.unpack_from(self._in)
        if size > self.most:
            raise BrokenConversationError(f"a message of {size:,} bytes, the limit is {self.most:,}")
        end = LENGTH.size + size
        if len(self._in) < end:
            return None
        frame = bytes(memoryview(self._in)[LENGTH.size : end])
        del self._in[:end]
        try:
            return self._decode(frame)  # type: ignore[no-any-return]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BrokenConversationError(f"what is no message: {error}") from error

    def close(self) -> None:
        self._socket.close()
        self.closed = True
        self._drained.set()
