"""What ended jobs had called, where it is much: it is ended by and by, beside all other calls."""

from __future__ import annotations

from typing import Final

from am2z_trio.concurrency import current_host
from am2z_trio.model.errors import AM2ZError
from am2z_trio.model.logs import Log

from . import scripts
from .begun import Kept
from .link import RedisLink

logger: Final = Log("am2z_trio.store")

PAUSE: Final = 0.005
"""Seconds between two calls: the server has others to serve."""


class Endings:
    def __init__(self, link: RedisLink, kept: Kept) -> None:
        self._link = link
        self._kept = kept
        self._under_way = False

    def go_on(self) -> None:
        """There is something to end: do it in a task that ends with the link."""
        if not self._under_way and self._link.start_soon(self._end_children):
            self._under_way = True

    async def _end_children(self) -> None:
        link, host = self._link, current_host()
        try:
            while await link.eval(scripts.END_CHILDREN, link.clock, *self._kept, link.node):
                await host.sleep(PAUSE)
        except AM2ZError as error:
            logger.warning("what ended jobs had called is ended later: %s", error)
        finally:
            self._under_way = False
