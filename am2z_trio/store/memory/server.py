"""What every store must do, as plain synchronous code: the executable specification.

A subject an object, of the same name as its script: no await inside an operation, so each is atomic; time is
an argument, milliseconds since the epoch, so a test can say what time it is. `MemoryStore` puts it behind the
`Store` port for one node. The Redis scripts do the same, step by step; a property test holds them to it.
"""

from __future__ import annotations

from am2z_trio.store.ports import StoreSettings

from .breakers import Breakers
from .claim import Claiming
from .dead_letters import DeadLetters
from .endings import Endings
from .enqueue import Enqueuing
from .fence import Fence
from .handoff import Handoff
from .holdings import Holdings
from .jobs import Jobs
from .leases import Leases
from .ledger import Ledger
from .locks import Locks
from .nodes import Nodes
from .outbox import Outbox
from .queues import Queues
from .retention import Records
from .sessions import Sessions
from .settle import Settling
from .states import States
from .turns import Turns


class MemoryServer:
    """What a Redis is to the Redis store: shared by the stores of any number of nodes.

    Messages are delivered synchronously, after the operation that caused them.
    """

    def __init__(self, settings: StoreSettings | None = None) -> None:
        settings = settings or StoreSettings()
        fence = Fence()
        # What operations share: each stands on those above it.
        self.outbox = outbox = Outbox()
        self.ledger = ledger = Ledger(settings, outbox, fence)
        self.turns = turns = Turns(ledger)
        records = Records(ledger)
        self.endings = endings = Endings(ledger, turns, records)
        leases = Leases(settings, outbox)
        self.held = held = Holdings(ledger, leases, turns, endings)
        # The operations, by subject.
        self.locks = locks = Locks(fence, outbox)
        self.states = states = States(settings, locks)
        self.claiming = claiming = Claiming(ledger, leases, turns, endings, held, states)
        handoff = Handoff(ledger, leases, held, claiming)
        self.enqueuing = Enqueuing(ledger, records, turns, endings, handoff)
        self.settling = Settling(ledger, turns, endings, held, states)
        self.jobs = Jobs(ledger, records, endings)
        self.dead_letters = DeadLetters(ledger, records)
        self.sessions = Sessions(ledger, endings, held, locks)
        self.breakers = Breakers()
        self.queues = queues = Queues(ledger, records, leases)
        self.nodes = Nodes(ledger, records, leases, endings, held, claiming, queues, states)
