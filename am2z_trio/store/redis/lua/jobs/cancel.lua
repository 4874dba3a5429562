-- Cancel a job: one that waits ends now, an active one's node is told.
--
-- KEYS     anchor
-- ARGV     clock, result ttl ms, most ended jobs kept, id, reason, '' or a node that waits for it no more: then it is
--          cancelled only if no other one does. Of the reason `EXPIRED`: unless it has begun
-- RETURNS  the status before, or nil
-- INVARIANT  the wish outlives the node: it stays in the record, and retry, release and reap heed it.
--          An id left in the waiting list is skipped by claim, or sieved out when there are many.

local clock, ttl, recent, id, reason, leaving = unpack(ARGV)
local now = read_clock(clock)
most_recent = tonumber(recent)
local job = load(id)
if not job then return false end
if reason == EXPIRED then
  local v = redis.call('HMGET', job.key, 'deliveries', 'since')
  if ENDED[job.status] or deliveries_of(v[1], v[2]) then return job.status end
  count(job.queue, 'expired', 1)
end
if leaving ~= '' and not ENDED[job.status] then
  local others = {}
  for origin in string.gmatch(job.origin, '[^\n]+') do
    if origin ~= leaving then others[#others + 1] = origin end
  end
  -- The removal comes first: it is allowed when memory is full.
  redis.call('HDEL', job.key, 'origin')
  if #others > 0 then redis.call('HSET', job.key, 'origin', table.concat(others, '\n')) end
  if #others > 0 or redis.call('HEXISTS', job.key, 'stays') == 1 then return job.status end
  job.origin = ''
end
if job.status == 'active' then
  -- The removal comes first: it is allowed when memory is full.
  redis.call('HDEL', job.key, 'cancel')
  note(job.id, 'cancel', reason)
  post(job.node, '\148' .. cmsgpack.pack('cancel', job.id, job.token, reason))
elseif job.status == 'waiting' or job.status == 'later' then
  cancel_unbegun(job, now, ttl, reason)
end
finish()
return job.status
