-- Renew a lease that still stands, and keep the clock.
--
-- KEYS     anchor
-- ARGV     clock, node, lease ms, what `clock` held when this node found it strange (or ''), by how many ms the
--          server's clock was set since (or '' if the node does not know)
-- RETURNS  {1 if the lease is gone, the server's clock, what `clock` holds if the time stands still}
-- INVARIANT  as `renewal` says.

redis.call('HDEL', suspects_key(), ARGV[2])
local now, still, server = keep_clock(ARGV[1], ARGV[2], ARGV[4], tonumber(ARGV[5]))
return { renew_lease(ARGV[2], now, tonumber(ARGV[3])), server, still }
