-- A page of a queue's dead letters.
--
-- KEYS     anchor
-- ARGV     clock, queue, offset, limit
-- RETURNS  ids, the last to go first
-- INVARIANT  reads only; what has gone by its age is not listed.

local now, queue, offset = read_clock(ARGV[1]), ARGV[2], tonumber(ARGV[3])
return redis.call('ZREVRANGEBYSCORE', dead_key(queue), '+inf', '(' .. whole(now), 'LIMIT', offset, ARGV[4])
