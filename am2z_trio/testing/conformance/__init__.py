"""The store contract as tests: what `am2z_trio.store.ports.Store` promises, sentence by sentence.

For whoever writes a store. Implement `Backend` for it, then run every case:

```python
@pytest.mark.anyio
@pytest.mark.parametrize("case", CASES)
async def test_conformance(case):
    await run_case(case, MyBackend())
```

Cases run on Trio and on asyncio. They look at the store from outside only: through the port, through
the messages its nodes hear, and through a clock that stands still until a case moves it. Each case
needs a backend of its own that holds nothing yet.

What a case works with:

* `bench` - the backend, the clock, and nodes that note what they hear
* `builders` - jobs, commits, states and outcomes in few words

The cases, by what they are about:

* `enqueue` - accepted once, kept as given, served in order
* `claim` - who is granted what, also when it asks twice
* `settle` - progress and outcomes; tokens and replays
* `early` - what is built on outcomes that were told before they were recorded
* `states` - session states: commits to them, and writes from outside of jobs
* `locks` - on sessions
* `sessions` - served in turn, counted, stopped; jobs that call others
* `breakers` - circuits that all nodes share
* `cancel` - jobs that are not wanted any more
* `waking` - who hears that there is work
* `queues` - which there are, and what is in them
* `nodes` - leases, and what a node that leaves hands back
* `losses` - what becomes of the claims of a node that seems dead
* `looking` - whose turn it is to look after what all nodes share
* `events` - what is told to those who watch
* `limits` - of jobs that start and run, and pauses
* `turns` - jobs that work on one session's state, one after the other
* `dead_letters` - what is kept of jobs that have ended
* `hostile` - text that is no more than text
"""

from __future__ import annotations

from typing import Final

from am2z_trio.concurrency import current_host

from .bench import SETTINGS, START_MS, Backend, Bench, Clock, Node, Outcome
from .breakers import BreakerCases
from .builders import commit, job, settled, timeless, version
from .bulk import BulkCases
from .cancel import CancelCases
from .claim import ClaimCases
from .dead_letters import DeadLetterCases
from .early import EarlyCases
from .enqueue import EnqueueCases
from .events import EventCases
from .handoff import HandoffCases
from .hostile import HOSTILE, HostileTextCases
from .limits import LimitCases
from .locks import LockCases
from .looking import LookingCases
from .losses import LossCases
from .nodes import NodeCases
from .queues import QueueCases
from .sessions import SessionCases
from .settle import SettleCases
from .states import StateCases
from .turns import TurnCases
from .waking import WakingCases

__all__ = [
    "CASES",
    "run_case",
    "StoreConformance",
    "Backend",
    "SETTINGS",
    "START_MS",
    "Bench",
    "Clock",
    "Node",
    "Outcome",
    "job",
    "commit",
    "version",
    "timeless",
    "settled",
    "HOSTILE",
]


class StoreConformance(
    EnqueueCases,
    BulkCases,
    ClaimCases,
    SettleCases,
    EarlyCases,
    StateCases,
    LockCases,
    SessionCases,
    CancelCases,
    WakingCases,
    HandoffCases,
    QueueCases,
    NodeCases,
    LossCases,
    LookingCases,
    EventCases,
    LimitCases,
    TurnCases,
    BreakerCases,
    DeadLetterCases,
    HostileTextCases,
):
    """The cases. Each is an async method that takes a `Bench` and asserts."""


CASES: Final = tuple(
    name for cases in StoreConformance.__bases__ for name in vars(cases) if name.startswith("test_")
)
"""The names of all cases, for `run_case`."""


async def run_case(name: str, backend: Backend) -> None:
    """Run one case of `CASES` on a fresh backend. Fails by `AssertionError`."""
    async with current_host().open_nursery() as nursery:
        await getattr(StoreConformance(), name)(Bench(backend, nursery))
        nursery.cancel_scope.cancel()
