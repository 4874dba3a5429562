"""Sessions as they are shown: in a list, and one with its state, its versions and what it waits for."""

from __future__ import annotations

from typing import Literal

import msgspec

from ..records.states import NOBODY, Author, LockStanding
from .actions import Payload

SessionState = Literal["stopping", "live", "waiting", "delayed", "rest"]
"""`live`: some of its jobs run; `waiting`, `delayed`: none does, and some wait or are due later; `rest`: all
have ended."""


class SessionRow(msgspec.Struct, frozen=True, kw_only=True):
    """A session in a list."""

    session: str
    waiting: int = 0
    active: int = 0
    delayed: int = 0
    jobs: int = 0
    """Jobs that have not ended."""
    looked_at: int = 0
    """How many of them were counted by status above: of very many, some."""
    nodes: tuple[str, ...] = ()
    """Nodes that hold any of those."""
    stopping: bool = False
    version: int = 0
    """Of its state; 0: there never was one."""
    size: int | None = None
    """Bytes of its state; `None`: there is none now."""
    created: int = 0
    """When this state was first written, in ms since the epoch by the store's clock, as are the next two."""
    updated: int = 0
    expires: int = 0
    """0: never."""
    locked: bool = False
    """Somebody holds its lock."""

    @property
    def state(self) -> SessionState:
        """In one word."""
        if self.stopping:
            return "stopping"
        if self.active:
            return "live"
        if self.waiting:
            return "waiting"
        return "delayed" if self.jobs else "rest"


class SessionNames(msgspec.Struct, frozen=True, kw_only=True):
    """Some of the sessions that have jobs which have not ended."""

    sessions: list[str]
    of: int
    """How many there are."""
    cursor: str = ""
    """With which the next page begins; empty: there is none."""


class VersionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a session's state that is kept."""

    version: int
    checksum: str
    size: int
    updated: int
    by: Author = NOBODY
    newest: bool = False
    spoilt: bool = False
    """Its bytes are not what was written, and are shown as no state."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One value that one version has and another has not, or has otherwise."""

    path: str
    """Where it stands: `items[0].qty`."""
    before: str | None = None
    """As JSON, cut where it is long; `None`: there was none."""
    after: str | None = None


class StateShown(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a session's state."""

    version: VersionRow
    value: Payload
    """What may be seen of it."""
    before: int | None = None
    """The version that it is compared with; `None`: the one before is not kept."""
    changes: list[Change] = []
    """What it has changed in that one, as far as it may be seen."""
    same: int = 0
    """Values that are the same in both."""
    hidden_before: int = 0
    """Values of the other version that may not be seen: they may have changed, too."""


class StoredBytes(msgspec.Struct, frozen=True, kw_only=True):
    """What is stored as a session's state, whatever it is."""

    version: int
    checksum: str
    """That of what was written; `missing` where that is gone."""
    actual: str
    """That of these bytes; empty where there are none."""
    size: int
    data: bytes
    """The first of them."""


class LaneRow(msgspec.Struct, frozen=True, kw_only=True):
    """A session's jobs of one processor."""

    queue: str
    waiting: int = 0
    active: int = 0
    delayed: int = 0


class SessionShown(msgspec.Struct, frozen=True, kw_only=True):
    """A session, looked at alone."""

    row: SessionRow
    lock: LockStanding
    lanes: list[LaneRow] = []
    """By processor, of the jobs that were looked at."""
    versions: list[VersionRow] = []
    """Those that are kept, the newest first."""
    bad: str = ""
    """What is wrong with the bytes that are stored as the newest: they are never shown as a state."""
