"""`runtime.dead_letters`: the jobs that have failed for good, to be looked at, retried or dropped."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from am2z_trio.engine.processors.processor import Processor, name_of
from am2z_trio.engine.submission.job import read_result
from am2z_trio.model.callables import require_function
from am2z_trio.model.checks import require_count, require_text
from am2z_trio.model.codec import StateCodec
from am2z_trio.model.errors import AM2ZError, JobNotFoundError, SessionStoppedError, ValidationError
from am2z_trio.model.limits import MAX_ANY_ID_BYTES
from am2z_trio.model.moments import time_or_epoch
from am2z_trio.model.records import NO_STATE, DeadJob, queue_name
from am2z_trio.store.ports import BATCH, Store

PAGE: Final = 1_000
"""Ids per page: as many as are usually kept, so that what comes and goes meanwhile seldom matters."""

ANYTHING: Final[StateCodec[Any]] = StateCodec(Any, max_bytes=sys.maxsize, takes_any=True)
"""Whatever its processor's node has accepted can be looked at."""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A job that has failed for good."""

    job_id: str
    """In full, as all methods take it."""
    processor: str
    session_id: str | None
    state: Any
    """The state it was given, as plain data; `None` for one that works on its session's stored state, and
    where it cannot be read."""
    error: AM2ZError
    """Why it failed in the end, with its causes and the remote traceback."""
    earlier_errors: list[AM2ZError]
    """Why the attempts before failed, in order; the last twenty."""
    attempts: int
    stalls: int
    """How often it was lost with its worker."""
    failed_at: datetime
    """UTC, by the store's clock."""


Letters = list[DeadLetter]
Ids = list[str]
"""Inside the class, `list` is a method of it."""


class DeadLetters:
    """Dead letters of all nodes, by processor.

    A job is one when its last attempt has failed, or it was lost with its worker too often; and when its
    record was spoilt by something else, so that nobody can run it: its `error` says what is wrong. One that
    was cancelled, by its deadline, too, is none. A child's failure is its parent's, which is the dead letter
    then. The last 1,000 of a processor are kept for seven days, or as `JobOptions.remove_on_fail` says.
    Methods raise `NetworkError` where the store cannot be reached; cancelled, what they have asked for may
    still happen.
    """

    def __init__(self, store: Callable[[], Store]) -> None:
        self._store = store

    async def count(self, processor: Processor[Any] | str) -> int:
        """How many there are."""
        (stats,) = await self._store().stats([queue_name(name_of(processor))])
        return stats.dead

    async def list(self, processor: Processor[Any] | str, *, offset: int = 0, limit: int = 100) -> Letters:
        """A page of them, the newest first."""
        offset = require_count("offset", offset, least=0)
        limit = require_count("limit", limit, most=1_000)
        store = self._store()
        ids = await store.dead_page(queue_name(name_of(processor)), offset, limit)
        return await self._read(ids)

    async def show(self, job_id: str) -> DeadLetter:
        """One of them. Raises `JobNotFoundError` if the job is none."""
        found = await self._read([_id(job_id)])
        if not found:
            raise _not_found(job_id)
        return found[0]

    async def retry(self, job_id: str) -> None:
        """Queue one again under its id, as if it had just come: a first attempt, without a deadline.

        Atomic, and once only, however many ask: the others are told that it is none any more. What it
        becomes is heard by `execute` in the same session with this `job_id`, and the same state if it was
        chosen. Raises `JobNotFoundError` if the job is none,
        `SessionStoppedError` while its session is being stopped, and `ValidationError` if nothing is left of
        its record that could be run. One that this version cannot read is a dead letter again when a node of
        this version meets it.
        """
        (answer,) = await self._store().revive([_id(job_id)])
        if answer == "gone":
            raise _not_found(job_id)
        if answer == "stopped":
            raise SessionStoppedError(
                f"the session of job {job_id} is being stopped", context={"job": job_id}
            )
        if answer == "unreadable":
            raise ValidationError(
                f"job {job_id} cannot be queued again: its record has been spoilt", context={"job": job_id}
            )

    async def retry_all(
        self, processor: Processor[Any] | str, where: Callable[[DeadLetter], bool] | None = None
    ) -> int:
        """Queue all of them again, or those for which `where` is true; returns how many."""
        queued = 0
        for batch in _batches(await self._ids(processor, where)):
            queued += (await self._store().revive(batch)).count("queued")
        return queued

    async def drop(self, job_id: str) -> None:
        """Drop one. Raises `JobNotFoundError` if the job is none."""
        (dropped,) = await self._store().drop_dead_letters([_id(job_id)])
        if not dropped:
            raise _not_found(job_id)

    async def drop_all(
        self, processor: Processor[Any] | str, where: Callable[[DeadLetter], bool] | None = None
    ) -> int:
        """Drop all of them, or those for which `where` is true; returns how many."""
        dropped = 0
        for batch in _batches(await self._ids(processor, where)):
            dropped += sum(await self._store().drop_dead_letters(batch))
        return dropped

    async def _ids(self, processor: Processor[Any] | str, where: Callable[[DeadLetter], bool] | None) -> Ids:
        """Those that there are now, the oldest first."""
        if where is not None:
            require_function("where", where, "(letter)")
        store, queue, ids = self._store(), queue_name(name_of(processor)), dict[str, None]()
        while page := await store.dead_page(queue, len(ids), PAGE):
            before = len(ids)
            ids.update(dict.fromkeys(page))
            if len(ids) == before:
                break
        oldest_first = [*reversed(ids)]
        if where is None:
            return oldest_first
        chosen: Ids = []
        for batch in _batches(oldest_first):
            # Not all of them at once: their states may be large.
            chosen += [letter.job_id for letter in await self._read(batch) if where(letter)]
        return chosen

    async def _read(self, ids: Sequence[str]) -> Letters:
        found: Letters = []
        for batch in _batches(ids):
            jobs = await self._store().dead_jobs(batch)
            found += [_letter(job) for job in jobs if job is not None]
        return found


def _batches(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[start : start + BATCH] for start in range(0, len(ids), BATCH)]


def _id(job_id: object) -> str:
    return require_text("job_id", job_id, most=MAX_ANY_ID_BYTES)


def _not_found(job_id: str) -> JobNotFoundError:
    return JobNotFoundError(f"job {job_id!r} is no dead letter", context={"job": job_id})


def _letter(job: DeadJob) -> DeadLetter:
    spec, settled = job.spec, job.settled
    session = job.session or None
    result = read_result(settled, ANYTHING, processor=job.processor, session=session)
    error = result.error or ValidationError(f"the record of job {settled.id} does not say why it failed")
    state = None
    if spec is not None and spec.state != NO_STATE:
        try:
            state = ANYTHING.decode(spec.state)
        except ValidationError:
            # Of another language's making, say. The rest of the letter is no worse for it.
            state = None
    return DeadLetter(
        job_id=settled.id,
        processor=job.processor,
        session_id=session,
        state=state,
        error=error,
        earlier_errors=result.metadata.earlier_errors,
        attempts=job.attempt,
        stalls=job.stalls,
        failed_at=time_or_epoch(job.failed),
    )
