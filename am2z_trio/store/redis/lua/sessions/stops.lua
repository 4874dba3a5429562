-- When sessions were stopped last.
--
-- KEYS     anchor
-- ARGV     session names
-- RETURNS  per session: the number of its last stop, 0 if none is remembered
-- INVARIANT  reads only.

-- A node asks for every session that is on it, now and then, and mostly nobody has stopped any for long.
local answers, any = {}, redis.call('EXISTS', stopped_key()) == 1
for _, name in ipairs(ARGV) do
  answers[#answers + 1] = any and number(redis.call('ZSCORE', stopped_key(), name) or 0, 0) or 0
end
return answers
