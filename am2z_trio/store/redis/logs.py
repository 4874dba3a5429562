"""What jobs have logged, on Redis: a field of their records."""

from __future__ import annotations

from collections.abc import Sequence

from am2z_trio.model.records import MAX_LINES_BYTES, KeptLines, LogLine, read_lines, written

from . import scripts
from .arguments import as_argument
from .link import RedisLink


class RedisLogs:
    """`LogStore` on a node's link. Every call is one script, or several where there are too many jobs."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    async def keep(self, told: Sequence[KeptLines], most: int) -> list[bool]:
        # No more of each than is kept: one that logs very much is not to keep the server.
        texts = [written(one.lines).encode()[-MAX_LINES_BYTES:] for one in told]
        records = [(as_argument(one.id), one.token, said) for one, said in zip(told, texts, strict=True)]
        sizes = [len(said) for said in texts]
        kept = await self._link.eval_records(scripts.KEEP_LOGS, (most,), records, sizes)
        return [bool(answer) for answer in kept]

    async def read(self, job: str) -> list[LogLine] | None:
        (kept,) = await self._link.eval_records(scripts.READ_LOGS, (), [(as_argument(job),)])
        return None if kept == 0 else read_lines(kept.decode("utf-8", "replace"))
