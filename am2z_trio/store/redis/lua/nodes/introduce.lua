-- Say who a node is.
--
-- KEYS     anchor
-- ARGV     node, its record
-- RETURNS  1, or 0 if the node has no lease
-- INVARIANT  what ends a lease takes the record away, and nothing is written without one.

local node, info = unpack(ARGV)
if number(redis.call('ZSCORE', nodes_key(), node), -1) < 0 then return 0 end
redis.call('HSET', info_key(node), 'info', info)
redis.call('PEXPIRE', info_key(node), INTRODUCED_FOR_MS)
return 1
