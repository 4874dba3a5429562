-- Read what operators have done and were refused, as one list, the newest first.
--
-- KEYS     anchor
-- ARGV     first entry to be read, or '+' for the newest; most entries
-- RETURNS  {where it goes on, '' at the end; entry, its time, what it says, entry ...}: '' where it is none of ours
-- INVARIANT  reads only; no more than REPLY_BYTES, and one entry beyond.

local first, most = unpack(ARGV)
local wanted = tonumber(most)
local done = redis.call('XREVRANGE', audit_key(), first, '-', 'COUNT', wanted + 1)
local refused = redis.call('XREVRANGE', refused_key(), first, '-', 'COUNT', wanted + 1)

local function is_newer(one, other)
  local ms, nth = string.match(one, '^(%d+)-(%d+)$')
  local other_ms, other_nth = string.match(other, '^(%d+)-(%d+)$')
  if ms ~= other_ms then return tonumber(ms) > tonumber(other_ms) end
  return tonumber(nth) > tonumber(other_nth)
end

local answers, last, size = { '' }, '', 0
local d, r, n = 1, 1, 0
while done[d] or refused[r] do
  if n == wanted or size >= REPLY_BYTES then
    answers[1] = last
    break
  end
  local is_done = done[d] and not (refused[r] and is_newer(refused[r][1], done[d][1]))
  local entry = is_done and done[d] or refused[r]
  if is_done then d = d + 1 else r = r + 1 end
  n, last = n + 1, entry[1]
  local said, at = entry[2], #answers
  local is_ours = said[1] == 'at' and said[3] == 'entry'
  answers[at + 1], answers[at + 2], answers[at + 3] = last, is_ours and said[2] or '', is_ours and said[4] or ''
  size = size + #answers[at + 3]
end
return answers
