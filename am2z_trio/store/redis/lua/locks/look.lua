-- Look at a session's lock.
--
-- KEYS     anchor
-- ARGV     clock, session name
-- RETURNS  {ms until the holder's lease ends, 0 if nobody holds it; how many wait; {the first of those in line, as it
--          has them}}, and if somebody does, their {fencing number, node, since when, token}
-- INVARIANT  reads only.

local clock, name = unpack(ARGV)
local now = read_clock(clock)
local lock = redis.call('HMGET', lock_key(name), 'ends', 'fence', 'node', 'since', 'token')
local ends = number(lock[1] or now, now)
local left = math.max(0, ends - now)
local waiting = redis.call('ZCARD', line_key(name))
local line = redis.call('ZRANGE', line_key(name), 0, LINE_SHOWN - 1)
if left == 0 then return { left, waiting, line } end
return { left, waiting, line, number(lock[2], 0), lock[3] or '', number(lock[4], 0), lock[5] or '' }
