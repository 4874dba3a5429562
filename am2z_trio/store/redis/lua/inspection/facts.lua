-- What decides whether a job is granted at the next claim, and what becomes of one that is active or has ended.
--
-- KEYS     anchor
-- ARGV     clock, id
-- RETURNS  {} if it is not known, else names and values by turns; of the queue and others lists of the same kind
-- INVARIANT  reads only. Bounded, however long the line and however many the nodes: see `Bounds`.

local clock, id = unpack(ARGV)
local now = read_clock(clock)

-- A list of names and values that leaves out what there is none of.
local function listed(...)
  local list, given = {}, { ... }
  for i = 1, select('#', ...), 2 do
    local value = given[i + 1]
    if value ~= nil and value ~= false then
      list[#list + 1] = given[i]
      list[#list + 1] = value == true and 1 or value
    end
  end
  return list
end

local function number_of(text) return text and whole(number(text, 0)) or nil end

local function is_heard_at(node) return redis.call('PUBSUB', 'NUMSUB', inbox_key(node))[2] > 0 end

local function facts_of_node(node, queue)
  local place = redis.call('ZSCORE', lot_key(queue), node)
  local lease = redis.call('ZSCORE', nodes_key(), node)
  return listed('name', node, 'lease', number_of(lease), 'heard', is_heard_at(node), 'claims',
    redis.call('HLEN', active_key(node)), 'parked', place and true, 'calls_only', place
    and tonumber(place) >= CALLS_ONLY, 'info', redis.call('HGET', info_key(node), 'info'))
end

-- Ids of some jobs, those that have run longest first, and since when the first has.
local function longest(found)
  table.sort(found, function(a, b) return a[2] < b[2] or a[2] == b[2] and a[1] < b[1] end)
  local ids = {}
  for index = 1, math.min(#found, NAMED) do ids[index] = found[index][1] end
  return ids, found[1] and found[1][2] > 0 and whole(found[1][2]) or nil
end

-- Jobs of the queue that are active, among the claims of nodes, up to a bound.
local function holders_of(queue, nodes)
  local found, left = {}, SEEN_CLAIMS
  for _, node in ipairs(nodes) do
    local held = redis.call('HLEN', active_key(node))
    if held <= left then
      left = left - held
      for _, one in ipairs(redis.call('HKEYS', active_key(node))) do
        local v = redis.call('HMGET', job_key(one), 'queue', 'away', 'since')
        if v[1] == queue and not v[2] then found[#found + 1] = { one, number(v[3] or 0, 0) } end
      end
    end
  end
  return longest(found)
end

-- The limits that its announced options set; nil where these cannot be read.
local function limits_of(options)
  if not options then return nil end
  local limiter, per_minute = options.limiter, options.rate_limit_rpm
  local starts, per = 0, 0
  if type(limiter) == 'table' then
    starts, per = tonumber(limiter.max) or 0, math.ceil((tonumber(limiter.duration) or 0) * 1000)
  elseif type(per_minute) == 'number' then
    starts, per = per_minute, 60000
  end
  return starts, per, tonumber(options.global_concurrency) or 0, tonumber(options.session_concurrency) or 0
end

local function facts_of_queue(queue)
  local v = redis.call('HMGET', meta_key(queue), 'paused', 'waiting', 'later', 'active', 'away', 'most_active',
    'per_session', 'seen', 'options', 'unblocking')
  local starts, per, most_active, per_session = limits_of(v[9] and unpacked(v[9]))
  local known = starts ~= nil
  local last_most, last_session = number(v[6] or 0, 0), number(v[7] or 0, 0)
  if not known then
    starts, per, most_active, per_session = 0, 0, last_most, last_session
  end
  local started, first = 0, nil
  if starts > 0 then
    local since = '(' .. whole(now - per)
    started = redis.call('ZCOUNT', starts_key(queue), since, '+inf')
    first = redis.call('ZRANGEBYSCORE', starts_key(queue), since, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
  end
  local servers = redis.call('SRANDMEMBER', servers_key(queue), SEEN_NODES)
  table.sort(servers)
  local nodes = {}
  for index, node in ipairs(servers) do nodes[index] = facts_of_node(node, queue) end
  local active, away = number(v[4] or 0, 0), number(v[5] or 0, 0)
  local is_full = most_active > 0 and active - away >= most_active
  local parked, holders, longest_since = redis.call('ZCARD', lot_key(queue)), {}, nil
  if is_full then holders, longest_since = holders_of(queue, servers) end
  return listed('name', queue, 'options', v[9], 'last_most_active', last_most, 'last_per_session', last_session,
    'unsettled', known and (last_most ~= most_active or last_session ~= per_session) or v[10] and true,
    'paused', v[1] and true, 'waiting', number(v[2] or 0, 0), 'later', number(v[3] or 0, 0),
    'due', redis.call('ZCOUNT', later_key(queue), '-inf', whole(now)), 'active', active, 'away', away,
    'back', redis.call('ZCARD', back_key(queue)), 'starts', started, 'first_start', number_of(first),
    'lanes', redis.call('ZCARD', ready_key(queue)) + redis.call('EXISTS', wait_key(queue)),
    'holders', holders, 'longest', longest_since, 'workers', workers_of(queue, now),
    'seen', number_of(v[8]), 'announced', redis.call('ZSCORE', queues_key(), queue) and true, 'nodes', nodes,
    'parked', parked, 'parked_for_calls',
    parked > 0 and redis.call('ZCOUNT', lot_key(queue), whole(CALLS_ONLY), '+inf') or 0), per_session
end

-- What comes before an entry of a list: `place` of it, `ahead` and whether one of these takes the job's turn.
local function facts_of_line(job, name)
  local sieved = redis.call('LLEN', sieved_key(name))
  local entry = entry_of(job.id, job.gen)
  local place = sieved > 0 and redis.call('LPOS', sieved_key(name), entry, 'MAXLEN', PLACED)
  if not place and sieved < PLACED then
    place = redis.call('LPOS', wait_key(name), entry, 'MAXLEN', PLACED - sieved)
    place = place and place + sieved
  end
  if not place then return {} end
  if place > SEEN_BEFORE then return listed('place', place) end
  local entries = place > 0 and sieved > 0 and redis.call('LRANGE', sieved_key(name), 0, place - 1) or {}
  if #entries < place then
    for _, one in ipairs(redis.call('LRANGE', wait_key(name), 0, place - #entries - 1)) do
      entries[#entries + 1] = one
    end
  end
  local ahead, same_turn, turns_taken = 0, false, {}
  for _, one in ipairs(entries) do
    local other_id, gen = read_entry(one)
    local other = read(other_id)
    local may_go = other.gen == gen and other.queue == job.queue and other.status == 'waiting' and not flaw_of(other)
      and not (other.deadline and now > tonumber(other.deadline) or other.expires and now >= other.expires)
    if may_go and other.turn then
      may_go = not turns_taken[other.turn] and not is_taken(other.turn, other_id)
      turns_taken[other.turn] = true
    end
    if may_go then
      ahead = ahead + 1
      if job.turn and other.turn == job.turn then same_turn = true end
    end
  end
  return { 'place', place, 'ahead', ahead, 'same_turn', same_turn and 1 or 0 }
end

-- The same of one with a priority: those come after all lines.
local function facts_of_rank(job)
  local rank = redis.call('ZRANK', prio_key(job.queue), job.id)
  return rank and { 'place', rank } or {}
end

local function facts_of_turn(job)
  local line = turns_key(job.queue .. '@' .. job.turn)
  local holder = redis.call('HGET', floor_key(job.turn), 'holder')
  holder = holder and holder ~= job.id and is_taken(job.turn, job.id) and holder
  local before = redis.call('ZRANK', line, job.id)
  return listed('holder', holder, 'holder_node', holder and redis.call('HGET', job_key(holder), 'node'), 'in_line',
    before and true, 'before', before)
end

local function facts_of_session(job, per_session)
  local till = redis.call('HGET', session_key(job.skey), 'stopping')
  local running = per_session > 0 and number(redis.call('HGET', running_key(job.queue), job.skey) or 0, 0) or 0
  local holders, name = {}, job.queue .. '@' .. job.skey
  if per_session > 0 and running >= per_session and redis.call('SCARD', jobs_key(job.skey)) <= SEEN_CLAIMS then
    for _, one in ipairs(redis.call('SMEMBERS', jobs_key(job.skey))) do
      local v = redis.call('HMGET', job_key(one), 'status', 'queue', 'away', 'since')
      if v[1] == 'active' and v[2] == job.queue and not v[3] then
        holders[#holders + 1] = { one, number(v[4] or 0, 0) }
      end
    end
  end
  local named, longest_since = longest(holders)
  local is_stopped = till and number(till, 0) > now
  return listed('stopping', is_stopped and whole(number(till, 0)), 'active', running, 'listed',
    redis.call('LLEN', wait_key(name)) + redis.call('LLEN', sieved_key(name)), 'holders', named, 'longest',
    longest_since)
end

-- How many of the jobs that it has called have not ended, and some of them.
local function facts_of_calls(job)
  if not job.calls then return 0, {} end
  if redis.call('SCARD', children_key(job.id)) > SEEN_CLAIMS then return nil, {} end
  local found = {}
  for _, child in ipairs(redis.call('SMEMBERS', children_key(job.id))) do
    local status = redis.call('HGET', job_key(child), 'status')
    if status and not ENDED[status] then found[#found + 1] = child end
  end
  table.sort(found)
  return #found, { unpack(found, 1, NAMED) }
end

local function facts_of_breaker(processor)
  local v = redis.call('HMGET', breaker_key(processor), 'state', 'until', 'failures')
  return listed('state', v[1], 'until', number_of(v[2]), 'failures', number(v[3] or 0, 0))
end

-- Why the node that had it last has left it to others; nil if it has not.
local function left(key)
  local trail = unpacked(redis.call('HGET', key, 'trail')) or {}
  local last = trail[#trail]
  return last and last[2] == 'released' and last[6] ~= '' and last[6]
end

-- What a job that is parked waits for.
local function waits_of(job)
  local found = parked_for(id, job.status)
  for index, wait in ipairs(found or {}) do
    found[index] = listed('name', wait[1], 'since', whole(wait[2]), 'until', wait[3] >= 0 and whole(wait[3]))
  end
  return found
end

local job = load(id)
if not job then return {} end
local v = redis.call('HMGET', job.key, 'processor', 'session', 'deliveries', 'stalls', 'progress', 'priority', 'errors',
  'aside', 'deadline', 'reason', 'gen', 'at', 'since', 'ended')
local queue, has_ended = job.queue, ENDED[job.status]
local expires, ends = string.match(v[9] or '', '^(%d+)<(%d*)$')
if expires then v[9] = ends ~= '' and ends end
job.gen = v[11]
local of_queue, per_session = facts_of_queue(queue)
local line, turn, called, calls
if job.turn and not has_ended and job.status ~= 'active' then turn = facts_of_turn(job) end
if job.status == 'waiting' and not redis.call('ZSCORE', turns_key(queue .. '@' .. (job.turn or '')), id) then
  local by_priority = urgency(v[6]) > 0 and redis.call('ZSCORE', prio_key(queue), id)
  if by_priority then
    line = facts_of_rank(job)
  else
    line = facts_of_line(job, job.skey and queue .. '@' .. job.skey or queue)
  end
end
if job.status == 'active' then calls, called = facts_of_calls(job) end
local has_begun = has_ended or job.status == 'active'
local due = job.status == 'later' and redis.call('ZSCORE', later_key(queue), id)
local parent = job.parent and redis.call('HMGET', job_key(job.parent), 'status', 'node')
local holder = job.status == 'active' and job.node ~= '' and facts_of_node(job.node, queue)
return listed('now', whole(now), 'came', number_of(v[12]), 'began', has_begun and number_of(v[13]), 'ended',
  has_ended and number_of(v[14]), 'status', job.status, 'processor', v[1] or queue, 'session', v[2], 'attempt',
  job.attempt, 'deliveries', number(deliveries_of(v[3], v[13]) or 0, 0), 'stalls', number(v[4] or 0, 0),
  'progress', v[5], 'priority',
  urgency(v[6]), 'depth', job.depth and number(job.depth, 0), 'errors', v[7], 'left',
  job.status == 'later' and left(job.key), 'flaw', not has_ended
  and flaw_of(read(id)), 'due', number_of(due), 'waits', waits_of(job), 'aside', v[8] and true, 'deadline',
  number_of(v[9]), 'expires', number_of(expires), 'cancel',
  job.status == 'active' and job.cancel, 'away', job.away and true, 'in_back',
  redis.call('ZSCORE', back_key(queue), id) and true, 'calls', calls, 'called', called, 'reason', has_ended and v[10],
  'result', has_ended and job.status ~= 'completed' and redis.call('HGET', job.key, 'result'), 'dead_till',
  has_ended and number_of(redis.call('ZSCORE', dead_key(queue), id)), 'holder', holder, 'parent',
  parent and listed('id', job.parent, 'status', parent[1], 'node', parent[2]), 'turn', turn, 'at_session',
  job.skey and facts_of_session(job, per_session), 'line', line, 'queue', of_queue, 'breaker',
  facts_of_breaker(queue))
