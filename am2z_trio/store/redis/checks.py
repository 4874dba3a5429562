"""What a server is asked before a node runs on it: whether it holds the slot, and what its rights are."""

from __future__ import annotations

from typing import Final

from am2z_trio.concurrency import current_host
from am2z_trio.model.errors import AccessDeniedError, ServerReplyError, UnsupportedServerError
from am2z_trio.model.logs import Log
from am2z_trio.model.redis_options import RedisOptions
from am2z_trio.wire.client import RedisClient
from am2z_trio.wire.resp import Argument

from . import scripts
from .access import Probe
from .bundle import LIBRARIES
from .keys import anchor

logger: Final = Log("am2z_trio.store")

KEPT_LIBRARIES: Final = 8
"""Libraries of functions of other versions that are kept side by side: about 100 KB each."""


async def require_slot(commands: RedisClient, options: RedisOptions, prefix: str) -> None:
    """Raise `UnsupportedServerError` unless this node of a cluster holds the namespace's one slot."""
    try:
        slot = await commands.call("CLUSTER", "KEYSLOT", anchor(prefix))
        own = await commands.call("CLUSTER", "MYID")
        ranges = await commands.call("CLUSTER", "SLOTS")
    except ServerReplyError as error:
        logger.warning("%s does not tell which slots it holds: %s", options.display, error)
        return
    holder = next((primary for first, last, primary, *_ in ranges if first <= slot <= last), None)
    if holder is not None and holder[2] == own:
        return
    where = (
        "no node of it does"
        if holder is None
        else f"give the URL of the one that does: {holder[0].decode()}:{holder[1]}"
    )
    raise UnsupportedServerError(
        f"the node of a Redis Cluster at {options.display} does not hold slot {slot}, in which all "
        f"keys of prefix {prefix!r} lie: {where}",
        context={"url": options.display, "slot": slot},
    )


async def missing_rights(commands: RedisClient, probe: Probe) -> list[str]:
    """What the server's access rules do not let this user do: asked in one go."""
    missing: list[str] = []

    async def ask(rule: str, *words: Argument) -> None:
        try:
            await commands.call(*words)
        except AccessDeniedError as error:
            missing.extend(probe.named(error.message, rule))
        except ServerReplyError:
            # There is no such script: it was looked for.
            pass

    async with current_host().open_nursery() as nursery:
        nursery.start_soon(ask, "+eval", "EVAL", "return 0", 0)
        nursery.start_soon(ask, "+evalsha", "EVALSHA", "0" * 40, 0)
        nursery.start_soon(ask, "+script|load", "SCRIPT", "LOAD", "return 0")
        nursery.start_soon(ask, "+ping", "PING")
    if "+eval" in missing or "+evalsha" in missing:
        return missing
    return [*probe.missing(await commands.eval(scripts.PROBE, (), probe.arguments)), *missing]


async def forget_libraries(commands: RedisClient) -> None:
    """Libraries of other versions go where there are many. Nobody asks who uses them: who still does
    teaches the server his own anew, and runs scripts meanwhile."""
    if not commands.programs.has_functions:
        return
    try:
        listed = await commands.call("FUNCTION", "LIST", "LIBRARYNAME", f"{LIBRARIES}*")
        names = {one[b"library_name"].decode() for one in listed} - {scripts.library().name}
        for name in names if len(names) >= KEPT_LIBRARIES else ():
            await commands.call("FUNCTION", "DELETE", name)
    except ServerReplyError as error:
        # Or somebody else was quicker.
        logger.debug("the libraries of other versions stay: %s", error)
