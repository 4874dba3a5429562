-- What holds queues up.
--
-- KEYS     anchor
-- ARGV     clock, queues
-- RETURNS  per queue: {the time, 1 if it is held, when it was served last or -1, state of its processor's circuit,
--          until when}
-- INVARIANT  reads only.

local clock = unpack(ARGV, 1, 1)
local now, answers = read_clock(clock), {}
for i = 2, #ARGV do
  local queue = ARGV[i]
  local v = redis.call('HMGET', meta_key(queue), 'held', 'seen')
  local circuit = redis.call('HMGET', breaker_key(queue), 'state', 'until')
  answers[#answers + 1] = { whole(now), v[1] and 1 or 0, whole(number(v[2] or -1, -1)), circuit[1] or 'closed',
    whole(number(circuit[2] or 0, 0)) }
end
return answers
