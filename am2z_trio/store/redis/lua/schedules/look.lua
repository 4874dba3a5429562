-- Look at schedules.
--
-- KEYS     anchor
-- ARGV     clock, then names
-- RETURNS  {now, row of `schedule_row` of each ...}; of the first ones only, if they use REPLY_BYTES up
-- INVARIANT  reads only.

local clock = unpack(ARGV, 1, 1)
local now = read_clock(clock)
local answers, size = { now }, 0
for i = 2, #ARGV do
  local name = ARGV[i]
  local row = schedule_row(name)
  if size < REPLY_BYTES then answers[#answers + 1] = row end
  size = size + #(row[2] or '')
end
return answers
