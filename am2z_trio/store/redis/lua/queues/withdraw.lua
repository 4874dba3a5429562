-- The node serves these queues no more.
--
-- KEYS     anchor
-- ARGV     clock, node, 1 to make those unknown by name that no other node serves, else 0, queues
-- RETURNS  nothing
-- INVARIANT  the first write is a removal. A queue that somebody serves is not made unknown.

local now, node, retires = read_clock(ARGV[1]), ARGV[2], ARGV[3] == '1'
for i = 4, #ARGV do
  local queue = ARGV[i]
  unserve(node, queue, now)
  if retires and redis.call('EXISTS', meta_key(queue)) == 1 and workers_of(queue, now) == 0 then
    redis.call('HSET', meta_key(queue), 'retired', '1')
  end
end
