-- What is granted: the whole of a job, and whether it can be. Follows the states.

-- A job as its record has it, for who may grant it: what only some have is looked for where there is any.
local function read(id)
  local key = job_key(id)
  local v = redis.call('HMGET', key, 'status', 'spec', 'queue', 'more')
  if not v[4] then
    return { id = id, key = key, status = v[1], spec = v[2], queue = v[3], gen = false, deliveries = false }
  end
  local w = server.call('HMGET', key, 'attempt', 'deliveries', 'deadline', 'stored', 'errors', 'debounce', 'gen',
    'conflicts', 'turn', 'depth', 'skey', 'since')
  return { id = id, key = key, status = v[1], spec = v[2], queue = v[3], more = true, attempt = w[1],
    deliveries = deliveries_of(w[2], w[12]) or false, deadline = w[3], stored = w[4], errors = w[5],
    debounce = w[6], gen = w[7], conflicts = w[8], turn = w[9], depth = w[10], skey = w[11] or nil }
end

-- One more is written down; of a plain job `since` says that it is the first.
local function count_delivery(job)
  job.deliveries = (number(job.deliveries or 0, 0)) + 1
  redis.call('HSET', job.key, 'deliveries', job.deliveries)
end

-- As `claim` answers it: a plain job is three items, for each array in an answer takes the server a while.
local function add_grant(answer, job, token, now)
  local n = #answer
  if not job.more then
    answer[n + 1], answer[n + 2], answer[n + 3] = job.id, token, job.spec
    return
  end
  if job.expires then
    redis.call('HDEL', job.key, 'deadline')
    if job.deadline then redis.call('HSET', job.key, 'deadline', job.deadline) end
  end
  local remaining = -1
  if job.deadline then remaining = math.max(0, number(job.deadline, now) - now) end
  local state = job.stored and job.skey and state_row(job.skey, now) or ''
  answer[n + 1] = { job.id, token, job.spec, number(job.attempt or 1, 1),
    number(job.deliveries or 0, 0), remaining, state, job.errors or '',
    number(job.conflicts or 0, 0) }
end

-- Why a job cannot be granted; nil if it can. What stands before its deadline is when it expires, until it has begun.
local function flaw_of(job)
  if not job.spec then return 'it has no spec' end
  if not job.more then return nil end
  if job.attempt and number(job.attempt, 0) < 1 then return 'its attempt is no number from 1' end
  if job.deliveries and number(job.deliveries, -1) < 0 then return 'its deliveries are no number from 0' end
  if job.deadline and not number(job.deadline) then
    local expires, ends = string.match(job.deadline, '^(%d+)<(%d*)$')
    if not expires then return 'its deadline is no number' end
    job.expires, job.deadline = tonumber(expires), ends ~= '' and ends
  end
end

-- An id in a list whose record does not say that it waits here: not to be granted, and not to be lost.
local function judge(job, queue, now, ttl)
  local id, status, of = job.id, job.status, job.queue
  if not status then
    quarantine(id, queue, 'it has no status', now, ttl)
  elseif status == 'waiting' then
    if not of or of ~= queue and not redis.call('ZSCORE', queues_key(), of) then
      quarantine(id, queue, 'it names no queue that there is', now, ttl)
    elseif of == queue then
      quarantine(id, queue, flaw_of(job), now, ttl)
    else
      local told = redis.call('HMGET', job.key, 'priority', 'skey', 'gen')
      put(of, id, urgency(told[1]), false, told[2], told[3], job.depth)
    end
  elseif status == 'later' then
    if not redis.call('ZSCORE', later_key(of or queue), id) then
      quarantine(id, of or queue, 'it is delayed, and nobody knows until when', now, ttl)
    end
  elseif status == 'active' then
    local holder = redis.call('HGET', job.key, 'node')
    if not holder or not redis.call('HGET', active_key(holder), id) then
      quarantine(id, of or queue, 'it is active, and nobody holds it', now, ttl)
    end
  elseif not ENDED[status] or status == 'failed' and not of then
    quarantine(id, of or queue, 'its status is none', now, ttl)
  end
end
