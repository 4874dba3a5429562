"""Jobs that are submitted many at a time: so many in each step of the store, and none is waited for.

While the store takes the ones, the next ones are written down: two steps' worth is all that is held of them.
Nothing is kept of a job here once the store has it, so whoever asks for its outcome joins it by its id.
"""

from __future__ import annotations

import copy
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final, Generic, TypeVar, overload

from am2z_trio.concurrency import Host
from am2z_trio.concurrency.groups import unwrapped
from am2z_trio.engine.processors.processor import Processor
from am2z_trio.model.checks import require
from am2z_trio.model.codec import StateCodec
from am2z_trio.model.errors import AM2ZError, ConfigurationError, UnknownOutcomeError
from am2z_trio.model.ids import chosen_id, is_made
from am2z_trio.model.limits import KIB
from am2z_trio.model.records import NO_STATE, Bulk, BulkAnswer
from am2z_trio.model.telling import attempt

from .job import Job, listen
from .outgoing import refusal_of
from .preparation import Preparation
from .request import SubmitRequest, require_nobody_waits

S = TypeVar("S")

MOST: Final = 250
"""Jobs of one step: some milliseconds of the store."""

MOST_BYTES: Final = 256 * KIB
"""Bytes of states of one step, and at most one state more."""

AT_ONCE: Final = 50
"""Jobs that are written down before others have a turn: a fraction of a millisecond."""

ANY_STATE: Final[Any] = 0
"""Stands for what each of them is given, where all are checked together."""

END: Final[Any] = object()


class Ids(Sequence[str]):
    """The ids of many jobs, in order. Those that the engine has made are numbers behind one beginning: all
    that is kept of them is where they begin anew."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._runs: list[tuple[str, int] | list[str]] = []
        self._length = 0
        self._next: tuple[str, int] | None = None

    def add(self, bulk: Bulk, many: int) -> None:
        """The first ones of these have been accepted."""
        if many and (bulk.chosen or (bulk.prefix, bulk.first) != self._next):
            self._starts.append(self._length)
            self._runs.append(bulk.chosen[:many] if bulk.chosen else (bulk.prefix, bulk.first))
        self._next = None if bulk.chosen else (bulk.prefix, bulk.first + many)
        self._length += many

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(self._length))]
        number = range(self._length)[index]
        place = bisect_right(self._starts, number) - 1
        run, offset = self._runs[place], number - self._starts[place]
        return run[offset] if isinstance(run, list) else f"{run[0]}{run[1] + offset:x}"


class Jobs(Sequence[Job[S]]):
    """Handles of many jobs, each made when it is looked at."""

    def __init__(self, ids: Ids, handle: Callable[[str], Job[S]]) -> None:
        self._ids = ids
        self._handle = handle

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, index: int) -> Job[S]: ...
    @overload
    def __getitem__(self, index: slice) -> list[Job[S]]: ...
    def __getitem__(self, index: int | slice) -> Job[S] | list[Job[S]]:
        if isinstance(index, slice):
            return [self._handle(id) for id in self._ids[index]]
        return self._handle(self._ids[index])

    def __repr__(self) -> str:
        return f"<{len(self):,} jobs>"

    async def wait(self) -> None:
        """Wait until all have ended; some of them are listened for at a time."""
        for start in range(0, len(self), MOST):
            some = self[start : start + MOST]
            for job in some:
                listen(job)
            for job in some:
                await job.result()


class _Written:
    """Jobs that can be sent together."""

    __slots__ = ("chosen", "first", "inputs", "size", "states", "stored")

    def __init__(self, first: int) -> None:
        self.first = first
        """Which one of all the first one is."""
        self.states: list[bytes] = []
        self.chosen: list[str] = []
        self.inputs: list[str] = []
        self.stored = False
        """They work on the stored state of their session."""
        self.size = 0

    @property
    def is_full(self) -> bool:
        return len(self.states) >= MOST or self.size >= MOST_BYTES


class BulkSubmission(Generic[S]):
    """One call that submits many jobs, in their order. What has been accepted are the first ones, always."""

    def __init__(
        self,
        host: Host,
        preparation: Preparation,
        send: Callable[[Bulk], Awaitable[BulkAnswer]],
        processor: Processor[S] | str,
        states: Iterable[S | None],
        job_ids: Iterable[object] | None,
        request: SubmitRequest,
    ) -> None:
        self._host = host
        self._preparation = preparation
        self._send = send
        self._processor = processor
        self._request = request
        self._states = iter(states)
        self._chosen = None if job_ids is None else iter(job_ids)
        self._held: list[S | None] = []
        """The next state, where it could not go with those before it."""
        self._read = 0
        self._fault: Exception | None = None
        """Why nothing further is read."""
        self._failed: AM2ZError | None = None
        """Why nothing further is sent."""
        self._free = host.event()
        """Set while nothing is on its way."""
        self._free.set()
        self.ids: Final = Ids()

    async def run(self) -> StateCodec[S]:
        """Submit all of them; what it raises says how many had been accepted."""
        made = await self._preparation.prepare(self._processor, ANY_STATE, self._request)
        require_nobody_waits(self._request.options)
        throttle = None if self._request.options is None else self._request.options.throttle
        require(throttle is None, "options.throttle", throttle, "must be None: it goes with one job each")
        with unwrapped():
            async with self._host.open_nursery() as nursery:
                while True:
                    written = await self._write_down(made.codec)
                    await self._free.wait()
                    if self._failed is not None or not written.states:
                        break
                    self._free = self._host.event()
                    nursery.start_soon(self._send_written, written)
        if self._failed is not None:
            raise self._failed
        if self._fault is not None:
            raise self._fault
        return made.codec

    # --- written down -----------------------------------------------------------------------

    async def _write_down(self, codec: StateCodec[S]) -> _Written:
        """The next ones that can go together; none at the end."""
        written = _Written(self._read)
        while not written.is_full and self._fault is None:
            try:
                if not self._write_next(written, codec):
                    break
            except AM2ZError as error:
                self._fault = self._placed(error, f"states[{self._read}]", self._read)
            if self._read % AT_ONCE == 0:
                await self._host.checkpoint()
        return written

    def _write_next(self, written: _Written, codec: StateCodec[S]) -> bool:
        """Add the next job; returns whether there may be more to add."""
        try:
            state = self._held.pop() if self._held else next(self._states, END)
        except Exception as error:
            self._raised(error)
            return False
        if state is END:
            if self._next_id() is not END and self._fault is None:
                raise self._uneven()
            return False
        stored = state is None
        if stored and self._request.session is None:
            raise ConfigurationError(
                "it is neither a state nor given a session whose stored state it could work on"
            )
        if written.states and stored != written.stored:
            self._held.append(state)
            return False
        blob = bytes(NO_STATE) if state is None else codec.encode(state)
        if self._chosen is not None:
            given = self._next_id()
            if self._fault is not None:
                return False
            written.chosen.append(self._chosen_id(given))
            written.inputs.append(codec.digest(state))
        written.stored = stored
        written.states.append(blob)
        written.size += len(blob)
        self._read += 1
        return True

    def _next_id(self) -> object:
        """The next one that is given; `END` where there is none, or none can be read."""
        try:
            return END if self._chosen is None else next(self._chosen, END)
        except Exception as error:
            self._raised(error)
            return END

    def _raised(self, error: Exception) -> None:
        """What is given cannot be read any further."""
        note = f"submit_many: what came before, {self._read:,} jobs, has been accepted"
        # Not every exception takes one.
        attempt(partial(error.add_note, note), None)
        self._fault = error

    def _chosen_id(self, given: object) -> str:
        if given is END:
            raise self._uneven()
        id = chosen_id(given, self._request.session)
        require(not is_made(id), "job_id", given, "must not be an id that the engine has made")
        return id

    def _uneven(self) -> AM2ZError:
        rule = "must be as many as the states"
        return ConfigurationError(f"job_ids: {rule}", context={"field": "job_ids", "rule": rule})

    # --- sent -------------------------------------------------------------------------------

    async def _send_written(self, written: _Written) -> None:
        first, many = written.first, len(written.states)
        try:
            state = None if written.stored else ANY_STATE
            made = await self._preparation.prepare(self._processor, state, self._request)
            bulk = self._preparation.bulk_of(made.request, written.states, written.chosen, written.inputs)
            answer = await self._send(bulk)
        except AM2ZError as raised:
            error = raised
            place = f"states[{first}] to states[{first + many - 1}]" if many > 1 else f"states[{first}]"
            if error.context.get("in_doubt") and not isinstance(error, UnknownOutcomeError):
                why = f"they may have been accepted, or not, when they were sent first: {error.message}"
                error = UnknownOutcomeError(why, cause=error)
            self._failed = self._placed(error, place, first)
        else:
            self.ids.add(bulk, answer.accepted)
            if answer.refused is not None:
                index = first + answer.accepted
                refusal = refusal_of(bulk.job(answer.accepted), answer.refused)
                self._failed = self._placed(refusal, f"states[{index}]", index)
        finally:
            self._free.set()

    def _placed(self, error: AM2ZError, place: str, index: int) -> AM2ZError:
        """The error, as that of one of them. Others may hold the one that it is made of."""
        placed = copy.copy(error)
        placed.message = f"{place}: {error.message} ({index:,} jobs before it were accepted)"
        placed.args = (placed.message,)
        placed.context = {**error.context, "index": index, "accepted": index}
        placed.__cause__ = error.__cause__
        return placed
