-- Counts per queue.
--
-- KEYS     anchor
-- ARGV     clock, queues
-- RETURNS  per queue: {waiting, active, completed, failed, later, cancelled, 1 if it is paused, dead letters, live
--          nodes that serve it}
-- INVARIANT  reads only.

local answers = {}
local now = read_clock(ARGV[1])
for place = 2, #ARGV do
  local queue = ARGV[place]
  local v = redis.call('HMGET', meta_key(queue), 'waiting', 'active', 'completed', 'failed', 'later', 'cancelled',
    'paused')
  local row = {}
  for i = 1, 7 do row[i] = number(v[i] or 0, 0) end
  row[8] = redis.call('ZCOUNT', dead_key(queue), '(' .. whole(now), '+inf')
  row[9] = workers_of(queue, now)
  answers[#answers + 1] = row
end
return answers
