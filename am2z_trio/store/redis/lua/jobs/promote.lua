-- Have a job that waits or is delayed begin next.
--
-- KEYS     anchor
-- ARGV     id
-- RETURNS  the status before, or nil
-- INVARIANT  it stands in one place: what it leaves behind in its list is an entry that waits no more.

local id = unpack(ARGV)
local job = load(id)
if not job then return false end
local stands = job.turn and redis.call('ZSCORE', turns_key(job.queue .. '@' .. job.turn), id)
if job.status == 'waiting' and stands then
  -- Before the others that wait for the same turn.
  local line = turns_key(job.queue .. '@' .. job.turn)
  local first = redis.call('ZRANGE', line, 0, 0, 'WITHSCORES')
  if first[1] ~= id then
    local place = whole(tonumber(first[2]) - 1)
    redis.call('HSET', job.key, 'place', place)
    redis.call('ZADD', line, place, id)
  end
elseif job.status == 'waiting' or job.status == 'later' then
  note(id, 'status', 'waiting')
  redis.call('HDEL', job.key, 'priority')
  if job.status == 'waiting' then
    leave_place(job.queue, id, job.skey)
  else
    redis.call('ZREM', later_key(job.queue), id)
    count(job.queue, 'later', -1)
    count(job.queue, 'waiting', 1)
  end
  put_back(job, true)
  -- Its session's turn comes first, too, unless that has as many active as it may.
  local is_ready = job.skey and redis.call('ZSCORE', ready_key(job.queue), job.skey)
  if is_ready then take_turn(job.queue, job.skey, true) end
end
finish()
return job.status
