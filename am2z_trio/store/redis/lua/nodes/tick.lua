-- Renew the own lease, give dead nodes' jobs back, wake stuck queues, take away expired states and queues
-- without jobs that nobody serves.
--
-- KEYS     anchor
-- ARGV     clock, result ttl ms, most ended jobs kept, node, lease ms, own disconnect grace ms, most nodes, jobs and
--          states, most queues, look for dead nodes (1 or 0)
-- RETURNS  {1 if the own lease is gone, jobs taken from dead nodes, 1 if dead nodes have more jobs or there are
--          more expired states, 1 if there is what `end_children` ends, and of each job that has failed since
--          it was lost too often {id, processor, session, attempt}}
-- INVARIANT  as `looking` says.

local clock, ttl, recent, node, lease, grace, batch, most_queues, reaps = unpack(ARGV)
local now = read_clock(clock)
most_recent = tonumber(recent)
redis.call('HDEL', suspects_key(), node)
local lost = renew_lease(node, now, tonumber(lease))
local reaped, more, failed = look_after_all(
  now, ttl, tonumber(grace), tonumber(batch), tonumber(most_queues), reaps == '1'
)
finish()
return { lost, reaped, more, redis.call('EXISTS', ending_key()), failed }
