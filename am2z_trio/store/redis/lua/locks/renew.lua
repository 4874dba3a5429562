-- Let a lock's lease run from now.
--
-- KEYS     anchor
-- ARGV     clock, session name, token, lease ms
-- RETURNS  1, or 0 if this token does not hold the lock (any more)
-- INVARIANT  a lease that has passed is not brought back, even where nobody has taken the lock since.

local clock, name, token, lease = unpack(ARGV)
local now = read_clock(clock)
if not holds_lock(name, token, now) then return 0 end
-- The removal comes first: it is allowed when memory is full, and so is all that follows.
redis.call('HDEL', lock_key(name), 'ends')
redis.call('HSET', lock_key(name), 'ends', whole(now + lease))
redis.call('PEXPIRE', lock_key(name), lease + 60000)
return 1
