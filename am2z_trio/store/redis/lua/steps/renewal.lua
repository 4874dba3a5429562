-- A node's lease, and the clock that all nodes keep.
--
-- A node that was reaped does not come back by renewing. Time goes on only, and a step of the server's clock is
-- taken out once, whoever has seen it.

-- Somebody is there who may know better than a node that has just come.
local function others_live(node)
  for _, other in ipairs(redis.call('ZRANGE', nodes_key(), -100, -1)) do
    if other ~= node and redis.call('PUBSUB', 'NUMSUB', inbox_key(other))[2] > 0 then return true end
  end
  return false
end

-- `strange`: what `clock` held when the node found it so (or ''); `step`: by how many ms the server's clock was
-- set since (nil if the node does not know). Returns the time, what `clock` holds if that stands still (or ''),
-- and the server's own.
local function keep_clock(given, node, strange, step)
  local told, may_jump = server_clock(given)
  if not may_jump then return told, '', told end
  local offset, seen, kept = kept_clock()
  if not (offset and seen) then offset, seen = 0, told - 100 end
  local now = told + offset
  if now < seen or now > seen + STILL_MS then
    if strange ~= kept or (not step and others_live(node)) then return seen, kept, told end
    now = now - (step or 0)
    if now < seen then now = seen end
    offset = now - told
  elseif now < seen + 100 then
    return now, '', told
  else
    -- Back to the server's own, slowly.
    local back = math.min(math.floor((now - seen) / 100), math.abs(offset))
    offset = offset > 0 and offset - back or offset + back
  end
  redis.call('SET', clock_key(), whole(offset) .. ' ' .. whole(now))
  return now, '', told
end

-- Returns 1 if there is none to renew. Whoever renews sees whether all nodes know what a promise is: one of an earlier
-- program leaves it counted when it takes a job from a dead node, or ends it; and who was found dead by such a one
-- still stands among those that know.
local function renew_lease(node, now, lease_ms)
  local lease = number(redis.call('ZSCORE', nodes_key(), node), -1)
  if lease < 0 then return 1 end
  note_absence(lease, now, lease_ms)
  redis.call('ZADD', nodes_key(), whole(now + lease_ms), node)
  local one = redis.call('SRANDMEMBER', promising_key())
  if one and not redis.call('ZSCORE', nodes_key(), one) then redis.call('SREM', promising_key(), one) end
  if redis.call('SCARD', promising_key()) == redis.call('ZCARD', nodes_key()) then
    redis.call('HSET', claims_key(node), '>', '1')
  else
    redis.call('HDEL', claims_key(node), '>')
  end
  return 0
end
