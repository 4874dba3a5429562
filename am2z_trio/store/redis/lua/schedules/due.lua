-- Schedules that are due.
--
-- KEYS     anchor
-- ARGV     clock, how many to pass by, most
-- RETURNS  {now, ms until the first of those that are not due is, or -1, row of `schedule_row` of each that is ...}
-- INVARIANT  reads only. A name without a record is none.

local clock, offset, most = unpack(ARGV)
local now = read_clock(clock)
local names = redis.call('ZRANGEBYSCORE', schedules_key(), '-inf', whole(now), 'LIMIT', offset, most)
local later = redis.call('ZRANGEBYSCORE', schedules_key(), '(' .. whole(now), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
local wait = later and number(later)
local answers, size = { now, wait and wait - now or -1 }, 0
for _, name in ipairs(names) do
  if size < REPLY_BYTES then
    answers[#answers + 1] = schedule_row(name)
    size = size + #(answers[#answers][2] or '')
  end
end
return answers
