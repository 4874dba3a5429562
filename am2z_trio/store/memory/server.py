"""What every store must do, as plain synchronous code: the executable specification.

A subject an object, of the same name as its script: no await inside an operation, so each is atomic; time is
an argument, milliseconds since the epoch, so a test can say what time it is. `MemoryStore` puts it behind the
`Store` port for one node. The Redis scripts do the same, step by step; a property test holds them to it.
"""

from __future__ import annotations

from am2z_trio.store.ports import StoreSettings

from .breakers import Breakers
from .bulks import Bulks
from .census import Census
from .chronicle import Chronicles
from .claim import Claiming
from .control import Introductions
from .dead_letters import DeadLetters
from .endings import Endings
from .enqueue import Enqueuing
from .facts import Facts
from .fence import Fence
from .handoff import Handoff
from .holdings import Holdings
from .jobs import Jobs
from .leases import Leases
from .ledger import Ledger
from .listing import Listing
from .locks import Locks
from .logs import JobLogs
from .nodes import Nodes
from .outbox import Outbox
from .queues import Queues
from .retention import Records
from .samples import Samples
from .schedules import Schedules
from .sessions import Sessions
from .settle import Settling
from .silences import Silences
from .states import States
from .turns import Turns
from .waits import Waits


class MemoryServer:
    """What a Redis is to the Redis store: shared by the stores of any number of nodes.

    Messages are delivered synchronously, after the operation that caused them.
    """

    def __init__(self, settings: StoreSettings | None = None) -> None:
        settings = settings or StoreSettings()
        self._loop: object = None
        self._ahead = 0.0
        fence = Fence()
        # What operations share: each stands on those above it.
        self.chronicles = chronicles = Chronicles(settings.event_history or 0)
        self.outbox = outbox = Outbox(chronicles)
        self.ledger = ledger = Ledger(settings, outbox, fence)
        self.turns = turns = Turns(ledger)
        records = Records(ledger)
        self.waits = waits = Waits(ledger)
        self.endings = endings = Endings(ledger, turns, records, waits)
        leases = Leases(settings, outbox)
        self.held = held = Holdings(ledger, leases, turns, endings)
        # The operations, by subject.
        self.locks = locks = Locks(fence, outbox)
        self.states = states = States(settings, locks)
        self.claiming = claiming = Claiming(ledger, leases, turns, endings, held, states)
        handoff = Handoff(ledger, leases, held, claiming)
        self.enqueuing = enqueuing = Enqueuing(ledger, records, turns, endings, handoff)
        self.settling = Settling(ledger, turns, endings, held, states, waits)
        self.jobs = jobs = Jobs(ledger, turns, records, endings)
        self.logs = JobLogs(ledger, records)
        self.dead_letters = DeadLetters(ledger, records)
        self.listing = Listing(ledger, records, held)
        self.sessions = Sessions(ledger, endings, held, locks, states, waits)
        self.breakers = breakers = Breakers()
        self.bulks = Bulks()
        self.silences = Silences()
        self.schedules = Schedules(jobs, enqueuing)
        self.census = Census(ledger, leases, breakers)
        self.samples = samples = Samples(ledger)
        self.queues = queues = Queues(ledger, records, leases, samples)
        self.introductions = introductions = Introductions(leases, held, outbox)
        self.facts = Facts(ledger, leases, turns, held, queues, breakers, introductions)
        self.nodes = Nodes(ledger, records, leases, endings, held, claiming, queues, states)
        self.nodes.schedule_in = self.schedules.wait

    def time_of_day(self, loop: object, ahead: float) -> float:
        """Seconds by which the time of day is ahead of this loop's clock, as a node sees it that comes now.

        It never goes back within a loop: a virtual clock may be days ahead of the one on the wall by now.
        """
        self._ahead = max(self._ahead, ahead) if loop is self._loop else ahead
        self._loop = loop
        return self._ahead
