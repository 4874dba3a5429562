-- Grant no job of a queue any more, or again.
--
-- KEYS     anchor
-- ARGV     queue, 1 or 0
-- RETURNS  nothing
-- INVARIANT  work does not wait for a node that was not told that the queue goes on.

local queue, on = unpack(ARGV)
if on == '1' then
  redis.call('HSET', meta_key(queue), 'paused', '1')
elseif redis.call('HDEL', meta_key(queue), 'paused') == 1 then
  while redis.call('ZCARD', lot_key(queue)) > 0 do wake(queue, 'any') end
end
