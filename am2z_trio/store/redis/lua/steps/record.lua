-- A job's record: what it says, and what it says of a spoilt one. Follows the line.

-- Most jobs are plain: their records hold what every job has, perhaps a session, and nothing else. What only some
-- have is looked for where `more` says that there is any, so whatever writes such a field says so.
local function note(id, ...) redis.call('HSET', job_key(id), 'more', '1', ...) end

-- How often a job was granted, as its record has it; nil for never. One that was granted for the first time says so by
-- `since` alone.
local function deliveries_of(stored, since) return stored or since and '1' or nil end

-- Has a record say no more when it began; so it says by itself how often that was. The removal comes first: it is
-- allowed when memory is full.
local function forget_start(key)
  local v = redis.call('HMGET', key, 'deliveries', 'since')
  redis.call('HDEL', key, 'since')
  if v[2] and not v[1] then redis.call('HSET', key, 'deliveries', '1') end
end

-- The queue of a job whose record has lost it: its processor's where that can be told, or one that nobody serves.
local function queue_of(id)
  local v = redis.call('HMGET', job_key(id), 'processor', 'spec')
  local processor = v[1] or (unpacked(v[2]) or {})[3]
  return type(processor) == 'string' and string.match(processor, '^[%w_.-]+$') or 'unknown'
end

-- What the steps below need of a job. Every field costs a search in the record, so what only some of
-- them need is read by those. A spoilt field is as if it were not there; `claim` grants no such job.
local function load(id)
  local key = job_key(id)
  local v = redis.call('HMGET', key, 'status', 'token', 'queue', 'node', 'origin', 'more', 'skey')
  local status = v[1]
  if not status and not v[3] then return nil end
  if not ENDED[status] and not BEGUN_OR_NOT[status] then status = v[4] and 'active' or 'waiting' end
  local token, queue, node, origin = v[2] or '', v[3] or queue_of(id), v[4] or '', v[5] or ''
  if not v[6] and not ENDED[status] then
    return { id = id, key = key, status = status, token = token, queue = queue, node = node, origin = origin,
      attempt = 1, skey = v[7] or nil, last_token = false, last_outcome = false }
  end
  local w = server.call('HMGET', key, 'last_token', 'attempt', 'cancel', 'calls', 'parent', 'keep', 'turn', 'away',
    'depth', 'waits', 'promised')
  -- A plain one keeps the token that it was settled with where it was.
  if ENDED[status] and token ~= '' then w[1], token = w[1] or token, '' end
  return { id = id, key = key, status = status, token = token, queue = queue, node = node, origin = origin, more = true,
    skey = v[7] or nil, last_token = w[1], last_outcome = false, attempt = number(w[2] or 1, 1), cancel = w[3],
    calls = w[4], parent = w[5], keep = w[6], turn = w[7], away = w[8], depth = w[9],
    waits = w[10], promised = w[11] }
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
  local v = redis.call('HMGET', job.key, 'priority', 'gen')
  put(job.queue, job.id, urgency(v[1]), front, job.skey, v[2], job.depth)
end
