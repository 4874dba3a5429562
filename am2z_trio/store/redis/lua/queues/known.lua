-- A page of the announced queues.
--
-- KEYS     anchor
-- ARGV     clock, offset, limit
-- RETURNS  per queue: {queue, processor, options, live nodes that serve it, 1 if it is known by name}
-- INVARIANT  reads only.

local clock, first, most = unpack(ARGV)
local now, answers = read_clock(clock), {}
for _, queue in ipairs(redis.call('ZRANGE', queues_key(), first, first + most - 1)) do
  local v = redis.call('HMGET', meta_key(queue), 'processor', 'options', 'seen', 'retired')
  local workers = workers_of(queue, now)
  local lately = v[3] and not v[4] and now - number(v[3], 0) <= ANNOUNCED_LATELY_MS
  answers[#answers + 1] = { queue, v[1] or '', v[2] or '', workers, (workers > 0 or lately) and 1 or 0 }
end
return answers
