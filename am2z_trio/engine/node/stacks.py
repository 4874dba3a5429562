"""Where the code of a job is: of its own task, those of its nursery, and the threads of its plain functions.

Read off suspended coroutines and threads that go on: places alone, and only those of users' code.
"""

from __future__ import annotations

import linecache
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Final

import anyio
import msgspec

from am2z_trio.concurrency.awaiting import frames_of
from am2z_trio.engine.claim import Claim
from am2z_trio.model.codec import encode_record
from am2z_trio.model.telling import attempt, cut, is_of_users
from am2z_trio.model.views.stack import Frame, JobStack, TaskStack

from .inside import Inside

SLICE: Final = 20
"""Tasks after which others have a turn."""

MOST_BYTES: Final = 128 * 1024
"""Bytes of stacks after which further tasks are counted only; one task more may come."""

MOST_FRAMES: Final = 20
"""The innermost of a task."""

MOST_TEXT: Final = 200
"""Bytes of one source line, and of a name."""


class Stacks:
    """Of one node's jobs."""

    def __init__(self, inside: Inside) -> None:
        self._inside = inside

    async def of(self, job: str) -> JobStack | None:
        """All tasks of a job, as they stand; `None` if the job is not here."""
        inside = self._inside
        claim = inside.claims.get(job)
        if claim is None:
            return None
        found, size, more = list[TaskStack](), 0, 0
        for index, one in enumerate(self._stacks(claim)):
            if index % SLICE == SLICE - 1:
                await inside.host.checkpoint()
            if size >= MOST_BYTES:
                more += 1
                continue
            found.append(one)
            size += len(encode_record(one))
        spec = claim.grant.spec
        return JobStack(
            job=spec.id,
            node=inside.id,
            processor=spec.processor,
            session=spec.session,
            token=claim.grant.token,
            state=inside.state_of(claim),
            tasks=await self._with_text(found),
            more=more,
        )

    def _stacks(self, claim: Claim) -> Iterator[TaskStack]:
        inside, spec = self._inside, claim.grant.spec
        hosted = inside.sessions.get(spec.session) if spec.session else inside.sessions.shared
        worker = None if hosted is None else hosted.workers.get(claim.holder.queue)
        task = None if worker is None else worker.task_of(claim)
        yield TaskStack(name=spec.processor, frames=self._frames_of(task))
        for name, frame in inside.threads.frames_of(claim):
            yield TaskStack(name=name, kind="thread", frames=_users_of(_outside_in(frame)))
        for path, nursery in inside.nurseries().get(claim, ()):
            for number, one in list(nursery.tasks.items()):
                name = cut(one.name, MOST_TEXT)
                yield TaskStack(name=name, path=f"{path}{number}", frames=self._frames_of(one.task))

    def _frames_of(self, task: object) -> list[Frame]:
        if task is None:
            return []
        return _users_of(frames_of(self._inside.host.coroutine_of(task)))

    async def _with_text(self, stacks: list[TaskStack]) -> list[TaskStack]:
        """With the source lines, which are read from files: in a thread."""

        def read() -> list[TaskStack]:
            return [
                msgspec.structs.replace(one, frames=[_with_line(frame) for frame in one.frames])
                for one in stacks
            ]

        try:
            return await self._inside.host.run_in_thread(read, lambda: None, anyio.CapacityLimiter(1))
        except RuntimeError:
            # The process can start no thread.
            return stacks


def _outside_in(frame: FrameType) -> list[FrameType]:
    found: list[FrameType] = []
    one: FrameType | None = frame
    while one is not None:
        found.append(one)
        one = one.f_back
    return found[::-1]


def _users_of(frames: Iterable[FrameType]) -> list[Frame]:
    users = [frame for frame in frames if is_of_users(frame.f_code.co_filename)]
    return [
        Frame(
            file=cut(frame.f_code.co_filename, 4 * MOST_TEXT),
            line=frame.f_lineno or 0,
            function=cut(frame.f_code.co_qualname, MOST_TEXT),
        )
        for frame in users[-MOST_FRAMES:]
    ]


def _with_line(frame: Frame) -> Frame:
    text = attempt(lambda: linecache.getline(frame.file, frame.line).strip(), "")
    return msgspec.structs.replace(frame, text=cut(text, MOST_TEXT))
