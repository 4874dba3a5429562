-- Take a queue out of the registry, if it has no jobs and nobody serves it.
--
-- KEYS     anchor
-- ARGV     clock, queue
-- RETURNS  {-1, 0} if nobody knew it, {-2, 0} to be called again, else how many jobs and dead letters it has,
--          and how many nodes serve it: it is gone now if that is none and none
-- INVARIANT  a queue with jobs stays, and one that is served.

local clock, queue = unpack(ARGV)
local now = read_clock(clock)
if not redis.call('ZSCORE', queues_key(), queue) then return { -1, 0 } end
local left, workers = jobs_left(queue, now), workers_of(queue, now)
if left == 0 and workers == 0 and not drop_queue(queue) then return { -2, 0 } end
return { left, workers }
