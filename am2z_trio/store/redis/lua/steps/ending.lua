-- A job's end. Follows the turns.

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

-- Jobs of which this call has settled another one that they have called.
local relieved = {}

-- Ends a job: only what a later look needs stays. `result` is msgpack or ''. `told`: of a failure that the store
-- has not found itself, as above.
function end_job(job, transition, now, ttl, reason, result, node, told)
  local key, status = job.key, STATUS_OF[transition]
  if job.status ~= 'active' then
    local debounce = redis.call('HGET', key, 'debounce')
    if debounce then leave_debounce(job, debounce) end
    if job.depth then redis.call('ZREM', calls_key(job.queue), job.id) end
    if job.turn then leave_line(job) end
    -- When it began for another time is said of one that is running, or was when it ended.
    if job.more then forget_start(key) end
  end
  local dead = status == 'failed' and not job.parent
  local at = stamp(now)
  if job.last_outcome and not (job.more or dead) and reason == '' then
    -- The token that it was settled with stays where it is.
    server.call('HDEL', key, 'spec', 'node')
    server.call('HSET', key, 'status', status, 'result', result, 'ended', at)
  else
    redis.call('HDEL', key, 'node', 'token', 'away', dead and 'away' or 'spec')
    local last = {}
    if job.last_outcome then last = { 'last_token', job.last_token, 'last_outcome', job.last_outcome } end
    redis.call('HSET', key, 'status', status, 'reason', reason, 'result', result, 'ended', at, unpack(last))
  end
  if status == 'failed' then
    if transition == 'stall' then told = LOST end
    if transition == 'spoil' then told = 'VALIDATION\nthe job\'s' .. string.sub(reason, 4) end
    trace(job.id, now, 'failed', node, job.attempt, told)
  end
  local age = retain(job, dead, status, now, ttl)
  note_end(job.queue, job.id, now)
  if job.waits then end_waits(job) end
  if job.calls then
    end_children(job.id, now, ttl, reason == SESSION_STOPPED and SESSION_STOPPED or PARENT_ENDED, age)
  end
  -- A job whose calls complete gets on, however often it is lost with its worker.
  if job.parent and status == 'completed' and not relieved[job.parent] then
    relieved[job.parent] = true
    redis.call('HDEL', job_key(job.parent), 'stalls', 'charged')
  end
  if job.skey then leave_jobs(job.skey, job.id) end
  count(job.queue, job.status, -1)
  count(job.queue, status, 1)
  if result == '' then result = NIL end
  if job.origin ~= '' then
    if string.find(job.origin, '\n') then
      for origin in string.gmatch(job.origin, '[^\n]+') do post_outcome(origin, job.id, status, reason, result) end
    else
      post_outcome(job.origin, job.id, status, reason, result)
    end
  end
  if not is_heard() then return end
  local data = job.attempt ~= 1 and { attempt = job.attempt }
  if status == 'failed' then data = told_of_failure(job.attempt, told or '') end
  tell('job:' .. status, now, node, job.queue, job.id, job.skey, data)
  if dead then tell('job:dead', now, node, job.queue, job.id, job.skey, data) end
end

-- Ends a job whose record cannot be read. What is left of it is listed with its queue's dead letters; who waits
-- for it is told.
local function quarantine(id, queue, why, now, ttl)
  local was = redis.call('HMGET', job_key(id), 'status', 'queue')
  if ENDED[was[1]] and was[2] then return end
  redis.call('HDEL', job_key(id), 'deadline')
  redis.call('HSET', job_key(id), 'queue', queue, 'status', 'waiting')
  local job = load(id)
  end_job(job, 'spoil', now, ttl, UNREADABLE .. ': ' .. why, '', '')
end
