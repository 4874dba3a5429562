"""The store on Redis: which script for which call."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import Any, Final

from am2z_trio.concurrency import TaskStatus
from am2z_trio.concurrency.told import GiveUp, Told
from am2z_trio.model.codec import encode_record
from am2z_trio.model.errors import (
    AM2ZError,
)
from am2z_trio.model.logs import Log
from am2z_trio.model.options import CircuitBreaker
from am2z_trio.model.records import (
    UNLIMITED,
    Bulk,
    BulkAnswer,
    ClaimAnswer,
    DeadJob,
    Enqueue,
    EnqueueAnswer,
    ForgetAnswer,
    JobView,
    Permit,
    QueueInfo,
    QueueLimits,
    QueueStats,
    RenewAnswer,
    SessionCounts,
    SettleAnswer,
    Settlement,
    Standing,
    TickAnswer,
    plain_name,
)
from am2z_trio.model.redis_options import RedisOptions
from am2z_trio.store.agreed import ENDED_BY_STOP
from am2z_trio.store.ports import (
    BATCH,
    BreakerStep,
    BulkStore,
    Chronicle,
    ControlStore,
    InspectionStore,
    Listener,
    LogStore,
    ReviveAnswer,
    ScheduleStore,
    SilenceStore,
    StateStore,
    StoreSettings,
    WaitStore,
)
from am2z_trio.store.ports.samples import SampleStore
from am2z_trio.wire.resp import Argument

from . import arguments, rows, scripts
from .arguments import milliseconds, require_text
from .begun import enqueue_call, settle_call
from .bulks import RedisBulks
from .chronicle import RedisChronicle
from .control import RedisControl
from .endings import Endings
from .inspection import RedisInspection
from .link import RedisLink
from .logs import RedisLogs
from .samples import RedisSamples
from .schedules import RedisSchedules
from .silences import RedisSilences
from .states import RedisStates
from .waits import RedisWaits
from .witness import Witness

logger: Final = Log("am2z_trio.store")

SWEPT: Final = 500
"""Queues that one look goes through: a lost wake-up of one among thousands is repaired within seconds."""


class RedisStore:
    """`Store` over a link to Redis. Every call is one script, or one command; or several, where what is to be
    sent or answered has too many bytes for one."""

    def __init__(
        self,
        node: str,
        options: RedisOptions,
        *,
        prefix: str = "am2z",
        settings: StoreSettings | None = None,
        clock: Callable[[], int] | None = None,
        elapsed: Callable[[], float] | None = None,
        death: Callable[[], Awaitable[AM2ZError]] | None = None,
    ) -> None:
        """`clock` returns milliseconds, for tests; by default Redis's own clock counts. With `elapsed`, which
        returns seconds, it stands for the server's, which may be set; without, it is the nodes' own.

        `death` waits until the server is known to have ended for good, and returns the error of that: every
        call fails with it, and `run` does.
        """
        settings = settings or StoreSettings()
        self.link = RedisLink(
            node, options, prefix=prefix, clock=clock, server_clock=elapsed is not None, death=death
        )
        self._witness = Witness() if elapsed is None else Witness(elapsed)
        self._kept = (int(settings.result_ttl * 1000), settings.recent)
        self._lease, self._grace = int(settings.lease * 1000), milliseconds(settings.disconnect_grace)
        self._endings = Endings(self.link, self._kept)
        self._states = RedisStates(self.link, settings)
        self.states: StateStore = self._states
        self.bulks: BulkStore = RedisBulks(self.link)
        self.control: ControlStore = RedisControl(self.link, prefix)
        self.inspection: InspectionStore = RedisInspection(self.link)
        self.silences: SilenceStore = RedisSilences(self.link)
        self.logs: LogStore = RedisLogs(self.link)
        self.waits: WaitStore = RedisWaits(self.link)
        self.samples: SampleStore = RedisSamples(self.link)
        self.chronicle: Chronicle = (told := RedisChronicle(self.link, settings.event_history))
        self.publish = told.publish
        self.beat, self.ping = self.link.beat, self.link.ping
        self.schedules: ScheduleStore = RedisSchedules(self.link, self._kept)

    async def run(self, listener: Listener, *, task_status: TaskStatus) -> None:
        await self.link.run(listener, task_status=task_status)

    # --- jobs ---------------------------------------------------------------------------------

    async def enqueue(self, jobs: Sequence[Enqueue], at_rest: Collection[str] = ()) -> list[EnqueueAnswer]:
        call = enqueue_call(self.link.clock, self._kept, self.link.node, jobs, at_rest)
        return rows.enqueue_answers(jobs, await self.link.eval_records(*call))

    def begin_enqueue(self, jobs: Sequence[Enqueue], told: Told, at_rest: Collection[str]) -> GiveUp | None:
        call = enqueue_call(self.link.clock, self._kept, self.link.node, jobs, at_rest)
        return self.link.begin_records(call, partial(rows.enqueue_answers, jobs), told)

    async def enqueue_bulk(self, bulk: Bulk) -> BulkAnswer:
        first = enqueue_call(self.link.clock, self._kept, self.link.node, ()).first
        return rows.bulk_answer(await self.link.eval(scripts.ENQUEUE, *first, *arguments.of_bulk(bulk)))

    async def claim(
        self,
        queue: str,
        seq: int,
        limit: int,
        limits: QueueLimits = UNLIMITED,
        calls_only: bool = False,
        in_a_row: int = 1,
        unasked: int = 0,
    ) -> ClaimAnswer:
        answer = await self.link.eval(
            scripts.CLAIM,
            *(self.link.clock, self.link.node, queue, seq, limit, secrets.token_hex(4), *self._kept),
            *arguments.of_limits(limits),
            *(1 if calls_only else 0, in_a_row, unasked),
        )
        return rows.claim_answer(answer)

    async def settle(self, settlements: Sequence[Settlement]) -> list[SettleAnswer]:
        call = settle_call(self.link.clock, self._kept, self._states.commit_arguments, settlements)
        return rows.settle_answers(await self.link.eval_records(*call))

    def begin_settle(self, settlements: Sequence[Settlement], told: Told) -> GiveUp | None:
        call = settle_call(self.link.clock, self._kept, self._states.commit_arguments, settlements)
        return self.link.begin_records(call, rows.settle_answers, told)

    async def report(self, job: str, token: str, progress: float) -> bool:
        return bool(await self.link.eval(scripts.REPORT, self.link.clock, job, token, repr(float(progress))))

    async def call_for(self, job: str) -> None:
        await self.link.eval(scripts.CALL_FOR, job)

    async def step_aside(self, job: str, token: str) -> None:
        await self.link.eval(scripts.STEP_ASIDE, job, token)

    async def step_back(self, job: str, token: str) -> bool:
        return bool(await self.link.eval(scripts.STEP_BACK, job, token))

    async def cancel(self, job: str, reason: str) -> str | None:
        before = await self.link.eval(
            scripts.CANCEL, self.link.clock, *self._kept, arguments.as_argument(job), reason, ""
        )
        return None if before is None else rows.text(before)

    async def promote(self, job: str) -> str | None:
        before = await self.link.eval(scripts.PROMOTE, arguments.as_argument(job))
        return None if before is None else rows.text(before)

    def cancel_nowait(self, job: str, reason: str) -> None:
        self.link.send(scripts.CANCEL, (self.link.clock, *self._kept, job, reason, ""))

    def leave_nowait(self, job: str, reason: str) -> None:
        self.link.send(scripts.CANCEL, (self.link.clock, *self._kept, job, reason, self.link.node))

    async def view(self, jobs: Sequence[str]) -> list[JobView | None]:
        found = await self.link.eval_records(scripts.VIEW, (), [(arguments.as_argument(id),) for id in jobs])
        return [rows.job_view(job, row) if row else None for job, row in zip(jobs, found, strict=True)]

    # --- dead letters -------------------------------------------------------------------------

    async def dead_page(self, queue: str, offset: int, limit: int) -> list[str]:
        ids = await self.link.eval(scripts.DEAD_PAGE, self.link.clock, queue, offset, limit)
        return [rows.text(job) for job in ids]

    async def dead_jobs(self, jobs: Sequence[str]) -> list[DeadJob | None]:
        ids = [(arguments.as_argument(id),) for id in jobs]
        found = await self.link.eval_records(scripts.DEAD_JOBS, (), ids)
        return [rows.dead_job(job, row) if row else None for job, row in zip(jobs, found, strict=True)]

    async def revive(self, jobs: Sequence[str]) -> list[ReviveAnswer]:
        ids, nonce = map(arguments.as_argument, jobs), secrets.token_hex(8)
        answers = await self.link.eval(scripts.REVIVE, self.link.clock, nonce, *ids)
        return [answer.decode() for answer in answers]

    async def drop_dead_letters(self, jobs: Sequence[str]) -> list[bool]:
        found = await self.link.eval(scripts.BURY, *map(arguments.as_argument, jobs))
        return [bool(answer) for answer in found]

    # --- sessions -----------------------------------------------------------------------------

    async def stop_session(self, session: str, *, running: bool, refuse: float) -> list[str]:
        require_text(session)
        name, cursor, spared = plain_name(session), b"0", set[str]()
        while True:
            cursor, _ended, *left = await self.link.eval(
                scripts.STOP_SESSION,
                *(self.link.clock, *self._kept, name, session, self.link.node),
                *(0 if cursor == b"-1" else cursor, ENDED_BY_STOP, 1 if running else 0, milliseconds(refuse)),
            )
            spared.update(rows.text(job) for job in left)
            if cursor == b"0":
                return list(spared)

    async def stops(self, sessions: Sequence[str]) -> list[int]:
        return list(await self.link.eval(scripts.STOPS, *map(plain_name, sessions)))

    async def active_sessions(self) -> list[str]:
        pages = await self.link.eval_pages(scripts.SESSIONS)
        return list(dict.fromkeys(rows.text(session) for page in pages for session in page))

    async def session_counts(self, session: str) -> SessionCounts:
        require_text(session)
        pages = await self.link.eval_pages(scripts.SESSION_STATS, plain_name(session))
        waiting, active, delayed = map(sum, zip(*pages, strict=True))
        return SessionCounts(waiting=waiting, active=active, delayed=delayed)

    async def breaker(self, processor: str, step: BreakerStep, policy: CircuitBreaker) -> Permit:
        allowed, state, wait = await self.link.eval(
            scripts.BREAKER,
            *(self.link.clock, plain_name(processor), step, secrets.token_hex(8)),
            *(policy.failures, milliseconds(policy.recovery), policy.half_open),
        )
        return Permit(allowed=bool(allowed), state=state.decode(), wait=wait / 1000)

    # --- queues -------------------------------------------------------------------------------

    async def announce(self, queues: Sequence[QueueInfo], *, serves: bool = True) -> None:
        for info in queues:
            require_text(info.processor)
        for start in range(0, len(queues), BATCH):
            args: list[Argument] = [self.link.clock, self.link.node, 1 if serves else 0]
            for info in queues[start : start + BATCH]:
                args += (info.queue, info.processor, encode_record(info.options), "\n".join(info.begins))
            await self.link.eval(scripts.ANNOUNCE, *args)

    def withdraw_nowait(self, queues: Sequence[str], *, retire: bool = False) -> None:
        for start in range(0, len(queues), BATCH):
            args = (self.link.clock, self.link.node, 1 if retire else 0, *queues[start : start + BATCH])
            self.link.send(scripts.WITHDRAW, args)

    async def known_queues(self) -> list[QueueInfo]:
        found: list[QueueInfo] = []
        offset = 0
        while True:
            page = await self.link.eval(scripts.QUEUES, self.link.clock, offset, BATCH)
            offset += len(page)
            found += [info for row in page if (info := rows.queue_info(*row)) is not None]
            if len(page) < BATCH:
                return found

    async def forget_queue(self, queue: str) -> ForgetAnswer:
        left, workers = -2, 0
        while left == -2:
            left, workers = await self.link.eval(scripts.FORGET_QUEUE, self.link.clock, queue)
        return ForgetAnswer(known=left >= 0, jobs=max(0, left), workers=workers)

    async def unpark(self, queue: str) -> None:
        await self.link.eval(scripts.UNPARK, self.link.node, queue)

    async def pause(self, queue: str, on: bool) -> None:
        await self.link.eval(scripts.PAUSE, queue, 1 if on else 0)

    async def stats(self, queues: Sequence[str]) -> list[QueueStats]:
        found = await self.link.eval_records(
            scripts.STATS, (self.link.clock,), [(queue,) for queue in queues]
        )
        return [rows.queue_stats(*row) for row in found]

    # --- nodes --------------------------------------------------------------------------------

    async def join(self) -> None:
        await self.link.eval(scripts.JOIN, self.link.clock, self.link.node, self._lease, self._grace)
        self.link.keep_lease(self._lease / 1000)

    async def leave(self) -> None:
        cursor = b"0"
        while cursor:
            cursor = await self.link.eval(scripts.LEAVE, self.link.clock, *self._kept, self.link.node, cursor)

    async def renew(self, *, look_every: float) -> RenewAnswer:
        self.beat()
        began = time.monotonic()
        answer, still, step = await self._renew(look_every, b"", None)
        if still:
            # Whoever has seen how the server's clock runs says how much time has passed.
            answer, *_ = await self._renew(look_every, still, step)
        if not answer.lost:
            self.link.renewed(began)
        return answer

    async def _renew(
        self, look_every: float, still: bytes, step: float | None
    ) -> tuple[RenewAnswer, bytes, float | None]:
        sent = self._witness.now()
        told = "" if step is None else str(round(step))
        first = (self.link.clock, self.link.node, self._lease, still, told)
        if not look_every:
            lost, server, still, held = await self.link.eval(scripts.RENEW, *first)
            answer = RenewAnswer(lost=bool(lost), held=0 if lost else held)
        else:
            lost, server, still, held, wait, schedule, looked, *found = await self.link.eval(
                scripts.BEAT, *first, milliseconds(look_every), *self._kept, self._grace, BATCH, SWEPT
            )
            seen = self._found(0, *found) if looked else None
            answer = rows.beat_answer(lost, wait, seen, held, schedule)
        return answer, still, self._witness.note(server, sent)

    def rest(self, wake: Callable[[], object]) -> float:
        return 0.0

    async def tick(self, *, reap: bool = True) -> TickAnswer:
        self.beat()
        first = (self.link.clock, *self._kept, self.link.node, self._lease, self._grace)
        return self._found(*await self.link.eval(scripts.TICK, *first, BATCH, SWEPT, int(reap)))

    def _found(self, lost: int, reaped: int, more: int, ending: int, failed: list[Any]) -> TickAnswer:
        if ending:
            self._endings.go_on()
        return rows.tick_answer(lost, reaped, more, failed)

    async def reconcile(self, claims: Sequence[tuple[str, str]]) -> list[Standing]:
        answers: list[Standing] = []
        for start in range(0, len(claims), BATCH):
            pairs = [part for claim in claims[start : start + BATCH] for part in claim]
            found = await self.link.eval(scripts.RECONCILE, *pairs)
            answers += [rows.standing(*row) for row in found]
        return answers

    async def holdings(self) -> list[tuple[str, str]]:
        found = dict[bytes, bytes]()
        for page in await self.link.eval_pages(scripts.HOLDINGS, self.link.node):
            found.update(zip(page[::2], page[1::2], strict=True))
        return [(rows.text(job), rows.text(token)) for job, token in found.items()]

    # --- events and health --------------------------------------------------------------------

    async def lineage(self) -> str:
        client, name = self.link.commands, await self.link.eval(scripts.LINEAGE, secrets.token_hex(8))
        assert client is not None
        return f"{rows.text(name)} {client.history or client.server}"

    async def watch_events(self, on: bool) -> None:
        await self.link.watch_events(on)

    @property
    def connections(self) -> dict[str, str]:
        return self.link.connections

    @property
    def was_denied(self) -> bool:
        return self.link.was_denied

    async def lacking(self) -> AM2ZError | None:
        return await self.link.lacking()
