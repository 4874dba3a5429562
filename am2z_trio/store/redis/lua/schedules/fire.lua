-- Do one step of a schedule, if it is still what it was decided by: its jobs come in as any job does, what became of
-- its times is noted, and the next one is set.
--
-- KEYS     anchor
-- ARGV     clock, result ttl ms, how many ended jobs are listed, nonce of this step, name, mark, revision, next time
--          it has, or '-' where that is no matter, how its last run stands, or '' where that is none, why that is to
--          stop or '', why the schedule is paused now or '', times that are passed by as the last run has not ended,
--          one space between them, how many are missed, next time or '', when it is due, since when it waits or '',
--          how many runs are noted, time and id of each job, spaces between them; then what `jobs/enqueue` takes of
--          these jobs
-- RETURNS  {'stale'} it is not | {'done', of each job 'queued' or why it was not accepted ...}
-- INVARIANT  jobs, notes and next time change together, and once: the record keeps the step's nonce. The first write
--          is one that Redis refuses when memory is full. A job that is not looked at (see `jobs/enqueue`) is next.

local clock, ttl, recent, nonce, name, mark, rev, expected, stands, cancel, pause, skipped, missed, next, due, held,
  history, times = unpack(ARGV, 1, 18)
local now = read_clock(clock)
local key = schedule_key(name)
local v = redis.call('HMGET', key, 'mark', 'rev', 'next', 'step', 'done', 'last', 'forgiven', 'paused', 'last_at')
if v[4] == nonce then return { 'done', unpack(unpacked(v[5]) or {}) } end
if not is_meant(key, v[1], v[2], mark, rev) then return { 'stale' } end
local beside = expected == '-'
if not beside and (v[8] or next_time(v[3]) ~= expected) then return { 'stale' } end
if stands ~= '' and last_stands(v[6], v[7]) ~= stands then return { 'stale' } end
redis.call('HSET', key, 'step', nonce)

-- A time has one note: where it has come to a job, that.
local function put_down(at, what, id)
  local noted = redis.call('ZRANGEBYSCORE', runs_key(name), at, at, 'LIMIT', 0, 1)[1]
  if noted and what ~= 'queued' then return end
  if noted then redis.call('ZREM', runs_key(name), noted) end
  redis.call('ZADD', runs_key(name), at, at .. ' ' .. what .. ' ' .. whole(now) .. ' ' .. id)
end

if cancel ~= '' and v[6] then cancel_job({ clock, ttl, recent, v[6], cancel, '' }) end
local passed_by = 0
for at in string.gmatch(skipped, '%S+') do
  put_down(at, 'skipped', '')
  passed_by = passed_by + 1
end

local jobs = { clock, ttl, recent, nonce, '', '' }
for i = 19, #ARGV do
  local word = ARGV[i]
  jobs[#jobs + 1] = word
end
local outcomes, queued, last_at = {}, 0, number(v[9] or 0, 0)
local answers = #jobs > 6 and enqueue_jobs(jobs) or {}
for at, id in string.gmatch(times, '(%d+) (%S+)') do
  local answer = answers[#outcomes + 1]
  if not answer then
    if not beside then next, due = at, whole(now) end
    break
  end
  local what = answer[1] or 'queued'
  if what == 'handed' then what = 'queued' end
  if ENDED[what] or BEGUN_OR_NOT[what] then what = 'known' end
  outcomes[#outcomes + 1] = what
  if what == 'queued' then
    queued = queued + 1
    if tonumber(at) >= last_at then
      last_at = tonumber(at)
      redis.call('HSET', key, 'last', id, 'last_at', at)
    end
  end
  put_down(at, what, id)
end
redis.call('HSET', key, 'done', cmsgpack.pack(outcomes))
for field, by in pairs({ fired = queued, skipped = passed_by, missed = tonumber(missed) }) do
  if by > 0 then redis.call('HINCRBY', key, field, by) end
end
redis.call('ZREMRANGEBYRANK', runs_key(name), 0, -1 - tonumber(history))
if beside then return { 'done', unpack(outcomes) } end
if held == '' then redis.call('HDEL', key, 'held') else redis.call('HSET', key, 'held', held) end
if pause ~= '' then redis.call('HSET', key, 'paused', pause) end
redis.call('HSET', key, 'next', next)
redis.call('ZADD', schedules_key(), pause ~= '' and 'inf' or in_order(due), name)
return { 'done', unpack(outcomes) }
