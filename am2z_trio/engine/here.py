"""Where a node lives: everything of it belongs to one event loop, in one thread."""

from __future__ import annotations

import threading
from typing import Final

from am2z_trio.concurrency import Host
from am2z_trio.model.errors import RuntimeStateError


class Here:
    """The event loop in which it was made."""

    __slots__ = ("_host", "_loop", "_thread")

    def __init__(self, host: Host) -> None:
        self._host: Final = host
        self._loop: Final = host.current_loop()
        self._thread: Final = threading.current_thread().name

    def require(self) -> None:
        """Raise `RuntimeStateError` anywhere else: nothing of a node may be touched from there, and nothing
        has been."""
        loop = self._host.current_loop()
        if loop is self._loop:
            return
        thread = threading.current_thread().name
        if thread != self._thread:
            where = f"in the thread {self._thread!r}, and was used from {thread!r}"
        elif loop is None:
            where = "in an event loop, and was used while that did not run"
        else:
            where = "in another event loop of this thread"
        raise RuntimeStateError(
            f"the runtime lives {where}: all of it is to be used in the loop it was entered in "
            "(from another thread, as plain processors run in one: runtime.from_thread)",
            context={"thread": thread},
        )
