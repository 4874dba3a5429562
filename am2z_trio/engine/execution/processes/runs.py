"""A job's run in a process: a seat for it, what it asks for meanwhile, and how it ends."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from am2z_trio.concurrency import Host, Nursery
from am2z_trio.concurrency.groups import unwrapped
from am2z_trio.engine.claim import Claim
from am2z_trio.engine.execution.attempt import Attempt
from am2z_trio.engine.execution.settlements import Encoded
from am2z_trio.engine.processors.context import CallRequest, Context
from am2z_trio.engine.processors.registry import Definition
from am2z_trio.model.codec import encode_record
from am2z_trio.model.error_records import record_of
from am2z_trio.model.errors import AM2ZError
from am2z_trio.model.logs import Log

from .pool import Pool
from .protocol import Answer, Ask, Call, Emit, Line, ReadState, Report, Run, There, Wait

if TYPE_CHECKING:
    # As in `pool`.
    from .process import Child

logger: Final = Log("am2z_trio.jobs")

LEVELS: Final = logging.getLogger("am2z_trio.jobs")


class Seat(NamedTuple):
    """The process that a job is to run in, or why there is none."""

    child: Child | None
    error: AM2ZError | None


class ProcessRuns:
    """The runs of one node's jobs in its processes."""

    def __init__(self, host: Host, node: str, pool: Pool) -> None:
        self.pool = pool
        self._host = host
        self._node = node
        self._seats: dict[Claim, Seat] = {}

    @property
    def openings(self) -> float:
        """How many more jobs may be claimed for it."""
        return self.pool.room.free

    @property
    def is_full(self) -> bool:
        """A job that has its place may begin."""
        return False

    def waits(self, claim: Claim) -> bool:
        """Every job needs a `seat`."""
        return True

    @asynccontextmanager
    async def seat(self, claim: Claim, definition: Definition) -> AsyncIterator[None]:
        """Around a run of the job: a process is ready for it then, as to wait for one is no run. Stopped
        meanwhile, or too late, it has none, and its code is not to be begun."""
        host, grant = self._host, claim.grant
        deadline = inf if grant.remaining is None else claim.since + grant.remaining
        child: Child | None = None
        error: AM2ZError | None = None
        own_room = False
        claim.scope = scope = host.cancel_scope(deadline=deadline)
        try:
            with scope:
                if claim.stop is None:
                    if not self._has_room(claim):
                        await self.pool.room.acquire()
                        own_room = claim.counts = True
                        claim.room = self.pool.room
                    try:
                        assert definition.place is not None
                        child = await self.pool.take(definition, definition.place)
                    except AM2ZError as raised:
                        error = raised
            claim.scope = None
            self._seats[claim] = Seat(child, error)
            yield
        finally:
            self._seats.pop(claim, None)
            if child is not None:
                self.pool.give_back(child)
            if own_room and claim.counts:
                claim.counts = False
                self.pool.room.release()

    def _has_room(self, claim: Claim) -> bool:
        """Whether it was given some with its place, or is run by a job that has, and is done with it."""
        room = self.pool.room
        caller = claim.caller
        return any(
            one is not None and one.counts and one.room is not None and one.room.includes(room)
            for one in (claim, caller)
        )

    async def call(self, attempt: Attempt, context: Context | None) -> Encoded:
        """What the job returns, encoded. Cancelled, its process ends with it, or obeys."""
        child, error = self._seats[attempt.claim]
        if error is not None:
            raise error
        assert child is not None
        run = self._run_of(attempt)
        try:
            with unwrapped():
                async with self._host.open_nursery() as calls:
                    heard = partial(self._hear, attempt, context, child, calls)
                    done = await child.run(run, heard)
                    calls.cancel_scope.cancel()
        except AM2ZError:
            raise
        except BaseException:
            with self._host.cancel_scope(shield=True):
                await child.stop(self.pool.options.cancel_grace)
            raise
        if attempt.stored is not None and done.updated is not None:
            attempt.stored.updated = done.updated
        return Encoded(bytes(done.state))

    def _run_of(self, attempt: Attempt) -> Run:
        grant, now = attempt.grant, self._host.now()
        return Run(
            grant=msgspec.structs.replace(grant, errors=b""),
            started=attempt.started,
            node=self._node,
            remaining=None if attempt.ends == inf else max(0.0, attempt.ends - now),
            # Of what is not logged here, some may be kept all the same.
            level=min(logging.INFO, LEVELS.getEffectiveLevel()),
        )

    async def whereabouts(self, claim: Claim) -> list[There]:
        """Where the code of a job in processes is: its own, and of what it runs within itself. Takes a second
        at most."""
        seats = [(one, seat.child) for one, seat in self._seats.items() if one.root is claim and seat.child]
        found = list[There]()

        async def ask(one: Claim, child: Child) -> None:
            found.append(await child.looking.ask(one.grant.spec.processor, one.grant.token))

        if seats:
            async with self._host.open_nursery() as nursery:
                for one, child in seats:
                    nursery.start_soon(ask, one, child)
        return found

    # --- what it asks for -------------------------------------------------------------------

    async def _hear(
        self, attempt: Attempt, context: Context | None, child: Child, calls: Nursery, ask: Ask
    ) -> None:
        if context is None:
            # Its function takes none: nobody has asked.
            return
        if isinstance(ask, Line):
            text = f"{ask.text}: {ask.trace}" if ask.trace else ask.text
            context.log.log(ask.level, "%s", text)
        elif isinstance(ask, Emit):
            try:
                context.emit(ask.event, msgspec.msgpack.decode(ask.data))
            except AM2ZError as error:
                # It was checked where it was emitted.
                logger.warning("an event of %r is lost: %s", attempt.processor.name, error)
        else:
            # Side by side: one of them may wait for very long.
            calls.start_soon(self._answer, attempt, context, child, ask)

    async def _answer(
        self, attempt: Attempt, context: Context, child: Child, ask: Report | Call | Wait | ReadState
    ) -> None:
        try:
            if isinstance(ask, Report):
                await context.update_progress(ask.progress)
                child.answer(Answer(ask.number))
            elif isinstance(ask, Wait):
                heard = await context.services.wait(ask.key, ask.name, ask.seconds)
                child.answer(Answer(ask.number, msgspec.Raw(encode_record(heard))))
            elif isinstance(ask, ReadState):
                child.answer(Answer(ask.number, record=await context.state.record()))
            else:
                answer = await self._made(attempt.claim, context, ask)
                child.answer(Answer(ask.number, msgspec.Raw(encode_record(answer))))
        except AM2ZError as error:
            child.answer(Answer(ask.number, error=record_of(error)))

    async def _made(self, claim: Claim, context: Context, ask: Call) -> Any:
        """What has become of a call."""
        state = msgspec.msgpack.decode(ask.state)
        request = CallRequest(
            ask.processor, state, ask.key, ask.session, ask.timeout, ask.options, by_key=ask.by_key
        )
        if ask.sent:
            return await context.services.send(request)
        if claim.root is claim:
            # Its holder gives its room up meanwhile.
            return await context.services.call(request, context)
        async with self._room_given_up(claim):
            return await context.services.call(request, context)

    @asynccontextmanager
    async def _room_given_up(self, claim: Claim) -> AsyncIterator[None]:
        """Around a call of a job that runs within another one: else both might wait for the same room."""
        room, claim.calls = self.pool.room, claim.calls + 1
        if claim.counts:
            claim.counts = False
            room.release()
        try:
            yield
        finally:
            claim.calls -= 1
            if not claim.calls and claim.room is room:
                await room.acquire(first=True)
                if claim.counts or claim.calls:
                    room.release()
                else:
                    claim.counts = True
