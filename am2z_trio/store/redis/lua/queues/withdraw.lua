-- The node serves these queues no more.
--
-- KEYS     anchor
-- ARGV     clock, node, 1 to make those unknown by name that no other node serves, else 0, queues
-- RETURNS  nothing
-- INVARIANT  the first write is a removal. A queue that somebody serves is not made unknown.

local clock, node, retires = unpack(ARGV, 1, 3)
local now = read_clock(clock)
for i = 4, #ARGV do
  local queue = ARGV[i]
  unserve(node, queue, now)
  if retires == '1' and redis.call('EXISTS', meta_key(queue)) == 1 and workers_of(queue, now) == 0 then
    redis.call('HSET', meta_key(queue), 'retired', '1')
  end
end
