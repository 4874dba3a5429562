-- Take a queue out of the registry, if it has no jobs.
--
-- KEYS     anchor
-- ARGV     clock, queue
-- RETURNS  -1 if nobody knew it, else how many jobs and dead letters it has: 0 if it is gone now
-- INVARIANT  a queue with jobs stays.

local now, queue = read_clock(ARGV[1]), ARGV[2]
if not redis.call('ZSCORE', queues_key(), queue) then return -1 end
local left = jobs_left(queue, now)
if left == 0 then drop_queue(queue) end
return left
