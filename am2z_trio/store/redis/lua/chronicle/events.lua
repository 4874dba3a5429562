-- Read the history of events.
--
-- KEYS     anchor
-- ARGV     first entry to be read, '-' for the oldest or '+' for the newest; most entries; 1 to read backwards, or ''
-- RETURNS  {how many entries there are, 1 if there may be more, entry, its events, entry, its events ...}: packed, or
--          '' where the entry is none of ours
-- INVARIANT  reads only; no more than REPLY_BYTES, and what is read at once beyond.

local first, most, back = unpack(ARGV)
local command, last = 'XRANGE', '+'
if back ~= '' then
  command, last = 'XREVRANGE', '-'
end
local answers, size, left = { redis.call('XLEN', log_key()), 1 }, 0, tonumber(most)
while left > 0 and size < REPLY_BYTES do
  local wanted = math.min(left, BATCH)
  local entries = redis.call(command, log_key(), first, last, 'COUNT', wanted)
  for _, entry in ipairs(entries) do
    local group = entry[2][1] == 'g' and entry[2][2] or ''
    local n = #answers
    answers[n + 1], answers[n + 2], size = entry[1], group, size + #group
    first = '(' .. entry[1]
  end
  left = left - #entries
  if #entries < wanted then
    answers[2], left = 0, 0
  end
end
return answers
