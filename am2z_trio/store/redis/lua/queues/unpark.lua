-- The node no longer serves the queue: leave its lot, and pass a wake-up on.
--
-- KEYS     anchor
-- ARGV     node, queue
-- RETURNS  nothing
-- INVARIANT  work never waits for a node that will not come.

redis.call('ZREM', lot_key(ARGV[2]), ARGV[1])
local queue = ARGV[2]
local later = redis.call('ZCARD', later_key(queue)) > 0
if later or has_work(queue) then wake(queue, later and 'any') end
