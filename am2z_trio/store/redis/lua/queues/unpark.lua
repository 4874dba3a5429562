-- The node no longer serves the queue: leave its lot, and pass a wake-up on.
--
-- KEYS     anchor
-- ARGV     node, queue
-- RETURNS  nothing
-- INVARIANT  work never waits for a node that will not come.

local node, queue = unpack(ARGV)
redis.call('ZREM', lot_key(queue), node)
local later = redis.call('ZCARD', later_key(queue)) > 0
if later or has_work(queue) then wake(queue, later and 'any') end
