-- Queue dead letters again, each as if it had just come.
--
-- KEYS     anchor
-- ARGV     clock, ids
-- RETURNS  per id: 'queued' | 'stopped' | 'gone'
-- INVARIANT  a dead letter is queued once, however often this arrives.

local now = read_clock(ARGV[1])

local function revive(id)
  local job, key = load(id), job_key(id)
  if not job then return 'gone' end
  if job.status ~= 'failed' then return 'queued' end
  if not redis.call('ZSCORE', dead_key(job.queue), id) then return 'gone' end
  if job.skey and is_stopping(job.skey, now) then return 'stopped' end
  forget_in_lists(id)
  redis.call('HSET', key, 'status', 'waiting', 'attempt', '1', 'stalls', '0', 'origin', '')
  redis.call('HDEL', key, 'reason', 'result', 'deadline', 'cancel', 'failed', 'progress')
  redis.call('PERSIST', key)
  redis.call('ZREM', dead_key(job.queue), id)
  if job.skey then
    redis.call('SADD', jobs_key(job.skey), id)
    redis.call('HSETNX', sessions_key(), job.skey, redis.call('HGET', key, 'session'))
  end
  count(job.queue, 'failed', -1)
  count(job.queue, 'waiting', 1)
  put(job.queue, id, priority_of(id), false, job.skey)
  tell('job:enqueued', now, '', id)
  return 'queued'
end

local answers = {}
for i = 2, #ARGV do answers[#answers + 1] = revive(ARGV[i]) end
finish()
return answers
