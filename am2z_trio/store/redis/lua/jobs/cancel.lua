-- Cancel a job: one that waits ends now, an active one's node is told.
--
-- KEYS     anchor
-- ARGV     clock, result ttl ms, id, reason; a node that waits for it no more: then only if no other one does
-- RETURNS  the status before, or nil
-- INVARIANT  the wish outlives the node: it stays in the record, and retry, release and reap heed it.
--          An id left in the waiting list is skipped by claim, or sieved out when there are many.

local now, ttl = read_clock(ARGV[1]), ARGV[2]
local job = load(ARGV[3])
if not job then return false end
if ARGV[5] and not ENDED[job.status] then
  local others = {}
  for origin in string.gmatch(job.origin, '[^\n]+') do
    if origin ~= ARGV[5] then others[#others + 1] = origin end
  end
  -- The removal comes first: it is allowed when memory is full.
  redis.call('HDEL', job_key(job.id), 'origin')
  if #others > 0 then redis.call('HSET', job_key(job.id), 'origin', table.concat(others, '\n')) end
  if #others > 0 or redis.call('HEXISTS', job_key(job.id), 'stays') == 1 then return job.status end
  job.origin = ''
end
if job.status == 'active' then
  -- The removal comes first: it is allowed when memory is full.
  redis.call('HDEL', job_key(job.id), 'cancel')
  note(job.id, 'cancel', ARGV[4])
  post(job.node, '\148' .. cmsgpack.pack('cancel', job.id, job.token, ARGV[4]))
elseif job.status == 'waiting' or job.status == 'later' then
  cancel_unbegun(job, now, ttl, ARGV[4])
end
finish()
return job.status
