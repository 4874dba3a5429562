-- Let a lock's lease run from now.
--
-- KEYS     anchor
-- ARGV     clock, session name, token, lease ms
-- RETURNS  1, or 0 if this token does not hold the lock (any more)
-- INVARIANT  a lease that has passed is not brought back, even where nobody has taken the lock since.

local now = read_clock(ARGV[1])
if not holds_lock(ARGV[2], ARGV[3], now) then return 0 end
-- The removal comes first: it is allowed when memory is full, and so is all that follows.
redis.call('HDEL', lock_key(ARGV[2]), 'ends')
redis.call('HSET', lock_key(ARGV[2]), 'ends', whole(now + tonumber(ARGV[4])))
redis.call('PEXPIRE', lock_key(ARGV[2]), tonumber(ARGV[4]) + 60000)
return 1
