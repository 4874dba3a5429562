"""Jobs over HTTP: an ASGI application to be mounted, for the processors that it is given and no others.

| | |
|---|---|
| `POST /{processor}` | submit: `{"state", "state_version", "session", "job_id"}`; 202, and `Location` |
| `GET /{id}` | status and progress; of a job that is parked what it `waits` for, and until when |
| `GET /{id}/result?wait=10` | the result, waited for; 202 while there is none |
| `GET /{id}/events` | server-sent events, as `sse`; who leaves changes nothing |
| `WebSocket /{id}/socket` | the same over a WebSocket, on which `cancel` may be sent |
| `DELETE /{id}` | cancel |

An id stands in a path as `model.segments` writes it, and as `Location` has it. What is wrong is told as
`application/problem+json`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Literal

import anyio
import msgspec

from am2z_trio.concurrency.groups import unwrapped
from am2z_trio.engine.processors.processor import Processor
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.engine.submission.job import Job
from am2z_trio.model.callables import awaited, require_function, require_items
from am2z_trio.model.checks import require, require_count, require_seconds
from am2z_trio.model.codec import StateCodec, encode_state
from am2z_trio.model.errors import JobNotFoundError
from am2z_trio.model.evolution import of_version
from am2z_trio.model.limits import KIB
from am2z_trio.model.segments import segment
from am2z_trio.model.telling import cut

from .problems import MOST_REASON, REFUSED, Problem, answer, problem_of, refuse
from .requests import id_of, mounted_at, parts_of, read, seconds_of, submitted
from .sockets import is_welcome, websocket
from .streams import sse
from .telling import ENDED, told_result, told_status
from .types import ASGIApp, Message, Receive, Scope, Send, header, until_gone

Action = Literal["submit", "status", "result", "events", "cancel"]


_ANYTHING: Final[StateCodec[object]] = StateCodec(object, takes_any=True)

_ACTIONS: Final[dict[tuple[str, ...], dict[str, Action]]] = {
    (): {"GET": "status", "DELETE": "cancel"},
    ("result",): {"GET": "result"},
    ("events",): {"GET": "events"},
}
"""By what follows the id, and the method. Submitting is apart: its address names a processor."""


class AskedJob(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants to do, as `authorize` is asked."""

    action: Action
    processor: str
    session: str | None
    """Of the job, or the one that it is to be submitted in."""
    job_id: str
    """In full; of one that is to be submitted the one that was chosen, or empty."""
    scope: Scope
    """The ASGI scope of the request: `starlette.requests.Request(asked.scope)` reads it."""

    def header(self, name: str) -> str:
        """A header of the request; empty where there is none."""
        return header(self.scope, name.lower().encode("latin-1"))


Authorize = Callable[[AskedJob], bool | Awaitable[bool]]
"""Whether somebody may do it; plain or async."""


def jobs(
    runtime: Runtime,
    *,
    processors: Iterable[Processor[Any]],
    authorize: Authorize,
    max_body: int = 64 * KIB,
    max_wait: float = 30.0,
    max_streams: int = 200,
    reveal_errors: bool = False,
    origins: Sequence[str] = (),
) -> ASGIApp:
    """An ASGI application that submits, shows and cancels jobs of these processors, and knows no others:
    `app.mount("/jobs", jobs(runtime, processors=[price], authorize=may))`.

    * `authorize(asked)` is asked before anything is done, and before anything of a job is told: a job that
      somebody may not see is not there. There is no default: `lambda asked: True` lets everybody in
    * `max_body`: bytes of a body; `max_wait`: seconds that a result is waited for at most
    * `max_streams`: event streams, sockets and waits that are open at a time; beyond that 503
    * `reveal_errors`: tell the messages of all errors of jobs, and not of `BusinessError` alone
    * `origins`: of pages elsewhere that may ask, as `"https://shop.example"`; where a browser names another
      one that is not this host's, the answer is 403

    The runtime is entered by somebody else (`lifespan`); while it is not, the answer is 503.
    """
    require(isinstance(runtime, Runtime), "runtime", runtime, "must be a QueueRuntime or a LocalRuntime")
    given = list(require_items("processors", processors, "processors"))
    for one in given:
        require(isinstance(one, Processor), "processors", one, "must be processors, given themselves")
    require_function("authorize", authorize, "(asked)")
    return _Jobs(
        runtime,
        {one.name: one for one in given},
        authorize,
        max_body=require_count("max_body", max_body),
        max_wait=require_seconds("max_wait", max_wait),
        max_streams=require_count("max_streams", max_streams),
        reveal=reveal_errors,
        origins=tuple(origins),
    )


class _Jobs:
    def __init__(
        self,
        runtime: Runtime,
        processors: dict[str, Processor[Any]],
        authorize: Authorize,
        *,
        max_body: int,
        max_wait: float,
        max_streams: int,
        reveal: bool,
        origins: Sequence[str],
    ) -> None:
        self._runtime: Final = runtime
        self._processors: Final = processors
        self._authorize: Final = authorize
        self._max_body: Final = max_body
        self._max_wait: Final = max_wait
        self._max_streams: Final = max_streams
        self._reveal: Final = reveal
        self._origins: Final = origins
        self._streams = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._serve_socket(scope, receive, send)
        elif scope["type"] == "lifespan":
            await _nothing_to_do(receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        noted = _Noted(send)
        try:
            if not is_welcome(scope, self._origins):
                raise Problem(403, "It was asked for by a page of another origin.")
            await self._answer(scope, receive, noted)
        except Exception as error:
            if noted.begun:
                raise
            await refuse(error, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, parts = scope["method"], parts_of(scope)
        if len(parts) == 1 and method == "POST":
            await self._submit(scope, receive, send, parts[0])
            return
        actions = _ACTIONS.get(tuple(parts[1:])) if parts else None
        if actions is None:
            raise Problem(404, "Nothing is at this address.")
        if method not in actions:
            raise Problem(405, "This address is not asked for like this.", allow=", ".join(actions))
        job = await self._job(scope, parts[0], actions[method])
        match actions[method]:
            case "cancel":
                await answer(send, {"id": job.id, "cancelled": await job.cancel("cancelled by its client")})
            case "status":
                await answer(send, await _shown(job))
            case "result":
                await self._result(scope, receive, send, job)
            case _:
                with self._room():
                    stream = sse(job, on_disconnect="leave", reveal_errors=self._reveal)
                    await stream(scope, receive, send)

    async def _submit(self, scope: Scope, receive: Receive, send: Send, part: str) -> None:
        processor = self._processors.get(id_of(part))
        if processor is None:
            raise Problem(404, "There is no such processor here.")
        asked = submitted(scope, await read(scope, receive, self._max_body))
        job_id = asked.job_id or header(scope, b"idempotency-key") or None
        if not await self._may(scope, "submit", processor.name, asked.session, job_id or ""):
            raise Problem(403, "That is not permitted.")
        state = None if asked.state is None else self._typed(processor, asked.state, asked.state_version)
        job = await self._runtime.submit(processor, state, session=asked.session, job_id=job_id)
        at = f"{mounted_at(scope)}/{segment(job.id)}"
        said = {
            "id": job.id,
            "processor": processor.name,
            "links": {"self": at, "result": f"{at}/result", "events": f"{at}/events"},
        }
        await answer(send, said, 202, location=at)

    def _typed(self, processor: Processor[Any], state: Any, version: int | None) -> Any:
        """What was sent, as the processor takes it. `version`: of its form; by default the newest."""
        codec = self._runtime.node.submissions.directory.codec(processor.name)
        if codec is None:
            codec = StateCodec(processor.state_type, evolution=processor.evolution)
        if version is None:
            return codec.read(encode_state(state))
        return codec.decode(_ANYTHING.encode(of_version(state, version)))

    async def _result(self, scope: Scope, receive: Receive, send: Send, job: Job[Any]) -> None:
        seconds = seconds_of(scope, "wait", self._max_wait)
        if seconds and await job.status() not in ENDED:
            with self._room():
                await _wait(job, receive, seconds)
        if await job.status() not in ENDED:
            await answer(send, await _shown(job), 202, retry_after="1")
            return
        await answer(send, told_result(job, await job.result(), reveal=self._reveal))

    async def _job(self, scope: Scope, part: str, action: Action) -> Job[Any]:
        """The job that is asked for, where it is one of these processors, and whoever asks may."""
        id = id_of(part)
        try:
            job = await self._runtime.job(id)
        except JobNotFoundError:
            raise Problem(404, "There is no such job.", code=JobNotFoundError.code) from None
        known = job.processor in self._processors
        if not known or not await self._may(scope, action, job.processor, job.session_id, job.id):
            raise Problem(404, "There is no such job.", code=JobNotFoundError.code)
        return job

    async def _may(
        self, scope: Scope, action: Action, processor: str, session: str | None, job_id: str
    ) -> bool:
        asked = AskedJob(action=action, processor=processor, session=session, job_id=job_id, scope=scope)
        return await awaited(self._authorize(asked)) is True

    async def _serve_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        noted = _Noted(send)
        try:
            parts = parts_of(scope)
            if len(parts) != 2 or parts[1] != "socket":
                raise Problem(404, "Nothing is at this address.")
            job = await self._job(scope, parts[0], "events")
            may_cancel = await self._may(scope, "cancel", job.processor, job.session_id, job.id)
            with self._room():
                socket = websocket(
                    job,
                    on_disconnect="leave",
                    reveal_errors=self._reveal,
                    may_cancel=may_cancel,
                    origins=self._origins,
                )
                await socket(scope, receive, noted)
        except Exception as error:
            if noted.begun:
                raise
            reason = cut(problem_of(error).detail, MOST_REASON)
            await send({"type": "websocket.close", "code": REFUSED, "reason": reason})

    @contextmanager
    def _room(self) -> Iterator[None]:
        """Room for one stream, or one that waits."""
        if self._streams >= self._max_streams:
            raise Problem(
                503, f"{self._max_streams} streams are open, which is all that may be.", retry_after="5"
            )
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1


class _Noted:
    """Sends, and knows whether anything was sent: then there is no other answer any more."""

    def __init__(self, send: Send) -> None:
        self._send: Final = send
        self.begun = False

    async def __call__(self, message: Message) -> None:
        self.begun = True
        await self._send(message)


async def _shown(job: Job[Any]) -> dict[str, Any]:
    return {"id": job.id, "processor": job.processor, **await told_status(job)}


async def _wait(job: Job[Any], receive: Receive, seconds: float) -> None:
    """Until the job has ended, so many seconds are over, or whoever waits has gone."""

    async def watch() -> None:
        await until_gone(receive)
        tasks.cancel_scope.cancel()

    with unwrapped(), anyio.move_on_after(seconds):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            await job.result()
            tasks.cancel_scope.cancel()


async def _nothing_to_do(receive: Receive, send: Send) -> None:
    """Served alone, it is asked whether it has begun."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
