-- Cancel a job: one that waits ends now, an active one's node is told.
--
-- KEYS     anchor
-- ARGV     clock, result ttl ms, id, reason
-- RETURNS  the status before, or nil
-- INVARIANT  the wish outlives the node: it stays in the record, and retry, release and reap heed it.
--          An id left in the waiting list is skipped by claim, or sieved out when there are many.

local now, ttl = read_clock(ARGV[1]), ARGV[2]
local job = load(ARGV[3])
if not job then return false end
if job.status == 'active' then
  -- The removal comes first: it is allowed when memory is full.
  redis.call('HDEL', job_key(job.id), 'cancel')
  redis.call('HSET', job_key(job.id), 'cancel', ARGV[4])
  post(job.node, '\148' .. cmsgpack.pack('cancel', job.id, job.token, ARGV[4]))
elseif job.status == 'waiting' or job.status == 'later' then
  cancel_unbegun(job, now, ttl, ARGV[4])
end
finish()
return job.status
