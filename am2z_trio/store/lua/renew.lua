-- Renew a lease that still stands, keep the clock, and say whose turn it is to look after what all nodes share.
--
-- KEYS     anchor
-- ARGV     clock, node, lease ms, how often to look in ms (0: this node does not), what `clock` held when this
--          node found it strange (or ''), by how many ms the server's clock was set since (or '' if the node
--          does not know)
-- RETURNS  {1 if the lease is gone, 1 if this node is to look now, ms after which to renew again, the server's
--          clock, what `clock` holds if the time stands still}
-- INVARIANT  a node that was reaped does not come back by renewing. All nodes together look as often as the
--          one that wants it most often, however many they are. Time goes on only, and a step of the server's
--          clock is taken out once, whoever has seen it.

local FEW, SOONEST_MS, LATEST_MS = 10, 50, 1000

local node, every, strange, step = ARGV[2], tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6])
redis.call('HDEL', suspects_key(), node)

-- Somebody is there who may know better than a node that has just come.
local function others_live()
  for _, other in ipairs(redis.call('ZRANGE', nodes_key(), -100, -1)) do
    if other ~= node and redis.call('PUBSUB', 'NUMSUB', inbox_key(other))[2] > 0 then return true end
  end
  return false
end

local server, may_jump = server_clock(ARGV[1])
local function keep_clock()
  if not may_jump then return server, '' end
  local offset, seen, kept = kept_clock()
  if not (offset and seen) then offset, seen = 0, server - 100 end
  local now = server + offset
  if now < seen or now > seen + STILL_MS then
    if strange ~= kept or (not step and others_live()) then return seen, kept end
    now = now - (step or 0)
    if now < seen then now = seen end
    offset = now - server
  elseif now < seen + 100 then
    return now, ''
  else
    -- Back to the server's own, slowly.
    local back = math.min(math.floor((now - seen) / 100), math.abs(offset))
    offset = offset > 0 and offset - back or offset + back
  end
  redis.call('SET', clock_key(), whole(offset) .. ' ' .. whole(now))
  return now, ''
end

local now, still = keep_clock()
local lease = number(redis.call('ZSCORE', nodes_key(), node), -1)
local lost = 1
if lease >= 0 then
  lost = 0
  note_absence(lease, now, tonumber(ARGV[3]))
  redis.call('ZADD', nodes_key(), whole(now + tonumber(ARGV[3])), node)
end
if lost == 1 or every == 0 then return { lost, 0, LATEST_MS, server, still } end

local look, due = 0, number(redis.call('GET', look_key()), now)
if due <= now then look = 1 end
if look == 1 or due > now + every then
  due = now + every
  redis.call('SET', look_key(), whole(due), 'PX', LOOK_MS)
end
-- Of a few nodes each asks when the next look is due; of many one does anyway.
local wait = LATEST_MS
if redis.call('ZCARD', nodes_key()) <= FEW then wait = math.min(math.max(due - now, SOONEST_MS), LATEST_MS) end
return { lost, look, wait, server, still }
