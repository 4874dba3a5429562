-- A queue's slots, or periods that are over.
--
-- KEYS     anchor
-- ARGV     clock, queue, 'slot' or 'period', for how many ms back, from when on in ms, most
-- RETURNS  {when it began in ms, figures packed} each, the oldest first; the slot that goes on may be the last
-- INVARIANT  reads only. What has had its time is not shown, trimmed or not.

local clock, queue, width, within, first, most = unpack(ARGV)
local now, answers = read_clock(clock), {}
local is_slot = width == 'slot'
local kept = is_slot and SLOTS_KEPT_MS or PERIODS_KEPT_MS
local from = math.max(tonumber(first), now - math.min(kept, within))
local key = is_slot and samples_key(queue) or archive_key(queue)
local found = redis.call('XRANGE', key, whole(from), '+', 'COUNT', most)
local last = -1
for index, entry in ipairs(found) do
  last = number(string.match(entry[1], '^%d+'), 0)
  answers[index] = { last, entry[2][2] }
end
if is_slot and #answers < tonumber(most) then
  local began, figures = open_slot(queue)
  if began and began >= from and began > last then
    answers[#answers + 1] = { began, packed_slot(queue, figures) }
  end
end
return answers
