-- A job's life: the steps that its scripts share. Follows the clock.
--
-- A script collects messages, events and counts while it works and sends them at its end with
-- `finish()`: one PUBLISH per node (or a few), one HINCRBY per queue and status, however many jobs it touched.

local NIL = '\192'
local CALLER_GONE = 'the job that called it has ended'
local DEBOUNCED = 'a later job took its place (debounce)'
local CHILD_TTL_MS = 604800000
local DEAD_TTL_MS = 604800000
local DEAD_COUNT = 1000
local KEPT_MS = 60000
local STOPPED = 'session stopped'
local LOST = 'JOB_STALLED\nthe job was lost with its worker more often than its queue allows (max_stalled_count)'
local ENDED = { completed = true, failed = true, cancelled = true }
local BEGUN_OR_NOT = { waiting = true, later = true, active = true }
local STATUS_OF = { complete = 'completed', fail = 'failed', cancel = 'cancelled', stall = 'failed', expire = 'cancelled',
  spoil = 'failed' }

-- msgpack array of already packed items
local function packed_list(items)
  return '\221' .. struct.pack('>I4', #items) .. table.concat(items)
end

local outbox, outbox_order, posted = {}, {}, {}

-- `instead` is sent where the message is too large to be pushed.
local function post(node, packed, instead)
  if node == '' then return end
  local items = outbox[node]
  if not items then
    items = {}
    outbox[node] = items
    outbox_order[#outbox_order + 1] = node
    posted[node] = 0
  end
  if instead and (#packed > PUSHED_BYTES or posted[node] + #packed > POSTED_BYTES) then packed = instead end
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
    local v = redis.call('HMGET', job_key(id), 'processor', 'session')
    events[#events + 1] = cmsgpack.pack({ name, now, node, id, v[1] or '', v[2] or '', data })
  end
end

local wake, sieve_ghosts, let_back
local function finish()
  sieve_ghosts()
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

-- Takes parked nodes out of the queue's lot until one hears of it. A PUBLISH that nobody received
-- means that the node is gone.
-- Nodes that claim calls only come last in the lot. Such a one is woken where there are calls, or by what is for
-- 'any' one; never by what is for a 'free' one.
local CALLS_ONLY = 4503599627370496
local nobody, no_call = {}, {}
function wake(queue, whom)
  if nobody[queue] or (no_call[queue] and whom ~= 'any') then return end
  while true do
    local parked = redis.call('ZPOPMIN', lot_key(queue))
    if #parked == 0 then
      nobody[queue] = true
      return
    end
    if tonumber(parked[2]) >= CALLS_ONLY and whom ~= 'any'
      and (whom == 'free' or redis.call('EXISTS', calls_key(queue)) == 0) then
      redis.call('ZADD', lot_key(queue), parked[2], parked[1])
      no_call[queue] = whom ~= 'free'
      return
    end
    local message = '\145' .. cmsgpack.pack({ 'wake', queue })
    if redis.call('PUBLISH', inbox_key(parked[1]), message) > 0 then return end
  end
end

-- A stored priority; 0 for none.
local function urgency(text)
  local priority = text and number(text) or 0
  return priority > 0 and priority <= 2097151 and math.floor(priority) or 0
end

-- In a list a job that was run again under its id is another entry than the one before, which may still be
-- there: `gen` tells them apart, false for the first.
local function entry_of(id, gen) return gen and id .. '\0' .. gen or id end

local function read_entry(entry)
  if not string.find(entry, '\0', 1, true) then return entry, false end
  local id, gen = string.match(entry, '^(.*)%z(%d+)$')
  return id or entry, gen or false
end

-- Gives a session its turn: after all others, or before them.
local function take_turn(queue, skey, front)
  local place = front and 0 or -1
  local other = redis.call('ZRANGE', ready_key(queue), place, place, 'WITHSCORES')[2]
  redis.call('ZADD', ready_key(queue), whole(other and tonumber(other) + (front and -1 or 1) or 0), skey)
end

-- Gives a waiting job its place. `priority` is 0 for none; `skey` is its session's name, or nil.
local function line_up(queue, id, priority, front, skey, gen)
  if priority > 0 then
    local arrival = 0
    if not front then arrival = redis.call('HINCRBY', meta_key(queue), 'arrivals', 1) % 4294967296 end
    redis.call('ZADD', prio_key(queue), whole(priority * 4294967296 + arrival), id)
    return
  end
  local name = skey and queue .. '@' .. skey or queue
  local length
  if not front then
    length = redis.call('RPUSH', wait_key(name), entry_of(id, gen))
  elseif redis.call('LPUSHX', sieved_key(name), entry_of(id, gen)) == 0 then
    length = redis.call('LPUSH', wait_key(name), entry_of(id, gen))
  end
  if skey and length == 1 then take_turn(queue, skey, front) end
end

-- A job that others wait for is to be found apart from those that nobody does: the deepest first.
local function list_call(queue, id, depth, front)
  local arrival = 0
  if not front then arrival = redis.call('HINCRBY', meta_key(queue), 'arrivals', 1) % 4294967296 end
  local deep = math.min(number(depth, 1), 1000000)
  redis.call('ZADD', calls_key(queue), whole(arrival - deep * 4294967296), id)
  no_call[queue] = nil
end

-- Makes a waiting job claimable. `depth` is nil or false for one that nobody waits for.
local function put(queue, id, priority, front, skey, gen, depth)
  line_up(queue, id, priority, front, skey, gen)
  if depth then list_call(queue, id, depth, front) end
  wake(queue)
end

-- If the job is the next one due, some node has to learn when to come back.
local function put_later(queue, id, due)
  redis.call('ZADD', later_key(queue), whole(due), id)
  if redis.call('ZRANGE', later_key(queue), 0, 0)[1] == id then wake(queue, 'any') end
end

local function promote(queue, now)
  local due = redis.call('ZRANGEBYSCORE', later_key(queue), '-inf', whole(now), 'LIMIT', 0, 100)
  for _, id in ipairs(due) do
    redis.call('ZREM', later_key(queue), id)
    local job = redis.call('HMGET', job_key(id), 'status', 'priority', 'skey', 'gen', 'depth')
    if job[1] == 'later' then
      redis.call('HSET', job_key(id), 'status', 'waiting')
      count(queue, 'later', -1)
      count(queue, 'waiting', 1)
    end
    -- A record that says something else is judged by the claim that meets it.
    if job[1] ~= 'active' and not ENDED[job[1]] then put(queue, id, urgency(job[2]), false, job[3], job[4], job[5]) end
  end
end

local function has_work(queue)
  return redis.call('EXISTS', wait_key(queue), ready_key(queue), prio_key(queue)) > 0
end

local function next_due(queue, now)
  local first = redis.call('ZRANGE', later_key(queue), 0, 0, 'WITHSCORES')
  if #first == 0 then return -1 end
  return math.min(math.max(0, tonumber(first[2]) - now), MOST)
end

-- The queue of a job whose record has lost it: its processor's where that can be told, or one that nobody serves.
local function queue_of(id)
  local processor = redis.call('HGET', job_key(id), 'processor') or ''
  return string.match(processor, '^[%w_.-]+$') or 'unknown'
end

-- What the steps below need of a job. Every field costs a search in the record, so what only some of
-- them need is read by those. A spoilt field is as if it were not there; `claim` grants no such job.
local function load(id)
  local v = redis.call('HMGET', job_key(id), 'status', 'token', 'last_token', 'queue', 'node', 'origin', 'attempt',
    'cancel', 'skey', 'calls', 'parent', 'keep', 'turn', 'away', 'depth')
  if not v[1] and not v[4] then return nil end
  if not ENDED[v[1]] and not BEGUN_OR_NOT[v[1]] then v[1] = v[5] and 'active' or 'waiting' end
  return { id = id, status = v[1], token = v[2] or '', last_token = v[3], queue = v[4] or queue_of(id), node = v[5] or '',
    origin = v[6] or '', attempt = v[7] and number(v[7], 1) or 1, cancel = v[8], skey = v[9] or nil, calls = v[10],
    parent = v[11], keep = v[12], turn = v[13], away = v[14], depth = v[15] }
end

-- A job that the node really holds. An id among its claims that is of no such job is taken away.
local function load_claim(id, node)
  local job = load(id)
  if job and job.status == 'active' and job.node == node then return job end
  if job and not ENDED[job.status] then
    -- Its record has been changed. Where both say the same token, it is this claim all the same.
    local token = redis.call('HGET', active_key(node), id)
    if token == job.token or (job.token == '' and job.status == 'active') then
      job.status, job.node = 'active', node
      return job
    end
  end
  redis.call('HDEL', active_key(node), id)
  return nil
end

-- Whether the session's jobs are being ended: none is queued again then.
local function is_stopping(skey, now)
  local till = redis.call('HGET', session_key(skey), 'stopping')
  return till and number(till, 0) > now
end

-- Makes a job that was claimed or dead claimable again.
local function put_back(job, front)
  local v = redis.call('HMGET', job_key(job.id), 'priority', 'gen')
  put(job.queue, job.id, urgency(v[1]), front, job.skey, v[2], job.depth)
end

-- What a job has called ends with it, down the tree; outcomes are kept as long as its own record, by which
-- it may be run again. A script ends so many; what there is beyond stands in `ending`, for calls to come.
local ENDED_AT_ONCE = 100
local may_end = ENDED_AT_ONCE
local end_job, cancel_unbegun
local function end_child(id, now, ttl, why, till)
  local child = load(id)
  if child and ENDED[child.status] then
    redis.call('PEXPIRE', job_key(id), whole(math.max(till - now, KEPT_MS)))
  elseif child and child.status == 'active' then
    redis.call('HSET', job_key(id), 'cancel', why, 'outlived', whole(till))
    post(child.node, '\148' .. cmsgpack.pack('cancel', id, child.token, why))
  elseif child then
    child.outlived = till
    cancel_unbegun(child, now, ttl, why)
  end
end

local function end_children(id, now, ttl, why, age)
  local number = redis.call('SCARD', children_key(id))
  if number > may_end then
    local name = whole(redis.call('INCR', fence_key()))
    redis.call('RENAME', children_key(id), doomed_key(name))
    redis.call('RPUSH', ending_key(), cmsgpack.pack({ name, id, why, whole(now + age) }))
  elseif number > 0 then
    may_end = may_end - number
    local children = redis.call('SMEMBERS', children_key(id))
    redis.call('DEL', children_key(id))
    for _, child_id in ipairs(children) do end_child(child_id, now, ttl, why, now + age) end
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
    for _, child_id in ipairs(children) do
      -- Its job may run again, and have called it anew.
      if redis.call('SISMEMBER', children_key(id), child_id) == 0 then
        end_child(child_id, now, ttl, why, tonumber(till))
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

-- What an ended job leaves behind goes a minute later: its callers may not have heard of it yet. An id that
-- was used again since is left alone.
local function bury(id)
  local key = job_key(id)
  if not ENDED[redis.call('HGET', key, 'status')] then return end
  redis.call('HDEL', key, 'spec')
  if redis.call('PTTL', key) > KEPT_MS then redis.call('PEXPIRE', key, KEPT_MS) end
end

-- What is kept beyond a number or a time goes, a bounded number per call: far more are kept only after the limit
-- was lowered, and after a long time in which nothing ended. Who reads looks at the times.
local FORGOTTEN = 1000
local may_trim = 200
local function trim(kept, most)
  local over = math.min(redis.call('ZCARD', kept) - most, may_trim)
  if over <= 0 then return end
  may_trim = may_trim - over
  local ids = redis.call('ZPOPMIN', kept, over)
  for i = 1, #ids, 2 do bury(ids[i]) end
end

local function forget(kept, till)
  local old = redis.call('ZCOUNT', kept, '-inf', whole(till))
  if old > 0 then redis.call('ZREMRANGEBYRANK', kept, 0, math.min(old, FORGOTTEN) - 1) end
end

-- A set of ids that are no longer kept is not kept either.
local function outlive(key, age)
  if redis.call('PTTL', key) < age then redis.call('PEXPIRE', key, whole(age)) end
end

-- Keeps the record of a job that has ended for as long as it may be asked for, and returns for how many ms
-- that is: `keep` in the record is 'ms number ms number', for jobs that complete and for those that fail, -1
-- for what is usual.
local function retain(job, dead, status, now, ttl)
  if job.parent then
    -- A parent that is run again asks its children for their outcomes, however late; one that has ended is
    -- outlived by none for long.
    local age, till = CHILD_TTL_MS, job.outlived
    if job.cancel then till = number(redis.call('HGET', job_key(job.id), 'outlived'), till) end
    if till then age = math.min(age, math.max(till - now, KEPT_MS)) end
    redis.call('PEXPIRE', job_key(job.id), whole(age))
    return age
  end
  local age, most = tonumber(ttl), -1
  if dead then age, most = DEAD_TTL_MS, DEAD_COUNT end
  if job.keep and (dead or status == 'completed') then
    local own = {}
    for text in string.gmatch(job.keep, '%S+') do own[#own + 1] = number(text, -1) end
    local own_age, own_most = own[dead and 3 or 1] or -1, own[dead and 4 or 2] or -1
    if own_age >= 0 then age = math.max(own_age, KEPT_MS) end
    if own_most >= 0 then most = own_most end
  end
  redis.call('PEXPIRE', job_key(job.id), whole(age))
  if dead then
    redis.call('HSET', job_key(job.id), 'failed', whole(now))
    forget(dead_key(job.queue), now)
    redis.call('ZADD', dead_key(job.queue), whole(now + age), job.id)
    outlive(dead_key(job.queue), age)
    trim(dead_key(job.queue), most)
  elseif most >= 0 then
    forget(done_key(job.queue), now - age)
    redis.call('ZADD', done_key(job.queue), whole(now), job.id)
    outlive(done_key(job.queue), age)
    trim(done_key(job.queue), most)
  end
  return age
end

-- Jobs that take turns. One that comes to a turn which another one has stands in line for it, apart from its
-- queue; the first in line of every queue goes back to its queue when the turn is free: none is to wait for a
-- queue that is not served. One that comes to the line again keeps its place.
local function is_taken(turn, id)
  local holder = redis.call('HGET', floor_key(turn), 'holder')
  return holder and holder ~= id and redis.call('HGET', job_key(holder), 'status') == 'active'
end

local function stand_in_line(job)
  local place = redis.call('HGET', job_key(job.id), 'place')
  if not place then
    place = redis.call('HINCRBY', meta_key(job.queue), 'arrivals', 1)
    redis.call('HSET', job_key(job.id), 'place', place)
  end
  redis.call('ZADD', turns_key(job.queue .. '@' .. job.turn), place, job.id)
  redis.call('HSET', floor_key(job.turn), 'q:' .. job.queue, '1')
  if job.depth then redis.call('ZREM', calls_key(job.queue), job.id) end
end

local function call_up(turn, queue)
  local line = turns_key(queue .. '@' .. turn)
  local id = redis.call('ZPOPMIN', line)[1]
  if redis.call('EXISTS', line) == 0 then redis.call('HDEL', floor_key(turn), 'q:' .. queue) end
  if not id then return end
  local v = redis.call('HMGET', job_key(id), 'priority', 'skey', 'gen', 'depth')
  put(queue, id, urgency(v[1]), true, v[2] or nil, v[3], v[4])
end

-- Returns whether the job stood there.
local function step_out_of_line(job)
  local line = turns_key(job.queue .. '@' .. job.turn)
  if redis.call('ZREM', line, job.id) == 0 then return false end
  if redis.call('EXISTS', line) == 0 then redis.call('HDEL', floor_key(job.turn), 'q:' .. job.queue) end
  return true
end

-- A job has ended before it had its turn. If it was about to take it, the next one is.
local function leave_line(job)
  job.stood_in_line = step_out_of_line(job)
  if not job.stood_in_line then call_up(job.turn, job.queue) end
end

local function pass_turn(job)
  local key = floor_key(job.turn)
  if redis.call('HGET', key, 'holder') ~= job.id then return end
  redis.call('HDEL', key, 'holder')
  local queues = redis.call('HKEYS', key)
  table.sort(queues)
  for _, field in ipairs(queues) do call_up(job.turn, string.sub(field, 3)) end
end

-- A job that begins or ends gives way to no later one of its key any more.
local function leave_debounce(job, key)
  local held = debounce_key(job.queue .. ':' .. key)
  if redis.call('GET', held) == job.id then redis.call('DEL', held) end
end

-- What the event of a failed attempt says. `told`: the error's code, a line's end, its message.
local function told_of_failure(attempt, told)
  local code, message = string.match(told, '^([^\n]*)\n(.*)$')
  return { attempt = attempt, code = code, message = message }
end

-- Ends a job: only what a later look needs stays. `result` is msgpack or ''. `told`: of a failure that the store
-- has not found itself, as above.
function end_job(job, transition, now, ttl, reason, result, node, told)
  local key, status = job_key(job.id), STATUS_OF[transition]
  if job.status ~= 'active' then
    local debounce = redis.call('HGET', key, 'debounce')
    if debounce then leave_debounce(job, debounce) end
    if job.depth then redis.call('ZREM', calls_key(job.queue), job.id) end
    if job.turn then leave_line(job) end
  end
  local dead = status == 'failed' and not job.parent
  if dead then
    redis.call('HDEL', key, 'node', 'token', 'away')
  else
    redis.call('HDEL', key, 'spec', 'node', 'token', 'away')
  end
  if job.last_outcome then
    redis.call('HSET', key, 'status', status, 'reason', reason, 'result', result, 'last_token', job.last_token,
      'last_outcome', job.last_outcome)
  else
    redis.call('HSET', key, 'status', status, 'reason', reason, 'result', result)
  end
  local age = retain(job, dead, status, now, ttl)
  if job.calls then end_children(job.id, now, ttl, reason == STOPPED and STOPPED or CALLER_GONE, age) end
  -- A job whose calls complete gets on, however often it is lost with its worker.
  if job.parent and status == 'completed' then redis.call('HDEL', job_key(job.parent), 'stalls', 'charged') end
  if job.skey then
    redis.call('SREM', jobs_key(job.skey), job.id)
    if redis.call('EXISTS', jobs_key(job.skey)) == 0 then redis.call('HDEL', sessions_key(), job.skey) end
  end
  count(job.queue, job.status, -1)
  count(job.queue, status, 1)
  if result == '' then result = NIL end
  if job.origin ~= '' then
    local head = cmsgpack.pack('settled', job.id, status, reason)
    local message, instead = '\149' .. head .. result, '\150' .. head .. NIL .. '\195'
    for origin in string.gmatch(job.origin, '[^\n]+') do post(origin, message, instead) end
  end
  if not is_heard() then return end
  local data = { attempt = job.attempt }
  if status == 'failed' then
    if transition == 'stall' then told = LOST end
    if transition == 'spoil' then told = 'VALIDATION\nthe job\'s' .. string.sub(reason, 4) end
    data = told_of_failure(job.attempt, told or '')
  end
  tell('job:' .. status, now, node, job.id, data)
  if dead then tell('job:dead', now, node, job.id, data) end
end

-- Ends a job whose record cannot be read. What is left of it is listed with its queue's dead letters; who waits
-- for it is told.
local function quarantine(id, queue, why, now, ttl)
  local was = redis.call('HMGET', job_key(id), 'status', 'queue')
  if ENDED[was[1]] and was[2] then return end
  redis.call('HDEL', job_key(id), 'deadline')
  redis.call('HSET', job_key(id), 'queue', queue, 'status', 'waiting')
  local job = load(id)
  end_job(job, 'spoil', now, ttl, UNREADABLE .. why, '', '')
end

-- Ids that wait no more stay in their list until a claim skips them: to take one out of the midst would take
-- as long as the list is. Where they are half of a list, they are sieved out, a bounded number per call, so that
-- a list which nobody claims from does not grow by them, and one that holds nothing else is not there.
local SIEVED, SIEVED_PER_GHOST, SIEVED_AT_LEAST = 600, 4, 32
local ghosts, ghosts_order = {}, {}
local function count_ghosts(queue, skey, by)
  local name = skey and queue .. '@' .. skey or queue
  local of_list = ghosts[name]
  if not of_list then
    of_list = { queue = queue, skey = skey, by = 0 }
    ghosts[name] = of_list
    ghosts_order[#ghosts_order + 1] = name
  end
  of_list.by = of_list.by + by
end

-- Looks through up to so many entries of the list; returns how many those were, and how many of them waited no more.
local function sieve(queue, skey, name, most)
  local list, sieved = wait_key(name), sieved_key(name)
  local entries = redis.call('LPOP', list, most) or {}
  local living, dead = {}, 0
  for _, entry in ipairs(entries) do
    local id, gen = read_entry(entry)
    local v = redis.call('HMGET', job_key(id), 'status', 'gen')
    local stays = v[1] and not ENDED[v[1]] and v[2] == gen
    -- What has lost its status is for a claim to judge.
    if not v[1] then stays = redis.call('EXISTS', job_key(id)) == 1 end
    if stays then living[#living + 1] = entry else dead = dead + 1 end
  end
  local more = redis.call('EXISTS', list) == 1
  if #living > 0 then
    if more and redis.call('RPUSH', sieved, unpack(living)) == #living then
      redis.call('HINCRBY', meta_key(queue), 'sieving', 1)
    elseif not more then
      redis.call('RPUSH', redis.call('EXISTS', sieved) == 1 and sieved or list, unpack(living))
    end
  end
  if not more and redis.call('EXISTS', sieved) == 1 then
    redis.call('RENAME', sieved, list)
    redis.call('HINCRBY', meta_key(queue), 'sieving', -1)
  elseif not more and #living == 0 and skey then
    redis.call('ZREM', ready_key(queue), skey)
    redis.call('ZREM', blocked_key(queue), skey)
  end
  return #entries, dead
end

function sieve_ghosts()
  local left = SIEVED
  for _, name in ipairs(ghosts_order) do
    local queue, skey, by = ghosts[name].queue, ghosts[name].skey, ghosts[name].by
    local all = by ~= 0 and redis.call('HINCRBY', ghosts_key(queue), name, by) or 1
    if by > 0 and left > 0 then
      local length = redis.call('LLEN', wait_key(name)) + redis.call('LLEN', sieved_key(name))
      if all * 2 >= length then
        local most = math.min(left, length, by * SIEVED_PER_GHOST + SIEVED_AT_LEAST)
        left = left - most
        -- Where what is left of the list is less, it goes on with what an earlier call had sieved and put apart.
        repeat
          local seen, dead = sieve(queue, skey, name, most)
          if dead > 0 then all = redis.call('HINCRBY', ghosts_key(queue), name, -dead) end
          most = most - seen
        until seen == 0 or most <= 0 or all <= 0
      end
    end
    if all <= 0 then redis.call('HDEL', ghosts_key(queue), name) end
  end
end

-- Another job waits for this one, which nobody had called.
local function call_for(job, depth)
  if job.depth or ENDED[job.status] then return end
  redis.call('HSET', job_key(job.id), 'depth', depth)
  local stands = job.turn and redis.call('ZSCORE', turns_key(job.queue .. '@' .. job.turn), job.id)
  if job.status == 'waiting' and not stands then
    list_call(job.queue, job.id, depth, false)
    wake(job.queue)
  end
end

-- A waiting job begins without being taken from where it waits. Its entry stays in its list, as one that waits no
-- more whenever the job does.
local function leave_place(queue, id, skey)
  if redis.call('ZREM', later_key(queue), id) + redis.call('ZREM', prio_key(queue), id) == 0 then
    redis.call('HINCRBY', job_key(id), 'gen', 1)
    count_ghosts(queue, skey, 1)
  end
end

-- Jobs that wait and were taken out of their lists by this script.
local taken = {}

-- Ends a job that waits or is delayed.
function cancel_unbegun(job, now, ttl, why)
  local listed = job.status == 'waiting' and redis.call('ZREM', prio_key(job.queue), job.id) == 0
  if job.status ~= 'waiting' then redis.call('ZREM', later_key(job.queue), job.id) end
  end_job(job, 'cancel', now, ttl, why, '', '')
  if listed and not job.stood_in_line and not taken[job.id] then count_ghosts(job.queue, job.skey, 1) end
end

-- A job of the session is active no more: where their number is limited, the next one may be claimed.
local function leave_session(queue, skey)
  if not flow_of(queue)[2] then return end
  if redis.call('HINCRBY', running_key(queue), skey, -1) <= 0 then redis.call('HDEL', running_key(queue), skey) end
  if redis.call('ZREM', blocked_key(queue), skey) == 1 and redis.call('EXISTS', wait_key(queue .. '@' .. skey)) == 1 then
    take_turn(queue, skey, false)
    wake(queue)
  end
end

-- Lets jobs that had stepped aside go on where there is room; all but the one that is `asking` hear of it.
-- Returns how many.
local LET_BACK = 100
function let_back(queue, asking)
  local line = redis.call('ZRANGE', back_key(queue), 0, LET_BACK - 1)
  if #line == 0 then return 0 end
  local flow, here, let = flow_of(queue), counted(queue), 0
  local v = redis.call('HMGET', meta_key(queue), 'active', 'away')
  local most, per_session = flow[3] and number(flow[3], 0) or 0, flow[2] and number(flow[2], 0) or 0
  local counting = number(v[1] or 0, 0) + (here.active or 0) - number(v[2] or 0, 0) - (here.away or 0)
  for _, id in ipairs(line) do
    if most > 0 and counting >= most then break end
    local job = load(id)
    local skey = job and per_session > 0 and job.skey
    if not job or not job.away then
      redis.call('ZREM', back_key(queue), id)
    elseif not skey or number(redis.call('HGET', running_key(queue), skey) or 0, 0) < per_session then
      redis.call('ZREM', back_key(queue), id)
      redis.call('HDEL', job_key(id), 'away')
      if skey then redis.call('HINCRBY', running_key(queue), skey, 1) end
      count(queue, 'away', -1)
      counting, let = counting + 1, let + 1
      if id ~= asking then post(job.node, '\147' .. cmsgpack.pack('go on', id, job.token)) end
    end
  end
  return let
end

-- Retires the claim's token. The removal comes first: it is allowed when memory is full. `settled_as`
-- is nil for a claim that is taken away: its token was never settled with, so it is fenced from now on.
local function drop_claim(job, settled_as)
  redis.call('HDEL', active_key(job.node), job.id)
  if settled_as then job.last_token, job.last_outcome = job.token, settled_as end
  if job.turn then pass_turn(job) end
  if job.away then
    count(job.queue, 'away', -1)
    redis.call('ZREM', back_key(job.queue), job.id)
  elseif job.skey then
    leave_session(job.queue, job.skey)
  end
end

-- Gives a claimed job back to its queue, unless somebody wants it cancelled: to the front, or for a time
-- when it is due. Returns whether it went back.
local function return_job(job, settled_as, now, ttl, due)
  local node = job.node
  if job.skey and not job.cancel and is_stopping(job.skey, now) then job.cancel = STOPPED end
  drop_claim(job, settled_as)
  if job.cancel then
    if settled_as then job.last_outcome = 'cancelled' end
    end_job(job, 'cancel', now, ttl, job.cancel, '', node)
    return false
  end
  local status = due and 'later' or 'waiting'
  redis.call('HDEL', job_key(job.id), 'node', 'token', 'away')
  redis.call('HSET', job_key(job.id), 'status', status)
  if settled_as then
    redis.call('HSET', job_key(job.id), 'last_token', job.last_token, 'last_outcome', settled_as)
  end
  count(job.queue, 'active', -1)
  count(job.queue, status, 1)
  if due then
    put_later(job.queue, job.id, due)
  else
    put_back(job, true)
  end
  return true
end

-- Takes a node out of every lot it may be in.
local function leave_lots(node)
  for _, queue in ipairs(redis.call('HKEYS', claims_key(node))) do redis.call('ZREM', lot_key(queue), node) end
end
