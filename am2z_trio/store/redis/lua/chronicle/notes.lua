-- Read what operators have done.
--
-- KEYS     anchor
-- ARGV     first entry to be read, or '+' for the newest; most entries
-- RETURNS  {1 if there may be more, entry, its time, what it says, entry ...}: '' where it is none of ours
-- INVARIANT  reads only; no more than REPLY_BYTES, and one entry beyond.

local first, most = unpack(ARGV)
local answers, size = { 0 }, 0
for _, entry in ipairs(redis.call('XREVRANGE', audit_key(), first, '-', 'COUNT', most)) do
  if size >= REPLY_BYTES then
    answers[1] = 1
    break
  end
  local said, n = entry[2], #answers
  local is_ours = said[1] == 'at' and said[3] == 'entry'
  answers[n + 1], answers[n + 2], answers[n + 3] = entry[1], is_ours and said[2] or '', is_ours and said[4] or ''
  size = size + #answers[n + 3]
end
return answers
