-- Give the lease back; what the node still holds goes back, no budget used.
--
-- KEYS     anchor
-- ARGV     clock, result ttl ms, node
-- RETURNS  how many jobs went back
-- INVARIANT  nothing of the node is left: no claim, no place in a lot, no key.

local now, ttl, node = read_clock(ARGV[1]), ARGV[2], ARGV[3]
redis.call('HDEL', suspects_key(), node)
redis.call('HDEL', graces_key(), node)
leave_lots(node)
local held = redis.call('HKEYS', active_key(node))
for _, id in ipairs(held) do
  local job = load_claim(id, node)
  if job then return_job(job, nil, now, ttl) end
end
redis.call('DEL', active_key(node), claims_key(node))
redis.call('ZREM', nodes_key(), node)
if redis.call('EXISTS', nodes_key()) == 0 then redis.call('DEL', look_key(), sweep_key()) end
finish()
return #held
