"""Trio's nouns, or AnyIO's where the host is asyncio.

Everything above this room is written against five nouns: nursery, cancel scope, event, spot and
clock. On Trio they *are* Trio's objects; under asyncio AnyIO lends objects with the same methods,
so there is one engine and no wrapper on Trio's hot path. `current_host()` looks the library up
once; hold on to what it returns instead of asking again per call.

Beside them stands what is made of them and knows no job:

* `awaiting` - where a coroutine waits
* `groups`, `contexts`, `stack` - what an error in a group means, whose context a call runs in, deep calls
* `keyed_lock`, `capacity` - one task per name at a time; so many at a time
* `batching` - what gathers while a call is under way goes with the next
* `pauses` - waits between rounds, which stand still while nothing is to do
* `told` - answers for which no task waits

What costs the same through AnyIO on both hosts (signals, processes, files) is used from
AnyIO directly and is not repeated here.
"""

from __future__ import annotations

import sniffio

from ._nouns import UNTOUCHED, CancelScope, Event, Host, Nursery, Spot, TaskStatus

__all__ = [
    "UNTOUCHED",
    "CancelScope",
    "Event",
    "Host",
    "Nursery",
    "Spot",
    "TaskStatus",
    "current_host",
]


def current_host() -> Host:
    """Return the nouns of the async library this task runs on.

    Raises `sniffio.AsyncLibraryNotFoundError` outside an async function, and `RuntimeError` for a
    library other than Trio and asyncio.
    """
    library = sniffio.current_async_library()
    if library == "trio":
        from ._trio import TRIO

        return TRIO
    if library == "asyncio":
        from ._asyncio import ASYNCIO

        return ASYNCIO
    raise RuntimeError(f"am2z_trio runs on Trio and on asyncio, not on {library!r}")
