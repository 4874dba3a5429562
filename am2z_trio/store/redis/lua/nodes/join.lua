-- Take a lease. What the node holds it keeps.
--
-- KEYS     anchor
-- ARGV     clock, node, lease ms, disconnect grace ms
-- RETURNS  nothing
-- INVARIANT  claims that nobody has taken away stand, however long the lease has been over. Before the node
--          claims anew it asks `reconcile`, which gives back what it lost and nobody was granted.

local clock, node, lease, grace = unpack(ARGV)
local now = read_clock(clock)
redis.call('HDEL', suspects_key(), node)
redis.call('HDEL', leaving_key(), node)
redis.call('PERSIST', claims_key(node))
redis.call('SADD', promising_key(), node)
redis.call('HSET', graces_key(), node, grace)
redis.call('HSET', leases_key(), node, lease)
redis.call('ZADD', nodes_key(), whole(now + lease), node)
renew_lease(node, now, tonumber(lease))
return false
