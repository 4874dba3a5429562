"""Errors that come at the same time as the one that leaves the runtime's block: in the log, and its notes."""

from __future__ import annotations

from functools import partial
from typing import Final

from am2z_trio.model.limits import MAX_TEXT_BYTES
from am2z_trio.model.logs import Log
from am2z_trio.model.telling import attempt, described, trace_of

logger: Final = Log("am2z_trio.node")


def tell_beside(raised: BaseException, beside: list[BaseException]) -> None:
    """What has been raised at the same time as what leaves the runtime's block."""
    for error in beside:
        logger.error("at the end of the runtime there was another error", trace=trace_of(error))
        note = f"At the same time, at the end of the runtime: {described(error, MAX_TEXT_BYTES)}"
        attempt(partial(BaseException.add_note, raised, note), None)
