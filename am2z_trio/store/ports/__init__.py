"""The seam: what the engine asks of a store.

One engine runs over two stores. Each method is one atomic step; its docstring names the
*linearization point*, the instant at which everybody sees it as done. `memory` takes it between
two awaits; `redis` takes it when the script runs. Every method is replay-safe: called again with
the same arguments it changes nothing more and gives the earlier answer, which is why a lost reply
is never a lost or doubled job. All raise `NetworkError` where the store cannot be reached before
the caller's own deadline; cancelling a call leaves its outcome unknown to the caller and the store
consistent.

`am2z_trio.testing.conformance` is the contract as tests; both stores pass it.

* `store` - jobs, dead letters, sessions, breakers, queues, nodes, events, and their sum
* `states` - session states, and the locks on sessions
* `listener` - who a store speaks to
* `settings` - what a store is set to
* `batch` - how much goes with one call
"""

from __future__ import annotations

from .batch import BATCH
from .listener import Listener
from .settings import StoreSettings
from .states import StateStore
from .store import BreakerStep, ReviveAnswer, Store

__all__ = ["BATCH", "BreakerStep", "Listener", "ReviveAnswer", "StateStore", "Store", "StoreSettings"]
