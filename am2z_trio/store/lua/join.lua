-- Take a lease. What the node held before goes back first.
--
-- KEYS     anchor
-- ARGV     clock, result ttl ms, node, lease ms
-- RETURNS  how many jobs went back
-- INVARIANT  a node that has just joined holds no claim.

local now, ttl, node = read_clock(ARGV[1]), ARGV[2], ARGV[3]
redis.call('HDEL', suspects_key(), node)
local held = redis.call('HKEYS', active_key(node))
for _, id in ipairs(held) do
  local job = load_claim(id, node)
  if job then return_job(job, nil, now, ttl) end
end
redis.call('DEL', active_key(node))
redis.call('PERSIST', claims_key(node))
redis.call('ZADD', nodes_key(), whole(now + tonumber(ARGV[4])), node)
finish()
return #held
