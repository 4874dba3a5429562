"""A session's stored state, what is written to it, and its locks."""

from __future__ import annotations

import re
import secrets
from typing import Final, Literal

import msgspec


class Author(msgspec.Struct, frozen=True):
    """Who wrote a state: a job that committed it, on a node and under its claim's token; or a node alone, by
    `runtime.state`."""

    node: str = ""
    job: str = ""
    token: str = ""


NOBODY: Final = Author()


class StateRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A session's state as the store holds it: bytes, and the mark that the next write compares."""

    version: int = 0
    """Grows by one with every write and deletion, and never goes back; 0: never written."""
    checksum: str = ""
    """SHA-256 of `blob`, hex; empty where there is no state: never written, deleted or expired."""
    blob: bytes = b""
    created: int = 0
    """When this state was first written, in ms since the epoch by the store's clock."""
    updated: int = 0
    """When it was last written."""
    by: Author = NOBODY
    """Who wrote this version; nobody where there is no state."""

    @property
    def mark(self) -> tuple[int, str]:
        """Version and checksum: equal marks are equal states. Versions alone repeat where a server
        lost the end of its history."""
        return self.version, self.checksum

    @property
    def exists(self) -> bool:
        return self.checksum != ""


class StateWrite(msgspec.Struct, frozen=True, kw_only=True):
    """The next state of a session, or its deletion."""

    session: str
    seq: int
    """This write's number among those of its node, which only grow. The same number again is the
    same write; a smaller one than the session has seen of this node is a late duplicate."""
    blob: bytes
    """Empty: delete."""
    checksum: str
    expected: tuple[int, str] | None = None
    """The mark the state must still have; `None` for any."""
    ttl: float | None = None
    """Seconds after its last write at which this session's state expires, from now on; `inf`: never;
    `None`: as it is."""
    lock: str = ""
    """Token of the lock it is written under, which must still be held; empty for none."""


class WriteAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one write."""

    status: Literal["applied", "conflict", "fenced", "stale"]
    """`fenced`: the lock is not held any more. `stale`: a late duplicate; nothing was written."""
    current: StateRecord | None = None
    """`applied`: what it became, without its bytes. `conflict`: what is there."""


class LockAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a request for a lock."""

    fence: int | None
    """The fencing number if the lock was granted, which is greater than any before."""
    wait: float = 0.0
    """Otherwise: seconds until the present holder's lease ends. The request has its place in line."""


class LockPlace(msgspec.Struct, frozen=True):
    """Somebody who waits for a lock."""

    job: str = ""
    """The job whose code does, as `LockStanding.job` says of its holder."""
    node: str = ""
    """Where that is."""


class LockStanding(msgspec.Struct, frozen=True, kw_only=True):
    """A session's lock, as anybody may look at it."""

    left: float = 0.0
    """Seconds until its holder's lease is over; 0: nobody holds it."""
    waiting: int = 0
    """How many wait for it."""
    fence: int = 0
    """The fencing number of its holder: larger than that of all before."""
    node: str = ""
    """Where its holder is."""
    since: int = 0
    """When it was given to them: ms since the epoch, by the store's clock."""
    job: str = ""
    """The job whose code holds it; empty where none does, or its id does not go into a token."""
    line: tuple[LockPlace, ...] = ()
    """Those that wait, in turn: the first `LINE_SHOWN` of them."""


def lock_token(job: str) -> str:
    """What nobody else has, of one request for a lock. It names the job that asks: whoever looks at the lock
    reads it there, and nothing more is sent."""
    token = secrets.token_hex(8)
    return f"{token}:{job}" if _IN_TOKEN.fullmatch(job) else token


def job_of(token: str) -> str:
    """The job that it names."""
    return token.partition(":")[2]


_IN_TOKEN: Final = re.compile(r"[!-~]{1,100}")
"""A store keeps tokens in a line, between spaces."""
