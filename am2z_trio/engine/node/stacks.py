"""Where the code of a job is: its own task, those of its nursery, its threads and its processes.

Read off suspended coroutines and threads that go on: places alone, and only those of users' code. Processes
are asked, and shown as silent where they do not answer at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import anyio
import msgspec

from am2z_trio.concurrency.awaiting import frames_of
from am2z_trio.engine.claim import Claim
from am2z_trio.engine.execution.lines import MOST_BYTES, users_of, users_within, with_lines
from am2z_trio.engine.execution.processes.protocol import There
from am2z_trio.model.codec import encode_record
from am2z_trio.model.views.stack import Frame, JobStack, TaskStack

from .inside import Inside

SLICE: Final = 20
"""Tasks after which others have a turn."""


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
        told = await inside.sites.processes.whereabouts(claim)
        if inside.claims.get(job) is not claim:
            # It has ended meanwhile.
            return None
        found, size, more = list[TaskStack](), 0, sum(there.more for there in told)
        for index, one in enumerate(self._stacks(claim, told)):
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

    def _stacks(self, claim: Claim, told: list[There]) -> Iterator[TaskStack]:
        inside, spec = self._inside, claim.grant.spec
        hosted = inside.sessions.get(spec.session) if spec.session else inside.sessions.shared
        worker = None if hosted is None else hosted.workers.get(claim.holder.queue)
        task = None if worker is None else worker.task_of(claim)
        yield TaskStack(name=spec.processor, frames=self._frames_of(task))
        for name, frame in inside.sites.threads.frames_of(claim):
            yield TaskStack(name=name, kind="thread", frames=users_within(frame))
        for there in told:
            yield from there.tasks
        for path, nursery in inside.nurseries().get(claim, ()):
            for number, one in list(nursery.tasks.items()):
                yield TaskStack(name=one.name, path=f"{path}{number}", frames=self._frames_of(one.task))

    def _frames_of(self, task: object) -> list[Frame]:
        if task is None:
            return []
        return users_of(frames_of(self._inside.host.coroutine_of(task)))

    async def _with_text(self, stacks: list[TaskStack]) -> list[TaskStack]:
        """With the source lines, which are read from files: in a thread."""

        def read() -> list[TaskStack]:
            return [
                # A process has read its own: it might name files that are no good to read.
                one if one.kind == "process" else msgspec.structs.replace(one, frames=with_lines(one.frames))
                for one in stacks
            ]

        try:
            return await self._inside.host.run_in_thread(read, lambda: None, anyio.CapacityLimiter(1))
        except RuntimeError:
            # The process can start no thread.
            return stacks
