"""What the engine asks of a store, by subject; `Store` is the sum."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal, Protocol

from am2z_trio.concurrency import TaskStatus
from am2z_trio.concurrency.told import GiveUp, Told
from am2z_trio.model.errors import AM2ZError
from am2z_trio.model.events import Event
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
    QueueInfo,
    QueueLimits,
    QueueStats,
    SessionCounts,
    SettleAnswer,
    Settlement,
)

from .breakers import Breakers
from .bulks import BulkStore
from .chronicle import Chronicle
from .control import ControlStore
from .inspection import InspectionStore
from .listener import Listener
from .logs import LogStore
from .nodes import Nodes
from .samples import SampleStore
from .schedules import ScheduleStore
from .silences import SilenceStore
from .states import StateStore
from .waits import WaitStore

ReviveAnswer = Literal["queued", "stopped", "gone", "unreadable"]
"""`stopped`: its session is being stopped; `gone`: there is no such dead letter; `unreadable`: nothing is
left of its record that could be run."""


class Jobs(Protocol):
    """Jobs come in, go out to nodes, and are settled by them."""

    async def enqueue(self, jobs: Sequence[Enqueue], at_rest: Collection[str] = ()) -> list[EnqueueAnswer]:
        """Accept jobs, in order. A known id is `dup`, with its outcome if it has ended; if it has
        not, this origin hears of it too. One whose job has another session or processor, or another input
        (`Enqueue.input`; not where it is run anew), is `taken`. One that `joins` makes no job: `unknown`.
        One that is built on what has not been recorded is `unfounded`, whatever else there is to say.

        One parked node is woken per job, or given it (`claim`). In queues `at_rest` this node has nothing to
        do: parked there, it is given the first one, and told so by the answer (`EnqueueAnswer.token`).

        Linearization point per job: its record is written, and its id is in its queue or with a node.
        """
        ...

    def begin_enqueue(self, jobs: Sequence[Enqueue], told: Told, at_rest: Collection[str]) -> GiveUp | None:
        """`enqueue` for somebody who does not wait: `told` is called with the answers, or the error, later
        and in a task of the store's. `None`, and nothing is done, where it could not be sent at once."""
        ...

    async def enqueue_bulk(self, bulk: Bulk) -> BulkAnswer:
        """`enqueue` of jobs that are alike, in one step: in order, and none behind the first one that is
        refused. A known id that is the same job is accepted; nothing is told of its outcome.

        One call is one step of the store, so whoever calls bounds the number and the bytes."""
        ...

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
        """Take up to `limit` jobs; fewer than `limit` also parks this node on the queue.

        Jobs without a session and every session with jobs are served in turn: each has an equal share of
        `limit`, but at least one. A session has up to `in_a_row` at its turn, in their order, where that is
        more; fewer where there are so many sessions that a round would be of more than
        `BOUNDS.in_a_round` jobs.

        So many jobs it takes `unasked`, those of the answer included: while it is parked it is given them as
        they come (`Handed`), claimed for it in the step that accepts them, whether it hears of that or not.
        These are jobs that `claim` would grant at once, where nothing waits in the queue and nothing limits
        it or holds it up (`limits`, a pause); none with a priority, of a debounce key, or on stored state. Of
        several nodes the one that has waited longest is given the next one.

        With `calls_only`, of those alone that another job waits for (it has called them, or `call_for`),
        the deepest first; the limits hold. Such a node is woken for those alone, where no other is parked.

        A job that works on its session's stored state takes a turn (`turn_of`): of one turn, one is active
        at a time, on all nodes together. The others leave their queue for a line, in which they count as
        waiting; when the turn is free, the first of every queue goes back to the front of its own.

        `limits` is what limits the queue; all nodes that serve it say the same. A rate limit makes
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
        token before → `replay`; not the current token → `fenced`; built on what has not been recorded →
        `unfounded`, and the claim stands; the session's state is not the expected one, or its turn is another
        job's → `conflict`, and the claim stands. Otherwise the state is committed, result and counters are
        written, the event is published and the origin's inbox hears of it, unless that is this node and was
        `told`; of a large result, perhaps only that it is there (`Settled.omitted`). Only `completed`
        commits, and only the job of a session; any other commit is not looked at.
        A claim that was taken away since its node seemed dead is as good as held until somebody else is
        granted the job, and `fenced` from then on; one that its node gave up (leave) is `fenced` at once.
        `released` and `conflicted` go to the front of their queue, or come back after `delay` seconds;
        `conflicted` counts in the next grant, and takes the turn that `reason` names from then on.
        `parked` comes back when one of the waits that `reason` names is over, or has its signal, or at the
        job's deadline; at once where that is so already. It is `later` until then.
        `retry`, `released`, `conflicted` and `parked` of a job whose cancellation was requested end it as
        cancelled.

        Linearization point per job: its token is retired.
        """
        ...

    def begin_settle(self, settlements: Sequence[Settlement], told: Told) -> GiveUp | None:
        """`settle`, as `begin_enqueue` is `enqueue`."""
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

    async def promote(self, job: str) -> str | None:
        """Have a job begin next that waits or is delayed: now, without its priority, before all else that
        waits of its session, or of those without one; and its session's turn comes first. Before a turn
        (`turn_of`) it is the next one. What holds its queue up holds it up, too.

        Returns the status it had before (`None`: no such job); nothing is done where that is another one.
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


class DeadLetters(Protocol):
    """Jobs that have failed for good, and are kept."""

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

    async def drop_dead_letters(self, jobs: Sequence[str]) -> list[bool]:
        """Drop dead letters: payloads go at once, outcomes a minute later. Returns which were any."""
        ...


class Sessions(Protocol):
    """Jobs of one session are counted, and stopped together."""

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


class Queues(Protocol):
    """Which there are, who serves them, and what is in them."""

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
        """This node no longer serves the queue: it is parked there no more, and a wake-up is passed on."""
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


class Events(Protocol):
    """What is told to all nodes, and kept nowhere."""

    async def publish(self, events: Sequence[Event]) -> None:
        """Tell every node that watches events."""
        ...

    async def watch_events(self, on: bool) -> None:
        """Start or stop hearing events; returns when it is in force."""
        ...


class Store(Jobs, DeadLetters, Sessions, Breakers, Queues, Nodes, Events, Protocol):
    """All of one namespace, seen from one node."""

    states: StateStore
    """The namespace's session states, seen from the same node."""
    inspection: InspectionStore
    """What an operator asks."""
    bulks: BulkStore
    """Actions on many jobs, and how far they have come."""
    silences: SilenceStore
    """Findings that nobody is to hear of for a while."""
    chronicle: Chronicle
    """What is written down of what happened."""
    logs: LogStore
    """What jobs have logged."""
    waits: WaitStore
    """What jobs wait for that no other job brings."""
    control: ControlStore
    """The namespace's nodes, seen from this one."""

    samples: SampleStore
    """What nodes have counted of its queues."""
    schedules: ScheduleStore
    """What is to run again and again."""

    async def run(self, listener: Listener, *, task_status: TaskStatus) -> None:
        """Serve until cancelled; `started()` once the node's inbox is open.

        Raises one `NetworkError` or `ConfigurationError` if the store cannot be used at all.
        """
        ...

    # --- health -----------------------------------------------------------------------------

    async def lineage(self) -> str:
        """Names the store's history: another one once it was emptied, or may have lost its end, since the
        server was started anew or another one has taken its place."""
        ...

    @property
    def connections(self) -> dict[str, str]:
        """Each connection's state: `ready`, `disconnected` or `error`."""
        ...

    async def ping(self) -> None:
        """Return when the store has answered, and this node has heard what it was told before."""
        ...

    @property
    def was_denied(self) -> bool:
        """Whether access rules have refused anything since `lacking` last found that nothing is refused."""
        ...

    async def lacking(self) -> AM2ZError | None:
        """The error that names what the store's access rules do not let this node do any more; `None` if it
        may do all it needs, as it could when `run` began. Changes nothing."""
        ...
