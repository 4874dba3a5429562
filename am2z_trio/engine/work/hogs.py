"""Jobs that keep the event loop to themselves: they are seen, and a person is told.

A scope cancels code where it awaits. Code that does not (`time.sleep`, a long computation in an `async def`)
goes on past its timeout, and nothing else on the node gets on meanwhile. A thread looks a few times a second
at what the loop's own one is at. Where that is a job's code, the loop is asked for a sign of life; without an
answer it is that job which keeps it, and as soon as it has run for longer than it may, that is said, with the
place. A job costs one comparison for this, when it ends.
"""

from __future__ import annotations

import threading
import time
import traceback
from contextvars import Context
from functools import partial
from math import inf
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final

import anyio

from am2z_trio.concurrency import Host
from am2z_trio.engine.claim import Claim, running
from am2z_trio.engine.execution.lines import other_threads
from am2z_trio.engine.processors.registry import Registry
from am2z_trio.model.errors import DeadlineExceededError, ProcessorTimeoutError
from am2z_trio.model.logs import Log, attributes
from am2z_trio.model.records import Settlement
from am2z_trio.model.telling import attempt

from .claims import Claims

if TYPE_CHECKING:
    from am2z_trio.model.views.health import Blocked

    from .blocked import Place

logger: Final = Log("am2z_trio.jobs")

LOOK_EVERY: Final = 0.25
"""Seconds between two looks; twice that is what is seen for certain."""

LATE: Final = 0.1
"""Seconds after its limit at which a job's end is late: a loop that is busy comes a little later."""

REMEMBERED: Final = 64
"""Jobs of which it is remembered that they were seen."""

MOST_FRAMES: Final = 20
"""Of the place that is told."""

_ENGINE: Final = str(Path(__file__).parents[1])
_HOSTS: Final = (str(Path("trio", "_core", "_run.py")), str(Path("asyncio", "events.py")))
_TASKS: Final = ("task", "self")
"""What a host calls the task that it runs, in the frame that does, and where that is."""


class _Suspect:
    """A job whose code was met, and whether the loop has run something else since."""

    __slots__ = ("answered", "claim", "kept", "place", "seen", "since")

    def __init__(self, claim: Claim, since: float) -> None:
        self.claim = claim
        self.since = self.seen = since
        self.kept = 0.0
        """Seconds in which it was seen to keep the loop: where the whole process stood still, that is no
        job's doing."""
        self.answered = False
        self.place: Place | None = None
        """Where it was when it had kept it for too long."""

    def look(self, now: float) -> None:
        """It is still at it."""
        self.kept += min(now - self.seen, 2 * LOOK_EVERY)
        self.seen = now

    def answer(self) -> None:
        self.answered = True


class Hogs:
    """Watches one node's loop."""

    def __init__(self, host: Host, claims: Claims, registry: Registry, too_long: float) -> None:
        """`too_long`: seconds for which no job is to keep the loop to itself, whatever its timeout."""
        self._host = host
        self._claims = claims
        self._registry = registry
        # Loaded by the first node, not by whoever imports the package.
        from .blocked import BlockedPlaces

        self._too_long = too_long
        self._places = BlockedPlaces()
        self._seen: dict[Claim, float] = {}
        """By job: since when it was seen to keep the loop, by the monotonic clock. Written by the thread."""

    def blocked(self) -> list[Blocked]:
        """Where jobs have kept the loop to themselves in the last hour."""
        return self._places.lately(time.monotonic())

    async def run(self) -> None:
        """Watch until cancelled. Whatever goes wrong with that, the node goes on."""
        over = threading.Event()
        loop, ask = threading.get_ident(), self._host.asker()
        ahead = self._host.now() - time.monotonic()

        def watch() -> None:
            suspect: _Suspect | None = None
            while not over.wait(LOOK_EVERY):
                suspect = attempt(partial(self._look, loop, suspect, ahead), suspect)
                if suspect is not None and suspect.since == inf:
                    suspect.since = suspect.seen = time.monotonic()
                    try:
                        ask(suspect.answer)
                    except RuntimeError:
                        # The loop has ended.
                        return

        try:
            await self._host.run_in_thread(watch, lambda: None, anyio.CapacityLimiter(1))
        except RuntimeError as error:
            logger.warning(
                "jobs that keep the event loop to themselves are not told of on this node: %s", error
            )
        finally:
            over.set()
        await self._host.event().wait()

    def _look(self, loop: int, suspect: _Suspect | None, ahead: float) -> _Suspect | None:
        """What is suspected after this look; a new suspect is `since` ever."""
        frames = other_threads() if len(self._claims) else {}
        frame = frames.get(loop)
        found = None if frame is None else attempt(lambda: _whose(frame), None)
        if found is None:
            return None
        claim, inner = found
        if suspect is None or suspect.answered or suspect.claim is not claim:
            return _Suspect(claim, inf)
        now = time.monotonic()
        self._remember(claim, suspect.since)
        suspect.look(now)
        limit, taken = self._limit(claim), now + ahead - claim.began
        if suspect.place is not None:
            self._places.lasts(suspect.place, now, suspect.kept)
        elif taken > limit or suspect.kept > self._too_long:
            place = suspect.place = self._places.spot(claim.grant.spec.processor, inner)
            others = self._places.begin(place, now)
            self._places.lasts(place, now, suspect.kept)
            said = f"keeps the event loop to itself, for {suspect.kept:.1f} s by now"
            if taken > limit:
                said = f"has run for {taken:.2f} s, its limit is {limit:.3g} s, and it keeps"
                said += " the event loop to itself"
            if others is not None:
                said += f", as {others:,} jobs have there since that was told" if others else ""
                self._tell(claim, taken if taken > limit else suspect.kept, said, _place(inner))
        return suspect

    def _remember(self, claim: Claim, since: float) -> None:
        self._seen.setdefault(claim, since)
        # The loop takes some out meanwhile.
        for one in list(self._seen)[:-REMEMBERED]:
            self._seen.pop(one, None)

    def _limit(self, claim: Claim) -> float:
        """Seconds that the job may run: its timeout, or what its caller's deadline leaves it."""
        grant = claim.grant
        definition, timeout = self._registry.get(grant.spec.processor), grant.spec.timeout
        if timeout is None and definition is not None:
            timeout = definition.processor.timeout
        remaining = inf if grant.remaining is None else claim.since + grant.remaining - claim.began
        return min(inf if timeout is None else timeout, remaining)

    def _tell(self, claim: Claim, seconds: float, said: str, place: str) -> None:
        logger.warning(
            "%r %s: no scope can stop code that does not await, and nothing else here gets on (job %s%s)",
            claim.grant.spec.processor,
            said,
            *_which(claim),
            trace=place,
            about=_about(claim, seconds),
        )

    def ended(self, claim: Claim, settlement: Settlement | None) -> None:
        """A job's code has returned that ran for a while; says so if that was longer than it may, and no
        scope could end it."""
        since = self._seen.pop(claim, None) if self._seen else None
        definition = self._registry.get(claim.grant.spec.processor)
        if definition is None or (since is None and not definition.processor.in_loop):
            # Of what runs elsewhere only what it returns can be met in the loop, to be awaited there.
            return
        seconds, limit = claim.ended - claim.began, self._limit(claim)
        if seconds - limit < LATE:
            return
        if since is None and (settlement is None or _was_cancelled(settlement)):
            # It was late to be cancelled: another one has kept the loop, or it has cleaned up.
            return
        why = "it has kept the event loop to itself"
        if since is None:
            why = "it did not await, or was shielded"
        logger.warning(
            "%r has run for %.3g s, %.3g s longer than its limit of %.3g s, and no scope could stop it: %s "
            "(job %s%s). Code that blocks belongs into a plain def, which runs in a thread",
            claim.grant.spec.processor,
            seconds,
            seconds - limit,
            limit,
            why,
            *_which(claim),
            about=_about(claim, seconds),
        )


def _was_cancelled(settlement: Settlement) -> bool:
    return settlement.outcome in ("cancelled", "released", "parked") or settlement.reason.startswith(
        (f"{ProcessorTimeoutError.code}\n", f"{DeadlineExceededError.code}\n")
    )


def _which(claim: Claim) -> tuple[str, str]:
    spec = claim.grant.spec
    return spec.id, f" in session {spec.session!r}" if spec.session else ""


def _about(claim: Claim, seconds: float) -> dict[str, object]:
    spec = claim.grant.spec
    return attributes(job=spec.id, processor=spec.processor, session=spec.session, seconds=seconds)


def _whose(frame: FrameType) -> tuple[Claim, list[FrameType]] | None:
    """The job whose code that thread runs, and its frames from the inside out; `None` for no job's."""
    inner: list[FrameType] = []
    one: FrameType | None = frame
    while one is not None:
        if one.f_code.co_filename.startswith(_ENGINE):
            claim = one.f_locals.get("claim")
            if isinstance(claim, Claim):
                return claim, inner
        elif one.f_code.co_filename.endswith(_HOSTS):
            # Of a task that a job has started: its context knows the job.
            for name in _TASKS:
                task = one.f_locals.get(name)
                context = getattr(task, "context", None) or getattr(task, "_context", None)
                claim = context.get(running) if isinstance(context, Context) else None
                if claim is not None:
                    return claim, inner
        inner.append(one)
        one = one.f_back
    return None


def _place(inner: list[FrameType]) -> str:
    """Where it is, as Python prints it: the user's code from the outside in."""

    def told() -> str:
        frames = [one for one in inner if not one.f_code.co_filename.startswith(_ENGINE)]
        stack = traceback.StackSummary.extract((one, one.f_lineno) for one in reversed(frames[:MOST_FRAMES]))
        return f"It is here:\n{''.join(stack.format())}" if frames else ""

    return attempt(told, "")
