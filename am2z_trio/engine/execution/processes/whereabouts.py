"""Where the code of a process's job is: asked for by its node, and answered by a thread of the process.

On a line of their own, beside the conversation about the job: the process's event loop has that one, and the
job may keep the loop to itself. The thread needs Python's lock for a moment. Code that does not let go of it,
or a process that is stopped, is silent, and nobody waits for it twice.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from types import CodeType, FrameType
from typing import Any, Final

from am2z_trio.concurrency import Host
from am2z_trio.concurrency.awaiting import frames_of
from am2z_trio.engine.execution.job_nursery import JobNursery
from am2z_trio.engine.execution.lines import (
    MOST_BYTES,
    MOST_TEXT,
    bounded,
    other_threads,
    users_of,
    users_within,
    with_lines,
)
from am2z_trio.model.codec import encode_record
from am2z_trio.model.logs import Log
from am2z_trio.model.telling import attempt, cut
from am2z_trio.model.views.stack import Frame, TaskStack

from .protocol import LENGTH, BrokenConversationError, Channel, There, Where, framed

logger: Final = Log("am2z_trio.node")

PATIENCE: Final = 0.5
"""Seconds after which a process that has not answered is silent: well below those that its node has."""

MOST_ANSWER: Final = 2 * MOST_BYTES
"""Bytes of one answer."""

KIND: Final = "process"


# --- the node's side ----------------------------------------------------------------------------------


class _Question:
    """One that a process has not answered yet."""

    def __init__(self, host: Host) -> None:
        self.until = host.now() + PATIENCE
        self.over = host.event()
        self.there: There | None = None


class Looking:
    """A process, as its node asks it. Not more than one question is open, whoever asks."""

    def __init__(self, host: Host, end: socket.socket) -> None:
        self._host = host
        self._channel = Channel[There](host, end, There, MOST_ANSWER)
        self._open: _Question | None = None

    async def run(self) -> None:
        """Carry questions and answers, until cancelled or the process says nothing more."""
        try:
            async with self._host.open_nursery() as nursery:
                nursery.start_soon(self._channel.run)
                await self._receive()
                nursery.cancel_scope.cancel()
        finally:
            self._channel.close()
            self._heard(None)

    async def _receive(self) -> None:
        try:
            while (there := await self._channel.receive()) is not None:
                self._heard(there)
        except BrokenConversationError as broken:
            # Its job is told by another line.
            logger.warning("a job's process that was asked where it is has said %s", str(broken))

    def _heard(self, there: There | None) -> None:
        asked, self._open = self._open, None
        if asked is not None:
            asked.there = there
            asked.over.set()

    async def ask(self, name: str, token: str) -> There:
        """Where the code of the job with this token is: one silent task where the process does not say so in
        time, and no task if it is not at that job. Takes a second at most."""
        for _ in range(2):
            there = await self._answer()
            if there is None:
                return There(token, [TaskStack(name=name, kind=KIND, silent=True)])
            if there.token == token:
                tasks = [
                    TaskStack(name=cut(one.name, MOST_TEXT), kind=KIND, frames=bounded(one.frames))
                    for one in there.tasks
                ]
                return There(token, tasks, there.more)
            # Somebody else has asked, when it was at another job.
        return There(token, [])

    async def _answer(self) -> There | None:
        asked = self._open
        if asked is None:
            if self._channel.closed:
                return None
            asked = self._open = _Question(self._host)
            self._channel.post(Where())
        with self._host.cancel_scope(deadline=asked.until):
            await asked.over.wait()
        return asked.there


# --- the process's side -------------------------------------------------------------------------------


class Underway:
    """What is run, as the loop and the function's thread write it down for the thread that looks."""

    __slots__ = ("code", "coroutine", "host", "name", "nursery", "thread", "token")

    def __init__(self, host: Host, name: str, token: str) -> None:
        """Made by the task that runs the job."""
        self.host = host
        self.name = name
        self.token = token
        self.coroutine = host.coroutine_of(host.current_task())
        self.nursery: JobNursery | None = None
        self.thread = 0
        """Of a plain function, while that goes on."""
        self.code: CodeType | None = None
        """What has called it there."""


class Whereabouts:
    """Answers for one process. Made in the thread of its loop."""

    def __init__(self, end: socket.socket) -> None:
        self.underway: Underway | None = None
        self._loop = threading.get_ident()
        self._end = end

    def start(self) -> None:
        threading.Thread(target=self._answer_forever, name="am2z whereabouts", daemon=True).start()

    def _answer_forever(self) -> None:
        with suppress(OSError), self._end.makefile("rb") as asked:
            while len(head := asked.read(LENGTH.size)) == LENGTH.size:
                # There is one question only.
                asked.read(*LENGTH.unpack(head))
                self._end.sendall(framed(attempt(self._there, There("", []))))

    def _there(self) -> There:
        now = self.underway
        if now is None:
            return There("", [])
        frames = other_threads()
        found, size, more = list[TaskStack](), 0, 0
        for name, coroutine in _tasks(now):
            if size >= MOST_BYTES:
                more += 1
                continue
            if coroutine is now.coroutine and now.thread:
                lines = users_within(frames.get(now.thread), now.code)
            else:
                lines = _lines_of(coroutine, frames.get(self._loop))
            one = TaskStack(name=cut(name, MOST_TEXT), kind=KIND, frames=with_lines(lines))
            found.append(one)
            size += len(encode_record(one))
        return There(now.token, found, more)


def _tasks(now: Underway) -> Iterator[tuple[str, object]]:
    """Its own task, and those of its nursery."""
    yield now.name, now.coroutine
    for one in list(now.nursery.tasks.values()) if now.nursery is not None else ():
        task = one.task
        if task is not None:
            yield one.name, now.host.coroutine_of(task)


def _lines_of(coroutine: Any, loop: FrameType | None) -> list[Frame]:
    for prefix in ("cr", "gi"):
        if getattr(coroutine, f"{prefix}_running", False):
            # Nothing that is seen from outside of it says where: the loop's thread does.
            return users_within(loop, getattr(coroutine, f"{prefix}_code"))
    return users_of(frames_of(coroutine))
