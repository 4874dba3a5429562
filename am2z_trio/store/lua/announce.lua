-- Make queues known.
--
-- KEYS     anchor
-- ARGV     clock, then per queue: queue, processor, session
-- RETURNS  nothing
-- INVARIANT  a queue keeps its first place.

local now = read_clock(ARGV[1])
for i = 2, #ARGV, 3 do
  redis.call('HSET', meta_key(ARGV[i]), 'processor', ARGV[i + 1], 'session', ARGV[i + 2])
  redis.call('ZADD', queues_key(), 'NX', whole(now), ARGV[i])
end
