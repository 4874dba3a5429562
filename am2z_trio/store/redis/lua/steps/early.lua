-- What is built on outcomes that were told before they were recorded. Follows the record.

-- Whether they have been recorded by now. `outcomes` is msgpack, jobs and the tokens they were settled with by
-- turns, or '' for none.
local function are_recorded(outcomes)
  local told = outcomes ~= '' and cmsgpack.unpack(outcomes) or {}
  for i = 1, #told, 2 do
    local v = redis.call('HMGET', job_key(told[i]), 'status', 'last_token', 'token')
    if v[1] ~= 'completed' or (v[2] or v[3]) ~= told[i + 1] then return false end
  end
  return true
end
