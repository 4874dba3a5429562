-- Renew a lease that still stands.
--
-- KEYS     anchor
-- ARGV     clock, node, lease ms
-- RETURNS  1, or 0 if it is gone
-- INVARIANT  a node that was reaped does not come back by renewing.

local now, node = read_clock(ARGV[1]), ARGV[2]
redis.call('HDEL', suspects_key(), node)
local lease = redis.call('ZSCORE', nodes_key(), node)
if not lease or number(lease, 0) < 0 then return 0 end
note_absence(tonumber(lease), now, tonumber(ARGV[3]))
redis.call('ZADD', nodes_key(), whole(now + tonumber(ARGV[3])), node)
return 1
