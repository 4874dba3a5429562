"""The seam: what the engine asks of a store.

One engine runs over two stores. Each method is one atomic step; its docstring names the
*linearization point*, the instant at which everybody sees it as done. `memory` takes it between
two awaits; `redis` takes it when the script runs. Every method is replay-safe: called again with
the same arguments it changes nothing more and gives the earlier answer, which is why a lost reply
is never a lost or doubled job. All raise `NetworkError` where the store cannot be reached before
the caller's own deadline; cancelling a call leaves its outcome unknown to the caller and the store
consistent.

`am2z_trio.testing.conformance` is the contract as tests; both stores pass it.

* `store` - jobs, dead letters, sessions, queues, events, and the sum of all
* `nodes` - leases, and claims as the store has them
* `bulks` - actions on many jobs, and how far they have come
* `breakers` - circuits, which all nodes share
* `states` - session states, and the locks on sessions
* `inspection` - what an operator asks
* `silences` - findings that are silenced
* `logs` - what jobs have logged
* `waits` - what jobs wait for that no other job brings, and signals
* `samples` - what nodes have counted of a queue, slot by slot
* `control` - who the nodes are, and what they may ask each other
* `chronicle` - what is written down of what happened
* `schedules` - what is to run again and again
* `listener` - who a store speaks to
* `settings` - what a store is set to
* `batch` - how much goes with one call
"""

from __future__ import annotations

from .batch import BATCH
from .breakers import BreakerStep
from .bulks import BulkStore
from .chronicle import Chronicle
from .control import ControlStore
from .inspection import MOST_LOOKED_AT, InspectionStore
from .listener import Listener
from .logs import LogStore
from .schedules import ScheduleStore
from .settings import StoreSettings
from .silences import SilenceStore
from .states import StateStore
from .store import ReviveAnswer, Store
from .waits import WaitStore

__all__ = [
    "BATCH",
    "BreakerStep",
    "BulkStore",
    "InspectionStore",
    "ControlStore",
    "Chronicle",
    "Listener",
    "LogStore",
    "MOST_LOOKED_AT",
    "ReviveAnswer",
    "SilenceStore",
    "ScheduleStore",
    "StateStore",
    "WaitStore",
    "Store",
    "StoreSettings",
]
