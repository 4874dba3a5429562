"""What has piled up, and the store that meets it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from am2z_trio.model.records import (
    UNLIMITED,
    WIRE_VERSION,
    Enqueue,
    Grant,
    JobSpec,
    QueueLimits,
    Settlement,
)
from am2z_trio.model.redis_options import RedisOptions
from am2z_trio.store.ports import BATCH, StoreSettings
from am2z_trio.store.redis import scripts
from am2z_trio.store.redis.keys import anchor, spell, spelled_out
from am2z_trio.store.redis.store import RedisStore
from am2z_trio.wire.scripts import Script

from .probe import Call, Connection, Probe, drive

SIZES: Final = {
    "waiting": 1_000_000,
    "delayed": 100_000,
    "children": 100_000,
    "priorities": 20_000,
    "starts": 500_000,
    "blocked": 10_000,
    "dead ids": 100_000,
    "queues": 5_000,
    "sessions": 10_000,
    "claims": 10_000,
    "kept": 100_000,
    "writers": 3_000,
    "parked": 1_000,
}
START_MS: Final = 1_700_000_000_000
PLACEHOLDER: Final = "i" * 9

FILL: Final = Script(
    "fill",
    spelled_out(
        scripts.BUNDLER.assembled(
            """
local letter, first, last, before, after = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], ARGV[5]
local queue, skey, status, parent, priority = ARGV[6], ARGV[7], ARGV[8], ARGV[9], tonumber(ARGV[10])
local own_sessions, own_queues, fields = ARGV[11] == '1', ARGV[12] == '1', cmsgpack.unpack(ARGV[13])
for i = first, last do
  local id, name = letter .. string.format('%08d', i), skey
  if own_sessions then name = skey .. i end
  local place = queue
  if own_queues then place = queue .. i end
  local record = { 'spec', before .. id .. after, 'status', status, 'queue', place, 'processor', 'work',
    'origin', '', 'max_stalled', '3' }
  for _, value in ipairs(fields) do record[#record + 1] = value end
  if name ~= '' then
    record[#record + 1], record[#record + 2] = 'skey', name
    record[#record + 1], record[#record + 2] = 'session', name
  end
  redis.call('HSET', job_key(id), unpack(record))
  if name ~= '' and not ENDED[status] then
    redis.call('SADD', jobs_key(name), id)
    redis.call('HSETNX', sessions_key(), name, name)
  end
  if parent ~= '' then redis.call('SADD', children_key(parent), id) end
  count(place, status, 1)
  if status == 'waiting' or status == 'cancelled' then
    line_up(place, id, priority, false, name ~= '' and name or nil)
  elseif status == 'later' then
    redis.call('ZADD', later_key(place), whole(START + i), id)
  elseif status == 'active' then
    redis.call('HSET', active_key('dead'), id, 'x')
  end
end
for _, name in ipairs(counts_order) do
  for of, by in pairs(counts[name]) do redis.call('HINCRBY', meta_key(name), of, by) end
end
""".replace("START", str(START_MS)),
        )
    ),
)
"""Makes records and queues as the scripts do, many at a time."""


@dataclass
class Bench:
    """A store whose every call is measured, and what fills it."""

    connection: Connection
    sizes: Mapping[str, int]
    now: int = START_MS
    operation: str = ""
    found: dict[str, list[Call]] = field(default_factory=dict[str, list[Call]])

    def __post_init__(self) -> None:
        self.probe = Probe(self.connection)
        self.store = self.store_of("n1")
        self.seq = 0

    def store_of(self, node: str, **settings: Any) -> RedisStore:
        store = RedisStore(node, RedisOptions(), settings=StoreSettings(**settings), clock=lambda: self.now)
        store.link.commands = self.probe  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
        return store

    def size(self, name: str) -> int:
        return max(2, self.sizes[name])

    @contextmanager
    def measured(self, operation: str) -> Iterator[None]:
        """Put the script calls made inside down to this operation."""
        self.probe.calls = []
        yield
        self.found.setdefault(operation, []).extend(self.probe.calls)

    def fill(
        self,
        count: int,
        *,
        letter: str = "j",
        queue: str = "q",
        session: str = "",
        status: str = "waiting",
        parent: str = "",
        priority: int = 0,
        own_sessions: bool = False,
        own_queues: bool = False,
        **fields: Any,
    ) -> list[str]:
        """Make `count` jobs; returns their ids."""
        spec = msgspec.msgpack.encode(job(PLACEHOLDER).spec)
        before, after = spec.split(PLACEHOLDER.encode())
        flat = [str(part) for pair in fields.items() for part in pair]
        for first in range(0, count, 10_000):
            last = min(first + 10_000, count) - 1
            options = (queue, session, status, parent, priority, int(own_sessions), int(own_queues))
            packed = msgspec.msgpack.encode(flat)
            args = (letter, first, last, before, after, *options, packed)
            self.connection.eval(FILL.source, 1, anchor("am2z"), *args)
        return [f"{letter}{number:08d}" for number in range(count)]

    def claim(
        self, limit: int = BATCH, limits: QueueLimits = UNLIMITED, queue: str = "q", calls: int = 1
    ) -> list[Grant]:
        """Claim, and go on as a worker does while the answer says so; at most `calls` times."""
        grants: list[Grant] = []
        for _ in range(calls):
            self.seq += 1
            answer = drive(self.store.claim(queue, self.seq, limit, limits))
            grants += answer.grants
            if len(grants) >= limit or answer.next_due != 0:
                break
        return grants

    def carry_on(self, ticks: int = 3) -> None:
        for _ in range(ticks):
            self.now += 1000
            drive(self.store.tick())
            drive(self.probe.eval(scripts.END_CHILDREN, [anchor("am2z")], [self.now, 3_600_000, 0, "n1"]))

    def key(self, kind: str, name: str = "") -> str:
        return spell("am2z", kind, name)


def job(id: str, queue: str = "q", session: str = "", **options: Any) -> Enqueue:
    spec = JobSpec(
        WIRE_VERSION, id, "work", session, msgspec.Raw(b"\x01"), "", parent=options.pop("parent", "")
    )
    return Enqueue(spec=spec, queue=queue, **options)


def done(grant: Grant, outcome: Any = "completed", **options: Any) -> Settlement:
    return Settlement(id=grant.spec.id, token=grant.token, outcome=outcome, **options)


# --- the operations, each with what has piled up -----------------------------------------------
