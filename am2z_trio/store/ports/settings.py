"""What a store is set to."""

from __future__ import annotations

from math import inf

import msgspec


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The store's own periods and sizes."""

    lease: float = 10.0
    """Seconds after its last renewal at which a node's claims may be given to others."""
    result_ttl: float = 3600.0
    """Seconds the record of an ended job is kept."""
    unnamed_ttl: float = inf
    """In memory: seconds the record of one is kept whose id nobody has chosen, if that is less."""
    disconnect_grace: float = 1.0
    """Seconds without a subscriber on its inbox after which a node counts as dead; each node's own counts."""
    state_ttl: float | None = None
    """Seconds after its last write at which a session's state expires; `None`: never."""
    recent: int = 1_000_000
    """Newest ended jobs of a queue that are listed. The records of others go before their time, where nothing
    else was asked for; 0: none is listed, and nothing goes by number."""
    state_history: int = 0
    """Earlier states that are kept per session."""
    event_history: int | None = None
    """Entries that the history of events is to have, from now on, whoever writes them; 0: none are written.
    `None`: as it was said last."""
