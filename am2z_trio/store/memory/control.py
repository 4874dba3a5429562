"""Who the nodes are, as they say themselves, and what one of them says to another."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from am2z_trio.model.records import INTRODUCED_FOR, Ask, NodeInfo, NodeStanding, Told

from .holdings import Holdings
from .leases import Leases
from .outbox import Outbox


class Introductions:
    """Of all nodes: what each has said of itself, for as long as it has a lease."""

    def __init__(self, leases: Leases, held: Holdings, outbox: Outbox) -> None:
        self._leases = leases
        self._held = held
        self._outbox = outbox
        self._said: dict[str, tuple[NodeInfo, float]] = {}
        """And until when that is kept."""

    def introduce(self, node: str, info: NodeInfo, now: float) -> bool:
        self._forget(now)
        if not self._leases.is_held(node):
            return False
        self._said[node] = info, now + INTRODUCED_FOR * 1000
        return True

    def prolong(self, node: str, until: float) -> None:
        """The node says it again so much later."""
        if node in self._said:
            self._said[node] = self._said[node][0], until + INTRODUCED_FOR * 1000

    def nodes(self, now: float) -> Sequence[NodeStanding]:
        self._forget(now)
        return [
            NodeStanding(
                id=node,
                lease=self._leases.left(node, now) / 1000,
                is_heard=self._outbox.is_connected(node),
                claims=len(self._held.of(node)),
                info=self._said[node][0] if node in self._said else None,
            )
            for node in sorted(self._leases.names())
        ]

    def of(self, node: str, now: float) -> NodeInfo | None:
        """What it has said of itself."""
        self._forget(now)
        return self._said[node][0] if node in self._said else None

    def _forget(self, now: float) -> None:
        self._said = {
            node: said for node, said in self._said.items() if node in self._leases and said[1] > now
        }

    def post(self, node: str, message: Ask | Told) -> bool:
        heard = self._outbox.is_connected(node)
        self._outbox.post(node, message)
        self._outbox.send()
        return heard


class MemoryControl:
    """`ControlStore` for one node."""

    def __init__(
        self,
        node: str,
        introductions: Introductions,
        checkpoint: Callable[[], Awaitable[None]],
        now: Callable[[], float],
    ) -> None:
        self._node = node
        self._introductions = introductions
        self._checkpoint = checkpoint
        self._now = now

    async def introduce(self, info: NodeInfo) -> bool:
        await self._checkpoint()
        return self._introductions.introduce(self._node, info, self._now())

    async def nodes(self) -> Sequence[NodeStanding]:
        await self._checkpoint()
        return self._introductions.nodes(self._now())

    async def post(self, node: str, message: Ask | Told) -> bool:
        await self._checkpoint()
        return self._introductions.post(node, message)
