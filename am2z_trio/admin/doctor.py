"""The doctor: whether the server, and this user's rights on it, are fit for the work."""

from __future__ import annotations

from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.model.views.findings import Check
from am2z_trio.policy import checkup

from .forecasts import expected


async def examine(runtime: Runtime) -> list[Check]:
    """Every check, in the order in which they are to be read. Raises `NetworkError` where the store cannot be
    reached; changes nothing."""
    store = runtime.node.store
    queues = [info.queue for info in await store.known_queues()]
    foreseen = None
    for pressure in await store.inspection.pressure(queues[:1]):
        foreseen = await expected(runtime, queues, pressure.at)
    checks = checkup.examine(await store.inspection.server(), foreseen)
    refused = await store.lacking()
    if refused is None:
        rights = Check(name="rights", state="ok", text="the server lets this user do all that is needed")
    else:
        remedy = "give the rights by ACL SETUSER; least_acl lists them"
        rights = Check(name="rights", state="bad", text=refused.message, remedy=remedy)
    return [*checks, rights]
