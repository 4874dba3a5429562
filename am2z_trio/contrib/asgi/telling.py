"""What a client is told of a job, from where it is now to its end: the one source of streams and sockets.

It is one task and holds nothing: what a slow client has yet to read waits in the node's own buffer, which is
bounded. A result does not depend on events, which may be lost: it is asked for at every beat.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

import anyio
import msgspec

from am2z_trio.engine.events.subscription import EventStream
from am2z_trio.engine.processors.result import ProcessorResult
from am2z_trio.engine.submission.job import Job, plain_state
from am2z_trio.model.errors import AM2ZError, BusinessError, JobCancelledError, StepFailedError
from am2z_trio.model.events import Event

from .missed import Hearing, Mark

BEAT: Final = 15.0
"""Seconds after which something is sent, so that both sides notice where the other one has gone."""

LATE: Final = 0.25
"""Seconds that events of a job's code are waited for after its end, by who is told of them."""

ENDED: Final = frozenset({"completed", "failed", "cancelled"})
ENDS: Final = frozenset(f"job:{status}" for status in ENDED)

RESULT: Final = "result"
"""Of the last that is told."""

LAST: Final = "end"
"""And its id: who comes back with it has all of it."""


class Told(msgspec.Struct, frozen=True):
    """One thing."""

    event: str
    """`status`, events by their names, and `result` last; what somebody who comes back has missed is before
    the `status`."""
    data: Any
    id: str = ""
    """With which one who comes back says what it has heard."""


async def told(
    job: Job[Any], *, events: str, reveal: bool, since: str = ""
) -> AsyncGenerator[Told | None, None]:
    """Tell how a job gets on, until it has ended; `None` is a beat. `events`: the pattern of those that are
    told. `since`: the id of what was told last, to one who comes back. Raises `JobNotFoundError`, at first,
    where there is no such job."""
    hearing = Hearing(job, Mark.of(since))
    await hearing.begin()
    async with job.events("*") as stream:
        said = await told_status(job)
        async with aclosing(hearing.missed()) as missed:
            async for past in missed:
                if past.matches(events) and past.name not in ENDS:
                    yield Told(past.name, _shown(past, reveal=reveal), str(hearing.mark))
        yield Told("status", {"id": job.id, **said}, str(hearing.mark))
        ended = said["status"] in ENDED
        while not ended:
            event = await _next(stream, BEAT)
            if event is None:
                ended = await job.status() in ENDED
                yield None
            elif event.name in ENDS:
                ended = True
            elif hearing.is_new(event) and event.matches(events):
                yield Told(event.name, _shown(event, reveal=reveal), str(hearing.mark))
        # What its code tells goes a way of its own, and may come after the end.
        over = anyio.current_time() + (0 if events.startswith("job:") else LATE)
        while (event := await _next(stream, over - anyio.current_time())) is not None:
            if hearing.is_new(event) and event.matches(events) and event.name not in ENDS:
                yield Told(event.name, _shown(event, reveal=reveal), str(hearing.mark))
    result: ProcessorResult[Any] | None = None
    while result is None:
        with anyio.move_on_after(BEAT):
            result = await job.result()
        if result is None:
            yield None
    yield Told(RESULT, told_result(job, result, reveal=reveal), LAST)


async def told_status(job: Job[Any]) -> dict[str, Any]:
    """How a job stands; of one that is parked for what it waits, since when and until when, in ms."""
    said: dict[str, Any] = {"status": await job.status(), "progress": await job.progress()}
    if said["status"] == "parked":
        said["waits"] = [
            {"signal": wait.name, "since": wait.since, "until": wait.until} for wait in await job.waits()
        ]
    return said


async def _next(stream: EventStream, most: float) -> Event | None:
    """The next event; `None` where there is none for so many seconds."""
    with anyio.move_on_after(most):
        return await stream.next()
    return None


def told_result(job: Job[Any], result: ProcessorResult[Any], *, reveal: bool) -> dict[str, Any]:
    """How a job has ended: its state, or why there is none."""
    if result.error is None:
        return {"id": job.id, "status": "completed", "state": plain_state(job, result.state)}
    status = "cancelled" if isinstance(result.error, JobCancelledError) else "failed"
    return {"id": job.id, "status": status, "error": told_error(result.error, reveal=reveal)}


def told_error(error: AM2ZError, *, reveal: bool) -> dict[str, Any]:
    """What a job's code has raised may hold anything: without `reveal` no message is told but those that
    were written to be, of `BusinessError`; of a chain that has failed by one, that one is told."""
    if reveal or isinstance(error, BusinessError | JobCancelledError):
        return {"code": error.code, "message": error.message}
    if isinstance(error, StepFailedError) and isinstance(_root(error), BusinessError):
        return told_error(_root(error), reveal=reveal)
    return {"code": error.code, "message": "the job has failed"}


def _root(error: AM2ZError) -> AM2ZError:
    """Why the step has failed that failed a chain, in however many chains that is."""
    while isinstance(error, StepFailedError) and error.causes:
        error = error.causes[0]
    return error


def _shown(event: Event, *, reveal: bool) -> Any:
    data = event.data
    if not reveal and event.name.startswith("job:") and isinstance(data, dict):
        return {key: value for key, value in data.items() if key != "message"}  # pyright: ignore[reportUnknownVariableType]
    return {} if data is None else data
