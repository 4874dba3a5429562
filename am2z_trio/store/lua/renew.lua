-- Renew a lease that still stands, and say whose turn it is to look after what all nodes share.
--
-- KEYS     anchor
-- ARGV     clock, node, lease ms, how often to look in ms (0: this node does not)
-- RETURNS  {1 if the lease is gone, 1 if this node is to look now, ms after which to renew again}
-- INVARIANT  a node that was reaped does not come back by renewing. All nodes together look as often as the
--          one that wants it most often, however many they are.

local FEW, SOONEST_MS, LATEST_MS = 10, 50, 1000

local now, node, every = read_clock(ARGV[1]), ARGV[2], tonumber(ARGV[4])
redis.call('HDEL', suspects_key(), node)
local lease = number(redis.call('ZSCORE', nodes_key(), node), -1)
local lost = 1
if lease >= 0 then
  lost = 0
  note_absence(lease, now, tonumber(ARGV[3]))
  redis.call('ZADD', nodes_key(), whole(now + tonumber(ARGV[3])), node)
end
if lost == 1 or every == 0 then return { lost, 0, LATEST_MS } end

local look, due = 0, number(redis.call('GET', look_key()), now)
if due <= now then look = 1 end
if look == 1 or due > now + every then
  due = now + every
  redis.call('SET', look_key(), whole(due), 'PX', LOOK_MS)
end
-- Of a few nodes each asks when the next look is due; of many one does anyway.
local wait = LATEST_MS
if redis.call('ZCARD', nodes_key()) <= FEW then wait = math.min(math.max(due - now, SOONEST_MS), LATEST_MS) end
return { lost, look, wait }
