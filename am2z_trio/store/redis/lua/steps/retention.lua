-- How long what has ended is kept. Follows the children.

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
local may_trim = TRIMMED
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
  if not job.more and not dead then
    server.call('PEXPIRE', job.key, ttl)
    return nil
  end
  if job.parent then
    -- A parent that is run again asks its children for their outcomes, however late; one that has ended is
    -- outlived by none for long.
    local age, till = CHILD_TTL_MS, job.outlived
    if job.cancel then till = number(redis.call('HGET', job.key, 'outlived'), till) end
    if till then age = math.min(age, math.max(till - now, KEPT_MS)) end
    redis.call('PEXPIRE', job.key, whole(age))
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
  redis.call('PEXPIRE', job.key, whole(age))
  if dead then redis.call('HSET', job.key, 'failed', whole(now)) end
  local kept = dead and dead_key(job.queue) or most >= 0 and done_key(job.queue)
  if kept then
    forget(kept, dead and now or now - age)
    redis.call('ZADD', kept, whole(dead and now + age or now), job.id)
    outlive(kept, age)
    trim(kept, most)
  end
  return age
end
