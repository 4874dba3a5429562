"""The public face: what both runtimes do, a page per subject; `local` and `queue` put a store under it."""

from __future__ import annotations

from am2z_trio.model.runtime_options import RuntimeOptions

from .connection import ConnectionManager
from .control import ControlManager
from .dead_letters import DeadLetters
from .drain import DrainMethods
from .events import EventMethods
from .explain import ExplainMethods
from .from_thread import FromThread
from .samples import SampleMethods
from .schedules import ScheduleManager
from .sessions import SessionMethods
from .workers import WorkerManager


class Runtime(SessionMethods, EventMethods, DrainMethods, SampleMethods, ExplainMethods):
    """What both runtimes do. Enter one of the subclasses: `async with LocalRuntime() as runtime`.

    Entering starts the workers of every registered processor; leaving drains them for
    `shutdown_grace` seconds, then cancels what still runs and hands it back to its queue. A runtime
    can be entered again after it was left. While it is entered its methods may be called from any task of the
    event loop it was entered in, and are one `RuntimeStateError` from any other thread or loop, with nothing
    done: from other threads (plain processors run in one) it is used by `from_thread`.

    No job ends a node, whatever it raises or returns, with one exception: `KeyboardInterrupt`, which may
    be Ctrl-C, goes through from wherever it is raised and is the block's.

    What leaves the block is one exception, as itself: what the block has raised, or else that of which the
    node has ended. Where there are both at once it is the block's, the other one is a note of it and in the
    log; but `KeyboardInterrupt` comes before all. A group that the block raises is left as it is.
    """

    def __init__(self, options: RuntimeOptions) -> None:
        super().__init__(options)
        self.workers = WorkerManager(self._running, self._registry, self.register)
        """The workers of this node."""
        self.control = ControlManager(self._running)
        """All nodes: what runs on them now, and orders to them."""
        self.connection = ConnectionManager(self._perhaps_running)
        """How this node stands with its store."""
        self.dead_letters = DeadLetters(lambda: self._running().store)
        """The jobs that have failed for good, on all nodes."""
        self.schedules = ScheduleManager(self._running, self.job)
        """What is to run by the clock, on any node."""
        self.from_thread = FromThread(lambda: self._entered_node().portal, self)
        """The runtime for threads other than that of its loop: `runtime.from_thread.execute(price, 1)`."""
