"""Signals: what jobs wait for that anybody may send."""

from __future__ import annotations

import secrets
from typing import Any

from am2z_trio.engine.sessions.session import Session
from am2z_trio.engine.submission.job import Job
from am2z_trio.engine.submission.request import require_session
from am2z_trio.model.checks import require_text
from am2z_trio.model.codec import encode_state
from am2z_trio.model.errors import JobNotFoundError
from am2z_trio.model.ids import meant_id
from am2z_trio.model.limits import MAX_ANY_ID_BYTES, MAX_NAME_BYTES, MAX_SIGNAL_BYTES
from am2z_trio.model.records import MOST_SIGNALS, Signal, SignalAnswer
from am2z_trio.model.waits import SignalRefusedError

from .events import EventMethods


class SignalMethods(EventMethods):
    """What a runtime's user may send to jobs."""

    async def signal(
        self, target: Job[Any] | Session | str, name: str, value: Any = None, *, session: str | None = None
    ) -> None:
        """Send a signal to a job that waits for it, or will (`ctx.wait_for`): to its handle, or its id in
        full, or with `session` to the `job_id` that it was given there. To a session: one of its jobs takes
        it.

        Returns when the store has it. It is kept until it is taken, whether anybody waits for it yet or not,
        and delivered once; a job that is parked for it goes back to the front of its queue in that step. The
        value may be whatever a state may, of up to 64 KiB. Raises `JobNotFoundError` where there is no such
        job, and `SignalRefusedError` where it has ended, or 100 signals are there already that nobody has
        taken. Cancelled, it may have been sent.
        """
        if isinstance(target, Session):
            await self.signal_session(target.id, name, value)
            return
        id = target.id if isinstance(target, Job) else require_text("target", target, most=MAX_ANY_ID_BYTES)
        await self._signal_job(id if session is None else meant_id(id, require_session(session)), name, value)

    async def signal_session(self, session: str, name: str, value: Any = None) -> None:
        """As `signal`, to a session by its id: the job of it takes it that has waited longest for one of this
        name. Without any it is kept for a week after the last one, or until the session is stopped."""
        session, signal = require_session(session), new_signal(name, value)
        answer = await self._running().store.waits.signal_session(session, signal)
        _require_kept(answer, signal, f"session {session!r}", {"session": session})

    async def _signal_job(self, id: str, name: str, value: Any) -> None:
        signal = new_signal(name, value)
        answer = await self._running().store.waits.signal(id, signal)
        if answer == "gone":
            raise JobNotFoundError(f"no record of job {id}", context={"job": id})
        _require_kept(answer, signal, f"job {id}", {"job": id})


def new_signal(name: object, value: object) -> Signal:
    """One that is sent once, however often the call is; checked."""
    name = require_text("name", name, most=MAX_NAME_BYTES)
    return Signal(name=name, value=encode_state(value, max_bytes=MAX_SIGNAL_BYTES), op=secrets.token_hex(8))


def _require_kept(answer: SignalAnswer, signal: Signal, whose: str, about: dict[str, str]) -> None:
    if answer == "kept":
        return
    why = {
        "ended": "it has ended",
        "full": f"{MOST_SIGNALS} signals are there, or 1 MiB of them, that nobody has taken",
        "stopped": "it is being stopped",
    }[answer]
    raise SignalRefusedError(
        f"{whose} takes no signal {signal.name!r}: {why}",
        context={**about, "signal": signal.name, "reason": answer},
    )
