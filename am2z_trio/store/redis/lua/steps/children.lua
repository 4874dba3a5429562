-- What a job has called. Follows the record.

-- What a job has called ends with it, down the tree; outcomes are kept as long as its own record, by which
-- it may be run again. A script ends so many; what there is beyond stands in `ending`, for calls to come.
local may_end = ENDED_AT_ONCE
local end_job, cancel_unbegun
local function end_child(parent, id, now, ttl, why, till)
  -- One that was run again since by itself, or by another job, is no child of this one any more.
  local v = redis.call('HMGET', job_key(id), 'status', 'parent')
  if v[2] ~= parent then return end
  if ENDED[v[1]] then
    redis.call('PEXPIRE', job_key(id), whole(math.max(till - now, KEPT_MS)))
    return
  end
  local child = load(id)
  if not child then return end
  if child.status == 'active' then
    note(id, 'cancel', why, 'outlived', whole(till))
    post(child.node, '\148' .. cmsgpack.pack('cancel', id, child.token, why))
  else
    child.outlived = till
    cancel_unbegun(child, now, ttl, why)
  end
end

-- Who looks at a job that has ended is told what it had called.
local function keep_called(id, children, age)
  if #children == 0 then return end
  redis.call('SADD', called_key(id), unpack(children))
  redis.call('PEXPIRE', called_key(id), whole(age))
end

local function end_children(id, now, ttl, why, age)
  local most = redis.call('SCARD', children_key(id))
  if most > may_end then
    local name = whole(redis.call('INCR', fence_key()))
    redis.call('RENAME', children_key(id), doomed_key(name))
    redis.call('RPUSH', ending_key(), cmsgpack.pack({ name, id, why, whole(now + age) }))
  elseif most > 0 then
    may_end = may_end - most
    local children = redis.call('SMEMBERS', children_key(id))
    redis.call('DEL', children_key(id))
    keep_called(id, children, age)
    for _, child_id in ipairs(children) do end_child(id, child_id, now, ttl, why, now + age) end
  end
end

-- Ends some of what is yet to end; returns whether there is more.
local function go_on_ending(now, ttl)
  while may_end > 0 do
    local first = redis.call('LINDEX', ending_key(), 0)
    if not first then return false end
    local name, id, why, till = unpack(unpacked(first) or {})
    local whole_one = name and id and why and number(till)
    local children = whole_one and redis.call('SPOP', doomed_key(name), may_end) or {}
    may_end = may_end - #children - (whole_one and 0 or 1)
    if whole_one then keep_called(id, children, math.max(tonumber(till) - now, KEPT_MS)) end
    for _, child_id in ipairs(children) do
      -- Its job may run again, and have called it anew.
      if redis.call('SISMEMBER', children_key(id), child_id) == 0 then
        end_child(id, child_id, now, ttl, why, tonumber(till))
      end
    end
    if not whole_one or redis.call('EXISTS', doomed_key(name)) == 0 then redis.call('LPOP', ending_key()) end
  end
  return redis.call('EXISTS', ending_key()) == 1
end

-- One node goes on at a time, until it has not been heard of for a second.
local function may_go_on(node)
  if redis.call('GET', turn_key()) ~= node and not redis.call('SET', turn_key(), node, 'NX', 'PX', 1000) then
    return false
  end
  redis.call('PEXPIRE', turn_key(), 1000)
  return true
end
