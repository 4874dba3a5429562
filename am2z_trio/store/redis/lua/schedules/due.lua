-- Schedules that are due.
--
-- KEYS     anchor
-- ARGV     clock, how many to pass by, most
-- RETURNS  {now, ms until the first of those that are not told is due, or -1, row of `schedule_row` of each that is
--          told ...}
-- INVARIANT  changes no schedule. A name without a record is none: it is taken away, so that however many there are,
--            something else has deleted their records, they stand in front of no schedule for ever.

local clock, offset, most = unpack(ARGV)
local now = read_clock(clock)
local MOST_GONE = 1000
local answers, size, gone = { now, -1 }, 0, 0
local names
repeat
  names = redis.call('ZRANGEBYSCORE', schedules_key(), '-inf', whole(now), 'LIMIT', offset, most)
  local nameless = {}
  for _, name in ipairs(names) do
    if size < REPLY_BYTES then
      local row = schedule_row(name)
      if row[1] then
        answers[#answers + 1] = row
        size = size + #row[2]
      else
        nameless[#nameless + 1] = name
        gone = gone + 1
      end
    end
  end
  if nameless[1] then redis.call('ZREM', schedules_key(), unpack(nameless)) end
until not names[1] or answers[3] or gone >= MOST_GONE
if answers[3] or not names[1] then
  local later = redis.call('ZRANGEBYSCORE', schedules_key(), '(' .. whole(now), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
  local wait = later and number(later)
  answers[2] = wait and wait - now or -1
else
  -- More of them may stand in front: whoever fires asks again at once.
  answers[2] = 0
end
return answers
