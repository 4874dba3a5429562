-- Look at actions on many jobs.
--
-- KEYS     anchor
-- ARGV     ids
-- RETURNS  per id: {} or {number of its record, record}; of the first ids only, if they use REPLY_BYTES up
-- INVARIANT  reads only.

local answers, size = {}, 0
for _, id in ipairs(ARGV) do
  local v = redis.call('HMGET', bulk_key(id), 'nth', 'record')
  answers[#answers + 1] = v[1] and { v[1], v[2] or '' } or {}
  size = size + #(v[2] or '')
  if size >= REPLY_BYTES then break end
end
return answers
