"""Turns: of the jobs on one session's stored state, one is active at a time."""

from __future__ import annotations

import bisect

from .job import JobRecord
from .ledger import Ledger


class Turns:
    """Who has which turn, and who waits for it: in every queue in a line of its own."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.holders: dict[str, str] = {}
        """Who has which turn."""
        self.lines: dict[str, dict[str, list[tuple[int, str]]]] = {}
        """By turn and queue: who waits for it, by place. None is empty."""

    def is_taken(self, turn: str) -> bool:
        return turn in self.holders

    def is_anothers(self, turn: str, job: JobRecord) -> bool:
        """Whether a job other than this one has the turn."""
        return self.holders.get(turn, job.spec.id) != job.spec.id

    def take_turn(self, job: JobRecord) -> None:
        if job.turn:
            self.holders[job.turn] = job.spec.id

    def pass_turn(self, job: JobRecord) -> None:
        """The first in line of every queue may take it: nobody is to wait for a queue that is not served."""
        if job.turn and self.holders.get(job.turn) == job.spec.id:
            del self.holders[job.turn]
            for queue in sorted(self.lines.get(job.turn, ())):
                self._call_up(job.turn, queue)

    def stand_in_line(self, job: JobRecord) -> None:
        """The job's turn is another one's. It keeps its place when it comes here again."""
        job.place = job.place or self._ledger.next_arrival()
        self._ledger.queue(job.queue).drop_call(job.spec.id)
        line = self.lines.setdefault(job.turn, {}).setdefault(job.queue, [])
        bisect.insort(line, (job.place, job.spec.id))

    def stands_in_line(self, job: JobRecord) -> bool:
        return (job.place, job.spec.id) in self.lines.get(job.turn, {}).get(job.queue, ())

    def go_first(self, job: JobRecord) -> None:
        """One that stands in line is the next to have the turn."""
        line = self.lines[job.turn][job.queue]
        if line[0][1] != job.spec.id:
            line.remove((job.place, job.spec.id))
            # 0 is the place of one that has not been there.
            job.place = line[0][0] - 1 or -1
            line.insert(0, (job.place, job.spec.id))

    def leave_line(self, job: JobRecord) -> None:
        """A job has ended before it had its turn. If it was about to take it, the next one is."""
        if job.turn and not self.step_out_of_line(job):
            self._call_up(job.turn, job.queue)

    def step_out_of_line(self, job: JobRecord) -> bool:
        """Returns whether it stood there."""
        if not self.stands_in_line(job):
            return False
        self.lines[job.turn][job.queue].remove((job.place, job.spec.id))
        self._drop_if_empty(job.turn, job.queue)
        return True

    def _call_up(self, turn: str, queue: str) -> None:
        """Let the first in line come back to its queue, to its front."""
        line = self.lines.get(turn, {}).get(queue)
        if line:
            _, job_id = line.pop(0)
            self._drop_if_empty(turn, queue)
            self._ledger.put(self._ledger.jobs[job_id], front=True)

    def _drop_if_empty(self, turn: str, queue: str) -> None:
        lines = self.lines[turn]
        if not lines[queue]:
            del lines[queue]
            if not lines:
                del self.lines[turn]
