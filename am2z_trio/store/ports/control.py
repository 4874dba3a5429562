"""Who the nodes of a namespace are, and what one of them may say to another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from am2z_trio.model.records import Ask, NodeInfo, NodeStanding, Told


class ControlStore(Protocol):
    """The nodes of one namespace, seen from one of them."""

    async def introduce(self, info: NodeInfo) -> bool:
        """Say who this node is; `False`, and nothing is kept, while it has no lease.

        It is kept for `INTRODUCED_FOR`, and no longer than anything else of the node: it goes when the node
        leaves, or has been taken for dead. Linearization point: the record is written.
        """
        ...

    async def nodes(self) -> Sequence[NodeStanding]:
        """Every node that has a lease, or had one and is not forgotten yet, by its id. Some hundred are read
        in one step; those that come or go between two steps may be told or not."""
        ...

    async def post(self, node: str, message: Ask | Told) -> bool:
        """Put a message into another node's inbox; `False` if nobody listens there. Delivery is at most
        once, and the message may have been delivered where this raises."""
        ...
