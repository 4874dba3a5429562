-- What goes out at a script's end. Follows the values.
--
-- A script collects messages, events and counts while it works and sends them at its end with
-- `finish()`: one PUBLISH per node (or a few), one HINCRBY per queue and status, however many jobs it touched.

-- msgpack array of so many items, which are packed already
local function packed_list(count_of, pieces)
  return '\221' .. struct.pack('>I4', count_of) .. table.concat(pieces)
end

-- What each node is to be told: pieces of messages, how many these are and their bytes, and the bytes of all so
-- far. They are put together once, when they go. A node stands in the order first, here and wherever there is one:
-- an empty order says that nothing else is left of another call.
local outbox, outbox_order = {}, {}

local function publish(node, box)
  redis.call('PUBLISH', inbox_key(node), packed_list(box.messages, box.pieces))
end

-- Where the next message to a node goes, which is put there at once; nil where nobody would hear it, which is asked
-- from the second one on.
local function box_of(node)
  local box = outbox[node]
  if not box then
    if node == '' then return nil end
    box = { pieces = {}, messages = 0, bytes = 0, posted = 0 }
    outbox_order[#outbox_order + 1] = node
    outbox[node] = box
  elseif box.is_heard == nil then
    box.is_heard = redis.call('PUBSUB', 'NUMSUB', inbox_key(node))[2] > 0
  end
  return box.is_heard ~= false and box or nil
end

local function put_in(node, box, bytes, ...)
  if box.messages > 0 and box.bytes + bytes > POSTED_BYTES then
    publish(node, box)
    box.pieces, box.messages, box.bytes = {}, 0, 0
  end
  box.messages, box.bytes, box.posted = box.messages + 1, box.bytes + bytes, box.posted + bytes
  local all, n = box.pieces, #box.pieces
  all[n + 1], all[n + 2], all[n + 3] = ...
end

local function post(node, packed)
  local box = box_of(node)
  if box then put_in(node, box, #packed, packed) end
end

-- An outcome; one that is too large to be pushed is to be fetched. `result` is packed.
local function post_outcome(node, id, status, reason, result)
  local box = box_of(node)
  if not box then return end
  local head = cmsgpack.pack('settled', id, status, reason)
  local bytes = 1 + #head + #result
  if bytes <= PUSHED_BYTES and box.posted + bytes <= POSTED_BYTES then
    put_in(node, box, bytes, '\149', head, result)
  else
    put_in(node, box, 3 + #head, '\150', head, NIL .. '\195')
  end
end

local counts, counts_order = {}, {}
local function count(queue, status, by)
  local of_queue = counts[queue]
  if not of_queue then
    of_queue = {}
    counts_order[#counts_order + 1] = queue
    counts[queue] = of_queue
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

-- Events of jobs, by name and queue: those that have these, the node and the time in common go as one.
local groups, groups_order, newest, listened = {}, {}, nil, nil
-- Whether anybody hears events, or they are written down: before something is put together for one.
local function is_heard()
  if listened == nil then listened = redis.call('PUBSUB', 'NUMSUB', events_key())[2] > 0 end
  return listened or kept_events
end

local function write_down(group)
  if kept_events then redis.call('XADD', log_key(), 'MAXLEN', '~', kept_events, '*', 'g', group) end
end

-- One event of a job: it joins those like it. Where it cannot, all groups so far are closed, and so they are by a
-- cancellation, which may be that of a job told of before: what happens to one job is told in its order. By itself it
-- says what others of its group may not: the job's session, where that is not the same for all, and `data`, where there
-- is more to say than that it was the first attempt.
local function tell(name, now, node, queue, id, skey, data)
  if not is_heard() then return end
  local session, group = skey or '', groups[name] and groups[name][queue]
  if skey and string.byte(skey) == DIGEST then session = redis.call('HGET', job_key(id), 'session') or '' end
  local is_behind = name == 'job:cancelled' and group ~= newest
  if is_behind or group and (group.node ~= node or group.bytes > GROUPED_BYTES) then
    groups, group = {}, nil
  end
  if not group then
    group = { name = name, now = now, node = node, queue = queue, ids = {}, data = {}, bytes = 0, session = session }
    if not groups[name] then groups[name] = {} end
    groups[name][queue], newest, groups_order[#groups_order + 1] = group, group, group
  end
  local n = #group.ids + 1
  group.ids[n], group.bytes = id, group.bytes + #id
  if session ~= group.session and not group.sessions then
    group.sessions = {}
    for before = 1, n - 1 do group.sessions[before] = group.session end
  end
  if group.sessions then group.sessions[n], group.bytes = session, group.bytes + #session end
  if data then
    local packed = cmsgpack.pack(n - 1, data)
    group.data[#group.data + 1], group.bytes = packed, group.bytes + #packed
  end
end

-- One event of many jobs, each of which is of no session and has no more to say: a group that none joins.
local function tell_alike(group)
  group.data, group.session = {}, ''
  groups, newest, groups_order[#groups_order + 1] = {}, group, group
end

local function packed_group(group)
  local queue, name = group.queue, nil
  if string.byte(queue) == DIGEST then name = redis.call('HGET', job_key(group.ids[1]), 'processor') end
  return '\151' .. cmsgpack.pack(group.name, group.now, group.node, name or queue, group.ids,
    group.sessions or group.session) .. packed_list(2 * #group.data, group.data)
end

local function send_events()
  local pieces, bytes = {}, 0
  for _, group in ipairs(groups_order) do
    local packed = packed_group(group)
    write_down(packed)
    if listened and #pieces > 0 and bytes + #packed > POSTED_BYTES then
      redis.call('PUBLISH', events_key(), packed_list(#pieces, pieces))
      pieces, bytes = {}, 0
    end
    pieces[#pieces + 1], bytes = packed, bytes + #packed
  end
  if listened then redis.call('PUBLISH', events_key(), packed_list(#pieces, pieces)) end
end

local wake, sieve_ghosts, let_back, list_ended
local function finish()
  sieve_ghosts()
  list_ended()
  leave_together(leavers_order)
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
  for _, node in ipairs(outbox_order) do publish(node, outbox[node]) end
  if newest then send_events() end
end
