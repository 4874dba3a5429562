"""Records and lists as the scripts leave them, very many of them, for whoever looks at these."""

from __future__ import annotations

import time
from typing import Any, Final

import msgspec

from am2z_trio.model.records import WIRE_VERSION, JobSpec
from am2z_trio.store.redis.keys import anchor, spelled_out

AT_ONCE: Final = 5_000

FILL: Final = spelled_out(
    """
local anchor, kind, before, after = KEYS[1], ARGV[1], ARGV[5], ARGV[6]
local first, last, sessions, now = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[7])
local queue = 'work'
for n = first, last do
  local id, at = kind .. string.format('%08d', n), string.format('%.0f', now - (last - n))
  local session = 's' .. (n % sessions)
  local record = { 'queue', queue, 'origin', '', 'session', session, 'skey', session, 'at', at }
  local function add(...)
    for _, value in ipairs({ ... }) do record[#record + 1] = value end
  end
  if kind == 'w' then
    add('spec', before .. id .. after, 'status', 'waiting')
    redis.call('SADD', jobs_key(session), id)
    redis.call('HSET', sessions_key(), session, session)
    if redis.call('RPUSH', wait_key(queue .. '@' .. session), id) == 1 then
      redis.call('ZADD', ready_key(queue), n, session)
    end
  else
    add('result', '', 'status', n % 50 == 0 and 'cancelled' or 'completed', 'since', at, 'ended', at)
    redis.call('LPUSH', recent_key(queue), id)
  end
  redis.call('HSET', job_key(id), unpack(record))
end
redis.call('HINCRBY', meta_key(queue), kind == 'w' and 'waiting' or 'completed', last - first + 1)
"""
)


def fill(connection: Any, kind: str, many: int, sessions: int) -> None:
    """So many jobs of the queue `work`, in so many sessions: `w` that wait, or `e` that have ended."""
    placeholder = "i" * 9
    spec = JobSpec(WIRE_VERSION, placeholder, "work", "", msgspec.Raw(msgspec.msgpack.encode({"n": 1})), "")
    before, after = msgspec.msgpack.encode(spec).split(placeholder.encode())
    for first in range(0, many, AT_ONCE):
        last = min(first + AT_ONCE, many) - 1
        now = int(time.time() * 1000) - (many - last)
        connection.eval(FILL, 1, anchor("am2z"), kind, first, last, sessions, before, after, now)
