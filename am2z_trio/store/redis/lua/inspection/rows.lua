-- Jobs by their ids, as they are shown.
--
-- KEYS     anchor
-- ARGV     ids
-- RETURNS  per id: its row, or '' where there is no record; of the first ids only, if they use REPLY_BYTES up
-- INVARIANT  reads only.

local answers, size = {}, 0
for _, id in ipairs(ARGV) do
  local row = shown(id) or ''
  answers[#answers + 1] = row
  size = size + #row
  if size >= REPLY_BYTES then break end
end
return answers
