-- Go on ending what jobs that have ended had called.
--
-- KEYS     anchor
-- ARGV     clock, result ttl ms, most ended jobs kept, node
-- RETURNS  1 if there is more, 0 if not, or if another node is at it
-- INVARIANT  bounded work per call. What nobody goes on with, the next node does that ticks.

local clock, ttl, recent, node = unpack(ARGV)
local now = read_clock(clock)
most_recent = tonumber(recent)
if redis.call('EXISTS', ending_key()) == 0 or not may_go_on(node) then return 0 end
local more = go_on_ending(now, ttl)
if not more then redis.call('DEL', turn_key()) end
finish()
return more and 1 or 0
