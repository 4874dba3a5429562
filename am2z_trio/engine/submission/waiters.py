"""Who waits here for which job."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from am2z_trio.model.records import Settled

from .waiter import Waiter


class Waiters:
    """Everybody on this node who waits for an outcome, by job. Several may wait for one whose id the user
    chose."""

    def __init__(self, on_served: Callable[[str], None]) -> None:
        """`on_served` is told the queue of a job that was run although nobody seemed to serve it."""
        self._by_job: dict[str, list[Waiter]] = {}
        self._on_served = on_served

    def __len__(self) -> int:
        """How many jobs are waited for."""
        return len(self._by_job)

    def add(self, waiter: Waiter) -> None:
        if waiter.id in self._by_job:
            self._by_job[waiter.id].append(waiter)
        else:
            self._by_job[waiter.id] = [waiter]

    def remove(self, waiter: Waiter) -> bool:
        """Returns whether it was here still."""
        waiters = self._by_job.get(waiter.id, [])
        if waiter not in waiters:
            return False
        waiters.remove(waiter)
        if not waiters:
            del self._by_job[waiter.id]
        return True

    def remove_all(self) -> list[Waiter]:
        by_job, self._by_job = self._by_job, {}
        return [waiter for waiters in by_job.values() for waiter in waiters]

    def of(self, job: str) -> Sequence[Waiter]:
        return self._by_job.get(job, ())

    def all(self) -> list[Waiter]:
        return [waiter for waiters in self._by_job.values() for waiter in waiters]

    def waits(self, waiter: Waiter) -> bool:
        return waiter in self._by_job.get(waiter.id, ())

    def known(self) -> list[Waiter]:
        """Those whose jobs the store has."""
        return [waiter for waiters in self._by_job.values() for waiter in waiters if waiter.is_known]

    def differ(self, job: str) -> bool:
        """Whether not all of them wait for a job of one input: an id can be used for another one."""
        waiters = self._by_job.get(job, ())
        return len(waiters) > 1 and len({waiter.input for waiter in waiters if waiter.input}) > 1

    def resolve(self, settled: Settled) -> None:
        """Tell whoever waits for the job. Who has asked for an id and has no answer yet may not be meant: the
        job may be another session's, or have been given another input."""
        unanswered: list[Waiter] = []
        for waiter in self._by_job.pop(settled.id, ()):
            if waiter.shared and not waiter.is_known:
                waiter.look = True
                unanswered.append(waiter)
            else:
                waiter.resolve(settled)
                if waiter.unserved and waiter.request is not None and settled.status != "cancelled":
                    self._on_served(waiter.request.queue)
        if unanswered:
            self._by_job[settled.id] = unanswered

    def resolve_from(self, waiter: Waiter, settled: Settled) -> None:
        """Tell this one what the store has said of its job, and those who wait for the same."""
        if self.differ(waiter.id):
            self.remove(waiter)
            waiter.resolve(settled)
        else:
            self.resolve(settled)
