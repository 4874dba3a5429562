-- How schedules stand, those that are due first in front: what is counted of them, and nothing of their specs.
--
-- KEYS     anchor
-- ARGV     clock, offset, limit
-- RETURNS  {now, {name, when it is due or 'inf', how many times it has missed, 1 if it is paused} ...}
-- INVARIANT  reads only.

local clock, offset, limit = unpack(ARGV)
local answer = { read_clock(clock) }
local found = redis.call('ZRANGE', schedules_key(), offset, offset + limit - 1, 'WITHSCORES')
for i = 1, #found, 2 do
  local v = redis.call('HMGET', schedule_key(found[i]), 'missed', 'paused')
  answer[#answer + 1] = { found[i], found[i + 1], v[1] or '0', v[2] and 1 or 0 }
end
return answer
