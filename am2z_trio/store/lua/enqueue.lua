-- Accept jobs, in order.
--
-- KEYS     anchor
-- ARGV     clock, result ttl ms, then per job: id, queue, spec, processor, session, session name, origin,
--          priority, delay ms, deadline ms (-1: none), max_stalled, '=' and the turn it takes where it works on
--          stored state, or '', most jobs
--          that may wait (0: any number), parent or '', how deep it is in calls or '', to run it again if it has ended without completing,
--          a nonce of this request (8 characters), 1 if it stays when nobody waits for it, else 0, and the digest
--          of what it is given or ''; '=' to join a known job and make none; or '',
--          debounce key or '', how long its record is kept, as `retain` reads it, or ''
-- RETURNS  per job: {} accepted | {'taken', 'session', ''}, {'taken', 'processor', its processor} or
--          {'taken', 'input', processor}: the id is that of a job that has another one | {'unknown'}: none to join
--          | {'stopped'} its session is being stopped | {'orphan'} its parent has ended
--          | {'full', jobs that wait} | {status, reason, result} of the known job (status may be any); of
--          the first jobs only, if results use REPLY_BYTES up: the others are not looked at
-- INVARIANT  a job's record exists exactly when its id is in its queue, active or terminal. The first
--          write is one that Redis refuses when memory is full, so a refusal leaves nothing behind.

local now, ttl = read_clock(ARGV[1]), ARGV[2]

local function waiting_in(queue)
  local v = redis.call('HMGET', meta_key(queue), 'waiting', 'later')
  local here = counted(queue)
  return number(v[1] or 0, 0) + number(v[2] or 0, 0) + (here.waiting or 0) + (here.later or 0)
end

local function runs(parent)
  local status = redis.call('HGET', job_key(parent), 'status')
  return status and not ENDED[status]
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
for i = 3, #ARGV, 18 do
  local id, queue, priority, delay = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 7]), tonumber(ARGV[i + 8])
  local key = job_key(id)
  local known = redis.call('HMGET', key, 'status', 'reason', 'result', 'origin', 'processor', 'gen', 'asked',
    'session', 'input')
  local replaced = replaced_by(queue, ARGV[i + 16])
  local joins, asked, stays, input = ARGV[i + 15] == '=', '', false, ''
  if ARGV[i + 15] ~= '' and not joins then
    asked, stays, input = string.match(ARGV[i + 15], '^(........)(.)(.*)$')
    stays = stays == '1'
  end
  local again = known[1] and asked ~= '' and asked ~= known[7] and ENDED[known[1]] and known[1] ~= 'completed'
  if known[5] and not known[1] or known[1] and not (known[5] and (ENDED[known[1]] or BEGUN_OR_NOT[known[1]])) then
    -- That is no job: what is there gives way.
    known, again = { [6] = known[6] }, true
  end
  local other = known[1] and other_in(known, ARGV[i + 4], ARGV[i + 3], again and '' or input)
  if other then
    answers[#answers + 1] = { 'taken', other, other ~= 'session' and known[5] or '' }
  elseif joins and not known[1] then
    answers[#answers + 1] = { 'unknown' }
  elseif known[1] and not again then
    local origin = ARGV[i + 6]
    if not ENDED[known[1]] and origin ~= '' and not string.find('\n' .. (known[4] or '') .. '\n', '\n' .. origin .. '\n', 1, true) then
      -- One more node waits for this job.
      redis.call('HSET', key, 'origin', (known[4] or '') .. '\n' .. origin)
    end
    local parent = ARGV[i + 13]
    if not ENDED[known[1]] and parent ~= '' and runs(parent) and redis.call('HGET', key, 'parent') == parent then
      -- Of a parent that ended, and runs again before this one was ended with it.
      redis.call('SADD', children_key(parent), id)
      redis.call('HSET', job_key(parent), 'calls', '1')
    end
    if stays and not ENDED[known[1]] then redis.call('HSET', key, 'stays', '1') end
    if ARGV[i + 14] ~= '' then call_for(load(id), ARGV[i + 14]) end
    answers[#answers + 1] = { known[1], known[2] or '', known[3] or '' }
    size = size + #(known[3] or '')
  elseif ARGV[i + 4] ~= '' and is_stopping(ARGV[i + 5], now) then
    answers[#answers + 1] = { 'stopped' }
  elseif ARGV[i + 13] ~= '' and not runs(ARGV[i + 13]) then
    answers[#answers + 1] = { 'orphan' }
  elseif ARGV[i + 12] ~= '0' and waiting_in(queue) - (replaced and 1 or 0) >= tonumber(ARGV[i + 12]) then
    answers[#answers + 1] = { 'full', waiting_in(queue) - (replaced and 1 or 0) }
  else
    local gen = string.find(id, '\0', 1, true) and 0
    if again then
      -- What the one before has left in its list is another entry.
      gen = number(known[6] or 0, 0) + 1
      redis.call('ZREM', dead_key(redis.call('HGET', key, 'queue') or queue), id)
      redis.call('DEL', key)
    end
    local status = delay > 0 and 'later' or 'waiting'
    local fields = { 'spec', ARGV[i + 2], 'status', status, 'queue', queue, 'processor', ARGV[i + 3],
      'origin', ARGV[i + 6], 'max_stalled', ARGV[i + 10] }
    local n, skey = #fields, nil
    if asked ~= '' then
      -- The same request may arrive again when the job has ended.
      fields[n + 1], fields[n + 2] = 'asked', asked
      n = n + 2
      if stays then
        fields[n + 1], fields[n + 2] = 'stays', '1'
        n = n + 2
      end
      if input ~= '' then
        fields[n + 1], fields[n + 2] = 'input', input
        n = n + 2
      end
    end
    if ARGV[i + 4] ~= '' then
      skey = ARGV[i + 5]
      fields[n + 1], fields[n + 2], fields[n + 3], fields[n + 4] = 'session', ARGV[i + 4], 'skey', ARGV[i + 5]
      n = n + 4
    end
    if priority > 0 then
      fields[n + 1], fields[n + 2] = 'priority', priority
      n = n + 2
    end
    if ARGV[i + 9] ~= '-1' then
      fields[n + 1], fields[n + 2] = 'deadline', whole(now + tonumber(ARGV[i + 9]))
      n = n + 2
    end
    if ARGV[i + 11] ~= '' then
      fields[n + 1], fields[n + 2] = 'stored', '1'
      if ARGV[i + 11] ~= '=' then fields[n + 3], fields[n + 4] = 'turn', string.sub(ARGV[i + 11], 2) end
    end
    n = #fields
    local parent, depth = ARGV[i + 13], ARGV[i + 14]
    if depth == '' then depth = parent ~= '' and '1' or nil end
    if depth then
      fields[n + 1], fields[n + 2] = 'depth', depth
      n = n + 2
    end
    if parent ~= '' then
      fields[n + 1], fields[n + 2] = 'parent', parent
      redis.call('SADD', children_key(parent), id)
      redis.call('HSET', job_key(parent), 'calls', '1')
    end
    if ARGV[i + 17] ~= '' then
      n = #fields
      fields[n + 1], fields[n + 2] = 'keep', ARGV[i + 17]
    end
    if ARGV[i + 16] ~= '' then
      n = #fields
      fields[n + 1], fields[n + 2] = 'debounce', ARGV[i + 16]
    end
    if gen then
      n = #fields
      fields[n + 1], fields[n + 2] = 'gen', gen
    end
    redis.call('HSET', key, unpack(fields))
    if replaced then
      cancel_unbegun(replaced, now, ttl, DEBOUNCED)
    end
    if ARGV[i + 16] ~= '' then
      redis.call('SET', debounce_key(queue .. ':' .. ARGV[i + 16]), id)
    end
    if skey then
      redis.call('SADD', jobs_key(skey), id)
      redis.call('HSETNX', sessions_key(), skey, ARGV[i + 4])
    end
    count(queue, status, 1)
    if status == 'later' then
      put_later(queue, id, now + delay)
    else
      put(queue, id, priority, false, skey, gen, depth)
    end
    tell('job:enqueued', now, '', id)
    answers[#answers + 1] = {}
  end
  if size >= REPLY_BYTES then break end
end
finish()
return answers
