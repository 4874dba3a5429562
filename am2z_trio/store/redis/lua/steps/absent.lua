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

-- Takes a dead node out of the lots it may be in, bounded per script; returns whether there may be more.
local may_leave = 500
local function leave_lots(node)
  if may_leave <= 0 then return true end
  local cursor = redis.call('HGET', leaving_key(), node)
  if not cursor or #cursor > 15 or not cursor:find('^%d+$') then cursor = '0' end
  local page = redis.call('HSCAN', claims_key(node), cursor, 'COUNT', may_leave)
  may_leave = may_leave - #page[2] / 2
  for i = 1, #page[2], 2 do redis.call('ZREM', lot_key(page[2][i]), node) end
  if page[1] == '0' then
    redis.call('HDEL', leaving_key(), node)
    return false
  end
  redis.call('HSET', leaving_key(), node, page[1])
  return true
end
