-- Make queues known.
--
-- KEYS     anchor
-- ARGV     clock, then per queue: queue, processor, session, options
-- RETURNS  nothing
-- INVARIANT  a queue keeps its first place; places are counted, as several can be announced in one ms. The
--          first write is a removal: a worker that comes to a full Redis is what empties it.

for i = 2, #ARGV, 4 do
  redis.call('HDEL', meta_key(ARGV[i]), 'options')
  redis.call('HSET', meta_key(ARGV[i]), 'processor', ARGV[i + 1], 'session', ARGV[i + 2],
    'options', ARGV[i + 3])
  redis.call('ZADD', queues_key(), 'NX', redis.call('ZCARD', queues_key()), ARGV[i])
end
