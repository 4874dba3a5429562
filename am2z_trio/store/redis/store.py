"""The store on Redis: records to script arguments, script answers to records."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain
from typing import Any, Final, Literal, TypeVar

import msgspec

from am2z_trio.concurrency import Nursery, TaskStatus, current_host
from am2z_trio.concurrency.groups import unwrapped
from am2z_trio.model.codec import encode_record
from am2z_trio.model.errors import (
    AccessDeniedError,
    AM2ZError,
    RuntimeStateError,
    ServerReplyError,
    UnsupportedServerError,
    ValidationError,
)
from am2z_trio.model.events import Event
from am2z_trio.model.logs import Log
from am2z_trio.model.options import CircuitBreaker
from am2z_trio.model.records import (
    FREE,
    ClaimAnswer,
    DeadJob,
    Enqueue,
    EnqueueAnswer,
    FailedJob,
    Flow,
    ForgetAnswer,
    JobView,
    Permit,
    QueueInfo,
    QueueStats,
    RenewAnswer,
    SessionCounts,
    SessionStopped,
    SettleAnswer,
    Settlement,
    Standing,
    TickAnswer,
    plain_name,
)
from am2z_trio.model.redis_options import RedisOptions
from am2z_trio.store.lasting import lasting
from am2z_trio.store.ports import BreakerStep, Listener, ReviveAnswer, StateStore, StoreSettings
from am2z_trio.wire.client import ConnectionEvent, RedisClient
from am2z_trio.wire.resp import Argument
from am2z_trio.wire.scripts import Script

from . import arguments, rows, scripts
from .access import Probe
from .bundle import LIBRARIES
from .keys import anchor, script_keys, spell
from .lease import LeaseKeeper
from .states import RedisStates, milliseconds, require_text
from .witness import Witness

logger: Final = Log("am2z_trio.store")

BATCH: Final = 100
"""Most jobs, nodes or queues that one housekeeping call touches."""

SWEPT: Final = 500
"""Queues that one look goes through: a lost wake-up of one among thousands is repaired within seconds."""

STOPPED: Final = 50
"""Jobs of a session that one call ends."""

RECORDS: Final = 200
"""Most records of one call; more are several calls."""

KEPT_LIBRARIES: Final = 8
"""Libraries of functions of other versions that are kept side by side: about 100 KB each."""

ENDING_PAUSE: Final = 0.005
"""Seconds between two calls that end what many jobs' parents had called."""

REQUEST_BYTES: Final = 1024 * 1024
"""Bytes of payloads in one call, and at most one payload more: some milliseconds of a script."""
T = TypeVar("T")


class RedisStore:
    """`Store` over two connections: one for commands, one that hears. Every call is one script, or one
    command; or several, where what is to be sent or answered has too many bytes for one.

    What the node hears (outcomes, wake-ups, requests to cancel, events) has no order with the answers to what
    it asks: a push may come before the answer of the very call that has caused it, or after it.
    """

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
        self._node = node
        self._options = options
        self._settings = settings
        self._prefix = prefix
        self._keys = script_keys(prefix)
        self._probe = Probe(prefix)
        self._inbox = spell(prefix, "inbox", node).encode()
        self._stops = spell(prefix, "stops").encode()
        self._events = spell(prefix, "events").encode()
        self._ttl = int(settings.result_ttl * 1000)
        self._lease = int(settings.lease * 1000)
        self._grace = milliseconds(settings.disconnect_grace)
        self._given_clock = clock
        self._server_clock = elapsed is not None
        self._witness = Witness() if elapsed is None else Witness(elapsed)
        self._death = death
        self._dead: AM2ZError | None = None
        self._commands: RedisClient | None = None
        self._pushes: RedisClient | None = None
        self._listener: Listener | None = None
        self._nursery: Nursery | None = None
        self._keeper: LeaseKeeper | None = None
        self._ending = False
        self.was_denied = False
        self._refusals: dict[str, str] = {}
        """Why the server refuses a connection again, as it was told last."""
        self._states = RedisStates(
            node, settings, eval=self._eval, send=self._send, clock=lambda: self._clock
        )

    @property
    def states(self) -> StateStore:
        return self._states

    async def run(self, listener: Listener, *, task_status: TaskStatus) -> None:
        host = current_host()
        commands = RedisClient(
            self._options,
            name=f"am2z:{self._node}",
            on_event=lambda event: self._on_connection("commands", event),
        )
        pushes = RedisClient(
            self._options,
            name=f"am2z:{self._node}:pushes",
            on_push=self._on_push,
            on_event=lambda event: self._on_connection("pushes", event),
        )
        self._listener = listener
        try:
            with unwrapped():
                async with host.open_nursery() as nursery:
                    if self._death is not None:
                        nursery.start_soon(self._watch_server, self._death, commands, pushes)
                    await nursery.start(lasting, host, "the connection for commands", commands.run)
                    if commands.holes:
                        logger.warning("%s: %s", self._options.display, commands.holes)
                    if commands.in_cluster:
                        await self._require_slot(commands)
                    missing = await self._missing(commands)
                    await self._forget_libraries(commands)
                    await nursery.start(lasting, host, "the connection that hears", pushes.run)
                    self._commands, self._pushes, self._nursery = commands, pushes, nursery
                    self._keep_together("pushes")
                    for channel in (self._stops, self._inbox):
                        try:
                            await pushes.subscribe(channel)
                        except AccessDeniedError as error:
                            missing += self._probe.named(error.message, "+subscribe")
                    if missing:
                        raise self._probe.error(list(dict.fromkeys(missing)), self._options)
                    task_status.started()
        finally:
            self._commands = self._pushes = self._listener = self._nursery = None

    async def _watch_server(self, death: Callable[[], Awaitable[AM2ZError]], *clients: RedisClient) -> None:
        self._dead = await death()
        for client in clients:
            client.doom(self._dead)
        raise self._dead

    async def _require_slot(self, commands: RedisClient) -> None:
        """Raise `UnsupportedServerError` unless this node of a cluster holds the namespace's one slot."""
        try:
            slot = await commands.call("CLUSTER", "KEYSLOT", anchor(self._prefix))
            own = await commands.call("CLUSTER", "MYID")
            ranges = await commands.call("CLUSTER", "SLOTS")
        except ServerReplyError as error:
            logger.warning("%s does not tell which slots it holds: %s", self._options.display, error)
            return
        holder = next((primary for first, last, primary, *_ in ranges if first <= slot <= last), None)
        if holder is not None and holder[2] == own:
            return
        where = (
            "no node of it does"
            if holder is None
            else f"give the URL of the one that does: {holder[0].decode()}:{holder[1]}"
        )
        raise UnsupportedServerError(
            f"the node of a Redis Cluster at {self._options.display} does not hold slot {slot}, in which all "
            f"keys of prefix {self._prefix!r} lie: {where}",
            context={"url": self._options.display, "slot": slot},
        )

    async def _missing(self, commands: RedisClient) -> list[str]:
        """What the server's access rules do not let this user do: asked in one go."""
        missing: list[str] = []

        async def ask(rule: str, *words: Argument) -> None:
            try:
                await commands.call(*words)
            except AccessDeniedError as error:
                missing.extend(self._probe.named(error.message, rule))
            except ServerReplyError:
                # There is no such script: it was looked for.
                pass

        async with current_host().open_nursery() as nursery:
            nursery.start_soon(ask, "+eval", "EVAL", "return 0", 0)
            nursery.start_soon(ask, "+evalsha", "EVALSHA", "0" * 40, 0)
            nursery.start_soon(ask, "+script|load", "SCRIPT", "LOAD", "return 0")
            nursery.start_soon(ask, "+ping", "PING")
        if "+eval" in missing or "+evalsha" in missing:
            return missing
        return [*self._probe.missing(await commands.eval(scripts.PROBE, (), self._probe.arguments)), *missing]

    async def _forget_libraries(self, commands: RedisClient) -> None:
        """Libraries of other versions go where there are many. Nobody asks who uses them: who still does
        teaches the server his own anew, and runs scripts meanwhile."""
        if not commands.programs.has_functions:
            return
        try:
            listed = await commands.call("FUNCTION", "LIST", "LIBRARYNAME", f"{LIBRARIES}*")
            names = {one[b"library_name"].decode() for one in listed} - {scripts.LIBRARY.name}
            for name in names if len(names) >= KEPT_LIBRARIES else ():
                await commands.call("FUNCTION", "DELETE", name)
        except ServerReplyError as error:
            # Or somebody else was quicker.
            logger.debug("the libraries of other versions stay: %s", error)

    async def lacking(self) -> AM2ZError | None:
        if self._commands is None:
            raise self._not_running()
        try:
            answers = await self._commands.eval(scripts.PROBE, (), self._probe.arguments)
            missing: Sequence[str] = self._probe.missing(answers)
        except AccessDeniedError as error:
            missing = self._probe.named(error.message, "+evalsha")
        self.was_denied = bool(missing)
        return self._probe.error(missing, self._options, lost=True) if missing else None

    def _not_running(self) -> AM2ZError:
        return self._dead or RuntimeStateError("the Redis store is not running")

    def _keep_lease(self) -> None:
        """From now on a thread keeps the lease; one is enough, however often the node joins."""
        if self._keeper is not None or self._nursery is None:
            return
        self._keeper = LeaseKeeper(
            self._options,
            prefix=self._prefix,
            node=self._node,
            lease=self._settings.lease,
            clock=lambda: self._clock,
        )
        self._nursery.start_soon(self._lend_thread, self._keeper)

    async def _lend_thread(self, keeper: LeaseKeeper) -> None:
        try:
            await keeper.run_in_thread()
        finally:
            self._keeper = None

    # --- what arrives -----------------------------------------------------------------------

    def _on_push(self, channel: bytes, payload: bytes) -> None:
        listener = self._listener
        if listener is None:
            return
        if channel in (self._inbox, self._stops):
            for message in rows.messages(payload, rows.decode_inbox, rows.decode_message):
                if not isinstance(message, SessionStopped) or message.by != self._node:
                    listener.on_message(message)
        elif channel == self._events:
            for event in rows.messages(payload, rows.decode_events, rows.decode_event):
                listener.on_event(event)

    def _on_connection(self, which: Literal["commands", "pushes"], event: ConnectionEvent) -> None:
        listener = self._listener
        if listener is None:
            return
        listener.on_event(
            Event(
                f"connection:{event.name}",
                int(time.time() * 1000),
                self._node,
                data={"connection": which, "attempt": event.attempt, "error": event.error},
            )
        )
        if event.name == "lost":
            logger.warning(
                "the connection to Redis for %s is lost, and is being made anew: %s", which, event.error
            )
        if event.name == "reconnecting" and event.error != self._refusals.get(which):
            client = self._commands if which == "commands" else self._pushes
            if client is not None and client.state == "error":
                self._refusals[which] = event.error
                logger.error(
                    "the server refuses the connection for %s, which is tried again: %s", which, event.error
                )
        if event.name == "ready":
            self._refusals.pop(which, None)
            self._keep_together(which)
            if event.attempt:
                logger.warning("the connection to Redis for %s is back", which)
                if which == "pushes":
                    listener.on_reconnect()

    def _keep_together(self, which: Literal["commands", "pushes"]) -> None:
        """One connection stands anew, so it is where the name leads now: the other one is to be there, too.

        A node whose commands go to a new primary while it listens at the old one would count as dead.
        """
        if self._commands is None or self._pushes is None:
            return
        pair = (self._commands, self._pushes)
        this, other = pair if which == "commands" else pair[::-1]
        other.hurry()
        if this.server != other.server and this.server and other.server:
            other.renew("the node's other connection leads to another server now")

    # --- calls ------------------------------------------------------------------------------

    async def _eval(self, script: Script, *args: Argument) -> Any:
        if self._commands is None:
            raise self._not_running()
        try:
            return await self._commands.eval(script, self._keys, args)
        except AccessDeniedError:
            self.was_denied = True
            raise

    async def _eval_records(
        self,
        script: Script,
        first: tuple[Argument, ...],
        records: Sequence[tuple[Argument, ...]],
        sizes: Sequence[int] = (),
    ) -> list[Any]:
        """Run a script that works record by record, as often as it takes: with no more than `RECORDS` at a
        time, or `REQUEST_BYTES` hold, and the rest again where it has answered the first ones only.

        `sizes` are the bytes of each record's payloads; without them, all are small."""
        answers = list[Any]()
        while len(answers) < len(records):
            start = len(answers)
            end = min(len(records), start + RECORDS)
            if sum(sizes[start:end]) > REQUEST_BYTES:
                size, most = 0, end
                end = start
                while end < most and size < REQUEST_BYTES:
                    size += sizes[end]
                    end += 1
            answers += await self._eval(script, *first, *chain.from_iterable(records[start:end]))
        return answers

    def _send(self, script: Script, args: Sequence[Argument]) -> None:
        if self._commands is not None:
            self._commands.send_eval(script, self._keys, args)

    @property
    def _clock(self) -> int | str:
        if self._given_clock is None:
            return 0
        return f"t{self._given_clock()}" if self._server_clock else self._given_clock()

    async def enqueue(self, jobs: Sequence[Enqueue]) -> list[EnqueueAnswer]:
        records = list(map(arguments.of_enqueue, jobs))
        sizes = [len(job.spec.state) for job in jobs]
        answers = await self._eval_records(scripts.ENQUEUE, (self._clock, self._ttl), records, sizes)
        return [rows.enqueue_answer(job.spec.id, row) for job, row in zip(jobs, answers, strict=True)]

    async def claim(
        self, queue: str, seq: int, limit: int, flow: Flow = FREE, calls_only: bool = False
    ) -> ClaimAnswer:
        answer = await self._eval(
            scripts.CLAIM,
            self._clock,
            self._node,
            queue,
            seq,
            limit,
            secrets.token_hex(4),
            self._ttl,
            flow.starts,
            milliseconds(flow.per),
            1 if flow.set_aside else 0,
            flow.most_active,
            flow.per_session,
            1 if calls_only else 0,
        )
        return rows.claim_answer(answer)

    async def settle(self, settlements: Sequence[Settlement]) -> list[SettleAnswer]:
        records = list(map(arguments.of_settlement, settlements))
        first = (self._clock, self._ttl, *self._states.commit_arguments)
        sizes = [len(one.result) + (0 if one.commit is None else len(one.commit.blob)) for one in settlements]
        answers = await self._eval_records(scripts.SETTLE, first, records, sizes)
        return [rows.settle_answer(row) for row in answers]

    async def report(self, job: str, token: str, progress: float) -> bool:
        return bool(await self._eval(scripts.REPORT, self._clock, job, token, repr(float(progress))))

    async def call_for(self, job: str) -> None:
        await self._eval(scripts.CALL_FOR, self._clock, job)

    async def step_aside(self, job: str, token: str) -> None:
        await self._eval(scripts.STEP_ASIDE, self._clock, job, token)

    async def step_back(self, job: str, token: str) -> bool:
        return bool(await self._eval(scripts.STEP_BACK, self._clock, job, token))

    async def cancel(self, job: str, reason: str) -> str | None:
        before = await self._eval(scripts.CANCEL, self._clock, self._ttl, arguments.as_argument(job), reason)
        return None if before is None else rows.text(before)

    def cancel_nowait(self, job: str, reason: str) -> None:
        self._send(scripts.CANCEL, (self._clock, self._ttl, job, reason))

    def leave_nowait(self, job: str, reason: str) -> None:
        self._send(scripts.CANCEL, (self._clock, self._ttl, job, reason, self._node))

    async def view(self, jobs: Sequence[str]) -> list[JobView | None]:
        found = await self._eval_records(scripts.VIEW, (), [(arguments.as_argument(id),) for id in jobs])
        return [rows.job_view(job, row) if row else None for job, row in zip(jobs, found, strict=True)]

    async def stop_session(self, session: str, *, running: bool, refuse: float) -> list[str]:
        require_text(session)
        name, cursor, spared = plain_name(session), b"0", set[str]()
        while True:
            cursor, _ended, *left = await self._eval(
                scripts.STOP_SESSION,
                self._clock,
                self._ttl,
                name,
                session,
                self._node,
                0 if cursor == b"-1" else cursor,
                STOPPED,
                1 if running else 0,
                milliseconds(refuse),
            )
            spared.update(rows.text(job) for job in left)
            if cursor == b"0":
                return list(spared)

    async def stops(self, sessions: Sequence[str]) -> list[int]:
        return list(await self._eval(scripts.STOPS, *map(plain_name, sessions)))

    async def active_sessions(self) -> list[str]:
        found, cursor = list[str](), b"0"
        while True:
            cursor, *page = await self._eval(scripts.SESSIONS, cursor, 1000)
            found += [rows.text(session) for session in page]
            if cursor == b"0":
                return list(dict.fromkeys(found))

    async def session_counts(self, session: str) -> SessionCounts:
        require_text(session)
        cursor, counts = b"0", [0, 0, 0]
        while True:
            cursor, *page = await self._eval(scripts.SESSION_STATS, plain_name(session), cursor, 1000)
            counts = [sum(pair) for pair in zip(counts, page, strict=True)]
            if cursor == b"0":
                return SessionCounts(waiting=counts[0], active=counts[1], delayed=counts[2])

    async def breaker(self, processor: str, step: BreakerStep, policy: CircuitBreaker) -> Permit:
        allowed, state, wait = await self._eval(
            scripts.BREAKER,
            self._clock,
            plain_name(processor),
            step,
            secrets.token_hex(8),
            policy.failures,
            milliseconds(policy.recovery),
            policy.half_open,
        )
        return Permit(allowed=bool(allowed), state=state.decode(), wait=wait / 1000)

    async def announce(self, queues: Sequence[QueueInfo], *, serves: bool = True) -> None:
        for info in queues:
            require_text(info.processor)
        for start in range(0, len(queues), BATCH):
            args: list[Argument] = [self._clock, self._node, 1 if serves else 0]
            for info in queues[start : start + BATCH]:
                args += (info.queue, info.processor, info.session, encode_record(info.options))
            await self._eval(scripts.ANNOUNCE, *args)

    def withdraw_nowait(self, queues: Sequence[str], *, retire: bool = False) -> None:
        for start in range(0, len(queues), BATCH):
            args = (self._clock, self._node, 1 if retire else 0, *queues[start : start + BATCH])
            self._send(scripts.WITHDRAW, args)

    async def known_queues(self) -> list[QueueInfo]:
        found: list[QueueInfo] = []
        offset = 0
        while True:
            page = await self._eval(scripts.QUEUES, self._clock, offset, BATCH)
            offset += len(page)
            found += [info for row in page if (info := rows.queue_info(*row)) is not None]
            if len(page) < BATCH:
                return found

    async def forget_queue(self, queue: str) -> ForgetAnswer:
        left, workers = -2, 0
        while left == -2:
            left, workers = await self._eval(scripts.FORGET_QUEUE, self._clock, queue)
        return ForgetAnswer(known=left >= 0, jobs=max(0, left), workers=workers)

    async def unpark(self, queue: str) -> None:
        await self._eval(scripts.UNPARK, self._node, queue)

    async def dead_page(self, queue: str, offset: int, limit: int) -> list[str]:
        ids = await self._eval(scripts.DEAD_PAGE, self._clock, queue, offset, limit)
        return [rows.text(job) for job in ids]

    async def dead_jobs(self, jobs: Sequence[str]) -> list[DeadJob | None]:
        found = await self._eval_records(scripts.DEAD_JOBS, (), [(arguments.as_argument(id),) for id in jobs])
        return [rows.dead_job(job, row) if row else None for job, row in zip(jobs, found, strict=True)]

    async def revive(self, jobs: Sequence[str]) -> list[ReviveAnswer]:
        answers = await self._eval(
            scripts.REVIVE, self._clock, secrets.token_hex(8), *map(arguments.as_argument, jobs)
        )
        return [answer.decode() for answer in answers]

    async def bury(self, jobs: Sequence[str]) -> list[bool]:
        return [bool(answer) for answer in await self._eval(scripts.BURY, *map(arguments.as_argument, jobs))]

    async def pause(self, queue: str, on: bool) -> None:
        await self._eval(scripts.PAUSE, queue, 1 if on else 0)

    async def stats(self, queues: Sequence[str]) -> list[QueueStats]:
        found = await self._eval_records(scripts.STATS, (self._clock,), [(queue,) for queue in queues])
        return [rows.queue_stats(*row) for row in found]

    async def join(self) -> None:
        await self._eval(scripts.JOIN, self._clock, self._node, self._lease, self._grace)
        self._keep_lease()

    async def leave(self) -> None:
        cursor = b"0"
        while cursor:
            cursor = await self._eval(scripts.LEAVE, self._clock, self._ttl, self._node, cursor)

    def beat(self) -> None:
        if self._keeper is not None:
            self._keeper.beat()

    async def renew(self, *, look_every: float) -> RenewAnswer:
        self.beat()
        began = time.monotonic()
        answer, still, step = await self._renew(look_every, b"", None)
        if still:
            # Whoever has seen how the server's clock runs says how much time has passed.
            answer, *_ = await self._renew(look_every, still, step)
        if self._keeper is not None and not answer.lost:
            self._keeper.renewed(began)
        return answer

    async def _renew(
        self, look_every: float, still: bytes, step: float | None
    ) -> tuple[RenewAnswer, bytes, float | None]:
        sent = self._witness.now()
        first = (self._clock, self._node, self._lease, still, "" if step is None else str(round(step)))
        if not look_every:
            lost, server, still = await self._eval(scripts.RENEW, *first)
            answer = RenewAnswer(lost=bool(lost))
        else:
            lost, server, still, wait, looked, *found = await self._eval(
                scripts.BEAT, *first, milliseconds(look_every), self._ttl, self._grace, BATCH, SWEPT
            )
            answer = RenewAnswer(
                lost=bool(lost), wait=wait / 1000, found=self._found(0, *found) if looked else None
            )
        return answer, still, self._witness.note(server, sent)

    async def tick(self, *, reap: bool = True) -> TickAnswer:
        self.beat()
        args = (self._clock, self._ttl, self._node, self._lease, self._grace, BATCH, SWEPT, int(reap))
        return self._found(*await self._eval(scripts.TICK, *args))

    def _found(
        self, lost: int, reaped: int, more: int, ending: int, failed: list[tuple[bytes, bytes, bytes, int]]
    ) -> TickAnswer:
        if ending and not self._ending and self._nursery is not None:
            self._ending = True
            self._nursery.start_soon(self._end_children)
        return TickAnswer(
            lost=bool(lost),
            reaped=reaped,
            more=bool(more),
            failed=[
                FailedJob(id=id, processor=processor, session=session, attempt=attempt)
                for *texts, attempt in sorted(failed)
                for id, processor, session in (map(rows.text, texts),)
            ],
        )

    async def _end_children(self) -> None:
        """Go on ending what ended jobs had called, with pauses for what others ask of the server."""
        host = current_host()
        try:
            while await self._eval(scripts.END_CHILDREN, self._clock, self._ttl, self._node):
                await host.sleep(ENDING_PAUSE)
        except AM2ZError as error:
            logger.warning("what ended jobs had called is ended later: %s", error)
        finally:
            self._ending = False

    async def reconcile(self, claims: Sequence[tuple[str, str]]) -> list[Standing]:
        answers: list[Standing] = []
        for start in range(0, len(claims), BATCH):
            pairs = [part for claim in claims[start : start + BATCH] for part in claim]
            found = await self._eval(scripts.RECONCILE, self._clock, *pairs)
            answers += [rows.standing(*row) for row in found]
        return answers

    async def holdings(self) -> list[tuple[str, str]]:
        found, cursor = dict[bytes, bytes](), b"0"
        while True:
            cursor, *page = await self._eval(scripts.HOLDINGS, self._node, cursor, 1000)
            found.update(zip(page[::2], page[1::2], strict=True))
            if cursor == b"0":
                return [(rows.text(job), rows.text(token)) for job, token in found.items()]

    async def lineage(self) -> str:
        client, name = self._commands, await self._eval(scripts.LINEAGE, secrets.token_hex(8))
        assert client is not None
        return f"{rows.text(name)} {client.history or client.server}"

    async def publish(self, events: Sequence[Event]) -> None:
        now = int(time.time() * 1000)
        try:
            encoded = [
                encode_record(event if event.at else msgspec.structs.replace(event, at=now))
                for event in events
            ]
        except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
            raise ValidationError(f"the event's data cannot be sent: {error}") from error
        if self._commands is None:
            raise self._not_running()
        while encoded:
            end, size = 1, len(encoded[0])
            while end < len(encoded) and size + len(encoded[end]) <= scripts.POSTED_BYTES:
                size += len(encoded[end])
                end += 1
            payload = encode_record([msgspec.Raw(event) for event in encoded[:end]])
            await self._commands.call("PUBLISH", self._events, payload)
            del encoded[:end]

    async def watch_events(self, on: bool) -> None:
        if self._pushes is None:
            raise self._not_running()
        if on:
            await self._pushes.subscribe(self._events)
        else:
            await self._pushes.unsubscribe(self._events)

    @property
    def connections(self) -> dict[str, str]:
        return {
            name: "disconnected" if client is None else client.state
            for name, client in (("commands", self._commands), ("pushes", self._pushes))
        }

    async def ping(self) -> None:
        if self._commands is None or self._pushes is None:
            raise self._not_running()
        await self._commands.call("PING")
        await self._pushes.call("PING")
