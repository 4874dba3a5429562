-- Drop dead letters.
--
-- KEYS     anchor
-- ARGV     ids
-- RETURNS  per id: 1, or 0 if it was none
-- INVARIANT  what is no dead letter is left alone.

local answers = {}
for index, id in ipairs(ARGV) do
  local v = redis.call('HMGET', job_key(id), 'queue', 'status')
  answers[index] = v[1] and v[2] == 'failed' and redis.call('ZREM', dead_key(v[1]), id) or 0
  if answers[index] == 1 then bury(id) end
end
return answers
