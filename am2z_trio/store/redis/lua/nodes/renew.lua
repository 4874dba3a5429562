-- Renew a lease that still stands, and keep the clock.
--
-- KEYS     anchor
-- ARGV     clock, node, lease ms, what `clock` held when this node found it strange (or ''), by how many ms the
--          server's clock was set since (or '' if the node does not know)
-- RETURNS  {1 if the lease is gone, the server's clock, what `clock` holds if the time stands still, how many claims
--          the node holds}
-- INVARIANT  as `renewal` says.

local clock, node, lease, strange, step = unpack(ARGV)
redis.call('HDEL', suspects_key(), node)
local now, still, told = keep_clock(clock, node, strange, tonumber(step))
return { renew_lease(node, now, tonumber(lease)), told, still, redis.call('HLEN', active_key(node)) }
