-- Take a queue out of the registry, if it has no jobs.
--
-- KEYS     anchor
-- ARGV     clock, queue
-- RETURNS  -1 if nobody knew it, -2 to be called again, else how many jobs and dead letters it has: 0 if it is
--          gone now
-- INVARIANT  a queue with jobs stays.

local now, queue = read_clock(ARGV[1]), ARGV[2]
if not redis.call('ZSCORE', queues_key(), queue) then return -1 end
local left = jobs_left(queue, now)
if left == 0 and not drop_queue(queue) then return -2 end
return left
