-- What jobs wait for that no other job brings: a time, or a signal. Follows what is told early.
--
-- A mailbox is a hash. In `!<name>`, packed, are the signals of that name that nobody has taken yet, as they came;
-- `held` says how many signals are in it, and their bytes. That of a job holds its waits, too: in `=<key>`, packed,
-- what became of one: {outcome, name, value}; `open`, packed, has those that go on, by key: {name, since, until or
-- -1}. Where they are many a job that runs has each of them in `?<key>` instead (`many` says so), and `#<name>` says
-- how many are for that name: `steps/many`. The name of a wait for a time is ''. Jobs of a session that wait for
-- signals of a name stand in a line for those that are sent to the session: as many as there are signals, the first
-- ones, may take one.

local function signals_of(box, name)
  local found = unpacked(redis.call('HGET', box, '!' .. name)) or {}
  for n = #found, 1, -1 do
    if type(found[n]) ~= 'string' then table.remove(found, n) end
  end
  return found
end

local function held_in(box)
  local many, bytes = string.match(redis.call('HGET', box, 'held') or '', '^(%d+) (%d+)$')
  return number(many or 0, 0), number(bytes or 0, 0)
end

-- A call that is sent again is known by its `op`, which `known` remembers among the last ones.
local function is_known(known, op)
  return string.find(' ' .. (redis.call('HGET', known, 'signals') or '') .. ' ', ' ' .. op .. ' ', 1, true) ~= nil
end

-- Puts a signal into a mailbox; returns whether there was room.
local function keep_signal(box, known, op, name, value)
  local many, bytes = held_in(box)
  if many >= MOST_SIGNALS or bytes + #value > MOST_SIGNAL_BYTES then return false end
  local ops = {}
  for other in string.gmatch(redis.call('HGET', known, 'signals') or '', '%S+') do ops[#ops + 1] = other end
  ops[#ops + 1] = op
  redis.call('HSET', known, 'signals', table.concat(ops, ' ', math.max(1, #ops - KNOWN_SIGNALS + 1)))
  local signals = signals_of(box, name)
  signals[#signals + 1] = value
  redis.call('HSET', box, '!' .. name, cmsgpack.pack(signals), 'held', whole(many + 1) .. ' ' .. whole(bytes + #value))
  return true
end

-- The first signal of a name leaves its mailbox.
local function drop_signal(box, name)
  local signals, many, bytes = signals_of(box, name), held_in(box)
  local value = table.remove(signals, 1)
  if #signals == 0 then
    redis.call('HDEL', box, '!' .. name)
  else
    redis.call('HSET', box, '!' .. name, cmsgpack.pack(signals))
  end
  redis.call('HSET', box, 'held', whole(math.max(0, many - 1)) .. ' ' .. whole(math.max(0, bytes - #value)))
end

-- Of the three at once: what is not looked at apart is shorter, and every script that ends jobs carries it.
local function is_wait(wait)
  return type(wait) == 'table' and type(wait[1]) .. type(wait[2]) .. type(wait[3]) == 'stringnumbernumber'
end

-- Those that are packed, by key.
local function open_waits(id)
  local found = unpacked(redis.call('HGET', waits_key(id), 'open')) or {}
  for key, wait in pairs(found) do
    if type(key) ~= 'string' or not is_wait(wait) then found[key] = nil end
  end
  return found
end

local function waits_for(open, name)
  for _, wait in pairs(open) do
    if wait[1] == name then return true end
  end
  return false
end

-- The signal that a wait of this job may take now, and the mailbox in which it is.
local function signal_for(job, name)
  if name == '' then return nil end
  local own = signals_of(waits_key(job.id), name)[1]
  if own then return own, waits_key(job.id) end
  local place = job.skey and redis.call('ZRANK', awaiting_key(job.skey .. ':' .. name), job.id)
  local sent = place and signals_of(mail_key(job.skey), name) or {}
  if place and place < #sent then return sent[1], mail_key(job.skey) end
end

local function stand_for_signal(job, name)
  local line = awaiting_key(job.skey .. ':' .. name)
  if redis.call('ZSCORE', line, job.id) then return end
  local last = redis.call('ZRANGE', line, -1, -1, 'WITHSCORES')[2]
  redis.call('ZADD', line, whole((last and number(last, 0) or 0) + 1), job.id)
end

-- A job that is parked goes on; one that runs hears that there is something for it.
local function bring(job, name)
  if job.status == 'active' then
    post(job.node, '\148' .. cmsgpack.pack('signal', job.id, job.token, name))
  elseif job.status == 'later' and redis.call('HGET', job.key, 'last_outcome') == 'parked' then
    redis.call('ZREM', later_key(job.queue), job.id)
    note(job.id, 'status', 'waiting')
    count(job.queue, 'later', -1)
    count(job.queue, 'waiting', 1)
    put_back(job, true)
  end
end

-- As many jobs as a session has signals of a name for are to take them.
local function offer(skey, name)
  local many, line = #signals_of(mail_key(skey), name), awaiting_key(skey .. ':' .. name)
  for _, id in ipairs(many > 0 and redis.call('ZRANGE', line, 0, many - 1) or {}) do
    local job = load(id)
    if job and job.waits and not ENDED[job.status] then
      bring(job, name)
    else
      redis.call('ZREM', line, id)
    end
  end
end

-- A job waits for signals of this name no more; who comes next may take what is there.
local function leave_awaiting(job, name)
  if job.skey and name ~= ''
    and redis.call('ZREM', awaiting_key(job.skey .. ':' .. name), job.id) == 1 then offer(job.skey, name) end
end

-- Until when a job is parked that waits for these, a line each; false or nil: what it waits for is there.
local function parked_until(job, keys, now)
  local open, due = open_waits(job.id), PARKED_TILL_MS
  for key in string.gmatch(keys, '[^\n]+') do
    local wait = open[key]
    if not wait or signal_for(job, wait[1]) then return nil end
    if wait[3] >= 0 then due = math.min(due, wait[3]) end
  end
  due = math.min(due, number(redis.call('HGET', job.key, 'deadline') or nil, due))
  return due > now and due
end

-- Of the waits of a job that is parked, those stay that it has named.
local function keep_waits(job, keys)
  local open, kept, left = open_waits(job.id), {}, {}
  for key in string.gmatch(keys, '[^\n]+') do kept[key] = open[key] end
  for key, wait in pairs(open) do
    if not kept[key] then left[#left + 1] = wait[1] end
  end
  if #left == 0 then return end
  redis.call('HSET', waits_key(job.id), 'open', cmsgpack.pack(kept))
  table.sort(left)
  for _, name in ipairs(left) do
    if not waits_for(kept, name) then leave_awaiting(job, name) end
  end
end

-- A job has ended, and waits no more.
local function end_waits(job)
  local box = waits_key(job.id)
  local all = redis.call('HKEYS', box)
  for _, wait in pairs(open_waits(job.id)) do all[#all + 1] = '#' .. wait[1] end
  redis.call('DEL', box)
  table.sort(all)
  for _, field in ipairs(all) do leave_awaiting(job, string.match(field, '^#(.*)') or '') end
end
