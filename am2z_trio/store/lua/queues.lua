-- A page of the announced queues.
--
-- KEYS     anchor
-- ARGV     offset, limit
-- RETURNS  per queue: {queue, processor, session, options}
-- INVARIANT  reads only.

local answers = {}
local first = tonumber(ARGV[1])
for _, queue in ipairs(redis.call('ZRANGE', queues_key(), first, first + tonumber(ARGV[2]) - 1)) do
  local v = redis.call('HMGET', meta_key(queue), 'processor', 'session', 'options')
  answers[#answers + 1] = { queue, v[1] or '', v[2] or '', v[3] or '' }
end
return answers
