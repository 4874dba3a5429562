"""What the engine asks of a store about samples: what nodes have counted of a queue, slot by slot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from am2z_trio.model.records.samples import Counted, QueueFigures, StoredSample

Width = Literal["slot", "period"]
"""`SLOT` seconds, kept for `SLOTS_KEPT`; or `PERIOD` seconds, kept for `PERIODS_KEPT` (`store.agreed`)."""


class SampleStore(Protocol):
    """Figures of all nodes in slots of time, of each queue by itself."""

    async def flush(self, seq: int, queues: Sequence[QueueFigures]) -> None:
        """Add what this node has counted to the slot of now. One call is one step, so whoever calls bounds
        the number of queues.

        `seq` grows with every call of this node. One that is not greater than the last that was taken is that
        one again, and adds nothing: a call whose answer was lost is made again as it was, before the next.
        The first call of a later slot closes the one before, with what is in the queue then; whoever comes
        second finds it closed. The first of a later period adds up the one before.

        Linearization point: the number of the call is in the node's record.
        """
        ...

    async def read(
        self, queue: str, width: Width, within: float, since: int, most: int
    ) -> list[StoredSample]:
        """The queue's slots of the last `within` seconds, the oldest first, and no more than `most`; or
        periods that are over. Those alone that began at `since` (ms) or later. The last slot may be one that
        still goes on. There is none for a time in which nothing was counted.

        Whoever wants all asks again from behind the last one, until there is none.
        """
        ...

    async def census(self, queues: Sequence[str]) -> Counted:
        """What is so now in the namespace and in these queues, beside `Queues.stats`. Of what waits, the
        first few entries of each line are looked at, and of the sessions those that are served next."""
        ...
