-- Make queues known.
--
-- KEYS     anchor
-- ARGV     clock, node, 1 if it serves them, 0 if it only submits to them, then per queue: queue, processor,
--          options, queues of what its jobs begin with on this node, a line each, or ''
-- RETURNS  nothing
-- INVARIANT  a queue keeps its first place; places are counted, as several can be announced in one ms. The
--          first write is a removal: a worker that comes to a full Redis is what empties it. Whoever serves a
--          queue announces it again and again: `seen` is when somebody did last. A node without a lease is no
--          server: it says so again when it has one. Who only submits changes nothing of what is known but
--          `made`: for as long as a queue that was served the queue then stays.

local clock, node, serves = unpack(ARGV, 1, 3)
local now = whole(read_clock(clock))
serves = serves == '1'
local has_lease = number(redis.call('ZSCORE', nodes_key(), node), -1) >= 0

for i = 4, #ARGV, 4 do
  local queue, processor, options, begins = unpack(ARGV, i, i + 3)
  if serves or not redis.call('ZSCORE', queues_key(), queue) then
    redis.call('HDEL', meta_key(queue), 'options', 'retired')
    redis.call('HSET', meta_key(queue), 'processor', processor, 'options', options)
    if serves then redis.call('HSET', meta_key(queue), 'seen', now) end
    local last = redis.call('ZRANGE', queues_key(), -1, -1, 'WITHSCORES')[2]
    redis.call('ZADD', queues_key(), 'NX', number(last, -1) + 1, queue)
  end
  -- Whoever submits to it soon is to find it there.
  if not serves then redis.call('HSET', meta_key(queue), 'made', now) end
  if serves and has_lease then
    redis.call('SADD', servers_key(queue), node)
    redis.call('SADD', serves_key(node), queue)
    redis.call('HDEL', claims_key(node), '>' .. queue)
    if begins ~= '' then
      redis.call('HSET', claims_key(node), '>' .. queue, begins)
      redis.call('HSET', meta_key(queue), 'begins', '1')
    end
  end
end
