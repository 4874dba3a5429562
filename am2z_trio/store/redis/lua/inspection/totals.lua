-- How many jobs of a queue are where.
--
-- KEYS     anchor
-- ARGV     clock, queues
-- RETURNS  per queue: {waiting, later, active, dead letters, listed as ended, sessions that take turns, sessions of
--          which as many run as may}
-- INVARIANT  reads only.

local clock = unpack(ARGV, 1, 1)
local now, answers = read_clock(clock), {}
for i = 2, #ARGV do
  local queue = ARGV[i]
  local v = redis.call('HMGET', meta_key(queue), 'waiting', 'later', 'active')
  answers[#answers + 1] = { number(v[1] or 0, 0), number(v[2] or 0, 0), number(v[3] or 0, 0),
    redis.call('ZCOUNT', dead_key(queue), '(' .. whole(now), '+inf'), redis.call('LLEN', recent_key(queue)),
    redis.call('ZCARD', ready_key(queue)), redis.call('ZCARD', blocked_key(queue)) }
end
return answers
