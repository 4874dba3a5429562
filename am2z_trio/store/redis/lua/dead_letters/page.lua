-- A page of a queue's dead letters.
--
-- KEYS     anchor
-- ARGV     clock, queue, offset, limit
-- RETURNS  ids, the last to go first
-- INVARIANT  reads only; what has gone by its age is not listed.

local clock, queue, offset, limit = unpack(ARGV)
local now = read_clock(clock)
offset = tonumber(offset)
-- By rank: a range by score would count its way to the offset.
local last = math.min(offset + limit, redis.call('ZCOUNT', dead_key(queue), '(' .. whole(now), '+inf')) - 1
if last < offset then return {} end
return redis.call('ZREVRANGE', dead_key(queue), offset, last)
