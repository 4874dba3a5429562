-- Give the lease back; what the node still holds goes back, no budget used: some jobs per call.
--
-- KEYS     anchor
-- ARGV     clock, result ttl ms, most ended jobs kept, node, cursor: '0' at first, then what was answered
-- RETURNS  cursor, '' after the last call
-- INVARIANT  after the last call nothing of the node is left: no claim, no place in a lot, no queue that it serves,
--          no key. It is in no lot when the first job goes back, which must wake somebody else.

local clock, ttl, recent, node, cursor = unpack(ARGV)
local now = read_clock(clock)
most_recent = tonumber(recent)
redis.call('HDEL', suspects_key(), node)
if cursor ~= 'jobs' then
  local page = redis.call('HSCAN', claims_key(node), cursor, 'COUNT', 500)
  for i = 1, #page[2], 2 do redis.call('ZREM', lot_key(page[2][i]), node) end
  if page[1] ~= '0' then return page[1] end
end
for _, id in ipairs(redis.call('HRANDFIELD', active_key(node), 100)) do
  local job = load_claim(id, node)
  if job and return_job(job, nil, now, ttl) then trace(job.id, now, 'left', node, job.attempt) end
  redis.call('HDEL', active_key(node), id)
end
local left = unserve_all(node, now) or redis.call('EXISTS', active_key(node)) == 1
if not left then
  redis.call('SREM', promising_key(), node)
  redis.call('HDEL', graces_key(), node)
  redis.call('HDEL', leases_key(), node)
  redis.call('HDEL', leaving_key(), node)
  redis.call('DEL', claims_key(node))
  redis.call('UNLINK', flushed_key(node))
  redis.call('UNLINK', info_key(node))
  redis.call('ZREM', nodes_key(), node)
  if redis.call('EXISTS', nodes_key()) == 0 then redis.call('DEL', look_key(), sweep_key()) end
end
finish()
return left and 'jobs' or ''
