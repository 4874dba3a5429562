"""The protocol under fire: simulated nodes and callers, a real Redis, and a network that loses and repeats.

`Episode(wire, connection, seed).run()` lets a few nodes and callers work for some hundred rounds while faults
are injected, lets everything end without faults, and then has the auditor look at what is left. It returns a
`Tally`, or raises `Violation`, which names the seed. The same seed takes the same decisions, up to the order
in which the server walks through its sets.

```
actors (coroutines over RedisStore) ─ requests ─► faults ─ one pipeline a round ─► Redis
       ◄──────────── replies, or LOST: the same bytes again ◄─┘        │
                                    Witness ◄──── every reply, lost ones too ┘
```

* the store's calls are `RedisStore`'s own: only the wire under it is replaced
* a *fault* is a request lost, a reply lost, a request that arrives twice or late, a message lost, a node or
  caller that dies, a node that stands still for longer than its lease, the scripts flushed, and a server that
  goes back to what it was some time ago
* the `Witness` sees what no client sees, every reply in Redis's order, and checks each grant and each
  settlement as it happens; the auditor checks what is there
* time is the episode's own: no fault and no deadline waits for a clock

`python -m tests.chaos.fuzz --faults 200000 --seed 1` runs episodes until so many faults were injected.
"""

from __future__ import annotations

import argparse
import copy
import math
import os
import socket
import sys
import time
from collections import Counter
from collections.abc import Coroutine, Generator, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final, cast

import msgspec
import redis

from am2z_trio.model.codec import checksum
from am2z_trio.model.records import (
    NO_STATE,
    UNLIMITED,
    WIRE_VERSION,
    Bulk,
    BulkAnswer,
    CancelRequest,
    ClaimAnswer,
    Commit,
    Enqueue,
    EnqueueAnswer,
    Grant,
    Handed,
    InboxMessage,
    JobSpec,
    MayGoOn,
    QueueInfo,
    QueueLimits,
    SettleAnswer,
    Settled,
    Settlement,
    Standing,
    StateRecord,
    StateWrite,
    handed_at_once,
)
from am2z_trio.model.redis_options import RedisOptions
from am2z_trio.model.transitions import TERMINAL
from am2z_trio.store.ports import StoreSettings
from am2z_trio.store.redis.keys import anchor, spell
from am2z_trio.store.redis.messages import inbox
from am2z_trio.store.redis.store import RedisStore
from am2z_trio.wire.programs import FUNCTIONS_SINCE
from am2z_trio.wire.resp import INCOMPLETE, Push, ReplyError, new_parser, pack
from am2z_trio.wire.scripts import Library, Script

from .auditor import Finding, Outside, audit

LEASE: Final = 2.0
SETTINGS: Final = StoreSettings(
    lease=LEASE, disconnect_grace=0.3, result_ttl=3600, state_history=2, event_history=1_000_000
)
LIMITS: Final = {
    "free": UNLIMITED,
    "row": QueueLimits(per_session=1),
    "few": QueueLimits(most_active=3),
    "slow": QueueLimits(starts=20, per=2.0),
}
BEGINS: Final = QueueInfo(queue="free", processor="free", begins=("free",))
SESSIONS: Final = ("s0", "s1", "s2", "s3")
QUIET_ROUNDS: Final = 3000
"""Rounds within which everything ends once there are no more faults."""

_effects: Final = msgspec.msgpack.Decoder(list[str]).decode
_RAW: Final = msgspec.Raw(b"\x01")


class Violation(AssertionError):
    """A promise was broken."""


def number_of(token: str) -> int:
    """Later grants have greater ones."""
    return int(token.partition(":")[0])


class Tally(Counter[str]):
    """How often what happened; the names of faults begin with `fault: `."""

    @property
    def faults(self) -> int:
        return sum(number for name, number in self.items() if name.startswith("fault: "))


class Wire:
    """One connection that sends a batch and reads all its replies; what is pushed meanwhile is kept."""

    def __init__(self, path: str | Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(30)
        self._socket.connect(str(path))
        self._parser = new_parser()
        self.pushed: list[tuple[bytes, bytes]] = []
        self.subscribed: set[bytes] = set()
        told: Any = self.call("HELLO", 3)
        self.has_functions = int(told[b"version"].partition(b".")[0]) >= FUNCTIONS_SINCE

    def exchange(self, batch: Sequence[bytes]) -> list[Any]:
        self._socket.sendall(b"".join(batch))
        replies: list[Any] = []
        while len(replies) < len(batch):
            reply = self._read()
            if isinstance(reply, Push):
                self._on_push(reply)
            else:
                replies.append(reply)
        return replies

    def call(self, *command: Any) -> Any:
        (reply,) = self.exchange([pack(command)])
        if isinstance(reply, ReplyError):
            raise reply
        return reply

    def teach(self, library: Library) -> None:
        """Have the server know it; another call may have seen to that meanwhile."""
        (reply,) = self.exchange([library.load])
        if isinstance(reply, ReplyError) and "already exists" not in str(reply):
            raise reply

    def subscribe(self, channel: bytes, on: bool) -> None:
        """Subscriptions are confirmed by a push."""
        self._socket.sendall(pack(("SUBSCRIBE" if on else "UNSUBSCRIBE", channel)))
        while (channel in self.subscribed) != on:
            reply = self._read()
            assert isinstance(reply, Push)
            self._on_push(reply)

    def close(self) -> None:
        self._socket.close()

    def _read(self) -> Any:
        while (reply := self._parser.gets()) is INCOMPLETE:
            data = self._socket.recv(1 << 18)
            if not data:
                raise ConnectionError("the server has closed the connection")
            self._parser.feed(data)
        return reply

    def _on_push(self, push: Any) -> None:
        kind, channel, payload = push
        if kind == b"message":
            self.pushed.append((channel, payload))
        elif kind == b"subscribe":
            self.subscribed.add(channel)
        else:
            self.subscribed.discard(channel)


class Now(int):
    """Stands for the time at which a request arrives."""


NOW: Final = Now(1)
LOST: Final = object()


class Request(msgspec.Struct):
    """One call on its way."""

    actor: Actor
    command: tuple[Any, ...]
    """With `NOW` where the clock goes."""
    what: str
    """The store's method, and what it was given."""
    given: tuple[Any, ...]

    def packed(self, now: int) -> bytes:
        # Behind the clock stands how many events are kept.
        timed = {f"{NOW} {SETTINGS.event_history}": f"{now} {SETTINGS.event_history}"}
        words: list[Any] = [now if word is NOW else timed.get(word, word) for word in self.command]
        return pack(tuple(words))


class Rest(msgspec.Struct):
    """Do nothing for so many rounds."""

    rounds: int


class _Give:
    """Hands something to the episode and waits for its answer."""

    def __init__(self, what: Request | Rest) -> None:
        self._what = what

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield self._what)


async def rest(rounds: int) -> None:
    await _Give(Rest(rounds))


class Client:
    """What `RedisStore` needs of its client. An unanswered call is sent again, byte for byte.

    As in the product, a function that the server has lost is sent as a script, and taught anew for the next
    call; a script that it has lost is sent with its source.
    """

    def __init__(self, actor: Actor) -> None:
        self._actor = actor

    async def eval(self, script: Script, keys: Sequence[Any], args: Sequence[Any]) -> Any:
        actor = self._actor
        wire, called = actor.episode.wire, (len(keys), *keys, *args)
        command: tuple[Any, ...] = ("EVALSHA", script.sha1, *called)
        if script.library is not None and wire.has_functions:
            command = ("FCALL", script.function, *called)
        while True:
            reply = await _Give(Request(actor, command, *actor.doing))
            if reply is LOST:
                actor.on_reconnect()
            elif isinstance(reply, ReplyError):
                if str(reply).startswith("ERR Function not found"):
                    assert script.library is not None
                    wire.teach(script.library)
                    command = ("EVALSHA", script.sha1, *called)
                elif str(reply).startswith("NOSCRIPT"):
                    command = ("EVAL", script.source, *called)
                else:
                    raise reply
            else:
                return reply


class _Echo:
    """A client that has the answer already."""

    def __init__(self) -> None:
        self.reply: Any = None

    async def eval(self, script: Script, keys: Sequence[Any], args: Sequence[Any]) -> Any:
        return self.reply


class Decoder:
    """Reads replies as the store does, without asking anybody."""

    def __init__(self) -> None:
        self._store = RedisStore("decoder", RedisOptions(), settings=SETTINGS, clock=lambda: NOW)
        self._echo = _Echo()
        self._store.link.commands = self._echo  # type: ignore[assignment]

    def __call__(self, method: str, given: tuple[Any, ...], reply: Any) -> Any:
        self._echo.reply = reply
        coroutine = getattr(self._store, method)(*given)
        try:
            coroutine.send(None)
        except StopIteration as done:
            return done.value
        raise AssertionError("it waited")


class Held(msgspec.Struct):
    """A claim that stands, as far as the witness knows."""

    node: str
    token: str


class Witness:
    """Sees every reply in the order in which Redis gave it, and holds it to what was promised."""

    def __init__(self) -> None:
        self.held: dict[str, Held] = {}
        self.newest: dict[str, str] = {}
        self.granted: dict[str, tuple[str, str, int]] = {}
        """token → node, queue and number of the claim."""
        self.claims: set[tuple[str, str, int]] = set()
        """Claims that were answered."""
        self.applied: set[str] = set()
        """Tokens that settled their job."""
        self.leases: dict[str, int] = {}
        self.retired: set[str] = set()
        self.queued: set[str] = set()
        self.completed: set[str] = set()
        self.again: set[str] = set()
        """Jobs that were allowed to run once more: revived, or called again."""

    def forget(self, node: str) -> None:
        for id in [id for id, held in self.held.items() if held.node == node]:
            del self.held[id]

    def leases_pass(self, now: int) -> None:
        for node, until in self.leases.items():
            if until < now:
                self.forget(node)

    def claimed(self, claim: tuple[str, str, int], answer: ClaimAnswer, tally: Tally, *, alive: bool) -> None:
        if answer.lost or answer.stale:
            return
        for grant in answer.grants:
            id, token = grant.spec.id, grant.token
            before = self.granted.get(token)
            if before is not None:
                tally["claims answered again"] += 1
                if before != claim:
                    raise Violation(f"I5: token {token} of {id}, granted to {before}, then to {claim}")
                continue
            if claim in self.claims:
                raise Violation(f"I5: {id} granted to {claim}, which was answered before, without it")
            held = self.held.get(id)
            if held is not None and held.token not in self.retired:
                raise Violation(f"I6: {id} granted to {claim[0]}; {held.node} is alive and holds it")
            self.granted[token] = claim
            self.newest[id] = token
            if alive:
                self.held[id] = Held(claim[0], token)
            else:
                # A claim that comes after its node has died: nobody holds the job.
                self.held.pop(id, None)
        self.claims.add(claim)

    def handed(self, node: str, queue: str, grant: Grant, tally: Tally, *, alive: bool) -> None:
        """A job was given to a node as it came: by an answer, or by a message, which tells of it later."""
        id, token = grant.spec.id, grant.token
        if token in self.granted:
            return
        tally["jobs given as they came"] += 1
        self.granted[token] = (node, queue, 0)
        if number_of(self.newest.get(id, "0:")) > number_of(token):
            return
        held = self.held.get(id)
        if held is not None and held.token not in self.retired:
            raise Violation(f"I6: {id} given to {node}; {held.node} is alive and holds it")
        self.newest[id] = token
        if alive:
            self.held[id] = Held(node, token)
        else:
            self.held.pop(id, None)

    def settled(self, settlement: Settlement, answer: SettleAnswer, tally: Tally) -> None:
        id, token = settlement.id, settlement.token
        tally[f"settle: {answer.status}"] += 1
        if answer.status == "fenced" and token in self.applied and self.newest.get(id) == token:
            raise Violation(f"I8: {id} was settled as {token}, which is fenced when it comes again")
        if answer.status != "applied":
            return
        self.applied.add(token)
        if token in self.retired:
            raise Violation(f"I5: {id} settled twice, or after it was taken away, as {token}")
        if self.newest.get(id) != token:
            raise Violation(f"I5: {id} settled as {token}; the newest is {self.newest.get(id)}")
        self.retired.add(token)
        self.held.pop(id, None)
        if answer.outcome == "completed":
            if id in self.completed and id not in self.again:
                raise Violation(f"I2: {id} completed twice")
            self.completed.add(id)

    def reconciled(
        self, node: str, claims: list[tuple[str, str]], standings: list[Standing], *, alive: bool
    ) -> None:
        for (id, token), standing in zip(claims, standings, strict=True):
            if standing.status != "held":
                continue
            if token in self.retired or self.newest.get(id) != token:
                raise Violation(f"I5: {id} held under {token}; the newest is {self.newest.get(id)}")
            held = self.held.get(id)
            if held is not None and held.token != token and held.token not in self.retired:
                raise Violation(f"I6: {id} given back to {node}; {held.node} is alive and holds it")
            if alive:
                self.held[id] = Held(node, token)

    def enqueued(self, request: Enqueue, answer: EnqueueAnswer) -> None:
        id = request.spec.id
        if answer.status != "queued" or answer.token in self.granted:
            return
        if request.again:
            self.again.add(id)
            # A record of its own: what was said of the earlier one is not said again.
            self.newest.pop(id, None)
        if id in self.queued and id not in self.again:
            raise Violation(f"I1: {id} accepted twice")
        self.queued.add(id)

    def session_stopped(self, jobs: set[str]) -> None:
        for id in jobs:
            held = self.held.pop(id, None)
            if held is not None:
                self.retired.add(held.token)


class Actor:
    """A process of the simulation: a node of its own, and one coroutine."""

    def __init__(self, episode: Episode, name: str) -> None:
        self.episode, self.name, self.rng = episode, name, episode.rng
        self.doing: tuple[str, tuple[Any, ...]] = ("", ())
        self.store = RedisStore(name, RedisOptions(), settings=SETTINGS, clock=lambda: NOW)
        self.store.link.commands = Client(self)  # type: ignore[assignment]
        self.inbox = spell("am2z", "inbox", name).encode()
        self.wants: Request | Rest | None = None
        self.resume: Any = None
        self.asleep_until = 0
        self.done = False
        episode.wire.subscribe(self.inbox, True)
        self._coroutine: Coroutine[Any, Any, None] = self.live()

    async def live(self) -> None:
        raise NotImplementedError

    def on_message(self, message: InboxMessage) -> None: ...

    def on_reconnect(self) -> None: ...

    async def ask(self, method: str, *given: Any) -> Any:
        """One call of the store, whatever the network does."""
        self.doing = (method, given)
        return await getattr(self.store, method)(*given)

    def step(self) -> None:
        """Run until it wants something."""
        reply, self.resume = self.resume, None
        try:
            self.wants = self._coroutine.send(reply)
        except StopIteration:
            self.wants, self.done = None, True

    def die(self) -> None:
        self._coroutine.close()
        self.done, self.wants = True, None
        self.episode.wire.subscribe(self.inbox, False)

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability


class Worker(Actor):
    """A node that claims, runs and settles."""

    def __init__(self, episode: Episode, name: str) -> None:
        super().__init__(episode, name)
        self.seq = 0
        self.grants: dict[str, Grant] = {}
        self.wanted: dict[str, str] = {}
        """Cancellations that were heard: job → token."""
        self.going_on: set[str] = set()
        """Tokens of jobs that had stepped aside and may go on, as was heard."""
        self.promised: set[str] = set()
        """Tokens of jobs with which others were promised, which they have not called yet."""
        self.has_strays = False

    def on_message(self, message: InboxMessage) -> None:
        if isinstance(message, CancelRequest):
            self.wanted[message.id] = message.token
        elif isinstance(message, MayGoOn):
            self.going_on.add(message.token)
        elif isinstance(message, Handed):
            self._take(message)

    def _take(self, handed: Handed) -> None:
        for grant in handed.answer.grants:
            self.grants[grant.spec.id] = grant
            if grant.promised:
                self.promised.add(grant.token)

    def on_reconnect(self) -> None:
        self.has_strays = True

    async def live(self) -> None:
        await self.ask("join")
        await self.ask("announce", [BEGINS])
        while not self.episode.over:
            if self.chance(0.3):
                await self._tick()
            if self.has_strays:
                self.has_strays = False
                await self._compare()
            if len(self.grants) < 6:
                await self._claim(self.rng.choice(list(LIMITS)))
            if not self.episode.quiet and self.chance(0.25):
                await self._send_own()
            for grant in list(self.grants.values()):
                if self.chance(0.7):
                    await self._work(grant)
            if not self.grants:
                await rest(1)
        for grant in list(self.grants.values()):
            await self._work(grant)
        await self.ask("leave")

    async def _compare(self) -> None:
        """What this node holds with what the store says it holds."""
        grants = list(self.grants.values())
        claims = [(grant.spec.id, grant.token) for grant in grants]
        standings: list[Standing] = await self.ask("reconcile", claims)
        for grant, standing in zip(grants, standings, strict=True):
            self.episode.tally[f"reconcile: {standing.status}"] += 1
            if standing.status == "lost":
                del self.grants[grant.spec.id]
            elif standing.cancel is not None:
                self.wanted[grant.spec.id] = grant.token
        for id, token in await self.ask("holdings"):
            if id not in self.grants or self.grants[id].token != token:
                await self.ask("settle", [Settlement(id=id, token=token, outcome="released")])

    async def _tick(self) -> None:
        answer = await self.ask("tick")
        self.episode.tally["jobs of dead nodes"] += answer.reaped
        # A claim that was refused may arrive again, late, and be granted: nobody knows of it but Redis.
        self.has_strays = True
        if answer.lost:
            await self._lost()

    async def _lost(self) -> None:
        # What has ended while the lease was away is written all the same.
        for grant in list(self.grants.values()):
            if self.chance(0.3):
                await self._settle(grant, "completed")
        await self.ask("join")
        await self._compare()

    async def _claim(self, queue: str) -> None:
        self.seq += 1
        limit = self.rng.randint(1, 4)
        unasked = 0 if self.episode.quiet else self.rng.randint(0, limit)
        answer: ClaimAnswer = await self.ask(
            "claim", queue, self.seq, limit, LIMITS[queue], False, 1, unasked
        )
        if answer.lost:
            await self._lost()
        for grant in answer.grants:
            self.grants[grant.spec.id] = grant

    async def _work(self, grant: Grant) -> None:
        id, quiet = grant.spec.id, self.episode.quiet
        if self.wanted.get(id) == grant.token:
            await self._settle(grant, "cancelled")
            return
        if self.chance(0.2):
            await self.ask("report", id, grant.token, self.rng.random())
        calls = self.chance(0.7 if grant.token in self.promised else 0.15)
        if calls and grant.spec.parent == "" and not quiet:
            await self._call(grant)
        drawn = self.rng.random()
        if quiet or drawn < 0.75:
            await self._settle(grant, "completed")
        elif drawn < 0.83:
            await self._settle(grant, "failed")
        elif drawn < 0.87 and grant.spec.session:
            await self._settle(grant, "conflicted")
        elif drawn < 0.94:
            await self._settle(grant, "retry", delay=self.rng.choice([0.0, 0.1]))
        else:
            await self._settle(grant, "released")

    async def _send_own(self) -> None:
        """A job that it is given by the answer, where it is at rest; with what it begins with."""
        await self._claim("free")
        id = self.episode.new_id("")
        own = Enqueue(spec=JobSpec(WIRE_VERSION, id, "free", "", _RAW, self.name), queue="free")
        answer = await self.episode.send(self, own, ["free"])
        if answer.token:
            self._take(handed_at_once(own, answer))

    async def _call(self, grant: Grant) -> None:
        """A durable call: the same id whenever the parent runs."""
        id = f"{grant.spec.id}/1"
        spec = JobSpec(WIRE_VERSION, id, "free", grant.spec.session, _RAW, self.name, parent=grant.spec.id)
        child = Enqueue(spec=spec, queue="free", again=True)
        if grant.token in self.promised and self.chance(0.8):
            await self._tell_of(msgspec.structs.replace(child, under=f"{grant.token}/1"))
        else:
            answer = await self.episode.send(self, child, ["free"] if self.chance(0.5) else [])
            if answer.token:
                self._take(handed_at_once(child, answer))
        self.promised.discard(grant.token)
        self.going_on.discard(grant.token)
        await self.ask("step_aside", grant.spec.id, grant.token)
        await rest(self.rng.randint(1, 6))
        while not self.episode.quiet:
            if await self.ask("step_back", grant.spec.id, grant.token) or grant.token in self.going_on:
                return
            self.episode.tally["jobs in line to go on"] += 1
            await rest(3)

    async def _tell_of(self, child: Enqueue) -> None:
        """It has begun this one, as was promised."""
        id, tally = child.spec.id, self.episode.tally
        begun = EnqueueAnswer(status="queued", token=child.under)
        self._take(handed_at_once(child, begun))
        answer = await self.episode.send(self, child)
        if answer.token == child.under:
            tally["promises kept"] += 1
        elif answer.status == "dup":
            self.has_strays = True
        else:
            tally["promises that were over"] += 1
            if id in self.grants and self.grants[id].token == child.under:
                del self.grants[id]
            if answer.token:
                self._take(handed_at_once(child, answer))

    async def _settle(self, grant: Grant, outcome: Any, *, delay: float = 0.0) -> None:
        id, session = grant.spec.id, grant.spec.session
        state = grant.stored
        if session and outcome == "completed" and state is None:
            self.doing = ("read", ())
            state = await self.store.states.read(session)
        while True:
            commit = _commit(id, state) if session and outcome == "completed" and state is not None else None
            settlement = Settlement(
                id=id,
                token=grant.token,
                outcome=outcome,
                result=b"\x90" if outcome in ("completed", "failed") else b"",
                reason={"cancelled": "asked to", "conflicted": session}.get(outcome, ""),
                delay=delay,
                commit=commit,
            )
            (answer,) = await self.ask("settle", [settlement])
            if answer.status != "conflict":
                break
            state = answer.current
        if self.grants.get(id) is grant:
            del self.grants[id]


def _commit(id: str, state: StateRecord) -> Commit:
    blob = msgspec.msgpack.encode([*(_effects(state.blob) if state.exists else []), id])
    return Commit(blob=blob, checksum=checksum(blob), expected=state.mark)


class Caller(Actor):
    """Submits jobs, waits for them, cancels some."""

    def __init__(self, episode: Episode, name: str) -> None:
        super().__init__(episode, name)
        self.heard: dict[str, Settled] = {}
        self.numbers = 1
        """Of the next job that is sent with others in one step."""

    def on_message(self, message: InboxMessage) -> None:
        if isinstance(message, Settled):
            self.heard[message.id] = message

    async def live(self) -> None:
        while not self.episode.quiet:
            if self.chance(0.15):
                jobs = await self._send_many()
            else:
                jobs = [self._job() for _ in range(self.rng.randint(1, 4))]
                for job in jobs:
                    await self.episode.send(self, job)
            for job in jobs:
                await self._wait(job)
        self.episode.wire.subscribe(self.inbox, False)

    async def _send_many(self) -> list[Enqueue]:
        """In one step; returns those that were accepted."""
        like, many = self._job(), self.rng.randint(2, 5)
        first, self.numbers = self.numbers, self.numbers + many
        states = [bytes(like.spec.state)] * many
        bulk = Bulk(like=like, states=states, prefix=f"{self.name}-", first=first)
        return await self.episode.send_many(self, bulk)

    def _job(self) -> Enqueue:
        rng, episode = self.rng, self.episode
        queue, session = rng.choice(list(LIMITS)), rng.choice(["", *SESSIONS, *SESSIONS])
        state = NO_STATE if session and rng.random() < 0.5 else _RAW
        spec = JobSpec(WIRE_VERSION, episode.new_id(session), queue, session, state, self.name)
        return Enqueue(
            spec=spec,
            queue=queue,
            priority=rng.choice([0, 0, 0, 1, 2]),
            delay=rng.choice([0.0, 0.0, 0.0, 0.2]),
            deadline=rng.choice([None, None, None, None, 1.5]),
            max_stalled=rng.choice([1, 3, 10]),
            debounce=rng.choice(["", "", "", "", "k"]),
        )

    async def _wait(self, job: Enqueue) -> None:
        id = job.spec.id
        while True:
            if id in self.heard:
                self.episode.hear(id, self.heard.pop(id).status)
                return
            if self.chance(0.03):
                await self.ask("cancel", id, "changed my mind")
            (view,) = await self.ask("view", [id])
            if view is None:
                if id not in self.episode.accepted:
                    return
                # A server that went back knows nothing of it: it is sent again, under the same id.
                await self.episode.send(self, job)
            elif view.status in TERMINAL:
                self.episode.hear(id, view.status)
                return
            await rest(self.rng.randint(1, 8))


class Operator(Actor):
    """Stops sessions, writes states by hand, revives dead letters."""

    def __init__(self, episode: Episode, name: str) -> None:
        super().__init__(episode, name)
        self.seq = 0

    async def live(self) -> None:
        while not self.episode.quiet:
            await self.rng.choice([self._stop, self._write, self._write, self._write, self._revive])()
            await rest(self.rng.randint(1, 10))
        self.episode.wire.subscribe(self.inbox, False)

    async def _stop(self) -> None:
        if not self.chance(0.2):
            return
        session, running = self.rng.choice(SESSIONS), self.chance(0.5)
        self.doing = ("stop_session", (session,))
        await self.store.stop_session(session, running=running, refuse=0.05)
        self.episode.tally["sessions stopped"] += 1

    async def _write(self) -> None:
        session = self.rng.choice(SESSIONS)
        self.doing = ("read", ())
        state = await self.store.states.read(session)
        for _ in range(20):
            self.seq += 1
            commit = _commit(f"{self.name}-{self.seq}", state)
            self.doing = ("write", ())
            answer = await self.store.states.write(
                StateWrite(
                    session=session,
                    seq=self.seq,
                    blob=commit.blob,
                    checksum=commit.checksum,
                    expected=state.mark,
                )
            )
            if answer.status != "conflict" or answer.current is None:
                return
            state = answer.current

    async def _revive(self) -> None:
        queue = self.rng.choice(list(LIMITS))
        page = await self.ask("dead_page", queue, 0, 3)
        if not page:
            return
        for id in page:
            self.episode.run_again(id)
        if self.chance(0.5):
            await self.ask("revive", page)
        else:
            await self.ask("drop_dead_letters", page)


class Late(msgspec.Struct):
    """A request that arrives some rounds after it was sent; nobody waits for this answer."""

    at: int
    request: Request


class Picture(msgspec.Struct):
    """What the server was, to go back to."""

    keys: list[tuple[bytes, int, bytes]]
    witness: Witness


class Episode:
    """One history, from an empty server to an empty one."""

    def __init__(
        self,
        wire: Wire,
        connection: redis.Redis,
        seed: int,
        *,
        rounds: int = 250,
        fault_rate: float = 0.5,
        rollbacks: bool = False,
    ) -> None:
        self.wire, self.connection, self.seed = wire, connection, seed
        self.rng = Random(seed)
        self.now = 1_000_000
        self._began = time.monotonic()
        self.round = 0
        self.tally = Tally()
        self.witness = Witness()
        self.outside = Outside(effects=_effects)
        self.accepted: set[str] = set()
        self.quiet = False
        """No more faults, no more new jobs."""
        self.over = False
        """Nothing is under way any more: the nodes may leave."""
        self._rounds, self._fault_rate, self._rollbacks = rounds, fault_rate, rollbacks
        self._decode = Decoder()
        self._numbers = 0
        self._late: list[Late] = []
        self._picture: Picture | None = None
        self._sessions: dict[str, str] = {}
        self._actors: list[Actor] = []

    # --- what actors ask for ----------------------------------------------------------------

    def new_id(self, session: str) -> str:
        self._numbers += 1
        id = f"j{self._numbers}"
        self._sessions[id] = session
        return id

    async def send(self, actor: Actor, job: Enqueue, at_rest: Sequence[str] = ()) -> EnqueueAnswer:
        if job.spec.parent:
            self.run_again(job.spec.id)
            self._sessions[job.spec.id] = job.spec.session
        (answer,) = cast("list[EnqueueAnswer]", await actor.ask("enqueue", [job], at_rest))
        if answer.status in ("queued", "dup"):
            self.accepted.add(job.spec.id)
        else:
            self.tally[f"refused: {answer.status}"] += 1
        return answer

    async def send_many(self, actor: Actor, bulk: Bulk) -> list[Enqueue]:
        jobs = [bulk.job(number) for number in range(len(bulk.states))]
        self._sessions.update({job.spec.id: job.spec.session for job in jobs})
        answer: BulkAnswer = await actor.ask("enqueue_bulk", bulk)
        self.tally["jobs accepted with others"] += answer.accepted
        jobs = jobs[: answer.accepted]
        self.accepted.update(job.spec.id for job in jobs)
        return jobs

    def run_again(self, id: str) -> None:
        """From now on nothing that was heard of it need be so."""
        self.witness.again.add(id)
        self.outside.outcomes.pop(id, None)

    def hear(self, id: str, status: str) -> None:
        before = self.outside.outcomes.get(id)
        if before is not None and before != status and self.outside.acknowledged:
            raise Violation(f"I8: {id} was {before}, and is {status}")
        if id not in self.witness.again:
            self.outside.outcomes[id] = status
        self.tally[f"heard: {status}"] += 1

    # --- the run ----------------------------------------------------------------------------

    def run(self) -> Tally:
        try:
            self._run()
        except (Violation, AssertionError, ReplyError) as error:
            raise Violation(f"seed {self.seed}, round {self.round}: {error}") from error
        return self.tally

    def _run(self) -> None:
        self.connection.flushall()
        self._actors = [Worker(self, f"w{n}") for n in range(4)]
        self._actors += [Caller(self, f"c{n}") for n in range(6)]
        self._actors += [Operator(self, "o0")]
        while self.round < self._rounds:
            self._disturb()
            self._one_round()
            if self.round % 50 == 0:
                self._look()
        self.quiet = True
        self._late_arrive()
        ends = self.round + QUIET_ROUNDS
        while not self._drained():
            self._one_round()
            if self.round > ends:
                found = [str(finding) for finding in self._audit()]
                raise Violation(f"I12: it does not drain: {self._left()} {found}")
        self.over = True
        while not all(actor.done for actor in self._actors):
            self._one_round()
        for actor in self._actors:
            if actor.inbox in self.wire.subscribed:
                self.wire.subscribe(actor.inbox, False)
        self._reap_the_dead()
        self._look(drained=True)

    def _one_round(self) -> None:
        self.round += 1
        self.now += self.rng.choice([1, 5, 20]) if not self.quiet else 40
        batch: list[tuple[Request, Actor | None, bool]] = []
        """Request, who waits for the answer, whether the answer is lost on its way."""
        for actor in self._actors:
            if actor.done or actor.asleep_until > self.round:
                continue
            if actor.wants is None or isinstance(actor.wants, Rest):
                actor.step()
            if isinstance(actor.wants, Rest):
                actor.asleep_until = self.round + actor.wants.rounds
            elif actor.wants is not None:
                self._meet(actor, actor.wants, batch)
        self.rng.shuffle(batch)
        due = [late for late in self._late if late.at <= self.round]
        self._late = [late for late in self._late if late.at > self.round]
        for late in due:
            batch.insert(self.rng.randint(0, len(batch)), (late.request, None, True))
        if batch:
            self._exchange(batch)

    def _meet(self, actor: Actor, request: Request, batch: list[tuple[Request, Actor | None, bool]]) -> None:
        """Let the network have its way with a request."""
        rng, tally = self.rng, self.tally
        tally["requests"] += 1
        if self.quiet or rng.random() >= self._fault_rate:
            batch.append((request, actor, False))
            return
        match rng.randrange(6):
            case 0:
                tally["fault: request lost"] += 1
                actor.resume, actor.wants = LOST, None
            case 1 | 2:
                tally["fault: reply lost"] += 1
                batch.append((request, actor, True))
            case 3:
                tally["fault: twice"] += 1
                batch.append((request, actor, False))
                self._late.append(Late(self.round, request))
            case 4:
                tally["fault: again, late"] += 1
                batch.append((request, actor, False))
                self._late.append(Late(self.round + rng.randint(1, 60), request))
            case _:
                tally["fault: late"] += 1
                actor.resume, actor.wants = LOST, None
                self._late.append(Late(self.round + rng.randint(1, 60), request))

    def _exchange(self, batch: list[tuple[Request, Actor | None, bool]]) -> None:
        replies = self.wire.exchange([request.packed(self.now) for request, _, _ in batch])
        for (request, actor, lost), reply in zip(batch, replies, strict=True):
            self._witness(request, reply)
            if actor is None or actor.done:
                continue
            actor.resume, actor.wants = (LOST if lost else reply), None
        self._witness_what_is_handed()
        for listener, payload in self._pushed():
            if not self.quiet and self.rng.random() < 0.2:
                self.tally["fault: message lost"] += 1
                continue
            for message in inbox(payload):
                listener.on_message(message)
        self.wire.pushed.clear()

    def _pushed(self) -> list[tuple[Actor, bytes]]:
        """What was pushed, to whom."""
        by_inbox = {actor.inbox: actor for actor in self._actors if not actor.done}
        return [(by_inbox[channel], payload) for channel, payload in self.wire.pushed if channel in by_inbox]

    def _witness_what_is_handed(self) -> None:
        for listener, payload in self._pushed():
            for message in inbox(payload):
                if isinstance(message, Handed):
                    (grant,) = message.answer.grants
                    self.witness.handed(listener.name, message.queue, grant, self.tally, alive=True)

    def _witness(self, request: Request, reply: Any) -> None:
        witness, node = self.witness, request.actor.name
        if isinstance(reply, ReplyError):
            return
        match request.what:
            case "claim":
                answer = self._decode("claim", request.given, reply)
                claim = (node, request.given[0], request.given[1])
                witness.claimed(claim, answer, self.tally, alive=not request.actor.done)
            case "settle":
                (answer,) = self._decode("settle", request.given, reply)
                witness.settled(request.given[0][0], answer, self.tally)
            case "enqueue":
                (answer,) = self._decode("enqueue", request.given, reply)
                (job,) = request.given[0]
                witness.enqueued(job, answer)
                if answer.token:
                    (grant,) = handed_at_once(job, answer).answer.grants
                    witness.handed(node, job.queue, grant, self.tally, alive=not request.actor.done)
                self.tally[f"enqueue: {answer.status}"] += 1
            case "enqueue_bulk":
                (many,) = request.given
                accepted = self._decode("enqueue_bulk", request.given, reply).accepted
                witness.queued.update(many.job(number).spec.id for number in range(accepted))
            case "join":
                witness.leases[node] = self.now + int(LEASE * 1000)
            case "leave":
                witness.forget(node)
            case "tick":
                if node in witness.leases and not reply[0]:
                    witness.leases[node] = self.now + int(LEASE * 1000)
                witness.leases_pass(self.now)
            case "reconcile":
                standings = self._decode("reconcile", request.given, reply)
                witness.reconciled(node, request.given[0], standings, alive=not request.actor.done)
            case "stop_session":
                # Every step ends jobs; what it ended may not be written any more.
                session = request.given[0]
                witness.held = {
                    id: held for id, held in witness.held.items() if self._sessions.get(id) != session
                }
            case _:
                pass

    # --- faults of processes and servers ----------------------------------------------------

    def _disturb(self) -> None:
        rng = self.rng
        if rng.random() < 0.02:
            self.tally["fault: a node dies"] += 1
            self._replace(
                rng.choice([n for n, actor in enumerate(self._actors) if isinstance(actor, Worker)])
            )
        if rng.random() < 0.005:
            self.tally["fault: a caller dies"] += 1
            self._replace(
                rng.choice([n for n, actor in enumerate(self._actors) if isinstance(actor, Caller)])
            )
        if rng.random() < 0.005:
            self.tally["fault: a node stands still"] += 1
            self._actors[self._one_of(Worker)].asleep_until = self.round + 60
            self.now += int(LEASE * 600)
        if rng.random() < 0.01:
            self.tally["fault: scripts flushed"] += 1
            self.wire.call("SCRIPT", "FLUSH")
            if self.wire.has_functions:
                self.wire.call("FUNCTION", "FLUSH")
        if self._rollbacks:
            if rng.random() < 0.01:
                self._picture = self._take_picture()
            if self._picture is not None and rng.random() < 0.01:
                self.tally["fault: the server goes back"] += 1
                self._go_back(self._picture)

    def _one_of(self, kind: type[Actor]) -> int:
        return self.rng.choice([n for n, actor in enumerate(self._actors) if isinstance(actor, kind)])

    def _replace(self, place: int) -> None:
        """One process ends for good, another one comes. What it had sent may yet arrive."""
        old = self._actors[place]
        old.die()
        self._numbers += 1
        self._actors[place] = type(old)(self, f"{old.name[0]}{self._numbers}x")
        self.witness.forget(old.name)

    def _take_picture(self) -> Picture:
        # What is on its way comes behind the answer of the call that has sent it: it has happened.
        self.wire.call("PING")
        self._witness_what_is_handed()
        names = [*self.connection.scan_iter(match=anchor("am2z") + "*", count=1000)]
        with self.connection.pipeline(transaction=True) as pipe:
            for name in names:
                pipe.dump(name)
                pipe.pttl(name)
            answers = pipe.execute()
        keys = [
            (name, max(0, pttl), dump)
            for name, dump, pttl in zip(names, answers[::2], answers[1::2], strict=True)
            if dump is not None
        ]
        return Picture(keys, copy.deepcopy(self.witness))

    def _go_back(self, picture: Picture) -> None:
        # What was pushed and is on its way is of the history that is lost.
        self.wire.call("PING")
        self.wire.pushed.clear()
        again = self.witness.again
        with self.connection.pipeline(transaction=True) as pipe:
            pipe.flushall()
            for name, pttl, dump in picture.keys:
                pipe.restore(name, pttl, dump)
            pipe.execute()
        self.witness = copy.deepcopy(picture.witness)
        self.witness.again |= again
        self.outside.acknowledged = False
        self.outside.outcomes.clear()
        alive = {actor.name for actor in self._actors if not actor.done}
        for node in self.witness.leases.keys() - alive:
            self.witness.forget(node)
        for actor in self._actors:
            # What was answered and has not been read by now is not read any more.
            if actor.resume is not None:
                actor.resume = LOST
            if isinstance(actor, Caller):
                actor.heard.clear()
            actor.on_reconnect()

    def _late_arrive(self) -> None:
        self.rng.shuffle(self._late)
        for late in self._late:
            late.at = self.round + 1

    # --- looks ------------------------------------------------------------------------------

    def _drained(self) -> bool:
        if any(not actor.done for actor in self._actors if not isinstance(actor, Worker)):
            return False
        if any(actor.grants for actor in self._actors if isinstance(actor, Worker)) or self._late:
            return False
        return self.round % 20 == 0 and not self._left()

    def _left(self) -> dict[str, dict[str, int]]:
        left: dict[str, dict[str, int]] = {}
        for queue in LIMITS:
            meta = cast("list[bytes | None]", self.connection.hmget(spell("am2z", "meta", queue), *_ALIVE))
            counts = {name: int(count or 0) for name, count in zip(_ALIVE, meta, strict=True)}
            if any(counts.values()):
                left[queue] = counts
        return left

    def _reap_the_dead(self) -> None:
        """A node that is left looks for what the dead have left behind."""
        self.quiet, self.over = True, False
        last = Worker(self, "last")
        self._actors = [last]
        # In small steps: who has not ticked for long is taken for away itself, and takes nobody for dead.
        for _ in range(200):
            self.now += 40
            self._one_round()
        self.over = True
        while not last.done:
            self._one_round()
        self.wire.subscribe(last.inbox, False)

    def _audit(self, *, drained: bool = False) -> list[Finding]:
        self.outside.sessions = {
            id: session for id, session in self._sessions.items() if session and id in self.accepted
        }
        # The episode's time stands still while that of the server, by which keys expire, goes on.
        drift = math.ceil((time.monotonic() - self._began) * 1000)
        return audit(self.connection, self.outside, drained=drained, drift_ms=drift)

    def _look(self, *, drained: bool = False) -> None:
        found = self._audit(drained=drained)
        self.tally["audits"] += 1
        if found:
            raise Violation("\n".join(map(str, found)))


_ALIVE: Final = ("waiting", "later", "active")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the fuzz on a private server; returns the exit status."""
    from tests.support.servers import RedisProcess

    parser = argparse.ArgumentParser(prog="python -m tests.chaos.fuzz", description="Fuzz the protocol.")
    parser.add_argument("--faults", type=int, default=200_000, help="stop after so many (default 200,000)")
    parser.add_argument("--seed", type=int, default=1, help="of the first episode")
    chosen = parser.parse_args(arguments)
    server = RedisProcess(os.environ.get("AM2Z_TEST_REDIS") or None)
    server.start()
    began, status = time.perf_counter(), 0
    try:
        with server.client() as connection:
            wire = Wire(server.socket)
            total = run(wire, connection, faults=chosen.faults, seed=chosen.seed)
            wire.close()
    except Violation as violation:
        print(f"VIOLATION {violation}")
        status = 1
    else:
        print("\n".join(f"{number:>10,}  {name}" for name, number in sorted(total.items())))
        seconds, own = time.perf_counter() - began, sum(os.times()[:2])
        print(
            f"{total.faults:,} faults on Redis {server.version} in {seconds:.0f} s"
            f" ({own:.0f} s of them this process at work): nothing lost, doubled, stuck or left behind"
        )
    finally:
        server.close()
    return status


def run(
    wire: Wire,
    connection: redis.Redis,
    *,
    faults: int,
    seed: int = 1,
) -> Tally:
    """Episodes from `seed` on, until so many faults were injected; what happened, in all. In every other one
    the server goes back in its history, too."""
    total = Tally()
    while total.faults < faults:
        total += Episode(wire, connection, seed, rollbacks=seed % 2 == 0).run()
        total["episodes"] += 1
        seed += 1
    return total


if __name__ == "__main__":
    sys.exit(main())
