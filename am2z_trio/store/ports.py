"""The seam: what the engine asks of a store.

One engine runs over two stores. Each method is one atomic step; its docstring names the
*linearization point*, the instant at which everybody sees it as done. `memory` takes it between
two awaits; `redis` takes it when the script runs. Every method is replay-safe: called again with
the same arguments it changes nothing more and gives the earlier answer, which is why a lost reply
is never a lost or doubled job. All raise `NetworkError` where the store cannot be reached before
the caller's own deadline; cancelling a call leaves its outcome unknown to the caller and the store
consistent.

`am2z_trio.testing.conformance` is the contract as tests; both stores pass it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Literal, Protocol

import msgspec

from am2z_trio.concurrency import TaskStatus
from am2z_trio.model.errors import AM2ZError
from am2z_trio.model.events import Event
from am2z_trio.model.options import CircuitBreaker
from am2z_trio.model.records import (
    FREE,
    ClaimAnswer,
    DeadJob,
    Enqueue,
    EnqueueAnswer,
    Flow,
    ForgetAnswer,
    InboxMessage,
    JobView,
    LockAnswer,
    Permit,
    QueueInfo,
    QueueStats,
    RenewAnswer,
    SessionCounts,
    SettleAnswer,
    Settlement,
    Standing,
    StateRecord,
    StateWrite,
    TickAnswer,
    WriteAnswer,
)


class Listener(Protocol):
    """The node a store speaks to. Its methods are called from the store's tasks and never wait."""

    def on_message(self, message: InboxMessage) -> None:
        """An inbox message: an outcome, a wake-up, a request to cancel."""
        ...

    def on_event(self, event: Event) -> None:
        """An event of some node; only while events are watched."""
        ...

    def on_reconnect(self) -> None:
        """The store was out of reach and is back: messages may have been missed."""
        ...


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The store's own periods and sizes."""

    lease: float = 10.0
    """Seconds after its last renewal at which a node's claims may be given to others."""
    result_ttl: float = 3600.0
    """Seconds the record of an ended job is kept."""
    unnamed_ttl: float = inf
    """In memory: seconds the record of one is kept whose id nobody has chosen, if that is less."""
    disconnect_grace: float = 1.0
    """Seconds without a subscriber on its inbox after which a node counts as dead; each node's own counts."""
    state_ttl: float | None = None
    """Seconds after its last write at which a session's state expires; `None`: never."""
    state_history: int = 0
    """Earlier states that are kept per session."""


BreakerStep = Literal["enter", "succeed", "fail"]
ReviveAnswer = Literal["queued", "stopped", "gone", "unreadable"]
"""`stopped`: its session is being stopped; `gone`: there is no such dead letter; `unreadable`: nothing is
left of its record that could be run."""


class StateStore(Protocol):
    """Session states and the locks on sessions."""

    async def read(self, session: str) -> StateRecord:
        """The session's state; version 0 if there never was one. An expired state is as if deleted.

        Raises `StateIntegrityError` if the bytes do not match the checksum, or one of them is missing.
        """
        ...

    async def write(self, write: StateWrite) -> WriteAnswer:
        """Compare and write, in one step; jobs that complete in the session do the same.

        Checked in this order, before anything is written: this number seen before → the earlier
        answer, or `stale`; not the lock's holder, or its lease has passed → `fenced`; not the
        expected mark → `conflict`. Deleting where there is no state is `applied` and changes nothing.

        Linearization point: the version is in the session's record.
        """
        ...

    async def set_ttl(self, session: str, ttl: float) -> None:
        """Let the session's state expire `ttl` seconds after its last write; `inf`: never."""
        ...

    async def history(self, session: str) -> list[StateRecord]:
        """The newest states, newest first, as many as `state_history` says; none once it is deleted."""
        ...

    async def acquire(self, session: str, token: str, lease: float) -> LockAnswer:
        """Take the session's lock for `lease` seconds, or a place in line for it.

        The line is first come, first served; who waits hears `LockGranted`, and asks again when the
        present holder's lease has passed (the same token keeps its place, or its lock).

        Linearization point: token and fencing number are in the lock's record.
        """
        ...

    async def renew(self, session: str, token: str, lease: float) -> bool:
        """Let the lock's lease run for `lease` seconds from now; `False` if it is lost."""
        ...

    async def release(self, session: str, token: str, lease: float) -> bool:
        """Give the lock, or the place in line, back; the next in line gets it and hears of it.

        `lease` is what it was acquired with. Returns whether the lock was still held.
        """
        ...

    def release_nowait(self, session: str, token: str, lease: float) -> None:
        """`release` without waiting for the answer: what a cancelled task can still do."""
        ...


class Store(Protocol):
    """Jobs, queues and nodes of one namespace, seen from one node."""

    @property
    def states(self) -> StateStore:
        """The namespace's session states, seen from the same node."""
        ...

    async def run(self, listener: Listener, *, task_status: TaskStatus) -> None:
        """Serve until cancelled; `started()` once the node's inbox is open.

        Raises one `NetworkError` or `ConfigurationError` if the store cannot be used at all.
        """
        ...

    # --- jobs -------------------------------------------------------------------------------

    async def enqueue(self, jobs: Sequence[Enqueue]) -> list[EnqueueAnswer]:
        """Accept jobs, in order. A known id is `dup`, with its outcome if it has ended; if it has
        not, this origin hears of it too. One whose job has another session or processor, or another input
        (`Enqueue.input`; not where it is run anew), is `taken`. One that `joins` makes no job: `unknown`.

        Linearization point per job: its record is written and its id is in its queue. One parked
        node is woken per job.
        """
        ...

    async def claim(
        self, queue: str, seq: int, limit: int, flow: Flow = FREE, calls_only: bool = False
    ) -> ClaimAnswer:
        """Take up to `limit` jobs; fewer than `limit` also parks this node on the queue.

        With `calls_only`, of those alone that another job waits for (it has called them, or `call_for`),
        the deepest first; the limits hold. Such a node is woken for those alone, where no other is parked.

        A job that works on its session's stored state takes a turn (`turn_of`): of one turn, one is active
        at a time, on all nodes together. The others leave their queue for a line, in which they count as
        waiting; when the turn is free, the first of every queue goes back to the front of its own.

        `flow` is what limits the queue; all nodes that serve it say the same. A rate limit makes
        `next_due` the time at which it may go on; the other limits wake a node when there is room.

        `seq` grows with every call of this node on this queue. The same `seq` again gives those
        grants of the first call that still stand; a smaller one is a late duplicate and is
        answered `stale`. Jobs whose deadline has passed are cancelled instead of granted; those whose
        record something else has spoilt end as dead letters (`UNREADABLE`). A call looks at
        a bounded number of what it does not grant (ids that wait no more, say); where more is left,
        `next_due` is 0, and the caller calls again at once; the same where an answer has become large.

        Linearization point per job: token and node are in its record.
        """
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> list[SettleAnswer]:
        """End, retry or hand back claimed jobs; all effects of one job in one step, or none.

        Checked in this order, before anything is written: no record → `gone`; settled with this
        token before → `replay`; not the current token → `fenced`; the session's state is not the
        expected one, or its turn is another job's → `conflict`, and the claim stands. Otherwise the state is
        committed, result and counters are written, the event is published and the origin's inbox hears of
        it; of a large result, perhaps only that it is there (`Settled.omitted`). Only `completed` commits,
        and only the job of a session; any other commit is not looked at.
        A claim that was taken away since its node seemed dead is as good as held until somebody else is
        granted the job, and `fenced` from then on; one that its node gave up (leave) is `fenced` at once.
        `released` and `conflicted` go to the front of their queue, or come back after `delay` seconds;
        `conflicted` counts in the next grant, and takes the turn that `reason` names from then on.
        `retry`, `released` and `conflicted` of a job whose cancellation was requested end it as cancelled.

        Linearization point per job: its token is retired.
        """
        ...

    async def report(self, job: str, token: str, progress: float) -> bool:
        """Record progress; `False` if `token` is not the current one and nothing was written."""
        ...

    async def call_for(self, job: str) -> None:
        """Another job waits for this one from now on, which nobody had called. Nothing where it has ended, or
        is not known.

        Linearization point: the mark in its record. Where it waits, one node hears of it.
        """
        ...

    async def step_aside(self, job: str, token: str) -> None:
        """The job waits for others: from now on the limits of its queue do not count it. Nothing where
        `token` is not the current one.

        Linearization point: the mark in its record. Room that this makes is given on as if it had ended.
        """
        ...

    async def step_back(self, job: str, token: str) -> bool:
        """The job goes on: `True` if the limits count it again (or if they have never ceased to, or
        `token` is not the current one). `False` if there is no room: it is in line then, before all that
        waits, and its node hears `MayGoOn`.
        """
        ...

    async def cancel(self, job: str, reason: str) -> str | None:
        """Cancel a job: one that waits ends at once, an active one's node is told.

        Returns the status it had before (`None`: no such job). The request also outlives a node
        that dies before it hears of it.
        """
        ...

    def cancel_nowait(self, job: str, reason: str) -> None:
        """`cancel` without waiting for the answer: what a cancelled caller can still do."""
        ...

    def leave_nowait(self, job: str, reason: str) -> None:
        """This node waits for the job no more: it is cancelled, unless another node waits for it or somebody
        has submitted it to stay. Does not wait for the answer."""
        ...

    async def view(self, jobs: Sequence[str]) -> list[JobView | None]:
        """Look at jobs; `None` where there is no record (never enqueued, or retention passed)."""
        ...

    # --- sessions ---------------------------------------------------------------------------

    async def stop_session(self, session: str, *, running: bool, refuse: float) -> list[str]:
        """End the session's jobs on every node as cancelled, for `SESSION_STOPPED`; what asks for
        them hears it. Its jobs are refused for `refuse` seconds from now, or until this has succeeded.

        `running=False` spares the running ones: their ids are returned, and this node hears of their
        outcome. `running=True` leaves nothing of the session but its state, and tells every other node.
        Bounded steps, each replay-safe; after the last one no job accepted before can write any more.
        """
        ...

    async def stops(self, sessions: Sequence[str]) -> list[int]:
        """Per session, the number of its last stop; 0 if none is remembered. What is opened after this was
        asked is hit by stops of greater numbers only: `SessionStopped` says which, and who missed it asks
        again. Some thousand stops are remembered, for an hour."""
        ...

    async def active_sessions(self) -> list[str]:
        """Sessions with jobs that have not ended."""
        ...

    async def session_counts(self, session: str) -> SessionCounts:
        """The session's jobs that have not ended; a large number is not counted in one step."""
        ...

    async def breaker(self, processor: str, step: BreakerStep, policy: CircuitBreaker) -> Permit:
        """One step of the processor's circuit breaker, as `policy.breaker` says; the circuit is shared."""
        ...

    # --- queues -----------------------------------------------------------------------------

    async def announce(self, queues: Sequence[QueueInfo], *, serves: bool = True) -> None:
        """This node serves these queues from now on, or still does: until it withdraws, leaves or is taken
        for dead. Without a lease it is no server; it says so again when it has taken one.

        With `serves=False` it only submits to them: one that is not announced yet becomes so, not known by
        name. One that nobody has served for `ANNOUNCED_FOR`, and that has no jobs, is forgotten.

        Linearization point: the node is among the queue's servers.
        """
        ...

    def withdraw_nowait(self, queues: Sequence[str], *, retire: bool = False) -> None:
        """This node serves these queues no more; does not wait for the answer, and comes after what was asked
        before and before what is asked later. With `retire`, those that nobody serves then are known by name
        no more, until somebody announces them."""
        ...

    async def forget_queue(self, queue: str) -> ForgetAnswer:
        """Take a queue out of all that is announced, if it has no jobs, dead letters included, and nobody
        serves it."""
        ...

    async def known_queues(self) -> list[QueueInfo]:
        """All queues that somebody has announced, in order of their first announcement."""
        ...

    async def unpark(self, queue: str) -> None:
        """This node no longer serves the queue: leave its lot, and pass a wake-up on."""
        ...

    async def dead_page(self, queue: str, offset: int, limit: int) -> list[str]:
        """Ids of the queue's dead letters, the last to go first: by default that is the newest."""
        ...

    async def dead_jobs(self, jobs: Sequence[str]) -> list[DeadJob | None]:
        """Look at dead letters; `None` for what is none."""
        ...

    async def revive(self, jobs: Sequence[str]) -> list[ReviveAnswer]:
        """Queue dead letters again, each as if it had just come: a first attempt, no deadline, nobody who
        waits. Two calls never queue the same one twice.

        Linearization point per job: its id is in its queue. One parked node is woken per job.
        """
        ...

    async def bury(self, jobs: Sequence[str]) -> list[bool]:
        """Drop dead letters: payloads go at once, outcomes a minute later. Returns which were any."""
        ...

    async def pause(self, queue: str, on: bool) -> None:
        """Grant no job of the queue from now on, or again.

        Linearization point: the mark in the queue's record. Every node that is parked on it is woken
        when it goes on.
        """
        ...

    async def stats(self, queues: Sequence[str]) -> list[QueueStats]:
        """Counts per queue, each read in one step."""
        ...

    # --- nodes ------------------------------------------------------------------------------

    async def join(self) -> None:
        """Take a lease, so as to claim. What it holds it keeps; `reconcile` says what that is."""
        ...

    async def leave(self) -> None:
        """Give the lease back; jobs it still holds go back to their queues, no budget used."""
        ...

    def beat(self) -> None:
        """The event loop gets on: a job has ended. What keeps the lease beside it may go on. Never waits."""
        ...

    async def renew(self, *, look_every: float) -> RenewAnswer:
        """Renew the lease, if this node has one, keep the time by which everything is due, and hear whether
        it is this node's turn to look (`tick`).

        All nodes together look once in `look_every` seconds, the shortest that any of them says, and when a
        node that seems dead has had its grace; 0: this node does not look.
        """
        ...

    async def tick(self, *, reap: bool = True) -> TickAnswer:
        """Renew the lease, give dead nodes' jobs back to their queues (if `reap`), wake stuck queues.

        A node is dead when its lease has passed, or when nobody has listened to its inbox for its
        `disconnect_grace`; but nobody is for a while after a node was heard whose own lease was in its last
        third: store or network may have been away for all.
        A job that comes back from a dead node has `stalls` + 1; beyond its `max_stalled` it fails, and the
        answer names it: no other node will. For
        the second time and further ones, jobs come back one by one. A call that completes takes its
        parent's `stalls` away; a node that is not dead after all (`reconcile`, `settle`) takes away the
        one that was counted for it.
        Bounded work per call: where dead nodes have more jobs than one call takes, the answer says so, and
        any number of nodes may go on at once.
        """
        ...

    async def reconcile(self, claims: Sequence[tuple[str, str]]) -> list[Standing]:
        """How the claims stand, by job id and token, that this node believes to hold.

        One that was taken away since the node seemed dead is given back if nobody else was granted the job:
        it is `held`, under the same token. If somebody was, it is `lost`. Its stall is taken back either
        way, unless it has made a dead letter. Bounded steps, each replay-safe.

        Linearization point of giving back: the token is in the job's record again.
        """
        ...

    async def holdings(self) -> list[tuple[str, str]]:
        """Every claim that this node holds as the store has it, by job id and token.

        What is granted or settled while this is read may be told or not. One that the node does not know,
        with no claim call under way that could bring it, is handed back by settling it as `released`.
        """
        ...

    # --- events -----------------------------------------------------------------------------

    async def publish(self, events: Sequence[Event]) -> None:
        """Tell every node that watches events."""
        ...

    async def watch_events(self, on: bool) -> None:
        """Start or stop hearing events; returns when it is in force."""
        ...

    async def lineage(self) -> str:
        """Names the store's history: another one once it was emptied, or may have lost its end, since the
        server was started anew or another one has taken its place."""
        ...

    # --- health -----------------------------------------------------------------------------

    @property
    def connections(self) -> dict[str, str]:
        """Each connection's state: `ready`, `disconnected` or `error`."""
        ...

    async def ping(self) -> None:
        """Return when the store has answered."""
        ...

    @property
    def was_denied(self) -> bool:
        """Whether access rules have refused anything since `lacking` last found that nothing is refused."""
        ...

    async def lacking(self) -> AM2ZError | None:
        """The error that names what the store's access rules do not let this node do any more; `None` if it
        may do all it needs, as it could when `run` began. Changes nothing."""
        ...


StoreFactory = Callable[[str], Store]
"""Makes the store of one node, given the node's id."""
