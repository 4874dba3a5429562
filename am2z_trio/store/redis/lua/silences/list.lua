-- Findings that are silenced.
--
-- KEYS     anchor
-- ARGV     clock
-- RETURNS  per silence: {code and target with a zero between, until when, who, why}
-- INVARIANT  reads only; no more are kept than MOST_SILENCES.

local clock = unpack(ARGV)
local now, answers = read_clock(clock), {}
for _, name in ipairs(redis.call('HKEYS', silences_key())) do
  local told = unpacked(redis.call('HGET', silences_key(), name)) or {}
  local till = number(told[1], -1)
  if till > now then answers[#answers + 1] = { name, whole(till), tostring(told[2]), tostring(told[3]) } end
end
return answers
