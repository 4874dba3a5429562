-- What goes out at a script's end. Follows the values.
--
-- A script collects messages, events and counts while it works and sends them at its end with
-- `finish()`: one PUBLISH per node (or a few), one HINCRBY per queue and status, however many jobs it touched.

-- msgpack array of already packed items
local function packed_list(items)
  return '\221' .. struct.pack('>I4', #items) .. table.concat(items)
end

local outbox, outbox_order, posted = {}, {}, {}

-- `settled`: the message is an outcome, and this its beginning; one that is too large to be pushed is to be fetched.
local function post(node, packed, settled)
  if node == '' then return end
  local items = outbox[node]
  if not items then
    items = {}
    outbox[node] = items
    outbox_order[#outbox_order + 1] = node
    posted[node] = 0
  end
  if settled and (#packed > PUSHED_BYTES or posted[node] + #packed > POSTED_BYTES) then
    packed = '\150' .. settled .. NIL .. '\195'
  end
  posted[node] = posted[node] + #packed
  items[#items + 1] = packed
end

local function publish(node)
  local items = outbox[node]
  if posted[node] <= POSTED_BYTES then
    redis.call('PUBLISH', inbox_key(node), packed_list(items))
    return
  end
  local part, size = {}, 0
  for _, item in ipairs(items) do
    if size > 0 and size + #item > POSTED_BYTES then
      redis.call('PUBLISH', inbox_key(node), packed_list(part))
      part, size = {}, 0
    end
    part[#part + 1] = item
    size = size + #item
  end
  redis.call('PUBLISH', inbox_key(node), packed_list(part))
end

local counts, counts_order = {}, {}
local function count(queue, status, by)
  local of_queue = counts[queue]
  if not of_queue then
    of_queue = {}
    counts[queue] = of_queue
    counts_order[#counts_order + 1] = queue
  end
  of_queue[status] = (of_queue[status] or 0) + by
end

-- What this script has counted of a queue and not yet written.
local function counted(queue) return counts[queue] or {} end

-- How the queue's flow is limited, as the last claim has left it: {held, per_session, most_active}.
local flows = {}
local function flow_of(queue)
  local flow = flows[queue]
  if not flow then
    flow = redis.call('HMGET', meta_key(queue), 'held', 'per_session', 'most_active')
    flows[queue] = flow
  end
  return flow
end

local events, listened = {}, nil
-- Whether anybody hears events: before something is put together for one.
local function is_heard()
  if listened == nil then listened = redis.call('PUBSUB', 'NUMSUB', events_key())[2] > 0 end
  return listened
end

local function tell(name, now, node, id, data)
  if is_heard() then
    local v = redis.call('HMGET', job_key(id), 'processor', 'session', 'queue')
    events[#events + 1] = cmsgpack.pack({ name, now, node, id, v[1] or v[3] or '', v[2] or '', data })
  end
end

local wake, sieve_ghosts, let_back
local function finish()
  sieve_ghosts()
  for _, skey in ipairs(leavers_order) do leave_together(skey) end
  for _, queue in ipairs(counts_order) do
    -- There is room again where as many were active as may be: first for those that had stepped aside.
    local freed = (counts[queue].away or 0) - (counts[queue].active or 0)
    if freed > 0 then
      local flow = flow_of(queue)
      if flow[2] or flow[3] then freed = freed - let_back(queue) end
      for _ = 1, flow[1] and freed or 0 do wake(queue) end
    end
    for status, by in pairs(counts[queue]) do
      if by ~= 0 then redis.call('HINCRBY', meta_key(queue), status, by) end
    end
  end
  for _, node in ipairs(outbox_order) do publish(node) end
  if #events > 0 then redis.call('PUBLISH', events_key(), packed_list(events)) end
end
