-- Jobs that are given, as they come, to a node that waits for them. Follows the claims.
--
-- A node's place in a lot says since when it waits there, and how many jobs it takes without asking for them. It
-- is given one only where nothing waits and no limit holds, so that no job is passed by; and it holds the job from
-- then on, whether it hears of it or not.

-- Parks a node: it takes so many jobs unasked; none if it takes calls only.
local function park(queue, node, now, spare, calls_only)
  local place = now * (MOST_SPARE + 1) + MOST_SPARE
  place = place + (calls_only and CALLS_ONLY or -math.max(0, math.min(spare, MOST_SPARE)))
  redis.call('ZADD', lot_key(queue), whole(place), node)
end

-- How many jobs a node takes that has this place, if it has one.
local function spare_of(place)
  place = tonumber(place or nil)
  return place and place < CALLS_ONLY and math.floor(MOST_SPARE - place % (MOST_SPARE + 1)) or 0
end

-- Whether nothing waits in a queue, and nothing limits it or holds it up.
local function is_open(queue)
  if hands_out[queue] == nil then
    local limits = redis.call('HMGET', meta_key(queue), 'paused', 'per_session', 'most_active', 'begins')
    hands_out[queue] = not (limits[1] or limits[2] or limits[3]) and redis.call('EXISTS', wait_key(queue),
      sieved_key(queue), ready_key(queue), prio_key(queue), blocked_key(queue)) == 0 and (limits[4] or true)
  end
  return hands_out[queue]
end

-- Whether a node may claim, and hears what it is told.
local present = {}
local function is_present(node, now)
  if present[node] == nil then
    local hear = redis.call('PUBSUB', 'NUMSUB', inbox_key(node), events_key())
    -- To be known for what it tells, too.
    listened = hear[4] > 0
    present[node] = hear[2] > 0 and number(redis.call('ZSCORE', nodes_key(), node), -1) >= now
  end
  return present[node]
end

-- What the node begins a job of this queue with: it may begin these parts at once, each in a queue in which nothing
-- waits and which nothing holds up, and in which the node takes jobs unasked. '' where one of them is no such queue,
-- or where its node does not say that all know what that is.
local function promised_to(node, queue)
  local v = redis.call('HMGET', claims_key(node), '>', '>' .. queue)
  local parts, many = v[1] and v[2] or '', {}
  for part in string.gmatch(parts, '[^\n]+') do
    many[part] = (many[part] or 0) + 1
    if many[part] > spare_of(redis.call('ZSCORE', lot_key(part), node)) or not is_open(part) then return '' end
  end
  return parts
end

-- The node takes one unasked; returns how many more it does then.
local function take_one(queue, node, now, spare)
  if spare > 1 then
    park(queue, node, now, spare - 1)
  else
    redis.call('ZREM', lot_key(queue), node)
  end
  return math.max(0, spare - 1)
end

-- Gives a job that comes to `own`, if that is a node that waits, which is told by the answer; else to the node that
-- has waited longest. Returns the node, the token, how many more it takes, whether it is `own`, and what is promised
-- with the job, if it `is_new`; nil if it has to wait: then so have those that come after it. The first write is one
-- that is refused when memory is full.
local function hand_over(queue, id, spec, remaining, now, nonce, own, is_new)
  if hands_out[queue] == false or nobody[queue] then return nil end
  local node, spare = own or '', own and spare_of(redis.call('ZSCORE', lot_key(queue), own)) or 0
  if spare < 1 then
    local first = redis.call('ZRANGE', lot_key(queue), 0, 0, 'WITHSCORES')
    own, node, spare = nil, first[1] or '', spare_of(first[2])
    nobody[queue] = not first[1]
  end
  local box = outbox[node]
  local fits = own or #spec <= PUSHED_BYTES and (box and box.posted or 0) + #spec <= POSTED_BYTES
  if not (spare >= 1 and fits and is_open(queue) and is_present(node, now)) then
    hands_out[queue] = false
    return nil
  end
  local promised = is_new and hands_out[queue] == '1' and promised_to(node, queue) or ''
  -- Where a message tells of it, no answer does, not even to the same call that comes again.
  local token = whole(redis.call('INCR', fence_key())) .. (own and ':' or ':-') .. nonce
  local left = take_one(queue, node, now, spare)
  if not own then
    local head = cmsgpack.pack('handed', queue, left, id, token, remaining)
    post(node, promised == '' and '\151' .. head .. spec or '\152' .. head .. spec .. cmsgpack.pack(promised))
  end
  return node, token, left, own, promised
end
