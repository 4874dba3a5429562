-- Accept jobs, in order.
--
-- KEYS     anchor
-- ARGV     clock, result ttl ms, most ended jobs kept, nonce, node, queues (a line each) of which the node is given
--          one job, if it is parked, then per job: id, queue, spec, origin, and '' for a plain one; '@', session and
--          session name for a plain one of a session; or '+' and then: processor, session, session name, priority,
--          delay ms, deadline ms (-1: none; behind the ms by which it must begin and '<', if any), max_stalled, '=' and
--          the turn it takes where it works on stored state, or
--          '', most jobs that may wait (0: any number), parent or '', how deep it is in calls or '' ('-': its parent
--          only sends it, and is none), to run it again
--          if it has ended without completing, a nonce of this request (8 characters), 1 if it stays when nobody waits
--          for it, else 0, and the digest of what it is given or ''; '=' to join a known job and make none; or '',
--          debounce key or '', how long its record is kept, as `retain` reads it, or ''; outcomes that it is built on,
--          as `are_recorded` reads them; 1 if it is given to nobody unasked, '<' if it
--          stands before the others as well, or ''; its labels,
--          packed, or ''; the token under which the node has begun it, as was promised with its parent, or ''
--          Or, for jobs that are alike, all at once: '', queue, origin, what is before the id in their specs, between
--          id and state, and after the state, what their ids begin with, and the number of the first one, which its id
--          ends with in hex, or ''; then as for one job, without the digest; then per job its state, or where there is
--          no number its id, its state, and the digest of what it is given
-- RETURNS  per job: {} accepted | {'handed', token, how many more it takes, queues of what is promised with it, if
--          anything is} accepted, and the node's | {'taken', 'session', ''}, {'taken', 'processor', its processor} or
--          {'taken', 'input', processor}: the id is that of a job that has another one | {'unknown'}: none to join
--          | {'stopped'} its session is being stopped | {'orphan'} its parent has ended
--          | {'unfounded'} what it is built on has not been recorded
--          | {'full', jobs that wait} | {status, reason, result} of the known job (status may be any); of
--          the first jobs only, if results use REPLY_BYTES up: the others are not looked at
--          For jobs that are alike: how many are accepted or known, the first ones, and if the next one is
--          refused, how: those behind it are not looked at
-- INVARIANT  a job's record exists exactly when its id is in its queue, active or terminal. The first
--          write is one that Redis refuses when memory is full, so a refusal leaves nothing behind.

local clock, ttl, recent, nonce, own, rests = unpack(ARGV, 1, 6)
local now = read_clock(clock)
most_recent = tonumber(recent)
local at_rest = {}
for queue in string.gmatch(rests, '[^\n]+') do at_rest[queue] = own end

local function waiting_in(queue)
  local v = redis.call('HMGET', meta_key(queue), 'waiting', 'later')
  local here = counted(queue)
  return number(v[1] or 0, 0) + number(v[2] or 0, 0) + (here.waiting or 0) + (here.later or 0)
end

-- What this call has seen of jobs that call, status and whether their records say that they have called: until it has
-- a job end or begin anew, and with it perhaps others.
local seen = {}
local function runs(parent)
  seen[parent] = seen[parent] or redis.call('HMGET', job_key(parent), 'status', 'calls', 'token', 'promised')
  local status = seen[parent][1]
  return status and not ENDED[status]
end

-- What was promised with jobs that call. Nothing is any more when this call is over, which says what of it has begun.
local owed = {}

-- A job that runs has called this one.
local function note_call(parent, id)
  runs(parent)
  redis.call('SADD', children_key(parent), id)
  local promised = seen[parent][4] or ''
  if promised ~= '' then
    owed[parent] = promised
    count_promised(promised, -1)
    note(parent, 'calls', '1', 'promised', '')
  elseif not seen[parent][2] then note(parent, 'calls', '1') end
  seen[parent][2], seen[parent][4] = '1', ''
end

-- Whether a job that is called has begun under this token, as was promised.
local function has_begun(parent, queue, under)
  local promised = under ~= '' and parent ~= '' and (owed[parent] or seen[parent][4])
  return promised and string.match(under, '^(.*)/') == seen[parent][3]
    and string.find('\n' .. promised .. '\n', '\n' .. queue .. '\n', 1, true)
end

-- The job of the same key that this one replaces, if it has not begun.
local function replaced_by(queue, debounce)
  local id = debounce ~= '' and redis.call('GET', debounce_key(queue .. ':' .. debounce))
  local job = id and load(id)
  return job and not ENDED[job.status] and job.status ~= 'active' and job or nil
end

-- What a known job has another one of; nil if it is the same job.
local function other_in(known, session, processor, input)
  if (known[8] or '') ~= session then return 'session' end
  if known[5] ~= processor then return 'processor' end
  if input ~= '' and known[9] and known[9] ~= input then return 'input' end
end

local answers, size = {}, 0
-- Jobs that the node is given by this answer.
local given = {}

-- Jobs of a shared list stand there in their order, all at once.
local arrivals, arrivals_order = {}, {}
local function arrive(queue, entry)
  hands_out[queue] = false
  local entries = arrivals[queue]
  if not entries then
    entries = {}
    arrivals_order[#arrivals_order + 1] = queue
    arrivals[queue] = entries
  end
  entries[#entries + 1] = entry
end

local function answer_known(id, origin, known, parent, depth, stays, under)
  local key = job_key(id)
  local origins = (known[4] or '') .. '\n'
  if not ENDED[known[1]] and origin ~= '' and not string.find('\n' .. origins, '\n' .. origin .. '\n', 1, true) then
    -- One more node waits for this job.
    redis.call('HSET', key, 'origin', origins .. origin)
  end
  if not ENDED[known[1]] and parent ~= '' and runs(parent) and known[13] == parent then
    -- Of a parent that ended, and runs again before this one was ended with it.
    note_call(parent, id)
  end
  if stays and not ENDED[known[1]] then redis.call('HSET', key, 'stays', '1') end
  if depth ~= '' then call_for(load(id), depth) end
  local is_own = known[1] == 'active' and known[11] == own and not given[id]
  if is_own and (known[12] == under or string.match(known[12] or '', ':(.*)$') == nonce) then
    -- This very call has made it, and is sent again.
    return { 'handed', known[12], 0, known[14] or nil }
  end
  size = size + #(known[3] or '')
  return { known[1], known[2] or '', known[3] or '' }
end

-- The job has come; `node` was given it at once, as its record says, and is told by the answer where it is the one
-- that asks.
local function came(queue, id, skey, status, node, token, left, is_own, promised)
  count(queue, status, 1)
  tell('job:enqueued', now, '', queue, id, skey)
  if not node then return ACCEPTED end
  redis.call('HSET', active_key(node), id, token)
  tell('job:started', now, node, queue, id, skey)
  if promised ~= '' then count_promised(promised, 1) end
  if not is_own then return ACCEPTED end
  at_rest[queue] = nil
  given[id] = true
  return { 'handed', token, left, promised ~= '' and promised or nil }
end

local function accept_plain(id, queue, spec, origin, session, skey)
  local node, token, left, is_own, promised = hand_over(queue, id, spec, -1, now, nonce, at_rest[queue], true)
  local key, status, at = job_key(id), node and 'active' or 'waiting', stamp(now)
  if skey == '' and not node then
    server.call('HSET', key, 'spec', spec, 'status', status, 'queue', queue, 'origin', origin, 'at', at)
    arrive(queue, id)
  elseif skey == '' then
    local more = promised ~= '' and { 'more', '1', 'promised', promised } or NOTHING
    server.call('HSET', key, 'spec', spec, 'status', status, 'queue', queue, 'origin', origin, 'at', at, 'node', node,
      'token', token, 'since', at, unpack(more))
  else
    local rest = node and { 'node', node, 'token', token, 'since', at } or NOTHING
    if node and promised ~= '' then rest = { 'more', '1', 'promised', promised, unpack(rest) } end
    server.call('HSET', key, 'spec', spec, 'status', status, 'queue', queue, 'origin', origin, 'session', session,
      'skey', skey, 'at', at, unpack(rest))
    join_jobs(skey, session, id)
    if not node then put(queue, id, 0, false, skey) end
  end
  return came(queue, id, skey, status, node, token, left, is_own, promised)
end

-- What becomes of any job; its answer.
local function enqueue(id, queue, spec, origin, processor, session, skey, priority, delay, deadline, max_stalled, turn,
  most, parent, depth, again, debounce, keep, outcomes, only_asked, labels, under)
  if not are_recorded(outcomes) then return { 'unfounded' } end
  local sender
  if depth == '-' then
    sender, parent, depth = parent, '', ''
    if not runs(sender) then return { 'orphan' } end
  end
  local key, known = job_key(id), {}
  if server.call('EXISTS', key) == 1 then
    known = redis.call('HMGET', key, 'status', 'reason', 'result', 'origin', 'processor', 'gen', 'asked', 'session',
      'input', 'queue', 'node', 'token', 'parent', 'promised')
    known[5] = known[5] or known[10]
  end
  local joins, asked, stays, input = again == '=', '', false, ''
  if again ~= '' and not joins then
    asked, stays, input = string.match(again, '^(........)(.)(.*)$')
    stays = stays == '1'
  end
  again = known[1] and asked ~= '' and asked ~= known[7] and ENDED[known[1]] and known[1] ~= 'completed'
  if known[5] and not known[1] or known[1] and not (known[5] and (ENDED[known[1]] or BEGUN_OR_NOT[known[1]])) then
    -- That is no job: what is there gives way.
    known, again = { [6] = known[6], [10] = known[10], [13] = known[13] }, true
  end
  local other = known[1] and other_in(known, session, processor, again and '' or input)
  if other then
    return { 'taken', other, other ~= 'session' and known[5] or '' }
  elseif joins and not known[1] then
    return { 'unknown' }
  elseif known[1] and not again then
    if sender then redis.call('HSET', job_key(sender), '>' .. id, '1') end
    return answer_known(id, origin, known, parent, depth, stays, under)
  elseif sender and redis.call('HGET', job_key(sender), '>' .. id) then
    -- As if it had not ended: its outcome is not kept any more, and nobody waits for it.
    return { 'waiting', '', '' }
  elseif session ~= '' and is_stopping(skey, now) then
    return { 'stopped' }
  elseif parent ~= '' and not runs(parent) then
    return { 'orphan' }
  end
  local replaced = replaced_by(queue, debounce)
  -- So it is active, as it was counted, whatever has happened since.
  local begun = has_begun(parent, queue, under)
  local waiting = most ~= '0' and not begun and waiting_in(queue) - (replaced and 1 or 0)
  if waiting and waiting >= tonumber(most) then return { 'full', waiting } end
  local gen = string.find(id, '\0', 1, true) and 0
  if again then
    -- What the one before has left in its list is another entry.
    gen = number(known[6] or 0, 0) + 1
    redis.call('ZREM', dead_key(known[10] or queue), id)
    if known[13] then redis.call('SREM', children_key(known[13]), id) end
    redis.call('DEL', key, called_key(id), waits_key(id))
    seen = {}
  end
  delay, priority = tonumber(delay), tonumber(priority)
  local status = delay > 0 and 'later' or 'waiting'
  local fields = { 'spec', spec, 'status', status, 'queue', queue, 'origin', origin, 'more', '1', 'processor',
    processor, 'max_stalled', max_stalled, 'at', stamp(now) }
  local n = #fields
  local function add(name, value)
    fields[n + 1], fields[n + 2] = name, value
    n = n + 2
  end
  -- The same request may arrive again when the job has ended.
  if asked ~= '' then add('asked', asked) end
  if stays then add('stays', '1') end
  if input ~= '' then add('input', input) end
  if session ~= '' then
    add('session', session)
    add('skey', skey)
  else
    skey = nil
  end
  if priority > 0 then add('priority', priority) end
  local ends = tonumber(deadline)
  if not ends then
    local expires, later = string.match(deadline, '^(%d+)<(%d*)$')
    add('deadline', whole(now + expires) .. '<' .. (later ~= '' and whole(now + later) or ''))
  elseif ends >= 0 then
    add('deadline', whole(now + ends))
  end
  if turn ~= '' then
    add('stored', '1')
    if turn ~= '=' then add('turn', string.sub(turn, 2)) end
  end
  if depth == '' then depth = parent ~= '' and '1' or nil end
  if depth then add('depth', depth) end
  if parent ~= '' then
    add('parent', parent)
    note_call(parent, id)
  end
  -- Stands in its sender's record, and goes with that.
  if sender then redis.call('HSET', job_key(sender), '>' .. id, '1') end
  if keep ~= '' then add('keep', keep) end
  if debounce ~= '' then add('debounce', debounce) end
  if gen then add('gen', gen) end
  if labels ~= '' then add('labels', labels) end
  local node, token, left, is_own, promised
  if begun then
    node, token, is_own, promised = own, under, true, ''
    left = take_one(queue, own, now, spare_of(redis.call('ZSCORE', lot_key(queue), own)))
  elseif status == 'waiting' and priority == 0 and turn == '' and debounce == '' and only_asked == '' and ends then
    node, token, left, is_own, promised = hand_over(queue, id, spec, ends, now, nonce, at_rest[queue],
      asked == '' and not again)
  end
  if node then
    status, fields[4] = 'active', 'active'
    for name, value in pairs({ node = node, token = token, since = stamp(now) }) do add(name, value) end
    if promised ~= '' then add('promised', promised) end
  end
  redis.call('HSET', key, unpack(fields))
  if replaced then
    cancel_unbegun(replaced, now, ttl, DEBOUNCED)
    seen = {}
  end
  if debounce ~= '' then redis.call('SET', debounce_key(queue .. ':' .. debounce), id) end
  if skey then join_jobs(skey, session, id) end
  if status == 'later' then
    put_later(queue, id, now + delay)
  elseif not node and (skey or priority > 0 or only_asked == '<') then
    put(queue, id, priority, only_asked == '<' and '<', skey, gen, depth)
  elseif not node then
    arrive(queue, entry_of(id, gen))
    if depth then list_call(queue, id, depth, false) end
  end
  return came(queue, id, skey, status, node, token, left, is_own, promised)
end

-- Plain jobs that are alike, and new. Their list comes first: what ends this script in its midst, such as a right
-- that is not there, leaves no job behind that is in no list, but ids in it of jobs that are none.
local function accept_alike(ids, keys, specs, queue, origin, session, skey)
  local all, length = #ids, 0
  local list = wait_key(skey == '' and queue or queue .. '@' .. skey)
  for first = 1, all, 1000 do
    local last = math.min(first + 999, all)
    length = redis.call('RPUSH', list, unpack(ids, first, last))
    if skey ~= '' then join_jobs(skey, session, unpack(ids, first, last)) end
  end
  local record = { 'status', 'waiting', 'queue', queue, 'at', stamp(now) }
  if origin ~= '' then record[7], record[8] = 'origin', origin end
  if skey ~= '' then
    if length == all then take_turn(queue, skey, false) end
    local n = #record
    record[n + 1], record[n + 2], record[n + 3], record[n + 4] = 'session', session, 'skey', skey
  end
  for n = 1, all do server.call('HSET', keys[n], 'spec', specs[n], unpack(record)) end
  count(queue, 'waiting', all)
  for n = 1, is_heard() and all or 0 do tell('job:enqueued', now, '', queue, ids[n], skey) end
  for _ = 1, all do
    if nobody[queue] then break end
    wake(queue)
  end
end

-- Jobs that are alike but for id and state: what follows in ARGV. Returns their answer.
local function enqueue_alike(i)
  local queue, origin, head, middle, tail, prefix, first, more = unpack(ARGV, i, i + 7)
  i = i + 8
  -- Many are claimed together.
  hands_out[queue] = false
  local what = { queue, '', '', '0', '0', '-1', MAX_STALLED, '', '0', '', '', '', '', '', '', '', '', '' }
  if more == '+' then
    what = { unpack(ARGV, i, i + 17) }
    i = i + 18
  elseif more == '@' then
    local session, skey = unpack(ARGV, i, i + 1)
    what[2], what[3] = session, skey
    i = i + 2
  end
  local ids, specs, keys, inputs, chosen = {}, {}, {}, {}, first == ''
  local function add(id, state)
    local n = #ids + 1
    ids[n], specs[n], keys[n] = id, head .. cmsgpack.pack(id) .. middle .. state .. tail, job_key(id)
  end
  while i <= #ARGV do
    if chosen then
      local id, state, input = unpack(ARGV, i, i + 2)
      i = i + 3
      add(id, state)
      inputs[#ids] = input
    else
      local state = ARGV[i]
      i = i + 1
      add(prefix .. string.format('%x', first + #ids), state)
    end
  end
  local known = more == '+' or chosen
  for from = 1, known and 0 or #keys, 1000 do
    known = known or server.call('EXISTS', unpack(keys, from, math.min(from + 999, #keys))) > 0
  end
  if #ids > 0 and not known and not (what[3] ~= '' and is_stopping(what[3], now)) then
    accept_alike(ids, keys, specs, queue, origin, what[2], what[3])
    return { #ids }
  end
  local again = what[12]
  for n, id in ipairs(ids) do
    what[12] = again .. (inputs[n] or '')
    local answer = enqueue(id, queue, specs[n], origin, unpack(what))
    if REFUSED[answer[1]] then return { n - 1, answer } end
  end
  return { #ids }
end

local i = 7
if ARGV[i] == '' then
  answers, i = enqueue_alike(8), #ARGV + 1
end
while i <= #ARGV and size < REPLY_BYTES do
  local id, queue, spec, origin, more = unpack(ARGV, i, i + 4)
  i = i + 5
  if more == '+' then
    answers[#answers + 1] = enqueue(id, queue, spec, origin, unpack(ARGV, i, i + 17))
    i = i + 18
  else
    local session, skey = unpack(ARGV, i, i + 1)
    if more == '@' then i = i + 2 else session, skey = '', '' end
    local plain = server.call('EXISTS', job_key(id)) == 0 and not string.find(id, '\0', 1, true)
    if not plain or skey ~= '' and is_stopping(skey, now) then
      answers[#answers + 1] = enqueue(id, queue, spec, origin, queue, session, skey, '0', '0', '-1', MAX_STALLED, '',
        '0', '', '', '', '', '', '', '', '', '')
    else
      answers[#answers + 1] = accept_plain(id, queue, spec, origin, session, skey)
    end
  end
end
for _, queue in ipairs(arrivals_order) do
  local entries = arrivals[queue]
  for first = 1, #entries, 1000 do
    redis.call('RPUSH', wait_key(queue), unpack(entries, first, math.min(first + 999, #entries)))
  end
  for _ = 1, #entries do wake(queue) end
end
finish()
return answers
