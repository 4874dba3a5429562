-- Hand back jobs granted to this node that it does not know.
--
-- KEYS     anchor
-- ARGV     clock, result ttl ms, node, known ids
-- RETURNS  how many went back
-- INVARIANT  a claim whose answer was lost costs no budget.

local now, ttl, node = read_clock(ARGV[1]), ARGV[2], ARGV[3]
local known = {}
for i = 4, #ARGV do known[ARGV[i]] = true end
local strays = 0
for _, id in ipairs(redis.call('HKEYS', active_key(node))) do
  if not known[id] then
    local job = load_claim(id, node)
    if job then return_job(job, nil, now, ttl) end
    strays = strays + 1
  end
end
finish()
return strays
