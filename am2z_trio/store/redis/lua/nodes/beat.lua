-- `renew`, and where it is this node's turn, look after what all nodes share: one call per beat of a node.
--
-- KEYS     anchor
-- ARGV     clock, node, lease ms, what `clock` held when this node found it strange (or ''), by how many ms the
--          server's clock was set since (or '' if the node does not know), how often to look in ms, result ttl ms,
--          most ended jobs kept, own disconnect grace ms, most nodes, jobs and states, most queues
-- RETURNS  {1 if the lease is gone, the server's clock, what `clock` holds if the time stands still: nobody looks
--          then, how many claims the node holds, ms after which to beat again, ms until a schedule is due or -1,
--          1 if this node has looked, and then what `tick` answers behind its first}
-- INVARIANT  as `renewal` and `looking` say. All nodes together look as often as the one that wants it most often,
--          however many they are. A node beside others that hold no claims looks less often: what such a one claims
--          and loses before the next look is found by that.

local clock, node, lease, strange, step, every, ttl, recent, grace, batch, most_queues = unpack(ARGV)
most_recent = tonumber(recent)
every = tonumber(every)
redis.call('HDEL', suspects_key(), node)
local now, still, told = keep_clock(clock, node, strange, tonumber(step))
local lost = renew_lease(node, now, tonumber(lease))
if lost == 1 or still ~= '' then return { lost, told, still, 0, LATEST_MS, -1, 0 } end

-- One more than a few is enough to know.
local nodes = redis.call('ZRANGE', nodes_key(), 0, FEW)
local few, calm = #nodes <= FEW, true
for _, other in ipairs(nodes) do
  if other ~= node and redis.call('EXISTS', active_key(other)) == 1 then calm = false end
end
calm = calm and few
if calm then every = math.max(every, CALM_MS) end

local due = number(redis.call('GET', look_key()), now)
local looks = due <= now
if looks or due > now + every then
  due = now + every
  redis.call('SET', look_key(), whole(due), 'PX', LOOK_MS)
end
local reaped, more, failed = 0, 0, {}
if looks then
  reaped, more, failed = look_after_all(now, ttl, tonumber(grace), tonumber(batch), tonumber(most_queues), true)
  finish()
  due = number(redis.call('GET', look_key()), due)
end

-- Of many nodes one asks soon anyway. A suspect is looked at as soon as its grace is over.
local wait = LATEST_MS
if calm and redis.call('EXISTS', suspects_key()) == 0 then
  wait = math.min(every, LATEST_MS)
elseif few then
  wait = math.min(math.max(due - now, SOONEST_MS), LATEST_MS)
end
local held, schedule = redis.call('HLEN', active_key(node)), schedule_due(now)
if not looks then return { lost, told, still, held, wait, schedule, 0 } end
return { lost, told, still, held, wait, schedule, 1, reaped, more, redis.call('EXISTS', ending_key()), failed }
