-- End a silence.
--
-- KEYS     anchor
-- ARGV     clock, code and target with a zero between
-- RETURNS  1 if there was one in force
-- INVARIANT  nothing else changes.

local clock, name = unpack(ARGV)
local told = unpacked(redis.call('HGET', silences_key(), name) or '') or {}
redis.call('HDEL', silences_key(), name)
return number(told[1], -1) > read_clock(clock) and 1 or 0
