"""Which jobs there are and where each of them waits: the steps that operations share."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Sequence
from math import inf
from typing import Literal

from am2z_trio.model.records import EarlyOutcome, MayGoOn, Wake
from am2z_trio.model.transitions import TERMINAL, Transition, follow
from am2z_trio.store.agreed import BOUNDS
from am2z_trio.store.ports import BATCH, StoreSettings

from .bounds import Budget
from .fence import Fence
from .job import JobRecord
from .line import Entry
from .outbox import Outbox
from .queue import Queue


class Ledger:
    """Jobs and queues. Who changes them ends with `deliver`."""

    def __init__(self, settings: StoreSettings, outbox: Outbox, fence: Fence) -> None:
        self.settings = settings
        self.outbox = outbox
        self.fence = fence
        self.jobs: dict[str, JobRecord] = {}
        self.queues: dict[str, Queue] = {}
        self.live: dict[str, dict[str, None]] = {}
        """By session: its jobs that have not ended."""
        self.stopping: dict[str, float] = {}
        """Sessions that are being stopped, and until when their jobs are refused."""
        self.debounced: dict[tuple[str, str], str] = {}
        """By queue and `debounce_name`: the last job of that key, until it begins or ends."""
        self.taken: set[str] = set()
        """Jobs that wait and were taken out of their lines by the step under way."""
        self.budget = Budget()
        self._freed: dict[str, int] = {}
        """By queue: how many fewer of its jobs are active since the last `deliver`."""
        self._ghosts: dict[tuple[str, str], int] = {}
        """By queue and session: entries of jobs that wait no more since the last `deliver`."""
        self._arrivals = itertools.count(1)
        self.quiet = False
        """Nothing was done since a node has renewed its lease."""
        self.wake_resting: Callable[[], object] | None = None
        """Of the node that rests."""

    def deliver(self) -> None:
        """The end of every operation: what it has made room for is told, and its messages are sent."""
        self.quiet = False
        if self.wake_resting is not None:
            self.end_rest()
        self.send_off()

    def end_rest(self) -> None:
        """Whoever rests is to look after this again."""
        wake, self.wake_resting = self.wake_resting, None
        if wake is not None:
            wake()

    def send_off(self) -> None:
        """As `deliver`, of what has changed by itself."""
        self._sieve_ghosts()
        self.budget = Budget()
        freed, self._freed = self._freed, {}
        for name, places in freed.items():
            let_back = self.let_back(name) if places > 0 else 0
            if self.queue(name).held:
                for _ in range(places - let_back):
                    self.wake(name)
        self.outbox.send()

    # --- what there is ----------------------------------------------------------------------

    def queue(self, name: str) -> Queue:
        queue = self.queues.get(name)
        if queue is None:
            queue = self.queues[name] = Queue()
        return queue

    def claimed(self, job_id: str, token: str) -> JobRecord | None:
        """The job, if this is the token of the claim that holds it."""
        job = self.jobs.get(job_id)
        return job if job is not None and token and job.token == token else None

    def are_recorded(self, told: Sequence[EarlyOutcome]) -> bool:
        """Whether what somebody was told early has been recorded by now."""
        for job_id, token in told:
            job = self.jobs.get(job_id)
            if job is None or job.status != "completed" or job.last_token != token:
                return False
        return True

    def is_stopping(self, session: str, now: float) -> bool:
        return self.stopping.get(session, -inf) > now

    def next_arrival(self) -> int:
        return next(self._arrivals)

    def count(self, job: JobRecord, transition: Transition) -> None:
        """Change the job's status by the table, and the queue's counts with it."""
        old, new = job.status, follow(job.status, transition)
        if "active" in (old, new):
            self.free(job.queue, 1 if old == "active" else -1)
        if job.depth and old == "waiting":
            self.queue(job.queue).drop_call(job.spec.id)
        counts = self.queue(job.queue).counts
        counts[old] = counts.get(old, 0) - 1
        counts[new] = counts.get(new, 0) + 1
        job.status = new

    def tally(self, job: JobRecord, what: str) -> None:
        """Something has happened in the job's queue that does not where all goes well."""
        counts = self.queue(job.queue).counts
        counts[what] = counts.get(what, 0) + 1

    def free(self, name: str, places: int) -> None:
        """So many fewer of the queue's jobs count as active."""
        self._freed[name] = self._freed.get(name, 0) + places

    def leave_debounce(self, job: JobRecord) -> None:
        """A job that begins or ends gives way to no later one of its key any more."""
        if self.debounced.get((job.queue, job.debounce)) == job.spec.id:
            del self.debounced[job.queue, job.debounce]

    # --- what waits -------------------------------------------------------------------------

    def put(self, job: JobRecord, *, front: bool = False, lifo: bool = False) -> None:
        """Make a waiting job claimable and wake one node that is parked on its queue. `front`: before the
        others of its line, and its session's turn before others'; `lifo`: no more than the former."""
        first, front = front, front or lifo
        arrival = 0 if front or not job.priority else self.next_arrival()
        self.queue(job.queue).put(
            job.entry, job.spec.session, job.priority, arrival, front=front, first=first
        )
        if job.depth:
            self.list_call(job, front=front)
        self.wake(job.queue)

    def list_call(self, job: JobRecord, *, front: bool = False) -> None:
        """A job that others wait for is to be found apart from those that nobody does."""
        arrival = 0 if front else self.next_arrival()
        self.queue(job.queue).put_call(job.spec.id, job.depth, arrival)

    def leave_place(self, job: JobRecord) -> None:
        """A waiting job begins without being taken from where it waits. Its entry stays in its line, as one
        that waits no more whenever the job does."""
        if not self.queue(job.queue).drop_priority(job.spec.id):
            job.generation += 1
            self.leave_ghost(job)

    def wake(self, name: str, whom: Literal["able", "free", "any"] = "able") -> bool:
        """Wake a parked node: one that claims whatever waits. Where there is none, one that claims calls
        only, if there are calls or `any` will do; never if it is for a `free` one."""
        queue = self.queue(name)
        parked = queue.parked
        while parked:
            node = min(parked, key=lambda name: (parked[name], name))
            calls_only, _, _ = parked[node]
            if calls_only and (whom == "free" or (whom == "able" and not queue.has_calls)):
                return False
            del parked[node]
            if self.outbox.is_connected(node):
                self.outbox.post(node, Wake(name))
                return True
        return False

    def let_back(self, name: str, asking: str = "") -> int:
        """Let jobs that have stepped aside go on, for which there is room; all but the one that is `asking`
        hear of it."""
        queue, let = self.queue(name), 0
        for job_id in list(itertools.islice(queue.back, BATCH)):
            if queue.most_active and queue.counts.get("active", 0) - queue.away >= queue.most_active:
                break
            job = self.jobs[job_id]
            if not queue.has_room(job.spec.session):
                continue
            del queue.back[job_id]
            job.away = False
            queue.away -= 1
            queue.enter(job.spec.session)
            let += 1
            if job_id != asking:
                self.outbox.post(job.node, MayGoOn(job_id, job.token))
        return let

    # --- what is delayed --------------------------------------------------------------------

    def put_later(self, job: JobRecord, due: float) -> None:
        job.due = due
        later = self.queue(job.queue).later
        heapq.heappush(later, (due, job.spec.id))
        self._drop_early_ghosts(job.queue)
        if later[0][1] == job.spec.id:
            # Some node has to learn when to come back; its next claim will tell it.
            self.wake(job.queue, "any")

    def promote(self, name: str, now: float) -> None:
        """Let what is due wait."""
        later = self.queue(name).later
        for _ in range(BATCH):
            self._drop_early_ghosts(name)
            if not later or later[0][0] > now:
                return
            job = self.jobs[heapq.heappop(later)[1]]
            self.count(job, "promote")
            self.put(job)

    def next_due(self, name: str, now: float) -> float | None:
        """Seconds until the queue's next job is due."""
        later = self.queue(name).later
        self._drop_early_ghosts(name)
        return max(0.0, (later[0][0] - now) / 1000) if later else None

    def is_later(self, name: str, job_id: str) -> bool:
        """Whether a job is delayed in this queue: one that has ended may have come again in another."""
        job = self.jobs.get(job_id)
        return job is not None and job.status == "later" and job.queue == name

    def _drop_early_ghosts(self, name: str) -> None:
        """Make the first entry a job that really is due then."""
        later = self.queue(name).later
        while later:
            due, job_id = later[0]
            if self.is_later(name, job_id) and self.jobs[job_id].due == due:
                return
            heapq.heappop(later)

    # --- entries of what waits no more ------------------------------------------------------

    def leave_ghost(self, job: JobRecord) -> None:
        """The job's entry stays in its line, and stands for nothing from now on."""
        place = job.queue, job.spec.session
        self._ghosts[place] = self._ghosts.get(place, 0) + 1

    def _sieve_ghosts(self) -> None:
        """Take entries of jobs that wait no more out where they are many: a bounded number per operation."""
        ghosts, self._ghosts = self._ghosts, {}
        left = BOUNDS.sieved
        for (name, session), count in ghosts.items():
            queue = self.queue(name)
            queue.count_ghosts(session, count)
            most = min(left, count * BOUNDS.sieved_per_ghost + BOUNDS.sieved_at_least)
            if most > 0:
                left -= queue.sieve(session, most, self._waits)

    def _waits(self, entry: Entry) -> bool:
        """Whether a job that has not ended stands in its line as this entry."""
        job = self.jobs.get(entry[0])
        return job is not None and job.status not in TERMINAL and job.generation == entry[1]
