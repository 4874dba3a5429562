"""What jobs have logged, in memory: with their records."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from am2z_trio.model.records import MAX_LINES_BYTES, KeptLines, LogLine, read_lines, written

from .ledger import Ledger
from .retention import Records


class JobLogs:
    """Those of all jobs."""

    def __init__(self, ledger: Ledger, records: Records) -> None:
        self._ledger = ledger
        self._records = records

    def keep(self, told: KeptLines, most: int, now: float) -> bool:
        job = self._records.known(told.id, now)
        if job is None or not told.token or told.token not in (job.token, job.last_token):
            return False
        added = written(told.lines)
        if not job.logs.endswith(added):
            job.logs = shortened(job.logs + added, most)
        return True

    def read(self, job_id: str, now: float) -> list[LogLine] | None:
        job = self._records.known(job_id, now)
        return None if job is None else read_lines(job.logs)


def shortened(kept: str, most: int) -> str:
    """The last lines, so many and as long."""
    data = kept.encode()
    if len(data) > MAX_LINES_BYTES:
        data = data[-MAX_LINES_BYTES:].partition(b"\n")[2]
    return "".join(f"{line}\n" for line in data.decode().split("\n")[:-1][-most:])


class MemoryLogs:
    """`LogStore` of one node."""

    def __init__(
        self, logs: JobLogs, checkpoint: Callable[[], Awaitable[None]], now: Callable[[], float]
    ) -> None:
        self._logs = logs
        self._checkpoint = checkpoint
        self._now = now

    async def keep(self, told: Sequence[KeptLines], most: int) -> list[bool]:
        await self._checkpoint()
        return [self._logs.keep(one, most, self._now()) for one in told]

    async def read(self, job: str) -> list[LogLine] | None:
        await self._checkpoint()
        return self._logs.read(job, self._now())
