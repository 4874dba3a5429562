-- When sessions were stopped last.
--
-- KEYS     anchor
-- ARGV     session names
-- RETURNS  per session: the number of its last stop, 0 if none is remembered
-- INVARIANT  reads only.

local answers = {}
for _, name in ipairs(ARGV) do
  answers[#answers + 1] = number(redis.call('ZSCORE', stopped_key(), name) or 0, 0)
end
return answers
