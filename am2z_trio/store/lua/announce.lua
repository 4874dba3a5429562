-- Make queues known.
--
-- KEYS     anchor
-- ARGV     clock, then per queue: queue, processor, session, options
-- RETURNS  nothing
-- INVARIANT  a queue keeps its first place; places are counted, as several can be announced in one ms. The
--          first write is a removal: a worker that comes to a full Redis is what empties it. Whoever serves a
--          queue announces it again and again: `seen` is when somebody did last.

local now = whole(read_clock(ARGV[1]))
for i = 2, #ARGV, 4 do
  redis.call('HDEL', meta_key(ARGV[i]), 'options')
  redis.call('HSET', meta_key(ARGV[i]), 'processor', ARGV[i + 1], 'session', ARGV[i + 2],
    'options', ARGV[i + 3], 'seen', now)
  local last = redis.call('ZRANGE', queues_key(), -1, -1, 'WITHSCORES')[2]
  redis.call('ZADD', queues_key(), 'NX', number(last, -1) + 1, ARGV[i])
end
