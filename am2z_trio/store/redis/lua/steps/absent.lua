-- What a node leaves that serves no more.

local function unserve(node, queue, now)
  redis.call('SREM', serves_key(node), queue)
  if redis.call('SREM', servers_key(queue), node) == 1 then
    redis.call('HSET', meta_key(queue), 'seen', whole(now))
  end
end

-- Some of what the node serves, bounded per script; returns whether there is more.
local may_unserve = 500
local function unserve_all(node, now)
  while may_unserve > 0 do
    local some = redis.call('SRANDMEMBER', serves_key(node), math.min(may_unserve, 100))
    if #some == 0 then return false end
    may_unserve = may_unserve - #some
    for _, queue in ipairs(some) do unserve(node, queue, now) end
  end
  return redis.call('EXISTS', serves_key(node)) == 1
end
