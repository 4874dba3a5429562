-- Nodes that wait for work. Follows the outbox.

-- Takes parked nodes out of the queue's lot until one hears of it. A PUBLISH that nobody received
-- means that the node is gone.
-- Nodes that claim calls only come last in the lot. Such a one is woken where there are calls, or by what is for
-- 'any' one; never by what is for a 'free' one.
local CALLS_ONLY = 4503599627370496
-- By queue: that none is parked, that none of them would have a call, and whether it gives jobs out as they come.
local nobody, no_call, hands_out = {}, {}, {}
function wake(queue, whom)
  if nobody[queue] or (no_call[queue] and whom ~= 'any') then return end
  while true do
    local parked = redis.call('ZPOPMIN', lot_key(queue))
    if #parked == 0 then
      nobody[queue] = true
      return
    end
    if tonumber(parked[2]) >= CALLS_ONLY and whom ~= 'any'
      and (whom == 'free' or redis.call('EXISTS', calls_key(queue)) == 0) then
      redis.call('ZADD', lot_key(queue), parked[2], parked[1])
      no_call[queue] = whom ~= 'free'
      return
    end
    local message = '\145' .. cmsgpack.pack({ 'wake', queue })
    if redis.call('PUBLISH', inbox_key(parked[1]), message) > 0 then return end
  end
end
