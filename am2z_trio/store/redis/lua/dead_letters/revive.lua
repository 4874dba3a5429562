-- Queue dead letters again, each as if it had just come.
--
-- KEYS     anchor
-- ARGV     clock, nonce of this call, ids
-- RETURNS  per id: 'queued' | 'stopped' | 'gone' | 'unreadable': nothing is left that could run
-- INVARIANT  a dead letter is queued once per call, however often the call arrives: the record keeps the
--          call's nonce. The first write is a removal, which Redis allows when memory is full.

local clock, nonce = unpack(ARGV, 1, 2)
local now = read_clock(clock)

local function revive(id)
  local job, key = load(id), job_key(id)
  if not job then return 'gone' end
  if redis.call('HGET', key, 'revived') == nonce then return 'queued' end
  if job.status ~= 'failed' or not redis.call('ZSCORE', dead_key(job.queue), id) then return 'gone' end
  if job.skey and is_stopping(job.skey, now) then return 'stopped' end
  if redis.call('HEXISTS', key, 'spec') == 0 then return 'unreadable' end
  redis.call('ZREM', dead_key(job.queue), id)
  if number(redis.call('HGET', key, 'deliveries') or 0, -1) < 0 then redis.call('HDEL', key, 'deliveries') end
  forget_start(key)
  redis.call('HDEL', key, 'reason', 'result', 'deadline', 'cancel', 'failed', 'progress', 'errors',
    'lost', 'charged', 'conflicts', 'ended')
  note(id, 'status', 'waiting', 'attempt', '1', 'stalls', '0', 'origin', '', 'revived', nonce, 'at', stamp(now))
  redis.call('PERSIST', key)
  if job.skey then join_jobs(job.skey, redis.call('HGET', key, 'session') or job.skey, id) end
  count(job.queue, 'failed', -1)
  count(job.queue, 'waiting', 1)
  put_back(job, false)
  tell('job:enqueued', now, '', job.queue, id, job.skey)
  return 'queued'
end

local answers = {}
for i = 3, #ARGV do
  local id = ARGV[i]
  answers[#answers + 1] = revive(id)
end
finish()
return answers
