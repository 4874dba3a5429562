-- What a job has logged.
--
-- KEYS     anchor
-- ARGV     ids
-- RETURNS  per id: its lines, or 0 where there is no record of it
-- INVARIANT  reads only.

local answers = {}
for _, id in ipairs(ARGV) do
  local v = redis.call('HMGET', job_key(id), 'status', 'queue', 'logs')
  answers[#answers + 1] = (v[1] or v[2]) and (v[3] or '') or 0
end
return answers
