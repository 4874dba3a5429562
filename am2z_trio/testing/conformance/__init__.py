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
* `sent` - jobs that others submit without waiting for them
* `expiry` - jobs that are to begin by some time, or never
* `settle` - progress and outcomes; tokens and replays
* `early` - what is built on outcomes that were told before they were recorded
* `promised` - what a node may begin while it tells the store of it
* `states` - session states: commits to them, and writes from outside of jobs
* `locks` - on sessions
* `sessions` - served in turn, counted, stopped; jobs that call others
* `breakers` - circuits that all nodes share
* `cancel` - jobs that are not wanted any more
* `promote` - jobs that are put before others
* `waking` - who hears that there is work
* `queues` - which there are, and what is in them
* `nodes` - leases, and what a node that leaves hands back
* `control` - who the nodes are, and what they say to each other
* `losses` - what becomes of the claims of a node that seems dead
* `looking` - whose turn it is to look after what all nodes share
* `events` - what is told to those who watch
* `chronicle` - what is written down, and kept
* `limits` - of jobs that start and run, and pauses
* `turns` - jobs that work on one session's state, one after the other
* `dead_letters` - what is kept of jobs that have ended
* `bulk_actions` - actions on many jobs, and how far they have come
* `facts` - what decides whether a job is granted next
* `silences` - findings that nobody is to hear of
* `logs` - what jobs have logged
* `waits` - what jobs wait for beside other jobs; `signals` - who hears them;
  `many_waits` - where one job has many
* `samples` - what nodes have counted, slot by slot
* `inspection` - jobs in lists, for whoever looks
* `trail` - what a record tells afterwards
* `schedules` - what runs again and again: kept, looked at, fired once; `due` - in which order
* `hostile` - text that is no more than text
"""

from __future__ import annotations

from typing import Final

from am2z_trio.concurrency import current_host

from .bench import SETTINGS, START_MS, Backend, Bench, Clock, Node, Outcome
from .breakers import BreakerCases
from .builders import commit, job, settled, timeless, version
from .bulk import BulkCases
from .bulk_actions import BulkActionCases
from .cancel import CancelCases
from .chronicle import ChronicleCases
from .claim import ClaimCases
from .control import ControlCases
from .dead_letters import DeadLetterCases
from .due import DueCases
from .early import EarlyCases
from .enqueue import EnqueueCases
from .events import EventCases
from .expiry import ExpiryCases
from .facts import FactsCases
from .handoff import HandoffCases
from .hostile import HOSTILE, HostileTextCases
from .inspection import InspectionCases
from .limits import LimitCases
from .locks import LockCases
from .logs import LogCases
from .looking import LookingCases
from .losses import LossCases
from .many_waits import ManyWaitCases
from .nodes import NodeCases
from .promised import PromisedCases
from .promote import PromoteCases
from .queues import QueueCases
from .samples import SampleCases
from .schedules import ScheduleCases
from .sent import SentCases
from .sessions import SessionCases
from .settle import SettleCases
from .signals import SignalCases
from .silences import SilenceCases
from .states import StateCases
from .trail import TrailCases
from .turns import TurnCases
from .waits import WaitCases
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
    SentCases,
    ExpiryCases,
    CancelCases,
    PromoteCases,
    WakingCases,
    HandoffCases,
    PromisedCases,
    QueueCases,
    NodeCases,
    ControlCases,
    LossCases,
    LookingCases,
    EventCases,
    ChronicleCases,
    LimitCases,
    TurnCases,
    BreakerCases,
    DeadLetterCases,
    BulkActionCases,
    FactsCases,
    SilenceCases,
    LogCases,
    SampleCases,
    InspectionCases,
    TrailCases,
    ScheduleCases,
    DueCases,
    WaitCases,
    ManyWaitCases,
    SignalCases,
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
