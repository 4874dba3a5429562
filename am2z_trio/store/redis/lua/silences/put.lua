-- Silence a finding for a while.
--
-- KEYS     anchor
-- ARGV     clock, code and target with a zero between, ms, who, why
-- RETURNS  until when; -1 if too many others are silenced
-- INVARIANT  no more are kept than MOST_SILENCES; those that are over go first.

local clock, name, ms, by, reason = unpack(ARGV)
local now = read_clock(clock)
local kept, longest = 0, now + ms
for _, other in ipairs(redis.call('HKEYS', silences_key())) do
  local told = unpacked(redis.call('HGET', silences_key(), other)) or {}
  local till = number(told[1], -1)
  if till <= now then
    redis.call('HDEL', silences_key(), other)
  elseif other ~= name then
    kept, longest = kept + 1, math.max(longest, till)
  end
end
if kept >= MOST_SILENCES then return '-1' end
redis.call('HSET', silences_key(), name, cmsgpack.pack({ whole(now + ms), by, reason }))
redis.call('PEXPIRE', silences_key(), whole(longest - now))
return whole(now + ms)
