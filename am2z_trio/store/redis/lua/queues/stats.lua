-- Counts per queue.
--
-- KEYS     anchor
-- ARGV     clock, queues
-- RETURNS  per queue: {waiting, active, completed, failed, later, cancelled, 1 if it is paused, dead letters, live
--          nodes that serve it, then how often since it was made: retried, stalled, fenced, conflicts, expired}
-- INVARIANT  reads only.

local clock = unpack(ARGV, 1, 1)
local now, answers = read_clock(clock), {}
for i = 2, #ARGV do
  local queue = ARGV[i]
  local v = redis.call('HMGET', meta_key(queue), 'waiting', 'active', 'completed', 'failed', 'later', 'cancelled',
    'paused', 'retried', 'stalled', 'fenced', 'conflicts', 'expired')
  local row = {}
  for index = 1, 7 do row[index] = number(v[index] or 0, 0) end
  row[8] = redis.call('ZCOUNT', dead_key(queue), '(' .. whole(now), '+inf')
  row[9] = workers_of(queue, now)
  for index = 8, 12 do row[index + 2] = number(v[index] or 0, 0) end
  answers[#answers + 1] = row
end
return answers
