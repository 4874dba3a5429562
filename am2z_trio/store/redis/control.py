"""The nodes of a namespace on Redis: scripts for who they are, a plain PUBLISH for what they say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from am2z_trio.model.codec import RecordDecoder, encode_record
from am2z_trio.model.errors import ValidationError
from am2z_trio.model.logs import Log
from am2z_trio.model.records import Ask, NodeInfo, NodeStanding, Told

from . import scripts
from .keys import spell
from .link import RedisLink
from .rows import text

logger: Final = Log("am2z_trio.store")

PAGE: Final = 200
"""Nodes of one call."""

_decode_info: Final = RecordDecoder[NodeInfo](NodeInfo)


class RedisControl:
    """`ControlStore` on a node's link."""

    def __init__(self, link: RedisLink, prefix: str) -> None:
        self._link = link
        self._prefix = prefix

    async def introduce(self, info: NodeInfo) -> bool:
        return bool(await self._link.eval(scripts.INTRODUCE, self._link.node, encode_record(info)))

    async def nodes(self) -> Sequence[NodeStanding]:
        found, first = dict[str, NodeStanding](), 0
        while True:
            page = await self._link.eval(scripts.PRESENT, self._link.clock, first, PAGE)
            for row in page:
                one = _standing(*row)
                found[one.id] = one
            first += len(page)
            if len(page) < PAGE:
                return [found[id] for id in sorted(found)]

    async def post(self, node: str, message: Ask | Told) -> bool:
        if self._link.commands is None:
            raise self._link.not_running()
        inbox = spell(self._prefix, "inbox", node)
        return bool(await self._link.commands.call("PUBLISH", inbox, encode_record([message])))


def _standing(node: bytes, lease: bytes, claims: int, heard: int, info: bytes) -> NodeStanding:
    read = node_info(text(node), info)
    return NodeStanding(id=text(node), lease=int(lease) / 1000, is_heard=heard > 0, claims=claims, info=read)


def node_info(node: str, packed: bytes) -> NodeInfo | None:
    """What a node has said of itself, if that can be read here."""
    try:
        return _decode_info(packed) if packed else None
    except ValidationError as error:
        logger.debug("what node %s says of itself cannot be read: %s", node, error)
        return None
