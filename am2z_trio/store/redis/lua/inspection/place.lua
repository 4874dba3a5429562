-- Where the newest of a queue's ended jobs is that had ended at a time.
--
-- KEYS     anchor
-- ARGV     queue, ms since the epoch
-- RETURNS  its place in `recent`; behind all where there is none
-- INVARIANT  reads only, some records. What has no record any more has ended as the next older one that has; or, where
--          there is none near it, before all that have.

local queue, at = unpack(ARGV)
local NEAR = 8
at = tonumber(at)

local function ended_at(place)
  for near = place, place + NEAR do
    local id = redis.call('LINDEX', recent_key(queue), near)
    local ended = id and number(redis.call('HGET', job_key(id), 'ended') or nil)
    if ended then return ended end
  end
  return -1
end

local first, behind = 0, redis.call('LLEN', recent_key(queue))
while first < behind do
  local middle = math.floor((first + behind) / 2)
  if ended_at(middle) <= at then behind = middle else first = middle + 1 end
end
return first
