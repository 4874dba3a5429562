-- Counts per queue.
--
-- KEYS     anchor
-- ARGV     queues
-- RETURNS  per queue: {waiting, active, completed, failed, later, cancelled, 1 if it is paused}
-- INVARIANT  reads only.

local answers = {}
for _, queue in ipairs(ARGV) do
  local v = redis.call('HMGET', meta_key(queue), 'waiting', 'active', 'completed', 'failed', 'later', 'cancelled',
    'paused')
  local row = {}
  for i = 1, 7 do row[i] = tonumber(v[i] or 0) end
  answers[#answers + 1] = row
end
return answers
